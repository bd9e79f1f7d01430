"""The spool against a cloud that counts, with the power cut at every single write."""

from __future__ import annotations

import random

import pytest

from agent.core.spool import Position
from agent.spool_file import LEDGER_NAME, SpoolFile
from protocol.messages import EventKind
from tests.agent.spool_rig import EPOCH, Rig, resume, script
from tests.fakes.disk import FakeDisk, PowerCut


@pytest.mark.parametrize("seed", range(6))
def test_power_cut_at_every_single_write(seed: int) -> None:
    for step in range(1, 200):
        rig = Rig(FakeDisk(random.Random(seed * 1000 + step)))
        rig.disk.cut_at = step
        try:
            script(rig)
        except PowerCut:
            resume(rig, seed)
        else:
            assert step > 25, "the script has fewer writes than expected"
            return
    pytest.fail("the script never came to its end")


@pytest.mark.parametrize("seed", range(6))
def test_two_power_cuts_in_a_row(seed: int) -> None:
    for step in range(1, 40):
        rig = Rig(FakeDisk(random.Random(seed * 77 + step)))
        rig.disk.cut_at = step
        try:
            script(rig)
        except PowerCut:
            rig.disk = rig.disk.after_power_cut()
            rig.disk.cut_at = 1 + seed
            try:
                rig.open()
                rig.hello()
                rig.append(2)
                rig.drain()
            except PowerCut:
                resume(rig, seed)


@pytest.mark.parametrize("seed", range(40))
def test_numbers_of_removed_segments_are_used_again_and_a_power_cut_follows(seed: int) -> None:
    """Deleted segments of an older stream must not come back behind the new stream's first one."""
    rig = Rig(FakeDisk(random.Random(seed)))
    rig.open()
    rig.hello()
    for count in (1, 5, 1):
        rig.append(count)
    rig.publish(1)
    rig.publish(6)
    rig.clock.reboot("boot-2", 1_600_000_000_000)
    rig.open()
    rig.hello()
    rig.open()
    assert [name for name in rig.disk.names() if name.startswith("telemetry")] == []
    rig.append(1)  # into a segment that is called as the first one was
    rig.disk.cut_at = rig.disk.steps + 1
    with pytest.raises(PowerCut):
        rig.append(1)
    rig.disk = rig.disk.after_power_cut()
    rig.open()
    rig.hello()
    rig.drain()
    rig.check()
    assert 8 in rig.cloud.stored


def test_a_full_disk_at_every_single_write_loses_no_promise() -> None:
    for step in range(1, 60):
        rig = Rig(FakeDisk(random.Random(step)))
        rig.open()
        rig.hello()
        rig.append(3)
        rig.disk.errors_at = {rig.disk.steps + step}
        for turn in range(16):
            try:
                if turn % 4 == 1:
                    rig.publish(2)
                elif turn % 4 == 3:
                    rig.hello()
                else:
                    rig.append(2)
            except OSError:
                rig.hello()  # what the agent does after a failure: try again later
        rig.disk.errors_at = set()
        rig.drain()
        rig.check()


def test_a_stream_that_was_never_published_is_lifted_above_the_position() -> None:
    rig = Rig(FakeDisk(random.Random(1)))
    rig.open()
    rig.hello()
    rig.append(5)
    lines: list[str] = []
    rig.cloud.position = Position(1_900_000_000_000, 40)  # a spool was lost while the clock was ahead
    rig.spool = SpoolFile(rig.disk, rig.clock, max_bytes=1 << 20, trace=lines.append)
    rig.hello()
    rig.append(2)
    assert lines[0] == "renumbered 1700000001000 1900000000001"
    rig.drain()
    rig.check()


def test_a_published_stream_below_the_position_is_trimmed_and_a_new_one_opened() -> None:
    rig = Rig(FakeDisk(random.Random(1)))
    rig.open()
    rig.hello()
    rig.append(5)
    rig.publish(5, lose_ack=True)
    rig.cloud.position = Position(1_900_000_000_000, 1)
    rig.hello()
    assert rig.spool is not None
    assert rig.spool.depth() == 0
    rig.append(2)
    rig.drain()
    assert rig.cloud.position.stream == 1_900_000_000_001


