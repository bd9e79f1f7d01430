"""The gateway packet by packet: log-in, hello, telemetry, order, windows, take-over, refusals."""

import asyncio
import time

import pytest

from protocol import topics
from protocol.codec import encode as encode_message
from protocol.codec import pack_batch, pack_sample
from protocol.messages import Event, EventKind
from protocol.mqtt import (
    V5,
    V311,
    Connect,
    Disconnect,
    PingReq,
    PingResp,
    Property,
    PubAck,
    Publish,
    SubAck,
    Subscribe,
)
from tests.cloud.gateway.conftest import Site, Start
from tests.support.raw_mqtt import gone

VERSIONS = pytest.mark.parametrize("version", [V5, V311], ids=["mqtt5", "mqtt3"])


# --- log-in and hello ---------------------------------------------------------------------------------------


@VERSIONS
async def test_an_unknown_device_is_greeted_and_owns_nothing(site: Site, version: int) -> None:
    device = site.device(version)
    hello = await device.greet()
    assert (hello.kid, hello.login_ms, hello.owned, hello.epoch) == (
        device.identity.kid,
        device.iat_ms,
        False,
        0,
    )
    assert len(hello.nonce) == 32
    assert await site.rows("SELECT 1 FROM device") == []


async def test_connack_says_what_is_offered(site: Site) -> None:
    connack = await site.device().log_in(keep_alive_s=0)
    assert connack.code == 0
    assert {key: connack.properties[key] for key in connack.properties} == {
        Property.RECEIVE_MAXIMUM: 64,
        Property.MAXIMUM_QOS: 1,
        Property.RETAIN_AVAILABLE: 0,
        Property.MAXIMUM_PACKET_SIZE: 262_144,
        Property.WILDCARD_AVAILABLE: 0,
        Property.SUBSCRIPTION_IDS_AVAILABLE: 0,
        Property.SHARED_AVAILABLE: 0,
        Property.SERVER_KEEP_ALIVE: 1200,
    }


@VERSIONS
async def test_a_token_of_a_known_key_works_once(site: Site, version: int) -> None:
    device, _ = await site.owned(version)
    token = device.token().encode()
    assert (await device.log_in(password=token)).code == 0
    assert (await device.log_in(password=token)).code == (0x86 if version == V5 else 4)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"audience": "another"}, 0x86),
        ({"exp_ms": 1}, 0x86),
        ({"device_id": 7}, 0),  # an unknown key may say what it wants until it announces
    ],
)
async def test_tokens_are_judged(site: Site, changes: dict[str, object], code: int) -> None:
    device = site.device()
    token = device.token(**changes).encode()
    assert (await device.log_in(password=token)).code == code


async def test_each_session_has_its_own_nonce_and_counts_its_hellos(site: Site) -> None:
    device = site.device()
    first = await device.greet()
    await device.send(Subscribe(device.next_id(), ((topics.control(device.identity.kid), 0),)))
    again = await device.hello()
    assert again.n > first.n
    assert again.nonce == first.nonce
    assert (await device.greet()).nonce != first.nonce


async def test_a_claim_in_either_order_is_told_at_once(site: Site) -> None:
    device = site.device()
    await site.claim(device)
    hello = await device.greet()
    assert not hello.owned
    assert (await device.announce(hello)).reason == 0
    hello = await device.hello()
    assert hello.owned
    assert hello.epoch > 0


async def test_an_announcement_with_another_sessions_nonce_is_refused(site: Site) -> None:
    device = site.device()
    old = await device.greet()
    await device.greet()
    assert (await device.announce(old)).reason == 0x87
    assert await site.rows("SELECT 1 FROM device") == []


async def test_a_device_without_owner_has_a_quota(site: Site) -> None:
    device = site.device()
    hello = await device.greet()
    reasons = [(await device.announce(hello)).reason for _ in range(8)]
    assert reasons[:6] == [0] * 6
    assert reasons[-1] == 0x97


