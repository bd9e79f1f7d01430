"""A device that changed hands while it could not hear of it: what of its spool goes on, what is nobody's."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from agent.core.spool import Position
from protocol.messages import EventKind
from tests.agent.spool_rig import EPOCH, Rig
from tests.fakes.clock import FakeClock
from tests.fakes.disk import FakeDisk, PowerCut
from tests.faults.trace import read_lines
from tests.support.samples import unpack_sample

if TYPE_CHECKING:
    from agent.spool_file import SpoolFile

NEXT = EPOCH + 1


class Life:
    """A spool that was filled in two tenures under one epoch; names of samples by tenure."""

    def __init__(self, seed: int = 1) -> None:
        self.rig = Rig(FakeDisk(random.Random(seed)))
        self.spool = self.rig.open()
        self.rig.hello()

    def fill(self) -> int:
        """Samples and events before and after a cut, across restarts; unix ms of the cut."""
        rig, spool = self.rig, self.spool
        rig.append(4)
        rig.publish(2)
        spool.append_event(rig.clock.mono_ms(), EventKind.ON_BATTERY, {"whose": "old"})
        self.spool = spool = rig.open()
        rig.append(3)
        rig.append(2)
        rig.clock.advance(10)
        since_ms = rig.clock.mono_ms() + spool.offset_ms()
        self.old = rig.next_name - 1
        spool.append_event(rig.clock.mono_ms(), EventKind.MAINS_BACK, {"whose": "new"})
        rig.append(3)
        self.spool = rig.open()
        rig.append(4)
        return since_ms


def drain(spool: SpoolFile, epoch: int = NEXT) -> list[int]:
    """Names of all samples, as the cloud gets them."""
    names: list[int] = []
    places: list[tuple[int, int]] = []
    while (outgoing := spool.next_samples(3)) is not None:
        assert outgoing.epoch == epoch
        for sample in outgoing.samples:
            values = unpack_sample(sample)
            names.append(int(values["output_energy"]))
            places.append((outgoing.stream, int(values["seq"])))
        spool.acknowledged(outgoing)
    assert places == sorted(set(places))
    return names


def events(spool: SpoolFile) -> list[str]:
    """Whose events wait; all are of the present epoch."""
    found = []
    while (event := spool.next_event()) is not None:
        assert event.epoch == spool.epoch
        found.append(str(event.values["whose"]))
        spool.event_done(event.number)
    return found


def test_what_was_taken_since_goes_on_and_nothing_else() -> None:
    life = Life()
    since_ms = life.fill()
    before = life.spool.ledger.last_stream
    life.spool.begin(NEXT, since_ms)
    life.spool.settle(life.rig.cloud.position)
    assert life.spool.epoch == NEXT
    assert all(stream.number > before for stream in life.spool.ledger.streams)
    life.rig.append(2)
    assert drain(life.spool) == list(range(life.old + 1, life.rig.next_name))
    assert events(life.spool) == ["new"]


def test_the_cut_outlives_a_restart_and_a_second_cut() -> None:
    life = Life()
    since_ms = life.fill()
    life.spool.begin(NEXT, since_ms)
    again = life.rig.open()
    assert drain(again) == list(range(life.old + 1, life.rig.next_name))
    assert events(again) == ["new"]
    life = Life()
    since_ms = life.fill()
    life.spool.begin(NEXT, since_ms)
    life.rig.append(2)
    later_ms = life.rig.clock.mono_ms() + life.spool.offset_ms() + 1
    life.rig.append(3)
    life.spool.begin(NEXT + 1, later_ms)
    assert drain(life.rig.open(), NEXT + 1) == list(range(life.rig.next_name - 3, life.rig.next_name))
    assert events(life.rig.open()) == []


def test_a_hand_over_that_is_asked_for_again_changes_nothing() -> None:
    """The connection may break after it became durable: the next hello asks once more."""
    life = Life()
    since_ms = life.fill()
    life.spool.begin(NEXT, since_ms)
    life.rig.append(2)
    life.spool.begin(NEXT, since_ms)
    assert drain(life.spool) == list(range(life.old + 1, life.rig.next_name))
    assert events(life.spool) == ["new"]


@pytest.mark.parametrize(("epoch", "since"), [(NEXT, 0), (EPOCH - 1, 1), (NEXT, 2**62)])
def test_nothing_goes_on_to_a_lower_epoch_or_an_unknown_or_later_beginning(epoch: int, since: int) -> None:
    life = Life()
    life.fill()
    life.spool.begin(epoch, since)
    assert (life.spool.depth(), life.spool.events, life.spool.epoch) == (0, 0, epoch)
    life.spool.append_event(life.rig.clock.mono_ms(), EventKind.OVERLOAD, {"whose": "next"})
    assert events(life.rig.open()) == ["next"]


def test_an_uncertain_time_is_nobodys() -> None:
    life = Life()
    since_ms = life.fill()
    life.rig.clock.reboot("boot-2", 1_000)  # a machine that thinks it is 1970, and meets no cloud
    spool = life.rig.open()
    life.rig.append(3)
    spool.append_event(life.rig.clock.mono_ms(), EventKind.OVERLOAD, {"whose": "unknown"})
    life.rig.clock.reboot("boot-3", 1_700_000_900_000)
    spool = life.rig.open()
    life.rig.append(2)
    spool.settle_time(1_700_000_900_000 - life.rig.clock.mono_ms())
    spool.begin(NEXT, since_ms)
    assert drain(spool) == [life.rig.next_name - 2, life.rig.next_name - 1]
    assert events(spool) == []


def test_an_answer_to_what_was_published_before_the_cut_deletes_nothing() -> None:
    life = Life()
    since_ms = life.fill()
    while (outgoing := life.spool.next_samples(50)) is not None:
        last = outgoing
        if life.old in [int(unpack_sample(one)["output_energy"]) for one in outgoing.samples]:
            break
        life.spool.acknowledged(outgoing)
    life.spool.begin(NEXT, since_ms)
    life.spool.acknowledged(last)
    assert drain(life.spool) == list(range(life.old + 1, life.rig.next_name))


def test_the_cloud_may_be_ahead_of_every_number() -> None:
    life = Life()
    since_ms = life.fill()
    position = Position(life.spool.ledger.last_stream + 1000, 5)
    life.spool.begin(NEXT, since_ms)
    life.spool.settle(position)
    assert all(stream.number > position.stream for stream in life.spool.ledger.streams)
    assert drain(life.spool) == list(range(life.old + 1, life.rig.next_name))


@pytest.mark.parametrize("seed", range(4))
def test_power_cut_at_every_write_of_it(seed: int) -> None:
    """Whatever the power takes: afterwards the same hello leads to the same, and never to anything old."""
    for step in range(1, 40):
        life = Life(seed * 1000 + step)
        since_ms = life.fill()
        life.rig.disk.cut_at = life.rig.disk.steps + step
        try:
            life.spool.begin(NEXT, since_ms)
            life.spool.settle(Position())
            names = drain(life.spool)
            whose = events(life.spool)
        except PowerCut:
            life.rig.disk = life.rig.disk.after_power_cut()
            spool = life.rig.open()
            if spool.epoch != NEXT:
                spool.begin(NEXT, since_ms)
            names, whose = drain(spool), events(spool)
            assert set(names) <= set(range(life.old + 1, life.rig.next_name))
            assert set(whose) <= {"new"}
        else:
            assert names == list(range(life.old + 1, life.rig.next_name))
            assert whose == ["new"]
            assert step > 3
            return
    pytest.fail("it never came to its end")


def test_the_trace_tells_of_it() -> None:
    rig = Rig(FakeDisk(random.Random(1)), FakeClock())
    lines: list[str] = []
    spool = rig.open()
    spool._trace = lines.append
    rig.hello()
    rig.append(4)
    rig.publish(2)
    since_ms = rig.clock.mono_ms() + spool.offset_ms() + 1
    rig.append(3)
    spool.begin(NEXT, since_ms)
    trace = read_lines(f"{line}\n" for line in lines)
    assert sorted(trace.spooled) == [(spool.ledger.streams[0].number, seq) for seq in (5, 6, 7)]
    drain(spool)
    trace = read_lines(f"{line}\n" for line in lines)
    assert not trace.open()
