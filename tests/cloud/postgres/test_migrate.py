"""The migration runner on a real database."""

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from cloud.postgres.migrate import Migration, MigrationError, migrate, packaged_migrations

FIRST = Migration(1, "0001_first.sql", "CREATE TABLE a (n integer); INSERT INTO a VALUES (1);")
SECOND = Migration(2, "0002_second.sql", "ALTER TABLE a ADD COLUMN m integer;")


def test_applies_each_once_and_in_order(empty_database: str) -> None:
    assert migrate(empty_database, [FIRST]) == ["0001_first.sql"]
    assert migrate(empty_database, [FIRST, SECOND]) == ["0002_second.sql"]
    assert migrate(empty_database, [FIRST, SECOND]) == []
    with psycopg.connect(empty_database) as connection:
        assert connection.execute("SELECT n, m FROM a").fetchall() == [(1, None)]


def test_a_failing_migration_leaves_nothing_of_itself(empty_database: str) -> None:
    bad = Migration(2, "0002_bad.sql", "CREATE TABLE b (n integer); SELECT 1/0;")
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate(empty_database, [FIRST, bad])
    with psycopg.connect(empty_database) as connection:
        row = connection.execute("SELECT to_regclass('a') IS NULL, to_regclass('b') IS NULL").fetchone()
    assert row == (False, True)
    assert migrate(empty_database, [FIRST, SECOND]) == ["0002_second.sql"]


def test_refuses_a_changed_file_a_number_twice_and_a_newer_database(empty_database: str) -> None:
    migrate(empty_database, [FIRST, SECOND])
    with pytest.raises(MigrationError, match="changed"):
        migrate(empty_database, [Migration(1, FIRST.name, FIRST.text + " "), SECOND])
    with pytest.raises(MigrationError, match="newer"):
        migrate(empty_database, [FIRST])
    with pytest.raises(MigrationError, match="number of its own"):
        migrate(empty_database, [FIRST, SECOND, Migration(2, "0002_x.sql", "")])


def test_a_reserved_number_may_come_later(empty_database: str) -> None:
    third = Migration(3, "0003_third.sql", "CREATE TABLE c (n integer);")
    assert migrate(empty_database, [FIRST, third]) == ["0001_first.sql", "0003_third.sql"]
    assert migrate(empty_database, [FIRST, SECOND, third]) == ["0002_second.sql"]
    assert migrate(empty_database, [FIRST, SECOND, third]) == []


def test_many_processes_at_once_apply_it_once(empty_database: str) -> None:
    with ThreadPoolExecutor(8) as threads:
        applied = list(threads.map(lambda _: migrate(empty_database, [FIRST, SECOND]), range(8)))
    assert sorted(applied) == [[]] * 7 + [["0001_first.sql", "0002_second.sql"]]


def test_the_packaged_migrations_apply_to_an_empty_database(empty_database: str) -> None:
    names = [migration.name for migration in packaged_migrations()]
    assert migrate(empty_database) == names
    assert migrate(empty_database) == []
