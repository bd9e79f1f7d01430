"""Transactions that may be repeated: the only kind this product makes.

Why: docs/decisions/0011-schema-for-many-nodes.md.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from cloud.postgres import witness
from cloud.postgres.pool import Pool
from cloud.postgres.safety import DatabaseUnavailableError
from protocol import faults

Connection = AsyncConnection[TupleRow]
Result = TypeVar("Result")

ATTEMPTS: Final = 8
GIVE_UP_S: Final = 10.0
"""No new attempt after this long: an HTTP request or a PUBACK waits for us."""
FIRST_PAUSE_S: Final = 0.02

log = structlog.get_logger()


async def in_transaction(
    pool: Pool,
    work: Callable[[Connection], Awaitable[Result]],
    *,
    before_commit: str | None = None,
    after_commit: str | None = None,
) -> Result:
    """What ``work`` returned in a transaction that has been committed.

    ``work`` runs again after a deadlock, a serialization failure, a lock time-out or a lost connection, also
    one that was lost while committing, so it must be idempotent. DatabaseUnavailableError when it never
    succeeded; whatever else ``work`` raises rolls back and is raised. The two names are fault points.
    """
    began = time.monotonic()
    for attempt in range(1, ATTEMPTS + 1):
        try:
            async with pool.connection() as connection, connection.transaction():
                result = await work(connection)
                await witness.tell(connection, result)
                if before_commit is not None:
                    faults.reach(before_commit)
        except psycopg.OperationalError as error:
            if attempt == ATTEMPTS or time.monotonic() - began > GIVE_UP_S:
                raise DatabaseUnavailableError(str(error)) from error
            log.debug("transaction repeated", attempt=attempt, reason=str(error)[:200])
            # Full jitter, so that those who collided do not collide again.
            await asyncio.sleep(random.uniform(0, FIRST_PAUSE_S * 2**attempt))  # noqa: S311  no secret
        else:
            if after_commit is not None:
                faults.reach(after_commit)
            return result
    raise AssertionError("unreachable")