# --- telemetry ----------------------------------------------------------------------------------------------


@VERSIONS
async def test_what_is_acknowledged_is_stored_once_and_in_order(site: Site, version: int) -> None:
    device, epoch = await site.owned(version)
    packets = [device.telemetry(epoch, 5, seq) for seq in range(1, 41)]
    await device.send(*packets)
    acks = await device.wait_acks(40)
    assert [ack.packet_id for ack in acks] == [packet.packet_id for packet in packets]
    assert {ack.reason for ack in acks} == {0}
    assert await site.stored(device) == [(5, seq) for seq in range(1, 41)]
    await device.send(*packets[20:])
    await device.wait_acks(20)
    assert await site.stored(device) == [(5, seq) for seq in range(1, 41)]


async def test_bytes_may_come_one_by_one(site: Site) -> None:
    device, epoch = await site.owned()
    from protocol.mqtt import encode  # noqa: PLC0415 - here alone

    data = b"".join(encode(device.telemetry(epoch, 5, seq), V5) for seq in (1, 2, 3))
    for at in range(len(data)):
        await device.send(data[at : at + 1])
    await device.wait_acks(3)
    assert await site.stored(device) == [(5, 1), (5, 2), (5, 3)]


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2)])
async def test_json_and_protobuf_share_one_position(site: Site, order: tuple[int, ...]) -> None:
    device, epoch = await site.owned()
    for seq in order:
        if seq == 2:
            payload = b'{"ts": %d, "seq": 2, "input_voltage": 229.5}' % (time.time_ns() // 1_000_000)
            name = topics.telemetry(device.identity.kid, epoch, 5, json=True)
            await device.send(device.publish(name, payload))
        else:
            await device.send(device.telemetry(epoch, 5, seq))
        assert (await device.wait(PubAck)).reason == 0
    kept = [seq for i, seq in enumerate(order) if all(seq > before for before in order[:i])]
    assert await site.stored(device) == [(5, seq) for seq in kept]


async def test_the_window_holds_and_pings_are_answered(start: Start) -> None:
    async with start(receive_maximum=4) as site:
        device, epoch = await site.owned()
        packets = [device.telemetry(epoch, 5, seq) for seq in range(1, 31)]
        await device.send(*packets, PingReq())
        acks = await device.wait_acks(30)
        assert [ack.packet_id for ack in acks] == [packet.packet_id for packet in packets]
        await device.wait(PingResp)
        assert len(await site.stored(device)) == 30


async def test_a_bad_message_is_kept_aside_and_others_are_stored(site: Site) -> None:
    device, epoch = await site.owned()
    name = topics.telemetry(device.identity.kid, epoch, 5)
    bad = device.publish(name, b"\x0a\x05hello")
    impossible = device.publish(name, pack_batch([pack_sample({"ts": 1, "seq": 2, "input_voltage": 1e6})]))
    await device.send(device.telemetry(epoch, 5, 1), bad, impossible, device.telemetry(epoch, 5, 3))
    acks = await device.wait_acks(4)
    assert [ack.reason for ack in acks] == [0, 0x99, 0x99, 0]
    assert await site.stored(device) == [(5, 1), (5, 3)]
    kept = await site.rows("SELECT code, payload FROM rejected ORDER BY rejected_id")
    assert kept == [("malformed", bad.payload), ("out_of_range", impossible.payload)]


async def test_a_device_that_goes_wrong_fills_neither_table_nor_log(site: Site) -> None:
    device, epoch = await site.owned()
    name = topics.telemetry(device.identity.kid, epoch, 5)
    for _ in range(4):
        await device.send(*(device.publish(name, b"wrong") for _ in range(50)))
        assert {ack.reason for ack in await device.wait_acks(50)} == {0x99}
    (kept,) = await site.rows("SELECT count(*) FROM rejected")
    assert kept == (64,)


async def test_epochs_cut_what_is_taken(site: Site) -> None:
    device, epoch = await site.owned()
    await device.send(
        device.telemetry(epoch - 1, 5, 1), device.telemetry(epoch + 1, 5, 2), device.telemetry(epoch, 5, 3)
    )
    assert [ack.reason for ack in await device.wait_acks(3)] == [0x10, 0x87, 0]
    assert await site.stored(device) == [(5, 3)]


async def test_mqtt3_ends_over_an_epoch_above_its_own(site: Site) -> None:
    device, epoch = await site.owned(V311)
    await device.send(device.telemetry(epoch + 1, 5, 1))
    assert await gone(device) is None
    assert await site.stored(device) == []


async def test_what_a_new_owner_gets_is_new(site: Site) -> None:
    """The epoch in the database moves under a session: the fence notices, not a cache."""
    device, epoch = await site.owned()
    await device.send(device.telemetry(epoch, 5, 1))
    await device.wait(PubAck)
    async with site.pool.connection() as connection:
        await connection.execute(
            "UPDATE latest SET epoch = epoch + 1 WHERE device_id = %s", [device.identity.device_id]
        )
    await device.send(device.telemetry(epoch, 5, 2))
    assert (await device.wait(PubAck)).reason == 0x10
    assert await site.stored(device) == [(5, 1)]


async def test_events_are_stored_once(site: Site) -> None:
    device, epoch = await site.owned()
    event = Event(stream=5, seq=1, ts_ms=time.time_ns() // 1_000_000, kind=EventKind.ON_BATTERY)
    name = topics.event(device.identity.kid, epoch)
    for _ in range(2):
        await device.send(device.publish(name, encode_message(event)))
        assert (await device.wait(PubAck)).reason == 0
    assert await site.rows("SELECT kind, seq FROM event") == [("on_battery", 1)]


async def test_now_updates_what_is_shown_and_stores_nothing(site: Site) -> None:
    device, epoch = await site.owned()
    sample = pack_sample({"ts": time.time_ns() // 1_000_000, "seq": 0, "input_voltage": 231.5})
    await device.send(device.publish(topics.now(device.identity.kid), pack_batch([sample]), qos=0))
    await device.send(device.telemetry(epoch, 5))  # an empty batch is refused, after the snapshot
    assert (await device.wait(PubAck)).reason == 0x99
    assert await site.rows("SELECT input_voltage FROM latest") == [(231.5,)]
    assert await site.stored(device) == []


async def test_a_watch_is_told(site: Site) -> None:
    device, _ = await site.owned()
    until_ms = time.time_ns() // 1_000_000 + 30_000
    async with site.pool.connection() as connection:
        await connection.execute("UPDATE latest SET watch_until_ms = %s", [until_ms])
    watch = await device.watch()
    assert 25 <= watch.seconds <= 30
    assert watch.login_ms == device.iat_ms


# --- who may not --------------------------------------------------------------------------------------------


async def test_a_new_log_in_ends_the_old_session(site: Site) -> None:
    device, epoch = await site.owned()
    other = site.device()
    other.identity, other.iat_ms = device.identity, device.iat_ms
    await other.greet()
    assert await gone(device) == 0x8E
    await other.send(other.telemetry(epoch, 9, 1))
    assert (await other.wait(PubAck)).reason == 0


async def test_a_revoked_key_is_cut(site: Site) -> None:
    device, _ = await site.owned()
    async with site.pool.connection() as connection:
        await connection.execute("UPDATE device_key SET state = 'revoked'")
        await connection.execute("UPDATE latest SET revoked = true")
    began = time.monotonic()
    assert await gone(device) == 0x98
    assert time.monotonic() - began < 5
    assert (await device.log_in()).code == 0x8A


@VERSIONS
async def test_foreign_topics_are_refused(site: Site, version: int) -> None:
    device, _ = await site.owned(version)
    other = site.device()
    for name in (topics.now(other.identity.kid), "d/x/telemetry", "anything", f"d/{device.identity.kid}/x"):
        await device.send(device.publish(name, b"x"))
        if version == V311:
            assert await gone(device) is None
            return
        assert (await device.wait(PubAck)).reason in {0x87, 0x90}


@VERSIONS
@pytest.mark.parametrize(
    "name", ["#", "d/+/control", "d/{kid}/#", "d/{other}/control", "$share/a/d/{kid}/control"]
)
async def test_foreign_filters_are_refused(site: Site, version: int, name: str) -> None:
    device, other = site.device(version), site.device()
    await device.log_in()
    text = name.format(kid=device.identity.kid, other=other.identity.kid)
    await device.send(Subscribe(device.next_id(), ((text, 0),)))
    (code,) = (await device.wait(SubAck)).codes
    assert code == 0x80 if version == V311 else code in {0x87, 0x9E, 0xA2}


@VERSIONS
@pytest.mark.parametrize(("changes", "reason"), [({"qos": 2}, 0x9B), ({"retain": True}, 0x9A)])
async def test_what_is_not_offered_ends_the_connection(
    site: Site, version: int, changes: dict[str, object], reason: int
) -> None:
    device, epoch = await site.owned(version)
    name = topics.telemetry(device.identity.kid, epoch, 5)
    values = {"qos": 1} | changes
    await device.send(device.publish(name, b"x", **values))  # type: ignore[arg-type]  # fields of Publish
    assert await gone(device) == (reason if version == V5 else None)


async def test_packets_that_are_too_large_end_the_connection(start: Start) -> None:
    async with start(max_packet_bytes=8192) as site:
        device, epoch = await site.owned()
        name = topics.telemetry(device.identity.kid, epoch, 5)
        await device.send(device.publish(name, bytes(9000)))
        assert await gone(device) == 0x95


async def test_a_first_packet_that_is_no_connect_is_not_answered(site: Site) -> None:
    device = site.device()
    await device.open()
    await device.send(PingReq())
    assert await gone(device) is None
    assert not device.received


async def test_a_second_connect_ends_the_connection(site: Site) -> None:
    device = site.device()
    await device.log_in()
    await device.send(Connect(device.identity.kid, V5))
    assert await gone(device) == 0x82


async def test_a_silent_session_ends(site: Site) -> None:
    device = site.device()
    await device.log_in(keep_alive_s=5)
    (session,) = site.gateway.hub.sessions()
    session.heard_s -= 8
    assert await gone(device) == 0x8D


async def test_a_stranger_that_never_announces_ends(site: Site) -> None:
    device = site.device()
    await device.log_in()
    (session,) = site.gateway.hub.sessions()
    session.announced_s -= 301
    assert await gone(device) == 0xA0


async def test_strangers_leave_room_for_owned_devices(start: Start) -> None:
    async with start(max_sessions=4) as site:
        owned, _ = await site.owned()
        strangers = [site.device() for _ in range(3)]
        assert [(await stranger.log_in()).code for stranger in strangers] == [0, 0, 0x89]
        assert (await owned.log_in()).code == 0


async def test_a_session_that_ends_is_noted(site: Site) -> None:
    device, _ = await site.owned()
    connected = "SELECT connected FROM latest"
    sample = pack_sample({"ts": time.time_ns() // 1_000_000, "seq": 0})
    await device.send(device.publish(topics.now(device.identity.kid), pack_batch([sample])))
    await device.wait(PubAck)
    assert await site.rows(connected) == [(True,)]
    await device.send(Disconnect())
    async with asyncio.timeout(5):
        while await site.rows(connected) != [(False,)]:
            await asyncio.sleep(0.02)


async def test_stopping_says_so(start: Start) -> None:
    async with start() as site:
        device = site.device()
        await device.log_in()
        await site.gateway.stop()
        assert await gone(device) == 0x8B


async def test_control_messages_are_never_taken_from_a_device(site: Site) -> None:
    device, _ = await site.owned()
    await device.send(Publish(topics.control(device.identity.kid), b"x", 1, device.next_id()))
    assert (await device.wait(PubAck)).reason == 0x90
