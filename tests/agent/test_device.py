"""A device between UPS and cloud: label, switch, button, and a disk that fails."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from agent.config import Enable
from agent.core.enrollment import Greeted, Phase
from agent.core.sampling import Inventory
from agent.errors import LinkError
from agent.reporter import MAX_BUFFERED
from protocol.extension import Extension
from protocol.messages import EventKind, Hello
from tests.agent.desk import ON_BATTERY, STATUS, Desk
from tests.fakes.clock import FakeClock
from tests.fakes.disk import FakeDisk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.device import Device

EPOCH = 1_700_000_000_000
BLOCK = Extension(enabled=False, product_id="ABCD2345EFGH", product_key="K0123456789XYZ", presence=5)


class FakePoller:
    """The half of a poller that switches SmartConnect on in the UPS."""

    def __init__(self, *, takes_it: bool = True) -> None:
        self.takes_it = takes_it
        self.asked = 0

    async def enable(self) -> bool:
        self.asked += 1
        return self.takes_it


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    opened = Desk(tmp_path, labelled=False)
    yield opened
    opened.close()


def owned(device: Device) -> None:
    """As after a hello that says so."""
    device.enrollment = replace(device.enrollment, owned=True, smartconnect=True, epoch=EPOCH)
    device.spool.wipe(EPOCH)


def poller_of(device: Device, *, takes_it: bool = True) -> FakePoller:
    poller = FakePoller(takes_it=takes_it)
    device.poller = poller  # type: ignore[assignment]  # only `enable` is called
    return poller


# --- label and switch --------------------------------------------------------------------------------------


async def test_the_label_comes_from_the_ups_and_its_key_is_kept(desk: Desk, tmp_path: Path) -> None:
    device = desk.device
    assert not device.labelled.is_set()
    await device.on_extension(BLOCK)
    assert device.labelled.is_set()
    assert device.identity.label is not None
    assert device.identity.label.product_id.value == BLOCK.product_id
    again = Desk(tmp_path)
    assert again.device.identity.label is not None
    assert again.device.identity.label.device_id == device.identity.label.device_id
    assert again.device.identity.kid == device.identity.kid
    again.close()


async def test_codes_that_are_none_are_not_taken(desk: Desk) -> None:
    await desk.device.on_extension(replace(BLOCK, product_id="SHORT"))
    assert not desk.device.labelled.is_set()


async def test_the_switch_of_the_ups_is_followed(desk: Desk) -> None:
    device = desk.device
    await device.on_extension(BLOCK)
    assert not device.enrollment.smartconnect
    await device.on_extension(replace(BLOCK, enabled=True))
    assert device.enrollment.smartconnect
    await device.on_extension(BLOCK)
    assert not device.enrollment.smartconnect


async def test_the_button_switches_on_where_a_person_is_asked(desk: Desk) -> None:
    poller = poller_of(desk.device)
    await desk.device.on_extension(BLOCK)
    assert poller.asked == 0
    await desk.device.on_extension(replace(BLOCK, presence=6))
    assert poller.asked == 1
    assert desk.device.enrollment.smartconnect


async def test_a_button_pressed_while_the_agent_was_away_counts(desk: Desk, tmp_path: Path) -> None:
    await desk.device.on_extension(BLOCK)
    again = Desk(tmp_path)
    poller = poller_of(again.device)
    await again.device.on_extension(replace(BLOCK, presence=6))
    assert poller.asked == 1
    again.close()


async def test_auto_switches_on_once_and_respects_the_front_panel(tmp_path: Path) -> None:
    desk = Desk(tmp_path, enable=Enable.AUTO)
    poller = poller_of(desk.device)
    await desk.device.on_extension(BLOCK)
    assert poller.asked == 1
    assert desk.device.enrollment.smartconnect
    await desk.device.on_extension(BLOCK)
    assert poller.asked == 1
    assert not desk.device.enrollment.smartconnect
    desk.close()


async def test_without_our_block_the_switch_is_the_agents_own(desk: Desk, tmp_path: Path) -> None:
    with pytest.raises(LinkError, match="not answered yet"):
        await desk.device.enable()
    await desk.device.on_extension(None)
    assert not desk.device.enrollment.smartconnect
    await desk.device.enable()
    assert desk.device.enrollment.smartconnect
    again = Desk(tmp_path)
    assert again.device.enrollment.smartconnect
    again.close()
    auto = Desk(tmp_path / "auto", enable=Enable.AUTO)
    await auto.device.on_extension(None)
    assert auto.device.enrollment.smartconnect
    auto.close()


async def test_a_register_that_does_not_take_it_is_an_error(desk: Desk) -> None:
    poller_of(desk.device, takes_it=False)
    await desk.device.on_extension(BLOCK)
    with pytest.raises(LinkError, match="reads back as off"):
        await desk.device.enable()
    assert not desk.device.enrollment.smartconnect


# --- reporting ---------------------------------------------------------------------------------------------


async def test_without_owner_nothing_is_spooled(desk: Desk) -> None:
    await desk.read(3, status=ON_BATTERY)
    assert desk.device.spool.is_empty()
    assert desk.device.spool.events == 0


async def test_one_report_a_minute_but_every_sample_on_battery(tmp_path: Path) -> None:
    clock = FakeClock()
    desk = Desk(tmp_path, clock=clock, report_interval_s=60.0)
    owned(desk.device)

    async def read_a_second(status: tuple[int, ...] = STATUS) -> int:
        clock.advance(1000)
        await desk.read(status=status)
        return desk.device.spool.depth()

    assert await read_a_second() == 1  # the first one at once
    assert [await read_a_second() for _ in range(60)] == [1] * 59 + [61]
    assert await read_a_second(ON_BATTERY) == 62
    assert desk.device.spool.events == 1
    assert await read_a_second(ON_BATTERY) == 63
    assert await read_a_second() == 64  # the edge back
    assert [await read_a_second() for _ in range(3)] == [64] * 3
    desk.close()


async def test_a_changed_firmware_is_an_event(desk: Desk) -> None:
    owned(desk.device)
    await desk.device.on_inventory(Inventory(firmware="UPS 04.1"))
    await desk.device.on_inventory(Inventory(firmware="UPS 15.1"))
    await desk.device.report()
    event = desk.device.spool.next_event()
    assert event is not None
    assert (event.kind, event.values) == (
        EventKind.FIRMWARE_CHANGED,
        {"before": "UPS 04.1", "after": "UPS 15.1"},
    )


def kinds(device: Device) -> list[EventKind]:
    """Of all events on disk."""
    return [event.kind for event in device.spool.event_file.since(0)]


def owned_still(device: Device) -> None:
    """As after a hello that says nothing new."""
    device.enrollment = replace(device.enrollment, owned=True, smartconnect=True)


@pytest.mark.parametrize("delivered", [False, True])
async def test_a_kill_before_the_state_is_written_repeats_no_edge(tmp_path: Path, *, delivered: bool) -> None:
    """The events are on disk, what they say is not in the state: the next start reads it from them."""
    desk = Desk(tmp_path)
    owned(desk.device)
    await desk.device.on_inventory(Inventory(firmware="UPS 04.1"))
    state = tmp_path / "state.json"
    before = state.read_bytes()
    await desk.read(status=ON_BATTERY)
    await desk.device.on_inventory(Inventory(firmware="UPS 15.1"))
    assert kinds(desk.device) == [EventKind.ON_BATTERY, EventKind.FIRMWARE_CHANGED]
    if delivered:
        desk.device.spool.event_done(1)
    assert state.read_bytes() != before
    state.write_bytes(before)
    desk.close()

    again = Desk(tmp_path)
    owned_still(again.device)
    await again.read(status=ON_BATTERY)
    await again.device.on_inventory(Inventory(firmware="UPS 15.1"))
    await again.device.report()
    assert kinds(again.device) == [EventKind.ON_BATTERY, EventKind.FIRMWARE_CHANGED]
    await again.read()
    assert kinds(again.device)[2:] == [EventKind.MAINS_BACK]
    again.close()


async def test_events_that_the_state_outlived_bring_no_edge_back(tmp_path: Path) -> None:
    """The mains came back while SmartConnect was off: that is in the state, and in no event."""
    desk = Desk(tmp_path)
    owned(desk.device)
    await desk.read(status=ON_BATTERY)
    desk.device.enrollment = replace(desk.device.enrollment, smartconnect=False)
    await desk.read()
    desk.close()
    again = Desk(tmp_path)
    owned_still(again.device)
    await again.read(2)
    assert kinds(again.device) == [EventKind.ON_BATTERY]
    again.close()


async def test_events_counted_anew_are_newer_than_the_state(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    owned(desk.device)
    for status in (ON_BATTERY, STATUS, ON_BATTERY, STATUS):
        await desk.read(status=status)
    owned(desk.device)  # another owner: no event is left
    desk.close()
    second = Desk(tmp_path)
    owned_still(second.device)
    before = (tmp_path / "state.json").read_bytes()
    await second.read(status=ON_BATTERY)
    second.close()
    (tmp_path / "state.json").write_bytes(before)
    third = Desk(tmp_path)
    owned_still(third.device)
    await third.read(status=ON_BATTERY)
    assert kinds(third.device) == [EventKind.ON_BATTERY]
    third.close()


async def test_a_state_of_an_older_agent_is_taken_as_it_is(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    owned(desk.device)
    await desk.read(status=ON_BATTERY)
    desk.device.state.update(active=(), last_event=None)
    desk.close()
    again = Desk(tmp_path)
    owned_still(again.device)
    await again.read(2)
    assert kinds(again.device) == [EventKind.ON_BATTERY]
    again.close()


async def test_a_stale_reading_is_not_shown(desk: Desk) -> None:
    assert desk.device.now_payload() is None
    await desk.read()
    assert desk.device.now_payload() is not None
    now_ms = desk.clock.mono_ms()
    for late_ms in (0, 3_000, 6_000):
        await desk.device.on_missed(now_ms + late_ms, "silence")
    assert desk.device.now_payload() is None
    assert desk.device.link_state == "silence"


# --- a disk that fails -------------------------------------------------------------------------------------


async def test_a_broken_disk_loses_no_event_and_no_sample(tmp_path: Path) -> None:
    """Every single write fails in turn; afterwards everything is in the spool once and in order."""
    for failing in range(1, 40):
        clock, disk = FakeClock(), FakeDisk(random.Random(failing))
        desk = Desk(tmp_path, clock=clock, disk=disk)
        owned(desk.device)
        before = disk.steps
        disk.errors_at = {before + failing}
        for number in range(5):
            clock.advance(1000)
            await desk.read(status=ON_BATTERY if number in {1, 2} else STATUS)
        disk.errors_at = set()
        clock.advance(1000)
        await desk.read()
        await desk.device.report()
        spool = desk.device.spool
        assert spool.events == 2, failing
        outgoing = spool.next_samples(100)
        assert outgoing is not None
        assert len(outgoing.samples) == 6, failing
        assert desk.device.state.value.active == (), failing
        desk.close()


async def test_what_a_full_disk_does_not_take_is_kept_in_memory_up_to_a_bound(tmp_path: Path) -> None:
    clock, disk = FakeClock(), FakeDisk(random.Random(0))
    desk = Desk(tmp_path, clock=clock, disk=disk)
    owned(desk.device)
    disk.errors_at = set(range(disk.steps, disk.steps + 100_000))
    for _ in range(MAX_BUFFERED + 50):
        clock.advance(1000)
        await desk.read()
    disk.errors_at = set()
    clock.advance(1000)
    await desk.read()
    assert desk.device.spool.depth() == MAX_BUFFERED + 1
    desk.close()


@pytest.mark.parametrize("reports_first", [False, True])
async def test_what_was_collected_before_a_transfer_never_reaches_the_next_owner(
    tmp_path: Path, *, reports_first: bool
) -> None:
    """A report is on its way to the disk while a hello changes the ownership."""
    desk = Desk(tmp_path, clock=FakeClock(), report_interval_s=60.0)
    device = desk.device
    owned(device)
    await desk.read(5)
    device.enrollment = replace(device.enrollment, phase=Phase.GREETING)
    kid, now_ms = device.identity.kid, desk.clock.wall_ms()
    hello = Hello(
        kid=kid, login_ms=0, n=1, server_time_ms=now_ms, nonce=bytes(32), owned=True, epoch=EPOCH + 1
    )
    transfer = device.step(Greeted(hello, desk.clock.mono_ms()))
    await asyncio.gather(*((device.report(), transfer) if reports_first else (transfer, device.report())))
    assert device.spool.epoch == EPOCH + 1
    await device.report()
    assert device.spool.is_empty()
    await desk.read()
    assert device.spool.depth() == 1
    desk.close()
