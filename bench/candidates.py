"""One run of one candidate: publish, wait, count.

A run ends with each acknowledged sample once in the table, or with an error.
"""

import contextlib
import dataclasses
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

import msgspec

from bench.broker import broker
from bench.consumer import Order, Report
from bench.enrollment import Owned
from bench.load import Load, Outcome, Sender
from bench.processes import BenchError, Worker, busy_s, cpu_s, listens, python, running, wait_for
from bench.setting import Place, Sent
from bench.wire import Shape

CONNECTIONS: Final = 4
WINDOW: Final = 1000
OVERLOAD: Final = 1.6
"""A baseline is offered so many times the most that it has stored: saturated, its broker not drowned."""
SATURATED: Final = 0.1
"""A baseline that at the end has less than this share of its time left to catch up could have done more."""


@dataclass(frozen=True, slots=True)
class Run:
    """Figures of one run. ``cores`` is processor time a second, by process; ``others`` had no part in it.

    ``p50_ms`` and ``p99_ms``: for the product from the moment a message was due to its PUBACK, which is after
    the commit; for a baseline from its time stamp to the commit of its batch.
    """

    name: str
    rows: int
    rows_per_s: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    seconds: float
    cores: dict[str, float]
    payload_bytes: int
    generator_late_ms: float = 0.0
    backlog_s: float = 0.0
    """How long a baseline was still busy with what it had been sent when all had been sent."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway of the product."""

    pid: int
    port: int


@contextlib.contextmanager
def gateway(place: Place, launcher: Sequence[str] = ()) -> Iterator[Gateway]:
    """The product's gateway: TLS, window of 1000; everything else as it is by default.

    ``launcher`` are words of a module of ours that runs it in its own process (the profiler does).
    """
    port = place.settings.gateway_port
    module, *words = *launcher, "cloud"
    words += ["gateway", "--state-dir", str(place.settings.state_dir), "--gateway-port", str(port)]
    environment = {**os.environ, "SMARTCONNECT_RECEIVE_MAXIMUM": str(WINDOW)}
    environment.pop("DATABASE_URL", None)
    log = place.folder / "gateway.log"
    with running(python(module, *words), log, environment) as process:
        wait_for("the gateway listens", lambda: process.poll() is not None or listens(port))
        if process.poll() is not None:
            raise BenchError(f"the gateway ended: {log.read_text()[-2000:]}")
        yield Gateway(process.pid, port)


def load_of(
    place: Place,
    devices: Sequence[Owned],
    port: int,
    shape: Shape,
    *,
    seconds: float = 0.0,
    rate: float = 0.0,
    messages: int = 0,
) -> Load:
    """A load for this port from all devices, in a new stream."""
    stream = time.time_ns() // 1_000_000
    senders = tuple(Sender(d.device_id, d.kid, d.epoch, stream, d.private_hex) for d in devices)
    authority = str(place.settings.state_dir / "tls" / "ca.pem")
    audience = place.settings.audience
    return Load("localhost", port, authority, audience, senders, shape, WINDOW, seconds, rate, messages)


def publish(load: Load) -> Outcome:
    """Run the generator to its end; BenchError where a message was not accepted."""
    worker = Worker("bench.generator", msgspec.json.encode(load))
    try:
        outcome = msgspec.convert(worker.line(), Outcome)
    finally:
        worker.end()
    if outcome.rejected:
        raise BenchError(f"{outcome.rejected} messages were rejected")
    return outcome


