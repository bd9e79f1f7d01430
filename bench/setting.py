"""The common ground of all candidates: a private PostgreSQL with the product's schema, and certificates."""

import contextlib
import datetime as dt
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg

from bench.processes import BenchError, free_port, python, running, wait_for
from bench.wire import FIRST_SEQ, VALUES
from cloud.config import Settings
from cloud.provision import provision
from protocol.points import VALUES as POINTS
from protocol.points import Wire

STATE: Final = Path(".state")
"""Below the working directory, not in /tmp: that may be memory, where a commit costs nothing."""
_SQL_TYPE: Final = {Wire.FIXED32: "integer", Wire.FLOAT: "real", Wire.DOUBLE: "double precision"}
_AS_SENT: Final = " AND ".join(
    f"{point.name} = '{VALUES[point.name]}'::{_SQL_TYPE[point.wire]}"
    for point in POINTS
    if point.name in VALUES
)
_COUNT: Final = f"""
SELECT device_id, stream, epoch, count(*), count(DISTINCT seq), min(seq), max(seq), bool_and({_AS_SENT})
  FROM v_telemetry GROUP BY device_id, stream, epoch"""


@dataclass(frozen=True, slots=True)
class Sent:
    """What was acknowledged to one device in one run: samples FIRST_SEQ, FIRST_SEQ + 1, …"""

    device_id: int
    stream: int
    epoch: int
    samples: int


@dataclass(frozen=True, slots=True)
class Place:
    """The common ground of a measurement."""

    folder: Path
    settings: Settings
    dsn: str
    postgres_pid: int

    def connect(self) -> psycopg.Connection[Any]:
        """A connection of our own, for questions."""
        return psycopg.connect(self.dsn, autocommit=True)

    def empty(self) -> None:
        """No rows, and no dirty pages left of the candidate before."""
        with self.connect() as connection:
            connection.execute("TRUNCATE telemetry, telemetry_late")
            connection.execute("CHECKPOINT")

    def check_rows(self, name: str, sent: tuple[Sent, ...]) -> int:
        """How many rows the table has; BenchError unless it has each acknowledged sample once, as sent,
        and nothing else.
        """
        with self.connect() as connection:
            connection.execute("SET work_mem = '512MB'")
            found = connection.execute(_COUNT).fetchall()
        wanted = {
            (s.device_id, s.stream, s.epoch): (
                s.samples,
                s.samples,
                FIRST_SEQ,
                FIRST_SEQ + s.samples - 1,
                True,
            )
            for s in sent
            if s.samples
        }
        seen = {row[:3]: row[3:] for row in found}
        if seen != wanted:
            raise BenchError(
                f"{name}: the table does not hold each acknowledged sample once: {seen} {wanted}"
            )
        return sum(s.samples for s in sent)

    def postgres_version(self) -> str:
        """As the server says."""
        with self.connect() as connection:
            found = connection.execute("SHOW server_version").fetchone()
        return str(found[0]) if found else ""


@contextlib.contextmanager
def place() -> Iterator[Place]:
    """PostgreSQL runs until the block ends; everything is deleted then."""
    STATE.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=STATE)).absolute()
    try:
        settings = Settings(state_dir=folder / "cloud", gateway_port=free_port())
        provision(settings)
        state = ("--state-dir", str(settings.state_dir))
        with running(python("cloud", "postgres", *state), folder / "postgres.log") as process:
            wait_for("PostgreSQL answers", (settings.state_dir / "pg.dsn").exists)
            with running(python("cloud", "migrate", *state), folder / "migrate.log") as migration:
                wait_for("the migration ends", lambda: migration.poll() is not None)
            if migration.returncode:
                raise BenchError(f"migrate ended with {migration.returncode}, see below\n{_tail(folder)}")
            with psycopg.connect(settings.dsn, autocommit=True) as connection:
                today = dt.datetime.now(dt.UTC).date()
                connection.execute("SELECT ensure_telemetry_days(%s, 3)", [today - dt.timedelta(days=1)])
            yield Place(folder, settings, settings.dsn, process.pid)
    finally:
        shutil.rmtree(folder)


def _tail(folder: Path) -> str:
    return (folder / "migrate.log").read_text()[-2000:]


def fsyncs_per_s(folder: Path, seconds: float = 0.5) -> int:
    """How often this disk makes 8 KiB durable in a second, one after another: what a plain consumer pays."""
    block = bytes(8192)
    count = 0
    with tempfile.TemporaryFile(dir=folder) as file:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            os.pwrite(file.fileno(), block, count % 64 * len(block))
            os.fdatasync(file.fileno())
            count += 1
    return round(count / seconds)
