"""Where the time goes in the gateway and in its database connections, under one load."""

import contextlib
import os
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Final

import msgspec
import psycopg

from bench.candidates import CONNECTIONS, gateway, run_ours
from bench.enrollment import enroll
from bench.processes import wait_for
from bench.sampler import BEGIN, END, Sample
from bench.setting import Place, place
from bench.wire import Shape

LINES: Final = 14
ALWAYS: Final = 0.995
"""A function that a thread never leaves says nothing."""
WAITS_EVERY_S: Final = 0.005
_ACTIVITY: Final = """
SELECT CASE WHEN state = 'idle' THEN 'idle: its writer does something else'
            WHEN state LIKE 'idle in%' THEN 'idle within the transaction: its writer does something else'
            ELSE split_part(query, ' ', 1) || ': ' || coalesce(wait_event_type || ' ' || wait_event, 'runs')
       END
  FROM pg_stat_activity WHERE application_name LIKE 'smartconnect writer%'"""


def profile(name: str, shape: Shape, seconds: float, rate: float) -> str:
    """A load with the sampler in the gateway; the figures of such a run are not measurements."""
    with place() as ground:
        output = ground.folder / "sample.json"
        with gateway(ground, ("bench.sampler", str(output))) as at:
            devices = enroll(ground, CONNECTIONS)
            run_ours(ground, devices, at, name, shape, 2.0, rate)
            waits: Counter[str] = Counter()
            run = run_ours(ground, devices, at, name, shape, seconds, rate, _sampling(ground, at.pid, waits))
            wait_for("the sample is written", output.exists)
            sample = msgspec.json.decode(output.read_bytes(), type=Sample)
    return _text(name, run.rows_per_s, run.cores, sample, waits)


@contextlib.contextmanager
def _sampling(ground: Place, pid: int, waits: Counter[str]) -> Iterator[None]:
    """While the block runs, the gateway samples itself, and ``waits`` counts what its connections do."""
    done = threading.Event()

    def look() -> None:
        with psycopg.connect(ground.dsn, autocommit=True) as connection:
            while not done.wait(WAITS_EVERY_S):
                waits.update(row[0] for row in connection.execute(_ACTIVITY))

    thread = threading.Thread(target=look, name="waits")
    thread.start()
    os.kill(pid, BEGIN)
    try:
        yield
    finally:
        os.kill(pid, END)
        done.set()
        thread.join()


def _text(name: str, rate: float, cores: dict[str, float], sample: Sample, waits: Counter[str]) -> str:
    shares = ", ".join(f"{part} {share:.2f}" for part, share in cores.items())
    lines = [f"== {name}: {rate:,.0f} rows/s while sampled; cores: {shares}"]
    for thread in sample.threads:
        if thread.cores < 0.01:
            continue
        lines.append(f"\n-- thread {thread.name}: {thread.cores:.2f} cores")
        lines.append("   in the function or what it calls:")
        inner = [(place, share) for place, share in thread.anywhere.items() if share < ALWAYS]
        lines += [f"   {share:7.1%}  {place}" for place, share in inner[:LINES]]
        lines.append("   at this line:")
        lines += [f"   {share:7.1%}  {place}" for place, share in list(thread.innermost.items())[:LINES]]
    lines.append("\n-- database connections of the writers")
    lines += [f"   {count / waits.total():7.1%}  {what}" for what, count in waits.most_common(LINES)]
    return "\n".join(lines) + "\n"
