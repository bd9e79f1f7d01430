"""Numbered SQL migrations, applied in order, each in its own transaction, under an advisory lock.

``migrations/NNNN_name.sql`` are applied once and never edited: their checksums are kept beside them, and a
changed file or a database that is ahead of this program stops the start instead of guessing. Numbers may be
reserved, so a lower one may come later: whatever a database lacks is applied, in order.

After them the rights of the processes' roles are given anew (``roles.py``), where there can be roles.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Final

import psycopg
import structlog

from cloud.postgres.roles import grant_rights

LOCK_KEY: Final = 0x5C_4D16  # one number for all runners of this project
LOCK_TIMEOUT: Final = "60s"  # another process may be migrating
NAME: Final = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")

LEDGER: Final = """
CREATE TABLE IF NOT EXISTS schema_migration (
    number     integer PRIMARY KEY,
    name       text NOT NULL,
    sha256     text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)"""

log = structlog.get_logger()


class MigrationError(Exception):
    """The migrations in the program and those in the database do not fit together."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file."""

    number: int
    name: str
    text: str

    @property
    def sha256(self) -> str:
        """Checksum of the text as it is kept in the database."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def packaged_migrations() -> list[Migration]:
    """The migrations shipped in ``cloud/postgres/migrations``, in order."""
    folder = resources.files("cloud.postgres") / "migrations"
    found = [
        Migration(int(match[1]), entry.name, entry.read_text(encoding="utf-8"))
        for entry in folder.iterdir()
        if (match := NAME.fullmatch(entry.name))
    ]
    return sorted(found, key=lambda migration: migration.number)


def migrate(dsn: str, migrations: Sequence[Migration] | None = None) -> list[str]:
    """Bring the database to the newest migration; returns the names applied now (none when it was there)."""
    wanted = packaged_migrations() if migrations is None else list(migrations)
    numbers = [migration.number for migration in wanted]
    if numbers != sorted(set(numbers)):
        raise MigrationError("every migration needs a number of its own, in order")
    options = f"-c lock_timeout={LOCK_TIMEOUT} -c statement_timeout=0"
    with psycopg.connect(
        dsn, autocommit=True, connect_timeout=10, application_name="smartconnect migrate", options=options
    ) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [LOCK_KEY])
        try:
            applied = _apply(connection, wanted)
            if migrations is None and not grant_rights(connection):
                log.warning("no roles of their own for the processes: this one may not make roles")
            return applied
        finally:
            connection.execute("SELECT pg_advisory_unlock(%s)", [LOCK_KEY])


def _apply(connection: psycopg.Connection, wanted: Sequence[Migration]) -> list[str]:
    connection.execute(LEDGER)
    rows = connection.execute("SELECT number, name, sha256 FROM schema_migration ORDER BY number").fetchall()
    known = {migration.number: migration for migration in wanted}
    for number, name, sha256 in rows:
        if number not in known:
            raise MigrationError(f"the database is newer than this program: it has {name}")
        if sha256 != known[number].sha256:
            raise MigrationError(f"{name} was changed after it was applied")
    there = {row[0] for row in rows}
    applied = []
    for migration in wanted:
        if migration.number in there:
            continue
        with connection.transaction():
            connection.execute(migration.text.encode())
            connection.execute(
                "INSERT INTO schema_migration (number, name, sha256) VALUES (%s, %s, %s)",
                [migration.number, migration.name, migration.sha256],
            )
        applied.append(migration.name)
    return applied