class Clock:
    """Processor time of some processes, and of all others of this machine, while a run goes on."""

    def __init__(self, **pids: int) -> None:
        self._pids = pids
        self._before = {name: cpu_s(pid) for name, pid in pids.items()}
        self._busy_s, self._own_s = busy_s(), _own_s()
        self._began_s = time.monotonic()

    def cores(self, seconds: float, known: dict[str, float]) -> dict[str, float]:
        """Cores by process, of a run that took so long. ``known`` are workers of ours, which have ended."""
        spent = {name: cpu_s(pid) - self._before[name] for name, pid in self._pids.items()}
        others_s = busy_s() - self._busy_s - sum(spent.values()) - (_own_s() - self._own_s)
        others = max(0.0, others_s) / (time.monotonic() - self._began_s)
        cores = {name: cpu / seconds for name, cpu in (spent | known).items()} | {"others": others}
        return {name: round(share, 2) for name, share in cores.items()}


def _own_s() -> float:
    """Processor time of this process and of its children that have ended."""
    return sum(os.times()[:4])


def run_ours(
    place: Place,
    devices: Sequence[Owned],
    at: Gateway,
    name: str,
    shape: Shape,
    seconds: float,
    rate: float = 0.0,
    around: AbstractContextManager[object] | None = None,
) -> Run:
    """The product: closed loop, or a fixed rate. ``around`` is entered while the generator runs."""
    place.empty()
    load = load_of(place, devices, at.port, shape, seconds=seconds, rate=rate)
    clock = Clock(gateway=at.pid, postgres=place.postgres_pid)
    with around or contextlib.nullcontext():
        outcome = publish(load)
    cores = clock.cores(outcome.seconds, {"generator": outcome.cpu_s})
    rows = place.check_rows(name, _sent(load, outcome))
    return _run(name, outcome, rows, outcome.seconds, cores)


def run_baseline(
    place: Place, devices: Sequence[Owned], module: str, shape: Shape, rate: float, messages: int
) -> Run:
    """A baseline behind mosquitto: offered ``messages`` at ``rate`` until the last one is stored.

    The broker acknowledges before the commit, so rates count from the first PUBLISH to the last commit, the
    part after the load ended included, when nothing but the consumer works: in the baseline's favour.
    """
    place.empty()
    with broker(place.folder, place.settings.certificate_paths) as server:
        messages -= messages % len(devices)
        order = Order(
            place.dsn, server.plain_port, {d.kid: d.device_id for d in devices}, messages * shape.samples
        )
        worker = Worker(f"bench.{module}", msgspec.json.encode(order))
        try:
            worker.line()  # it is subscribed
            load = load_of(place, devices, server.tls_port, shape, rate=rate, messages=messages)
            clock = Clock(mosquitto=server.pid, postgres=place.postgres_pid)
            outcome = publish(load)
            report = msgspec.convert(worker.line(), Report)
        finally:
            worker.end()
        seconds = (report.end_ns - outcome.begin_ns) / 1e9
        cores = clock.cores(seconds, {"consumer": report.cpu_s, "generator": outcome.cpu_s})
    rows = place.check_rows(module, _sent(load, outcome))
    if report.stored != rows:
        raise BenchError(f"{module}: it stored {report.stored} samples, the table has {rows}")
    run = _run(module, outcome, rows, seconds, cores)
    return dataclasses.replace(
        run,
        p50_ms=report.p50_ms,
        p99_ms=report.p99_ms,
        max_ms=report.max_ms,
        backlog_s=round((report.end_ns - outcome.end_ns) / 1e9, 3),
    )


def _sent(load: Load, outcome: Outcome) -> tuple[Sent, ...]:
    return tuple(
        Sent(sender.device_id, sender.stream, sender.epoch, messages * load.shape.samples)
        for sender, messages in zip(load.senders, outcome.connections, strict=True)
    )


def _run(name: str, outcome: Outcome, rows: int, seconds: float, cores: dict[str, float]) -> Run:
    return Run(
        name=name,
        rows=rows,
        rows_per_s=round(rows / seconds),
        p50_ms=outcome.p50_ms,
        p99_ms=outcome.p99_ms,
        max_ms=outcome.max_ms,
        seconds=round(seconds, 3),
        cores=cores,
        payload_bytes=outcome.payload_bytes,
        generator_late_ms=outcome.late_ms,
    )
