"""What all candidates share: one private PostgreSQL, its schema, certificates, and four owned devices."""

import contextlib
import datetime as dt
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.processes import python, running, wait_for
from cloud.config import Settings
from cloud.provision import provision
from protocol.identity import ProductId, device_id_of, kid_of
from protocol.signing import public_bytes

STATE: Final = Path(".state")
"""Below the working directory, not in /tmp: that may be memory, where a commit costs nothing."""


@dataclass(frozen=True, slots=True)
class Owned:
    """A device whose bound key may publish."""

    device_id: int
    kid: str
    epoch: int
    private_hex: str


@dataclass(frozen=True, slots=True)
class Place:
    """The common ground of a measurement."""

    folder: Path
    settings: Settings
    dsn: str
    postgres_pid: int
    devices: tuple[Owned, ...]

    def connect(self) -> psycopg.Connection[Any]:
        """A connection of our own, for questions."""
        return psycopg.connect(self.dsn, autocommit=True)

    def empty(self) -> None:
        """No rows, and no dirty pages left of the candidate before."""
        with self.connect() as connection:
            connection.execute("TRUNCATE telemetry, telemetry_late")
            connection.execute("CHECKPOINT")

    def rows(self) -> int:
        """How many samples are stored."""
        with self.connect() as connection:
            found = connection.execute("SELECT count(*) FROM v_telemetry").fetchone()
        return int(found[0]) if found else 0

    def postgres_version(self) -> str:
        """As the server says."""
        with self.connect() as connection:
            found = connection.execute("SHOW server_version").fetchone()
        return str(found[0]) if found else ""


@contextlib.contextmanager
def place(device_count: int) -> Iterator[Place]:
    """PostgreSQL runs until the block ends; everything is deleted then."""
    STATE.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=STATE)).absolute()
    try:
        settings = Settings(state_dir=folder / "cloud")
        provision(settings)
        state = ("--state-dir", str(settings.state_dir))
        with running(python("cloud", "postgres", *state), folder / "postgres.log") as process:
            wait_for("PostgreSQL answers", (settings.state_dir / "pg.dsn").exists)
            with running(python("cloud", "migrate", *state), folder / "migrate.log") as migration:
                wait_for("migrations are applied", lambda: migration.poll() == 0)
            with psycopg.connect(settings.dsn, autocommit=True) as connection:
                devices = tuple(seed(connection, number) for number in range(device_count))
                today = dt.datetime.now(dt.UTC).date()
                connection.execute("SELECT ensure_telemetry_days(%s, 3)", [today - dt.timedelta(days=1)])
            yield Place(folder, settings, settings.dsn, process.pid, devices)
    finally:
        shutil.rmtree(folder)


def seed(connection: psycopg.Connection[Any], number: int) -> Owned:
    """A device that has been claimed, with all its rows; SQL, because claiming is not what is measured."""
    key, label_pub = Ed25519PrivateKey.generate(), public_bytes(Ed25519PrivateKey.generate())
    product_id = ProductId.parse(f"BENCH{number:07d}")
    device_id, kid = device_id_of(product_id, label_pub), kid_of(public_bytes(key))
    now_ms = time.time_ns() // 1_000_000
    values = {
        "device_id": device_id,
        "product_id": product_id.value,
        "label_pub": label_pub,
        "kid": kid,
        "device_pub": public_bytes(key),
        "epoch": now_ms,
        "now": now_ms,
        "mail": f"bench{number}@example.org",
    }
    for statement in _SEED:
        connection.execute(statement, values)
    return Owned(device_id, kid, now_ms, key.private_bytes_raw().hex())


_SEED: Final = (
    """INSERT INTO device (device_id, product_id, label_pub, last_epoch, created_ms)
       VALUES (%(device_id)s, %(product_id)s, %(label_pub)s, %(epoch)s, %(now)s)""",
    """INSERT INTO device_key (device_id, kid, device_pub, state, login_ms, announced_ms, smartconnect,
                               announcement, created_ms)
       VALUES (%(device_id)s, %(kid)s, %(device_pub)s, 'bound', 0, %(now)s, true, '', %(now)s)""",
    """WITH c AS (INSERT INTO company (name, created_ms) VALUES ('Bench', %(now)s) RETURNING company_id),
            a AS (INSERT INTO account (email, email_norm, password_hash, created_ms)
                  VALUES (%(mail)s, %(mail)s, '', %(now)s) RETURNING account_id)
       INSERT INTO ownership (device_id, epoch, company_id, account_id, kid, from_ms)
       SELECT %(device_id)s, %(epoch)s, company_id, account_id, %(kid)s, %(now)s FROM c, a""",
    """INSERT INTO latest (device_id, session_no, epoch, kid)
       VALUES (%(device_id)s, 0, %(epoch)s, %(kid)s)""",
)
