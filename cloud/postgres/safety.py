"""Start-up check: the database keeps what a PUBACK promises."""

from collections.abc import Mapping
from typing import Final

import psycopg

REQUIRED: Final[Mapping[str, frozenset[str]]] = {
    "fsync": frozenset({"on"}),
    "full_page_writes": frozenset({"on"}),
    "synchronous_commit": frozenset({"on", "local", "remote_write", "remote_apply"}),
    "data_checksums": frozenset({"on"}),
}
REMEDY: Final = "ask its administrator: ALTER SYSTEM SET …, and pg_checksums --enable for data_checksums"


class UnsafeDatabaseError(Exception):
    """The PostgreSQL may lose rows that it has confirmed."""


class DatabaseUnavailableError(Exception):
    """The PostgreSQL does not answer."""


UNAVAILABLE: Final = (DatabaseUnavailableError, psycopg.OperationalError)
"""What a database looks like that is gone, restarting or overrun; pool time-outs are among them."""


def check_safety(dsn: str) -> None:
    """UnsafeDatabaseError names every setting of the server that could lose a confirmed row.

    DatabaseUnavailableError when it cannot be asked.
    """
    try:
        rows = _settings(dsn)
    except psycopg.OperationalError as error:
        raise DatabaseUnavailableError(str(error)) from error
    wrong = [f"{name} = {value}" for name, value in rows if value not in REQUIRED[name]]
    if wrong:
        raise UnsafeDatabaseError(f"this PostgreSQL may lose confirmed rows: {', '.join(wrong)} ({REMEDY})")


def _settings(dsn: str) -> list[tuple[str, str]]:
    statement = "SELECT name, setting FROM pg_settings WHERE name = ANY (%s) ORDER BY name"
    name = "smartconnect check"
    with psycopg.connect(dsn, connect_timeout=10, autocommit=True, application_name=name) as connection:
        return connection.execute(statement, [list(REQUIRED)]).fetchall()
