"""Events over restarts, clocks that were wrong, and a spool that had to give events up."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from agent.core.enrollment import Greeted, Phase
from agent.core.sampling import LOST_AFTER_MS
from agent.reporter import OVERFLOW_EVENT_EVERY_MS
from protocol.messages import EventKind, Hello, Scalar
from tests.agent.desk import ON_BATTERY, Desk
from tests.fakes.clock import FakeClock

if TYPE_CHECKING:
    from pathlib import Path

    from agent.device import Device

EPOCH = 1_700_000_000_000


def owned(device: Device, *, anew: bool = True) -> None:
    """As after a hello that says so."""
    device.enrollment = replace(device.enrollment, owned=True, smartconnect=True, epoch=EPOCH)
    if anew:
        device.spool.wipe(EPOCH)


def told(device: Device) -> list[tuple[EventKind, dict[str, Scalar]]]:
    """All events on disk."""
    return [(event.kind, event.values) for event in device.spool.event_file.since(0)]


def kinds(device: Device) -> list[EventKind]:
    return [kind for kind, _ in told(device)]


async def fall_silent(desk: Desk, clock: FakeClock) -> None:
    for _ in range(4):
        await desk.device.on_missed(clock.mono_ms(), "no answer")
        clock.advance(LOST_AFTER_MS // 2)


async def test_contact_lost_before_a_restart_is_told_once_and_its_end_too(tmp_path: Path) -> None:
    clock = FakeClock()
    desk = Desk(tmp_path, clock=clock)
    owned(desk.device)
    await desk.read()
    await fall_silent(desk, clock)
    assert kinds(desk.device) == [EventKind.COMMUNICATION_LOST]
    desk.close()
    again = Desk(tmp_path, clock=clock)
    owned(again.device, anew=False)
    await fall_silent(again, clock)
    assert kinds(again.device) == [EventKind.COMMUNICATION_LOST]
    await again.read()
    await again.device.report()
    assert kinds(again.device) == [EventKind.COMMUNICATION_LOST, EventKind.COMMUNICATION_RESTORED]
    again.close()
    third = Desk(tmp_path, clock=clock)
    owned(third.device, anew=False)
    await third.read(2)
    await third.device.report()
    assert len(kinds(third.device)) == 2
    third.close()


async def test_a_ups_that_went_silent_on_battery_was_in_one_outage(tmp_path: Path) -> None:
    """Silence neither ends an outage nor begins one."""
    clock = FakeClock()
    desk = Desk(tmp_path, clock=clock)
    owned(desk.device)
    await desk.read()
    await desk.read(status=ON_BATTERY)
    await fall_silent(desk, clock)
    desk.close()
    again = Desk(tmp_path, clock=clock)
    owned(again.device, anew=False)
    await again.read(2, status=ON_BATTERY)
    await again.read()
    await again.device.report()
    assert kinds(again.device) == [
        EventKind.ON_BATTERY,
        EventKind.COMMUNICATION_LOST,
        EventKind.COMMUNICATION_RESTORED,
        EventKind.MAINS_BACK,
    ]
    again.close()


@pytest.mark.parametrize(("off_ms", "is_told"), [(-90_000, True), (1_000, False), (3_600_000, True)])
async def test_a_machine_whose_clock_was_wrong_says_so_once(
    tmp_path: Path, off_ms: int, *, is_told: bool
) -> None:
    clock = FakeClock()
    desk = Desk(tmp_path, clock=clock)
    owned(desk.device)
    await desk.read()
    for n in (1, 2):
        desk.device.enrollment = replace(desk.device.enrollment, phase=Phase.GREETING, last_n=n - 1)
        hello = Hello(
            kid=desk.device.identity.kid,
            login_ms=0,
            n=n,
            server_time_ms=clock.wall_ms() - off_ms,
            nonce=bytes(32),
            owned=True,
            epoch=EPOCH,
        )
        await desk.device.step(Greeted(hello, clock.mono_ms()))
    await desk.read()
    await desk.device.report()
    wanted = [(EventKind.CLOCK_CORRECTED, {"off_s": off_ms / 1000})] if is_told else []
    assert told(desk.device) == wanted
    desk.close()


async def test_events_that_had_to_be_given_up_are_counted_in_an_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.event_file.EVENT_MAX_BYTES", 8_192)
    monkeypatch.setattr("agent.event_file.EVENT_SEGMENT_BYTES", 1_024)
    clock = FakeClock()
    desk = Desk(tmp_path, clock=clock)
    owned(desk.device)
    for _ in range(60):
        for status in (ON_BATTERY, None):
            clock.advance(1_000)
            await (desk.read() if status is None else desk.read(status=status))
    lost = desk.device.spool.ledger.dropped_events
    assert lost > 0
    clock.advance(OVERFLOW_EVENT_EVERY_MS)
    await desk.read()
    await desk.device.report()
    overflows = [values for kind, values in told(desk.device) if kind is EventKind.SPOOL_OVERFLOW]
    assert overflows
    assert sum(int(str(values["dropped_events"])) for values in overflows) <= lost
    assert overflows[-1]["dropped"] == 0
    desk.close()
