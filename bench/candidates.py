"""One run of one candidate: publish, wait, count. A run ends with ``rows == PUBACKs``, or with an error."""

import contextlib
import dataclasses
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from bench.broker import broker, free_port, listens
from bench.consumer import Order, Report
from bench.generator import Load, Outcome, Sender
from bench.processes import BenchError, Worker, cpu_s, python, running, wait_for
from bench.setting import Place
from bench.wire import Shape

WINDOW: Final = 1000
OVERLOAD: Final = 1.6
"""A baseline is offered so many times what it stored in the warm-up: saturated, its broker not drowned."""


@dataclass(frozen=True, slots=True)
class Run:
    """Figures of one run. ``cores`` is processor time a second, by process."""

    name: str
    messages: int
    rows_per_s: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    seconds: float
    cores: dict[str, float]
    payload_bytes: int
    generator_late_ms: float = 0.0


@contextlib.contextmanager
def gateway(place: Place) -> Iterator[tuple[int, int]]:
    """(pid, port) of the product's gateway: TLS, window of 1000; everything else as it is by default."""
    port = free_port()
    words = ["--state-dir", str(place.settings.state_dir), "--gateway-port", str(port)]
    environment = {**os.environ, "SMARTCONNECT_RECEIVE_MAXIMUM": str(WINDOW)}
    environment.pop("DATABASE_URL", None)
    log = place.folder / "gateway.log"
    with running(python("cloud", "gateway", *words), log, environment) as process:
        wait_for("the gateway listens", lambda: process.poll() is not None or listens(port))
        if process.poll() is not None:
            raise BenchError(f"the gateway ended: {log.read_text()[-2000:]}")
        yield process.pid, port


def load_of(place: Place, port: int, shape: Shape, seconds: float, rate: float, messages: int = 0) -> Load:
    """A load for this port from all devices, in a new stream."""
    stream = time.time_ns() // 1_000_000
    senders = tuple(Sender(d.device_id, d.kid, d.epoch, stream, d.private_hex) for d in place.devices)
    authority = str(place.settings.state_dir / "tls" / "ca.pem")
    audience = place.settings.audience
    return Load("localhost", port, authority, audience, senders, shape, WINDOW, seconds, rate, messages)


def publish(load: Load) -> Outcome:
    """Run the generator to its end."""
    worker = Worker("bench.generator", msgspec.json.encode(load))
    try:
        return msgspec.convert(worker.line(), Outcome)
    finally:
        worker.end()


def run_ours(
    place: Place, at: tuple[int, int], name: str, shape: Shape, seconds: float, rate: float = 0.0
) -> Run:
    """The product: closed loop, or a fixed rate."""
    pid, port = at
    place.empty()
    before = cpu_s(pid), cpu_s(place.postgres_pid)
    outcome = publish(load_of(place, port, shape, seconds, rate))
    after = cpu_s(pid), cpu_s(place.postgres_pid)
    _check(place, name, outcome, shape)
    cores = {
        "gateway": (after[0] - before[0]) / outcome.seconds,
        "postgres": (after[1] - before[1]) / outcome.seconds,
        "generator": outcome.cpu_s / outcome.seconds,
    }
    return _run(name, outcome, outcome.acknowledged * shape.samples, outcome.seconds, cores)


def run_baseline(place: Place, module: str, shape: Shape, rate: float, messages: int) -> Run:
    """A baseline behind mosquitto: offered ``messages`` at ``rate`` until the last one is stored.

    The broker acknowledges before the commit, so rates count from the first PUBLISH to the last commit, the
    part after the load ended included, when nothing but the consumer works: in the baseline's favour.
    """
    place.empty()
    with broker(place.folder, place.settings.certificate_paths) as server:
        messages -= messages % len(place.devices)
        devices = {device.kid: device.device_id for device in place.devices}
        order = Order(place.dsn, server.plain_port, devices, messages * shape.samples)
        worker = Worker(f"bench.{module}", msgspec.json.encode(order))
        try:
            worker.line()  # it is subscribed
            before = cpu_s(worker.process.pid), cpu_s(server.pid), cpu_s(place.postgres_pid)
            outcome = publish(load_of(place, server.tls_port, shape, 0, rate, messages))
            report = msgspec.convert(worker.line(), Report)
            after = report.cpu_s, cpu_s(server.pid), cpu_s(place.postgres_pid)
        finally:
            worker.end()
    _check(place, module, outcome, shape)
    if report.stored != outcome.acknowledged * shape.samples:
        raise BenchError(f"{module}: stored {report.stored} of {outcome.acknowledged} messages")
    seconds = (report.end_ns - outcome.begin_ns) / 1e9
    parts = zip(("consumer", "mosquitto", "postgres"), before, after, strict=True)
    cores = {name: (late - early) / seconds for name, early, late in parts}
    cores["generator"] = outcome.cpu_s / seconds
    run = _run(module, outcome, report.stored, seconds, cores)
    return dataclasses.replace(run, p50_ms=report.p50_ms, p99_ms=report.p99_ms, max_ms=0.0)


def _check(place: Place, name: str, outcome: Outcome, shape: Shape) -> None:
    rows = place.rows()
    if outcome.rejected:
        raise BenchError(f"{name}: {outcome.rejected} messages were rejected")
    if rows != outcome.acknowledged * shape.samples:
        raise BenchError(
            f"{name}: {outcome.acknowledged} PUBACKs of {shape.samples} samples, but {rows} rows"
        )


def _run(name: str, outcome: Outcome, rows: int, seconds: float, cores: dict[str, float]) -> Run:
    return Run(
        name=name,
        messages=outcome.acknowledged,
        rows_per_s=round(rows / seconds),
        p50_ms=outcome.p50_ms,
        p99_ms=outcome.p99_ms,
        max_ms=outcome.max_ms,
        seconds=round(seconds, 3),
        cores={part: round(share, 2) for part, share in cores.items()},
        payload_bytes=outcome.payload_bytes,
        generator_late_ms=outcome.late_ms,
    )


def describe(run: Run) -> dict[str, Any]:
    """For the result file."""
    return dataclasses.asdict(run)
