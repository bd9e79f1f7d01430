"""One connection: what the agent publishes, keeps and refuses, whatever the gateway says."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import session
from agent.core.backoff import Backoff
from cloud.provision import Signer, load_key_set
from protocol import topics
from protocol.codec import ENTRY_BYTES, decode_event
from protocol.errors import Reason
from protocol.messages import EventKind
from protocol.signing import open_announcement, seal_key_set
from protocol.topics import UpKind
from tests.agent.desk import ON_BATTERY, STATUS, Desk
from tests.agent.gateway_peer import GatewayPeer
from tests.support.samples import sample_seq, sample_ts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from protocol.mqtt import Publish

EPOCH = 1_700_000_000_000
KEPT = (Reason.QUOTA_EXCEEDED, Reason.UNSPECIFIED, Reason.IMPLEMENTATION_SPECIFIC)


@pytest.fixture
async def peer(tmp_path: Path) -> AsyncIterator[GatewayPeer]:
    async with GatewayPeer(tmp_path / "cloud") as listening:
        listening.hello = listening.owned(EPOCH)
        yield listening


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    opened = Desk(tmp_path / "ups")
    await opened.device.switch(on=True)
    yield opened
    opened.close()


def samples(publish: Publish) -> list[bytes]:
    """The packed samples of a telemetry publish."""
    return [publish.payload[at + 3 : at + ENTRY_BYTES] for at in range(0, len(publish.payload), ENTRY_BYTES)]


def places(peer: GatewayPeer) -> list[tuple[int, int]]:
    """(stream, seq) of everything published, in order."""
    return [
        (topics.parse(publish.topic).stream, sample_seq(sample))
        for publish in peer.of(UpKind.TELEMETRY)
        for sample in samples(publish)
    ]


async def spooled(desk: Desk, count: int) -> None:
    """Readings of an owned device while nobody listens; they wait in one record."""
    desk.device.enrollment = replace(desk.device.enrollment, owned=True, epoch=EPOCH)
    desk.device.spool.wipe(EPOCH)
    await desk.read(count)
    await desk.device.report()
    assert desk.device.spool.depth() == count


async def test_without_owner_it_announces_and_publishes_nothing_else(peer: GatewayPeer, desk: Desk) -> None:
    peer.hello = peer.unowned()
    async with desk.online(peer.installation):
        await peer.until("announced", lambda: peer.of(UpKind.ANNOUNCE))
        announcement = open_announcement(peer.of(UpKind.ANNOUNCE)[0].payload)
        assert announcement.nonce == peer.hello.nonce
        assert announcement.smartconnect
        label = desk.device.identity.label
        assert label is not None
        assert announcement.product_id == label.product_id.value
        await desk.read(3)
        await desk.device.on_inventory(desk.inventory)
        await peer.until("announced with its model", lambda: len(peer.of(UpKind.ANNOUNCE)) == 2)
        await desk.device.switch(on=False)
        await peer.until("announced at once", lambda: len(peer.of(UpKind.ANNOUNCE)) == 3)
        assert not open_announcement(peer.of(UpKind.ANNOUNCE)[2].payload).smartconnect
        assert len(peer.received) == 3
        assert desk.device.spool.is_empty()


async def test_an_announcement_the_cloud_cannot_take_now_is_sent_again_soon(
    peer: GatewayPeer, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "ANNOUNCE_RETRY", Backoff(first_s=0.1, max_s=0.2))
    peer.hello = peer.unowned()
    peer.reasons[UpKind.ANNOUNCE] = deque([*KEPT, Reason.NOT_AUTHORIZED])
    async with desk.online(peer.installation):
        await peer.until("sent again each time", lambda: len(peer.of(UpKind.ANNOUNCE)) == len(KEPT) + 1)
        peer.say_watch(1)  # looked at before anything that would come after it
        await peer.until("the refusal was seen", lambda: desk.device.enrollment.last_watch_n > 0)
        assert len(peer.of(UpKind.ANNOUNCE)) == len(KEPT) + 1


async def test_owned_it_shows_itself_and_reports(peer: GatewayPeer, desk: Desk) -> None:
    async with desk.online(peer.installation):
        await peer.until("owned", lambda: desk.device.publishes)
        await desk.read()
        await peer.until("shown", lambda: peer.of(UpKind.NOW))
        await peer.until("reported", lambda: peer.of(UpKind.TELEMETRY))
        await desk.read(status=ON_BATTERY)
        await peer.until("the event", lambda: peer.of(UpKind.EVENT))
        await peer.until("the sample of the edge", lambda: len(places(peer)) == 2)
        await peer.until("all deleted", lambda: desk.device.spool.is_empty() and not desk.device.spool.events)
        event = decode_event(peer.of(UpKind.EVENT)[0].payload)
        assert event.kind is EventKind.ON_BATTERY
        order = [topics.parse(publish.topic).kind for publish in peer.received]
        assert order.index(UpKind.EVENT) < len(order) - 1 - order[::-1].index(UpKind.TELEMETRY)
        assert {topics.parse(p.topic).epoch for p in peer.of(UpKind.TELEMETRY)} == {EPOCH}
        assert [seq for _, seq in places(peer)] == [1, 2]


async def test_somebody_looks_so_every_reading_is_shown(peer: GatewayPeer, desk: Desk) -> None:
    async with desk.online(peer.installation):
        await desk.read()
        await peer.until("shown once", lambda: len(peer.of(UpKind.NOW)) == 1)
        peer.say_watch(30)
        await peer.until("shown at once", lambda: len(peer.of(UpKind.NOW)) == 2)
        await desk.read()
        await peer.until("shown again", lambda: len(peer.of(UpKind.NOW)) == 3)


@pytest.mark.parametrize("reason", [Reason.SUCCESS, Reason.PAYLOAD_FORMAT_INVALID])
@pytest.mark.parametrize("kind", [UpKind.TELEMETRY, UpKind.EVENT])
async def test_these_answers_delete(peer: GatewayPeer, desk: Desk, kind: UpKind, reason: Reason) -> None:
    peer.reasons[kind] = deque([reason])
    async with desk.online(peer.installation):
        await peer.until("owned", lambda: desk.device.publishes)
        await desk.read(status=ON_BATTERY)
        await peer.until("deleted", lambda: desk.device.spool.is_empty() and not desk.device.spool.events)
        await peer.until("published", lambda: peer.of(kind))
        assert len(peer.of(kind)) == 1


@pytest.mark.parametrize("reason", KEPT)
@pytest.mark.parametrize("kind", [UpKind.TELEMETRY, UpKind.EVENT])
async def test_these_answers_keep_and_send_the_same_again(
    peer: GatewayPeer, desk: Desk, kind: UpKind, reason: Reason
) -> None:
    peer.reasons[kind] = deque([reason])
    async with desk.online(peer.installation):
        await peer.until("owned", lambda: desk.device.publishes)
        await desk.read(status=ON_BATTERY)
        await peer.until("sent again", lambda: len(peer.of(kind)) == 2)
        await peer.until("deleted", lambda: desk.device.spool.is_empty() and not desk.device.spool.events)
        first, again = peer.of(kind)
        assert first.payload == again.payload
        assert len(peer.logins) == 1


@pytest.mark.parametrize("reason", [Reason.NOT_AUTHORIZED, Reason.NO_MATCHING_SUBSCRIBERS])
@pytest.mark.parametrize("kind", [UpKind.TELEMETRY, UpKind.EVENT])
async def test_these_answers_keep_until_the_next_hello(
    peer: GatewayPeer, desk: Desk, kind: UpKind, reason: Reason
) -> None:
    peer.reasons[kind] = deque([reason])
    async with desk.online(peer.installation):
        await peer.until("owned", lambda: desk.device.publishes)
        await desk.read(status=ON_BATTERY)
        await peer.until("refused", lambda: len(peer.of(kind)) == 1)
        before = len(peer.of(UpKind.NOW))
        await desk.read(3)
        await peer.until("it goes on otherwise", lambda: len(peer.of(UpKind.NOW)) > before)
        assert len(peer.of(kind)) == 1
        assert peer.hello is not None
        peer.say_hello(peer.hello)
        await peer.until("sent again", lambda: len(peer.of(kind)) >= 2)
        await peer.until("deleted", lambda: desk.device.spool.is_empty() and not desk.device.spool.events)


async def test_what_was_not_acknowledged_is_sent_again_word_for_word(peer: GatewayPeer, desk: Desk) -> None:
    peer.reasons[UpKind.TELEMETRY] = deque([None])
    async with desk.online(peer.installation):
        await peer.until("owned", lambda: desk.device.publishes)
        await desk.read()
        await peer.until("published", lambda: peer.of(UpKind.TELEMETRY))
        assert not desk.device.spool.is_empty()
        peer.cut()
        await peer.until("published again", lambda: len(peer.of(UpKind.TELEMETRY)) == 2)
        first, again = peer.of(UpKind.TELEMETRY)
        assert (first.topic, first.payload) == (again.topic, again.payload)
        assert peer.logins[1] > peer.logins[0]
        await peer.until("deleted", desk.device.spool.is_empty)


async def test_the_position_of_the_hello_trims(peer: GatewayPeer, desk: Desk) -> None:
    peer.reasons[UpKind.TELEMETRY] = deque([None])
    async with desk.online(peer.installation):
        await peer.until("owned", lambda: desk.device.publishes)
        await desk.read(3)
        await desk.device.report()
        await peer.until("published", lambda: peer.of(UpKind.TELEMETRY))
        stream, last = places(peer)[-1]
        peer.hello = peer.owned(EPOCH, stream=stream, seq=last)
        await desk.read(2)
        peer.cut()
        await peer.until("connected again", lambda: len(peer.logins) == 2 and desk.device.publishes)
        await desk.read(1)
        await desk.device.report()
        await peer.until("deleted", desk.device.spool.is_empty)
        assert len(places(peer)) == len(set(places(peer)))


async def test_a_stream_below_the_position_is_lifted_before_its_first_publish(
    peer: GatewayPeer, desk: Desk
) -> None:
    await spooled(desk, 5)
    (stream,) = desk.device.spool.ledger.streams
    peer.hello = peer.owned(EPOCH, stream=stream.number + 10_000, seq=77)
    async with desk.online(peer.installation):
        await peer.until("all five", lambda: len(places(peer)) == 5)
        assert {number for number, _ in places(peer)} == {stream.number + 10_001}
        await peer.until("deleted", desk.device.spool.is_empty)


@pytest.mark.parametrize("epoch", [EPOCH - 1, EPOCH + 1])
async def test_another_epoch_wipes(peer: GatewayPeer, desk: Desk, epoch: int) -> None:
    await spooled(desk, 5)
    peer.hello = peer.owned(epoch)
    async with desk.online(peer.installation):
        await peer.until("obeyed", lambda: desk.device.publishes)
        assert desk.device.spool.is_empty()
        assert desk.device.spool.epoch == epoch
        assert not peer.of(UpKind.TELEMETRY)


async def test_another_owner_has_what_was_taken_since(peer: GatewayPeer, desk: Desk) -> None:
    await spooled(desk, 5)
    since_ms = desk.device.corrected_ms() + 5
    await peer.until("later", lambda: desk.device.corrected_ms() > since_ms)
    await desk.read(2)
    await desk.device.report()
    await desk.read(1, status=ON_BATTERY)  # this one is not on disk yet when the hello comes
    peer.hello = peer.owned(EPOCH + 1, since_ms=since_ms)
    async with desk.online(peer.installation):
        await peer.until("all three", lambda: len(places(peer)) == 3)
        assert {topics.parse(one.topic).epoch for one in peer.of(UpKind.TELEMETRY)} == {EPOCH + 1}
        await peer.until("the event, too", lambda: peer.of(UpKind.EVENT))
        assert topics.parse(peer.of(UpKind.EVENT)[0].topic).epoch == EPOCH + 1
        await peer.until("deleted", desk.device.spool.is_empty)


async def test_an_answer_that_comes_after_the_hello_of_another_owner_deletes_nothing(
    peer: GatewayPeer, desk: Desk
) -> None:
    await spooled(desk, 5)
    since_ms = desk.device.corrected_ms() - 600_000  # all of it is the next owner's
    peer.reasons[UpKind.TELEMETRY] = deque([None])  # no answer
    peer.hello = peer.owned(EPOCH)
    async with desk.online(peer.installation):
        await peer.until("published under the old epoch", lambda: peer.of(UpKind.TELEMETRY))
        held = peer.of(UpKind.TELEMETRY)[0]
        assert topics.parse(held.topic).epoch == EPOCH
        peer.say_hello(peer.owned(EPOCH + 1, since_ms=since_ms))
        await peer.until("obeyed", lambda: desk.device.spool.epoch == EPOCH + 1)
        peer.answer(held, Reason.NO_MATCHING_SUBSCRIBERS)
        await peer.until("published again", lambda: len(peer.of(UpKind.TELEMETRY)) == 2)
        again = peer.of(UpKind.TELEMETRY)[1]
        assert (topics.parse(again.topic).epoch, len(again.payload)) == (EPOCH + 1, len(held.payload))
        await peer.until("deleted", desk.device.spool.is_empty)


async def test_no_owner_any_more_keeps_the_spool_to_itself(peer: GatewayPeer, desk: Desk) -> None:
    await spooled(desk, 5)
    peer.hello = peer.unowned()
    async with desk.online(peer.installation):
        await peer.until("announced", lambda: peer.of(UpKind.ANNOUNCE))
        assert len(peer.received) == len(peer.of(UpKind.ANNOUNCE))
        peer.say_hello(peer.owned(EPOCH))
        await peer.until("the owner is back", lambda: len(places(peer)) == 5)


@pytest.mark.parametrize(
    "changes",
    [{"kid": "A" * 27}, {"login_ms": 1}, {"n": 0}, {"n": 1}],
    ids=["another key", "another log-in", "an older counter", "the same counter"],
)
async def test_a_hello_that_is_not_for_this_connection_changes_nothing(
    peer: GatewayPeer, desk: Desk, changes: dict[str, object]
) -> None:
    await spooled(desk, 1)
    peer.reasons[UpKind.TELEMETRY] = deque([None])
    async with desk.online(peer.installation):
        await peer.until("published", lambda: peer.of(UpKind.TELEMETRY))
        before = desk.device.enrollment
        peer.say_hello(peer.owned(EPOCH + 5), **changes)
        await refused_then_alive(peer, desk)
        assert desk.device.enrollment.epoch == before.epoch
        assert desk.device.spool.depth() == 1


async def refused_then_alive(peer: GatewayPeer, desk: Desk) -> None:
    """Whatever was sent before has been looked at, because a watch sent after it has an effect."""
    before = len(peer.of(UpKind.NOW))
    await desk.read()
    peer.say_watch(30)
    await peer.until("it still listens", lambda: len(peer.of(UpKind.NOW)) > before)


async def test_signatures_of_strangers_are_refused(peer: GatewayPeer, desk: Desk) -> None:
    await spooled(desk, 1)
    peer.reasons[UpKind.TELEMETRY] = deque([None])
    async with desk.online(peer.installation):
        await peer.until("published", lambda: peer.of(UpKind.TELEMETRY))
        stranger = Ed25519PrivateKey.generate()
        hello = replace(peer.owned(EPOCH + 5), kid=peer.kid, login_ms=peer.logins[-1], n=9)
        peer.say(hello, Signer(peer.signer.key_id, stranger))
        newer = replace(load_key_set(peer.folder), version=2**40)
        peer.say_bytes(seal_key_set(newer, stranger))
        peer.say_bytes(b"no message at all")
        await refused_then_alive(peer, desk)
        assert desk.device.spool.depth() == 1
        assert desk.device.spool.epoch == EPOCH
        assert desk.device.key_set == load_key_set(peer.folder)


async def test_a_token_is_used_once_and_grows_even_when_refused(peer: GatewayPeer, desk: Desk) -> None:
    peer.connack = Reason.SERVER_UNAVAILABLE
    async with desk.online(peer.installation):
        await peer.until("tried twice", lambda: len(peer.logins) == 2)
        assert desk.device.state.value.last_login_ms == 0
        peer.connack = Reason.SUCCESS
        await peer.until("connected", lambda: desk.device.publishes)
        assert sorted(set(peer.logins)) == peer.logins
        assert desk.device.state.value.last_login_ms == peer.logins[-1]


async def test_the_receive_maximum_is_respected(peer: GatewayPeer, desk: Desk) -> None:
    peer.receive_maximum = 1
    peer.reasons[UpKind.ANNOUNCE] = deque([None])
    async with desk.online(peer.installation):
        await peer.until("announced", lambda: peer.of(UpKind.ANNOUNCE))
        await desk.read(status=ON_BATTERY)
        await peer.until("shown, which needs no acknowledgement", lambda: peer.of(UpKind.NOW))
        assert not peer.of(UpKind.TELEMETRY)
        assert not peer.of(UpKind.EVENT)
        peer.cut()
        await peer.until("published", lambda: peer.of(UpKind.TELEMETRY) and peer.of(UpKind.EVENT))


async def test_a_backlog_drains_in_order_in_few_messages(
    peer: GatewayPeer, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "BATCH_SAMPLES", 100)
    monkeypatch.setattr(session, "NOW_EVERY_S", 0.0)
    await spooled(desk, 0)
    for _ in range(6):
        await desk.read(50)
        await desk.device.report()
    async with desk.online(peer.installation):
        await peer.until("all of it", lambda: len(places(peer)) == 300)
        assert [seq for _, seq in places(peer)] == list(range(1, 301))
        assert len(peer.of(UpKind.TELEMETRY)) == 3
        times = [sample_ts(sample) for p in peer.of(UpKind.TELEMETRY) for sample in samples(p)]
        assert times == sorted(set(times))
        assert len(peer.of(UpKind.NOW)) >= 2  # the page does not wait for the backlog


async def test_events_that_waited_go_out_before_readings_that_waited(
    peer: GatewayPeer, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "BATCH_SAMPLES", 5)
    await spooled(desk, 0)
    for number in range(8):
        await desk.read(5, status=ON_BATTERY if number % 2 else STATUS)
    await desk.device.report()
    async with desk.online(peer.installation):
        await peer.until("all of it", lambda: len(places(peer)) == 40)
        kinds = [topics.parse(publish.topic).kind for publish in peer.received]
        assert kinds[: kinds.index(UpKind.TELEMETRY)].count(UpKind.EVENT) == kinds.count(UpKind.EVENT) == 7


async def test_an_event_that_must_wait_holds_no_reading_back(peer: GatewayPeer, desk: Desk) -> None:
    peer.reasons[UpKind.EVENT] = deque([Reason.QUOTA_EXCEEDED] * 3)
    async with desk.online(peer.installation):
        await peer.until("owned", lambda: desk.device.publishes)
        await desk.read(3, status=ON_BATTERY)
        await peer.until("the readings", lambda: desk.device.spool.is_empty() and places(peer))
        await peer.until("the event at last", lambda: len(peer.of(UpKind.EVENT)) == 4)


async def test_a_silent_gateway_is_left(
    peer: GatewayPeer, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "HELLO_TIMEOUT_S", 0.2)
    peer.hello = None
    async with desk.online(peer.installation):
        await peer.until("tried again", lambda: len(peer.logins) == 2)
        assert "no hello" in desk.device.uplink_state
