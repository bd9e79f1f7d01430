"""What is asked of the generator, what it answers, and how it books what came back."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bench.wire import Shape, packet_ids


class LoadError(Exception):
    """The server refused, closed, or acknowledged what or when it must not."""


@dataclass(frozen=True, slots=True)
class Sender:
    """One device that publishes."""

    device_id: int
    kid: str
    epoch: int
    stream: int
    private_hex: str


@dataclass(frozen=True, slots=True)
class Load:
    """One run."""

    host: str
    port: int
    ca_file: str
    audience: str
    senders: tuple[Sender, ...]
    shape: Shape
    window: int
    seconds: float
    rate: float = 0.0
    messages: int = 0
    """Stop after so many messages instead of ``seconds``, all connections together."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened. ``begin_ns`` and ``end_ns`` are CLOCK_MONOTONIC, the same in every process here."""

    acknowledged: int
    rejected: int
    begin_ns: int
    end_ns: int
    payload_bytes: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    late_ms: float
    """How late the generator itself was at worst, fixed rate only."""
    cpu_s: float
    connections: tuple[int, ...] = ()
    """Accepted messages of each connection, in the order of the senders."""

    @property
    def seconds(self) -> float:
        """From the first PUBLISH to the last PUBACK."""
        return (self.end_ns - self.begin_ns) / 1e9


@dataclass(slots=True)
class Book:
    """Of one connection: what was sent when, and what came back. Message numbers count from 0."""

    window: int
    sent: int = 0
    acknowledged: int = 0
    rejected: int = 0
    due_ns: list[tuple[int, NDArray[np.int64]]] = field(default_factory=list)
    waits_ns: list[NDArray[np.int64]] = field(default_factory=list)

    @property
    def room(self) -> int:
        """How many more may be sent now."""
        return self.window - (self.sent - self.acknowledged)

    def add(self, due_ns: NDArray[np.int64]) -> None:
        """Messages were sent that were due at these times."""
        self.due_ns.append((self.sent, due_ns))
        self.sent += len(due_ns)

    def confirm(self, ids: NDArray[np.int64], now_ns: int) -> None:
        """PUBACKs with these packet ids came; LoadError unless they are the next in order."""
        first, last = self.acknowledged, self.acknowledged + len(ids)
        if last > self.sent or not np.array_equal(ids, packet_ids(np.arange(first, last))):
            raise LoadError("a PUBACK out of order, or of a message that was not sent")
        self.acknowledged = last
        while first < last:
            start, due_ns = self.due_ns[0]
            part = due_ns[first - start : last - start]
            self.waits_ns.append(now_ns - part)
            first += len(part)
            if first == start + len(due_ns):
                self.due_ns.pop(0)
