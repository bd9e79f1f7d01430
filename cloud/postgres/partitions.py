"""Daily partitions of the telemetry table, made ahead of time, so that no row meets a missing day."""

from typing import Final

import psycopg

from cloud.postgres.pool import Pool
from cloud.postgres.safety import DatabaseUnavailableError

DAYS_BACK: Final = 2
DAYS_AHEAD: Final = 14  # a cloud that nobody looks after still has two weeks

ENSURE: Final = "SELECT ensure_telemetry_days((now() AT TIME ZONE 'UTC')::date - %s, %s)"


def ensure_days(dsn: str) -> int:
    """Make the partitions from two days back to two weeks ahead; how many were missing.

    DatabaseUnavailableError when it cannot be asked.
    """
    name = "smartconnect partitions"
    try:
        with psycopg.connect(dsn, autocommit=True, connect_timeout=10, application_name=name) as connection:
            row = connection.execute(ENSURE, [DAYS_BACK, DAYS_BACK + 1 + DAYS_AHEAD]).fetchone()
    except psycopg.OperationalError as error:
        raise DatabaseUnavailableError(str(error)) from error
    return int(row[0]) if row else 0


async def make_days(pool: Pool) -> int:
    """The same on a connection of a pool; any number of processes may do it."""
    async with pool.connection() as connection:
        row = await (await connection.execute(ENSURE, [DAYS_BACK, DAYS_BACK + 1 + DAYS_AHEAD])).fetchone()
    return int(row[0]) if row else 0
