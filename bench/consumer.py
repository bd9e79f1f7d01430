"""What the two baselines share: their order, their report, and when they are done."""

import sys
import threading
import time
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

QUIET_S: Final = 15.0
TOPIC: Final = "d/+/telemetry/#"


@dataclass(frozen=True, slots=True)
class Order:
    """What to consume: MQTT at ``port``, until ``rows`` samples are stored."""

    dsn: str
    port: int
    devices: dict[str, int]
    rows: int


@dataclass(frozen=True, slots=True)
class Report:
    """What was stored until when (CLOCK_MONOTONIC), and how old samples were when committed."""

    stored: int
    end_ns: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    cpu_s: float


class Progress:
    """Counts what is committed; safe to use from two threads as it is used here (one writes, one waits)."""

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self._ages_ms: list[float] = []
        self._done = threading.Event()
        self.stored = 0
        self.end_ns = time.monotonic_ns()
        self._cpu_s = time.process_time()

    def committed(self, rows: int, ts_ms: float) -> None:
        """So many more rows are in the table, the typical one taken at ``ts_ms``."""
        self._ages_ms.append(time.time() * 1000 - ts_ms)
        self.stored += rows
        self.end_ns = time.monotonic_ns()
        if self.stored >= self._wanted:
            self._done.set()

    def wait(self) -> None:
        """Until all is stored, or nothing was for a while."""
        seen = -1
        while not self._done.wait(QUIET_S) and seen != self.stored:
            seen = self.stored

    def report(self) -> Report:
        """The figures."""
        ages_ms = np.percentile(self._ages_ms, (50, 99, 100)) if self._ages_ms else np.zeros(3)
        p50, p99, worst = (round(float(age), 1) for age in ages_ms)
        return Report(self.stored, self.end_ns, p50, p99, worst, round(time.process_time() - self._cpu_s, 2))


def read_order() -> Order:
    """The order on standard input."""
    return msgspec.json.decode(sys.stdin.buffer.read(), type=Order)


def say(message: object) -> None:
    """One JSON line for whoever started us."""
    print(msgspec.json.encode(message).decode(), flush=True)


def place_of(topic: str, devices: dict[str, int]) -> tuple[int, int, int]:
    """(device_id, epoch, stream) of a telemetry topic."""
    _, kid, _, epoch, stream, *_ = topic.split("/")
    return devices[kid], int(epoch), int(stream)
