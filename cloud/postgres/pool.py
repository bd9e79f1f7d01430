"""How every process of ours opens its connections: named, checked, and never waiting without end."""

import select
from typing import Final

from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from cloud.postgres.acting import say

CONNECT_TIMEOUT_S: Final = 5
STATEMENT_TIMEOUT_MS: Final = 15_000
LOCK_TIMEOUT_MS: Final = 5_000
IDLE_IN_TRANSACTION_TIMEOUT_MS: Final = 30_000
CHECKOUT_TIMEOUT_S: Final = 10.0
CLOSE_TIMEOUT_S: Final = 0.6  # what still waits for the database then is cut: a process has 4 s to stop
RECONNECT_TIMEOUT_S: Final = 1.0
"""A lost connection is tried again for this long, then by whoever asks next. Were it longer, the pauses would
double, and everybody would be refused for as long as the database was away after it came back."""
# A peer that vanished without a word must not hold a connection for the two hours of Linux' default.
KEEPALIVE: Final = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}


class Pool(AsyncConnectionPool[AsyncConnection[TupleRow]]):
    """A pool that does not hold a process back that has to stop."""

    @staticmethod
    async def check_connection(connection: AsyncConnection[TupleRow]) -> None:
        """OperationalError where the server has gone: the end of its line, or its last words, can be read.

        Only where there is something to read the server is asked, which costs a round trip and some of its
        time; a page takes ten connections.
        """
        poller = select.poll()
        poller.register(connection.fileno(), select.POLLIN)
        if poller.poll(0):
            await AsyncConnectionPool.check_connection(connection)

    async def close(self, timeout: float = CLOSE_TIMEOUT_S) -> None:  # noqa: ASYNC109 - psycopg's name
        """Close it; connections that are in use are closed when they are given back."""
        await super().close(timeout)


def make_pool(
    dsn: str,
    *,
    name: str,
    min_size: int = 1,
    max_size: int = 8,
    statement_timeout_ms: int = STATEMENT_TIMEOUT_MS,
    lock_timeout_ms: int = LOCK_TIMEOUT_MS,
    acting: bool = False,
) -> Pool:
    """An unopened pool (``async with`` or ``open``) of autocommit connections.

    ``name`` becomes the application name. A connection is looked at when it is taken, so that the first
    request after a restart of PostgreSQL gets a live one; all time-outs are set on the server. ``acting``:
    that look says for whom the task acts (:mod:`cloud.postgres.acting`).
    """
    options = (
        f"-c statement_timeout={statement_timeout_ms} -c lock_timeout={lock_timeout_ms} "
        f"-c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_TIMEOUT_MS} -c timezone=UTC"
    )
    return Pool(
        dsn,
        kwargs={
            "autocommit": True,
            "application_name": f"smartconnect {name}",
            "connect_timeout": CONNECT_TIMEOUT_S,
            "options": options,
            **KEEPALIVE,
        },
        min_size=min_size,
        max_size=max_size,
        timeout=CHECKOUT_TIMEOUT_S,
        reconnect_timeout=RECONNECT_TIMEOUT_S,
        check=say if acting else Pool.check_connection,
        name=name,
        open=False,
    )
