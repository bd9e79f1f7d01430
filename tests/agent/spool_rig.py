"""A spool on a disk that may fail, and a cloud that counts what it gets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agent.core.spool import Position
from agent.spool_file import SpoolFile
from protocol.codec import pack_sample
from tests.fakes.clock import FakeClock
from tests.support.samples import unpack_sample

if TYPE_CHECKING:
    from tests.fakes.disk import FakeDisk

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
