"""A UPS that was got second-hand is reset: what its agent says and keeps to itself, up to the owner's end."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from agent.core.enrollment import Reset
from agent.doctor import ANSWERS
from protocol.messages import Request
from protocol.signing import open_announcement
from protocol.topics import UpKind
from tests.agent.desk import ON_BATTERY, Desk
from tests.agent.gateway_peer import GatewayPeer
from tests.agent.house import built_house, wait_for
from tests.faults.processes import script

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.agent.house import House
    from tests.support.parts import CloudParts

EPOCH = 1_700_000_000_000

REQUEST = "SELECT m.due_ms - m.opened_ms FROM matter m WHERE m.device_id = %s AND m.kind = 'second_hand'"
MAILS = "SELECT 1 FROM mail WHERE kind = 'ownership_second_hand_asked' AND text LIKE '%%/' || %s || '%%'"
REMINDERS = MAILS.replace("_asked", "_reminder")
AGED = "UPDATE matter SET opened_ms = opened_ms - {} WHERE device_id = %s RETURNING 1"
DAY_MS = 86_400_000


@pytest.fixture
async def peer(tmp_path: Path) -> AsyncIterator[GatewayPeer]:
    async with GatewayPeer(tmp_path / "cloud") as listening:
        listening.hello = listening.owned(EPOCH)
        yield listening


async def test_reset_it_asks_to_be_released_and_reports_nothing(peer: GatewayPeer, tmp_path: Path) -> None:
    desk = Desk(tmp_path / "ups")
    await desk.device.switch(on=True)
    async with desk.online(peer.installation):
        await peer.until("owned", lambda: desk.device.publishes)
        await desk.read(3)
        await desk.device.report()
        await peer.until("reported", lambda: peer.of(UpKind.TELEMETRY))
        await desk.device.step(Reset(on=True))
        await peer.until("asked", lambda: len(peer.of(UpKind.ANNOUNCE)) == 2)
        assert open_announcement(peer.of(UpKind.ANNOUNCE)[1].payload).request is Request.RELEASE
        waiting, sent = desk.device.spool.depth(), len(peer.received)
        await desk.read(3, status=ON_BATTERY)
        await desk.device.report()
        peer.say_watch(1)  # looked at before anything that would come after it
        await peer.until("it was seen", lambda: desk.device.enrollment.last_watch_n > 0)
        assert (desk.device.spool.depth(), len(peer.received)) == (waiting, sent)
    desk.close()
    again = Desk(tmp_path / "ups")
    try:
        peer.received.clear()
        async with again.online(peer.installation):  # after a restart it asks again
            await peer.until("asked again", lambda: peer.of(UpKind.ANNOUNCE))
            assert open_announcement(peer.of(UpKind.ANNOUNCE)[0].payload).request is Request.RELEASE
            await again.read(3)
            await again.device.report()
            peer.say_hello(peer.unowned())
            await peer.until("free", lambda: not again.device.enrollment.release)
            await peer.until("announced", lambda: len(peer.of(UpKind.ANNOUNCE)) == 2)
            assert open_announcement(peer.of(UpKind.ANNOUNCE)[1].payload).request is Request.NONE
            assert len(peer.received) == 2
        assert not again.device.state.value.release
    finally:
        again.close()


@pytest.fixture
def portal(cloud: CloudParts) -> Iterator[CloudParts]:
    """The cloud with its portal, which sees to second-hand requests."""
    cloud.start("portal")
    yield cloud
    cloud.kill("portal")


def agent(house: House, *words: str) -> str:
    """What a command of the agent says."""
    command = [script("smartconnect-agent"), *words, "--config", str(house.config)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout


def test_a_device_that_was_reset_offline_leaves_its_owner_after_14_days(
    tmp_path: Path, portal: CloudParts
) -> None:
    with built_house(tmp_path, cloud=portal, poll_interval_s=0.2) as house:
        house.start_cloud()
        house.agent.start()
        house.claim()
        wait_for("samples are stored", lambda: house.stored() >= 2)
        assert house.agent.stop() == 0
        assert "14 days to object" in agent(house, "reset", "--ups", "ups")
        assert "reset, asks to be released" in agent(house, "status")
        assert house.rows(REQUEST) == []

        stored, events = house.stored(), house.events()
        house.agent.start()
        wait_for("the cloud is asked", lambda: house.rows(REQUEST) == [(14 * DAY_MS,)])
        wait_for("the owner is told", lambda: house.rows(MAILS))
        epoch = house.latest("epoch")
        house.order("mains", "off")  # which would be told at once
        seen = "SELECT login_ms FROM device_key WHERE device_id = %s"
        before = house.rows(seen)
        assert house.agent.stop() == 0
        house.agent.start()
        wait_for("it has logged in again", lambda: house.rows(seen) > before)
        wait_for("the agent reads on", lambda: house.asked().get("ups") == ANSWERS)
        assert (house.stored(), house.events(), house.latest("epoch")) == (stored, events, epoch)

        for days, count in ((3, 1), (4, 2)):  # it is the third day now, then the seventh
            house.rows(AGED.format(days * DAY_MS))
            wait_for(f"reminder {count}", lambda count=count: len(house.rows(REMINDERS)) == count)  # type: ignore[misc]  # bound early, as it must be
            house.cloud.kill("portal")
            house.cloud.start("portal")
            wait_for("it is sent once", lambda count=count: len(house.rows(REMINDERS)) == count)  # type: ignore[misc]  # as above

        house.rows("UPDATE matter SET due_ms = 1, opened_ms = 0 WHERE device_id = %s RETURNING 1")
        ended = "SELECT ended_by FROM v_ownership WHERE device_id = %s AND until_ms IS NOT NULL"
        wait_for("it is free", lambda: house.rows(ended) == [("second_hand",)])
        wait_for("the agent knows", lambda: not house.asked()["owned"])
        assert "none yet" in agent(house, "status")
        assert len(house.rows(REMINDERS)) == 2
        house.claim("buyer")
        wait_for("its new owner's samples are stored", lambda: house.stored() > stored)
        later = "SELECT count(*) FROM v_telemetry WHERE device_id = %s AND epoch > " + str(epoch)
        wait_for("in a new epoch", lambda: house.rows(later)[0][0] > 0)
