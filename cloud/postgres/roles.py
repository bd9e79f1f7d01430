"""Database roles: what each process may do, and the log-ins of a PostgreSQL that is ours alone.

Three group roles that nobody logs in as, ``smartconnect_gateway``, ``smartconnect_portal`` and
``smartconnect_jobs``, have the rights of ``rights.sql``, the portal's within the walls of
``row_security.sql``. Roles belong to a whole server, rights to one of its databases. Why so:
docs/decisions/0040-database-roles.md.
"""

import hashlib
import hmac
from enum import StrEnum
from importlib import resources
from typing import Final

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo


class Part(StrEnum):
    """A process with a role of its own."""

    GATEWAY = "gateway"
    PORTAL = "portal"
    JOBS = "jobs"

    @property
    def group(self) -> str:
        """The role that has the rights."""
        return f"smartconnect_{self.value}"

    @property
    def login(self) -> str:
        """The role that it logs in as at a private PostgreSQL; elsewhere its name is free."""
        return f"smartconnect_{self.value}_login"


GROUPS: Final = tuple(part.group for part in Part)
FILES: Final = ("rights.sql", "row_security.sql")
_THERE: Final = (psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation)
"""Somebody else made it at this moment: for another database of the same server, perhaps."""


def make_groups(connection: psycopg.Connection) -> bool:
    """Make the group roles that are missing; whether all are there now. Autocommit connections only.

    Whoever may not make roles is told so by the answer: an administrator does it (docs/database-roles.md).
    """
    missing = [name for name in GROUPS if name not in _known(connection, GROUPS)]
    for name in missing:
        try:
            connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(name)))
        except _THERE:
            continue
        except psycopg.errors.InsufficientPrivilege:
            return False
    return True


def grant_rights(connection: psycopg.Connection) -> bool:
    """Give the group roles what ``FILES`` say, and take away everything else; False without roles.

    One transaction: processes that are at work see the old rights or the new ones.
    """
    if not make_groups(connection):
        return False
    with connection.transaction():
        for name in FILES:
            text = (resources.files("cloud.postgres") / name).read_text(encoding="utf-8")
            connection.execute(text.encode())
    return True


def make_logins(dsn: str) -> None:
    """Make the groups and a log-in in each; ``dsn`` is a superuser's of a PostgreSQL that is ours alone."""
    with psycopg.connect(dsn, autocommit=True, connect_timeout=10) as connection:
        make_groups(connection)
        known = _known(connection, [part.login for part in Part])
        for part in Part:
            if part.login not in known:
                _make_login(connection, part, password_of(dsn, part))


def _make_login(connection: psycopg.Connection, part: Part, password: str) -> None:
    # Hashed here: the server's log would show the statement, were it refused.
    hashed = connection.pgconn.encrypt_password(password.encode(), part.login.encode(), b"scram-sha-256")
    connection.execute(
        sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} IN ROLE {}").format(
            sql.Identifier(part.login), sql.Literal(hashed.decode()), sql.Identifier(part.group)
        )
    )


def _known(connection: psycopg.Connection, names: tuple[str, ...] | list[str]) -> set[str]:
    found = connection.execute("SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)", [list(names)])
    return {row[0] for row in found.fetchall()}


def password_of(dsn: str, part: Part) -> str:
    """Password of a log-in, made from the superuser's in ``dsn``, which it does not tell: nothing to keep."""
    secret = str(conninfo_to_dict(dsn)["password"])
    return hmac.new(secret.encode(), f"smartconnect role {part}".encode(), hashlib.sha256).hexdigest()


def login_dsn(dsn: str, part: Part) -> str:
    """The same database for one part: ``dsn`` is a superuser's of a private PostgreSQL."""
    return make_conninfo(dsn, user=part.login, password=password_of(dsn, part))