def test_oldest_telemetry_goes_first_and_is_counted_and_events_stay() -> None:
    rig = Rig(FakeDisk(random.Random(3)))
    spool = rig.open(max_bytes=5_000)
    rig.hello()
    event = spool.append_event(rig.clock.mono_ms(), EventKind.ON_BATTERY, {"state_of_charge": 99.5})
    for _ in range(60):
        rig.append(2)
    depth = spool.depth()
    dropped = spool.ledger.dropped_samples
    assert dropped > 0
    assert depth + dropped == 120
    assert spool.next_event() == event
    rig.drain()
    assert rig.cloud.stored == list(range(dropped + 1, 121))


def test_dropping_what_is_in_flight_is_harmless() -> None:
    rig = Rig(FakeDisk(random.Random(3)))
    spool = rig.open(max_bytes=2_000)
    rig.hello()
    rig.append(2)
    outgoing = spool.next_samples(10)
    assert outgoing is not None
    for _ in range(30):
        rig.append(2)
    spool.delivered(outgoing.last)
    depth = spool.depth()
    rig.drain()
    assert len(rig.cloud.stored) == depth
    assert spool.depth() == 0


def test_events_survive_a_restart_until_acknowledged() -> None:
    rig = Rig(FakeDisk(random.Random(3)))
    spool = rig.open()
    rig.hello()
    first = spool.append_event(2_000, EventKind.ON_BATTERY, {})
    second = spool.append_event(3_000, EventKind.MAINS_BACK, {"on_battery_s": 12})
    assert (first.stream, first.seq, second.seq) == (second.stream, 1, 2)
    spool.event_done(first.number)
    again = rig.open()
    rig.hello()
    assert again.next_event() == second
    assert again.event_ts(second) == (1_700_000_002_000, False)
    third = again.append_event(4_000, EventKind.OVERLOAD, {})
    assert third.stream > second.stream
    assert third.number > second.number


def test_many_events_go_and_their_segments_with_them() -> None:
    rig = Rig(FakeDisk(random.Random(3)))
    spool = rig.open()
    rig.hello()
    for _ in range(1500):
        event = spool.append_event(2_000, EventKind.ON_BATTERY, {})
        spool.event_done(event.number)
    assert spool.events == 0
    assert sum(name.startswith("event") for name in rig.disk.names()) == 1


def test_wipe_leaves_nothing_and_numbers_grow() -> None:
    rig = Rig(FakeDisk(random.Random(3)))
    spool = rig.open()
    rig.hello()
    rig.append(5)
    spool.append_event(2_000, EventKind.ON_BATTERY, {})
    before = spool.ledger.last_stream
    spool.wipe(EPOCH + 1)
    assert (spool.depth(), spool.events, spool.epoch) == (0, 0, EPOCH + 1)
    rig.promised.clear()
    rig.append(1)
    assert spool.ledger.last_stream > before
    assert rig.open().epoch == EPOCH + 1
    assert rig.spool is not None
    assert rig.spool.depth() == 1


def test_a_damaged_ledger_is_a_lost_spool_not_a_crash() -> None:
    rig = Rig(FakeDisk(random.Random(3)))
    rig.open()
    rig.hello()
    rig.append(5)
    rig.disk.write(LEDGER_NAME, b"XX", 6)
    spool = rig.open()
    assert (spool.depth(), spool.epoch) == (0, 0)
    assert spool.ledger.damaged_records == 1
    rig.promised.clear()
    rig.hello()
    rig.append(2)
    rig.drain()
    rig.check()


def test_damage_inside_a_segment_costs_the_rest_of_that_segment_only() -> None:
    rig = Rig(FakeDisk(random.Random(3)))
    rig.open()
    rig.hello()
    for _ in range(20):
        rig.append(2)
    second = [name for name in rig.disk.names() if name.startswith("telemetry")][1]
    rig.disk.write(second, b"\xff\xff\xff", 100)
    rig.open()
    rig.hello()
    rig.drain()
    assert rig.spool is not None
    assert rig.spool.ledger.damaged_records == 1
    assert 20 < len(rig.cloud.stored) < 40
    assert rig.cloud.stored == sorted(set(rig.cloud.stored))


def test_a_resend_has_the_same_time() -> None:
    rig = Rig(FakeDisk(random.Random(3)))
    spool = rig.open()
    rig.hello()
    rig.append(1)
    first = spool.next_samples(1)
    assert not spool.settle_time(5)
    rig.clock.set_wall(5)
    assert rig.open().next_samples(1) == first
