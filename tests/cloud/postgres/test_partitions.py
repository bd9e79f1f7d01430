"""Daily partitions."""

import psycopg
import pytest

from cloud.postgres.partitions import DAYS_AHEAD, DAYS_BACK, ensure_days
from cloud.postgres.safety import DatabaseUnavailableError


def test_the_days_to_come_have_a_partition_and_it_is_made_once(database: str) -> None:
    assert ensure_days(database) == 0, "the migrated template has them"
    with psycopg.connect(database, autocommit=True) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_inherits WHERE inhparent = 'telemetry'::regclass"
        ).fetchone()
        assert row == (DAYS_BACK + 1 + DAYS_AHEAD,)
        tomorrow = connection.execute(
            "SELECT 'telemetry_' || to_char((now() AT TIME ZONE 'UTC')::date + 1, 'YYYYMMDD')"
        ).fetchone()
        assert tomorrow is not None
        connection.execute(f"DROP TABLE {tomorrow[0]}".encode())
    assert ensure_days(database) == 1


def test_an_unreachable_database_is_said_so(tmp_path: object) -> None:
    with pytest.raises(DatabaseUnavailableError):
        ensure_days(f"postgresql://x@/x?host={tmp_path}")
