"""Whoever must write something in the very transaction that changes something else: the answer of a request
beside what it did, so that either both are there or none.

The services do not know of it. Within ``called(write)``, ``write`` is told the result of every transaction
before that is committed (``in_transaction`` does so; services with a transaction of their own call ``tell``).
It may be told several times, for transactions are repeated, and an error of it rolls them back.
"""

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar
from typing import Final

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

Connection = AsyncConnection[TupleRow]
Write = Callable[[Connection, object], Awaitable[None]]

_CALLED: Final[ContextVar[Write | None]] = ContextVar("witness", default=None)


@contextlib.contextmanager
def called(write: Write) -> Iterator[None]:
    """Let ``write`` be told while the block runs, in this task."""
    token = _CALLED.set(write)
    try:
        yield
    finally:
        _CALLED.reset(token)


async def tell(connection: Connection, result: object) -> None:
    """Say that ``result`` is about to be committed."""
    write = _CALLED.get()
    if write is not None:
        await write(connection, result)
