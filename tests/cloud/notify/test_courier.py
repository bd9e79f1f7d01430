"""Channels: real HTTP receivers, a real apprise, and addresses that must not be called."""

import hmac
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from cloud.notify import webhook
from cloud.notify.apprise_process import check, notify
from cloud.notify.courier import GIVE_UP_MS, LEASE_MS, Courier
from cloud.notify.webhook import ChannelError, check_url, post
from cloud.postgres import notice_policies, notices
from cloud.services.channels import new_secret, seal_channel
from cloud.services.kit import Kit
from tests.fakes.webhook import Receiver, receiving
from tests.support.claiming import make_actors
from tests.support.kit import opened_kit
from tests.support.notice import MINUTE, Building

SECRET = "whsec_test"


@dataclass
class Scene:
    """A company whose webhook is the receiver's, and what takes messages there."""

    building: Building
    receiver: Receiver
    channel_id: int

    async def carry(self, *, private: bool = True) -> int:
        """One round at the building's clock."""
        return await Courier(self.building.desk, lambda: self.building.now_ms, private).round()

    async def log(self) -> list[tuple[object, ...]]:
        """sent_ms, ended_ms, tries, error of each delivery to the channel."""
        return await self.building.run(
            "SELECT sent_ms, ended_ms, tries, error FROM notice_delivery WHERE channel_id = %s"
            " ORDER BY delivery_id",
            self.channel_id,
        )


@pytest.fixture
async def kit(database: str) -> AsyncIterator[Kit]:
    """A desk with people."""
    async with opened_kit(database) as made:
        yield made


@pytest.fixture
async def scene(kit: Kit, database: str) -> AsyncIterator[Scene]:
    """A UPS is on battery, and the webhook is to be told."""
    building = Building(kit, make_actors(database, 1)[0])
    (ups,) = await building.add()
    async with receiving() as receiver:
        company_id = building.actor.company_id
        async with kit.pool.connection() as connection:
            channel_id = await notice_policies.insert_channel(connection, company_id, "webhook", "x", "x", 1)
            sealed = seal_channel(kit.vault, channel_id, f"{receiver.url}/hook", SECRET)
            await notice_policies.seal_channel(connection, channel_id, sealed)
        await building.event(ups, "self_test")
        await building.work(MINUTE)
        await building.run(
            "INSERT INTO notice_target SELECT policy_id, 0, 'channel', %s FROM notice_policy", str(channel_id)
        )
        await building.event(ups, "on_battery")
        await building.work(MINUTE)
        yield Scene(building, receiver, channel_id)


async def test_a_webhook_is_signed_and_taken_once(scene: Scene) -> None:
    assert await scene.carry() == 1
    assert await scene.carry() == 0
    (taken,) = scene.receiver.taken
    stamp = taken.headers["Smartconnect-Timestamp"]
    assert int(stamp) == scene.building.now_ms // 1000
    expected = hmac.new(SECRET.encode(), f"{stamp}.".encode() + taken.body, "sha256").hexdigest()
    assert taken.headers["Smartconnect-Signature"] == f"v1={expected}"
    body = json.loads(taken.body)
    assert (body["kind"], body["items"][0]["topic"]) == ("alarm", "on_battery")
    assert body["items"][0]["name"] == scene.building.devices[0].name
    ((sent_ms, ended_ms, tries, error),) = await scene.log()
    assert (sent_ms, ended_ms, tries, error) == (scene.building.now_ms, None, 1, "")


@pytest.mark.parametrize("status", [500, 302, 404])
async def test_what_is_not_taken_is_tried_again_later_for_a_day(scene: Scene, status: int) -> None:
    scene.receiver.status, scene.receiver.location = status, f"{scene.receiver.url}/elsewhere"
    assert await scene.carry() == 1
    assert await scene.carry() == 0, "not at once"
    assert len(scene.receiver.taken) == 1, "a redirect is not followed"
    ((_, _, _, error),) = await scene.log()
    assert str(status) in str(error)
    scene.building.now_ms += MINUTE
    assert await scene.carry() == 1
    scene.building.now_ms += GIVE_UP_MS + 1
    assert await scene.carry() == 1
    ((sent_ms, ended_ms, tries, _),) = await scene.log()
    assert (sent_ms, ended_ms, tries) == (None, scene.building.now_ms, 3)


async def test_whoever_dies_with_a_message_leaves_it_to_the_next(scene: Scene) -> None:
    pool, now_ms = scene.building.desk.pool, scene.building.now_ms
    assert len(await notices.take(pool, now_ms=now_ms, lease_ms=LEASE_MS, limit=9)) == 1
    assert await scene.carry() == 0
    scene.building.now_ms += LEASE_MS
    assert await scene.carry() == 1


async def test_a_transfer_takes_the_message_back(scene: Scene, database: str) -> None:
    ups, (buyer,) = scene.building.devices[0], make_actors(database, 1, "buyer")
    await scene.building.run(
        "SELECT move_ownership(%s, %s, %s, %s, 'transferred', %s)",
        *(ups.device_id, ups.epoch, buyer.company_id, buyer.account_id, scene.building.now_ms),
    )
    assert await scene.carry() == 1
    assert scene.receiver.taken == []
    ((_, ended_ms, _, error),) = await scene.log()
    assert (ended_ms, error) == (scene.building.now_ms, "nothing is left to tell")


async def test_addresses_beyond_the_internet_are_not_called(scene: Scene) -> None:
    assert await scene.carry(private=False) == 1
    assert scene.receiver.taken == []
    ((_, ended_ms, _, _),) = await scene.log()
    assert ended_ms is not None


async def test_a_name_that_leads_here_is_judged_when_it_is_called(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address was fine when it was typed; its name leads elsewhere by now."""
    monkeypatch.setattr(webhook, "check_url", lambda *_, **__: "")
    port = scene.receiver.url.rpartition(":")[2]
    with pytest.raises(ChannelError, match="no host of the public internet"):
        await post(f"http://localhost:{port}/", b"", b"", delivery_id=1, timestamp_s=1, private=False)
    assert scene.receiver.taken == []


@pytest.mark.parametrize(
    "url",
    [
        *("http://example.org/", "ftp://example.org/", "https://", "https://localhost/", "nothing", ""),
        *(
            "https://127.0.0.1/",
            "https://[::1]/",
            "https://10.0.0.1/",
            "https://0x7f.1/",
            "https://2130706433/",
        ),
        *("https://user:word@example.org/", "https://example.org:99999/", "https://a b.example.org/"),
    ],
)
def test_addresses_that_cannot_be_used(url: str) -> None:
    if url == "https://0x7f.1/":  # a name, until the resolver says what it is
        assert check_url(url, private=False)
        return
    with pytest.raises(ValueError, match=r"\w+"):
        check_url(url, private=False)


def test_what_is_shown_of_an_address_holds_no_secret() -> None:
    assert check_url("https://hooks.example.org:8443/T0/secret?token=x", private=False) == (
        "https://hooks.example.org:8443/…"
    )
    assert new_secret() != new_secret()


async def test_apprise_reaches_what_it_may_and_nothing_else() -> None:
    async with receiving() as receiver:
        address = receiver.url.replace("http://", "json://")
        await notify(address, "A title", "A text", private=True)
        assert json.loads(receiver.taken[0].body)["title"] == "A title"
        with pytest.raises(ChannelError, match="did not take"):
            await notify(address, "A title", "A text", private=False)
        assert len(receiver.taken) == 1
    assert "json" in (await check("jsons://example.org/hook")).lower()
    with pytest.raises(ChannelError, match="does not know") as refused:
        await check("no-such-service://x")
    assert refused.value.final
