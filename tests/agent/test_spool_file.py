"""The spool against a cloud that counts, with the power cut at every single write."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from agent.core.spool import Position
from agent.spool_file import LEDGER_NAME, SpoolFile
from protocol.codec import pack_sample, unpack_sample
from protocol.messages import EventKind
from tests.fakes.clock import FakeClock
from tests.fakes.disk import FakeDisk, PowerCut

EPOCH = 77


@dataclass
class FakeCloud:
    """Stores samples by the rules of the fence: one position, only upwards, filtered by sample."""

    position: Position = field(default_factory=Position)
    stored: list[int] = field(default_factory=list)
    times: dict[int, int] = field(default_factory=dict)
    duplicates: int = 0

    def take(self, stream: int, first_seq: int, samples: tuple[bytes, ...]) -> None:
        for index, sample in enumerate(samples):
            values = unpack_sample(sample)
            assert values["seq"] == first_seq + index
            if (stream, first_seq + index) <= (self.position.stream, self.position.seq):
                self.duplicates += 1
                continue
            self.position = Position(stream, first_seq + index)
            name = int(values["output_energy"])
            self.stored.append(name)
            self.times[name] = int(values["ts"])


@dataclass
class Rig:
    """An agent's use of its spool, and what must come of it."""

    disk: FakeDisk
    clock: FakeClock = field(default_factory=FakeClock)
    cloud: FakeCloud = field(default_factory=FakeCloud)
    promised: list[int] = field(default_factory=list)  # the append returned
    doubtful: set[int] = field(default_factory=set)  # the append was cut or failed
    next_name: int = 1
    dropped: int = 0
    spool: SpoolFile | None = None

    def open(self, max_bytes: int = 1 << 20) -> SpoolFile:
        self.spool = SpoolFile(self.disk, self.clock, max_bytes=max_bytes, segment_bytes=900)
        return self.spool

    def hello(self) -> None:
        spool = self.spool or self.open()
        spool.settle_time(1_700_000_000_000 - 1_000)
        if spool.epoch != EPOCH:
            spool.wipe(EPOCH)
        spool.settle(self.cloud.position)

    def append(self, count: int) -> None:
        spool = self.spool or self.open()
        names = list(range(self.next_name, self.next_name + count))
        self.next_name += count
        self.doubtful.update(names)
        before = spool.ledger.dropped_samples
        self.clock.advance(1000)
        samples = [pack_sample({"ts": self.clock.mono_ms(), "output_energy": name}) for name in names]
        try:
            spool.append(samples)
        finally:
            self.dropped += spool.ledger.dropped_samples - before
        self.doubtful.difference_update(names)
        self.promised += names

    def publish(self, limit: int, *, lose_ack: bool = False) -> bool:
        spool = self.spool or self.open()
        outgoing = spool.next_samples(limit)
        if outgoing is None:
            return False
        assert outgoing.epoch == EPOCH
        self.cloud.take(outgoing.stream, outgoing.first_seq, outgoing.samples)
        if not lose_ack:
            spool.delivered(outgoing.last)
        return True

    def drain(self) -> None:
        while self.publish(7):
            pass

    def check(self) -> None:
        stored = self.cloud.stored
        assert len(set(stored)) == len(stored), "a sample was stored twice"
        assert stored == sorted(stored), "samples were stored out of order"
        missing = set(self.promised) - set(stored)
        assert len(missing) <= self.dropped, f"promised samples are missing: {sorted(missing)}"
        assert set(stored) <= set(self.promised) | self.doubtful


def script(rig: Rig) -> None:
    """A life: connect, buffer in an outage, restart, lose an acknowledgement, drain."""
    rig.open()
    rig.hello()
    rig.append(3)
    rig.publish(10)
    for _ in range(4):
        rig.append(2)
    rig.publish(3)
    rig.publish(3, lose_ack=True)
    rig.open()
    rig.append(4)
    rig.hello()
    rig.publish(5)
    rig.append(5)
    rig.drain()


def resume(rig: Rig, seed: int) -> None:
    """After the power is back: a new boot or the same, more samples, and everything goes out."""
    rig.disk = rig.disk.after_power_cut()
    if seed % 2:
        rig.clock.reboot(f"boot-{seed}", 1_700_000_500_000)
    rig.open()
    rig.hello()
    rig.append(2)
    rig.drain()
    assert rig.spool is not None
    assert rig.spool.depth() == 0
    rig.check()


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


class Life(RuleBasedStateMachine):
    """Any order of appends, publishes, lost acknowledgements, crashes, power cuts and full disks."""

    rig: Rig

    @initialize(seed=st.integers(0, 2**16))
    def begin(self, seed: int) -> None:
        self.rig = Rig(FakeDisk(random.Random(seed)))
        self.rig.open()
        self.rig.hello()
        self.connected = True

    def attempt(self, act: object) -> None:
        try:
            act()  # type: ignore[operator]
        except OSError:
            pass
        except PowerCut:
            self.rig.disk = self.rig.disk.after_power_cut()
            self.rig.open()
            self.connected = False

    @rule(count=st.integers(1, 6))
    def append(self, count: int) -> None:
        self.attempt(lambda: self.rig.append(count))

    @rule(limit=st.integers(1, 9), lose_ack=st.booleans())
    def publish(self, limit: int, lose_ack: bool) -> None:
        if self.connected:
            self.attempt(lambda: self.rig.publish(limit, lose_ack=lose_ack))
            self.connected = self.connected and not lose_ack

    @rule()
    def hello(self) -> None:
        def act() -> None:
            self.connected = False
            self.rig.hello()
            self.connected = True

        self.attempt(act)

    @rule(reboot=st.booleans())
    def restart(self, reboot: bool) -> None:
        self.connected = False
        if reboot:
            self.rig.clock.reboot(f"boot-{self.rig.next_name}", 1_600_000_000_000)
        self.attempt(self.rig.open)

    @rule(ahead=st.integers(1, 30))
    def cut_power_soon(self, ahead: int) -> None:
        self.rig.disk.cut_at = self.rig.disk.steps + ahead

    @rule(ahead=st.integers(1, 12))
    def fail_soon(self, ahead: int) -> None:
        self.rig.disk.errors_at.add(self.rig.disk.steps + ahead)

    @invariant()
    def nothing_stored_twice(self) -> None:
        if hasattr(self, "rig"):
            assert len(set(self.rig.cloud.stored)) == len(self.rig.cloud.stored)

    def teardown(self) -> None:
        if not hasattr(self, "rig"):
            return
        rig = self.rig
        rig.disk.cut_at, rig.disk.errors_at = None, set()
        rig.open()
        rig.hello()
        rig.drain()
        rig.check()


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
