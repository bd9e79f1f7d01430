"""``admin restore-check`` on a real database."""

import time
from pathlib import Path

import pytest

from cloud.__main__ import main
from cloud.config import Settings
from cloud.provision import provision
from tests.support.ingest import ONE, TWO, own_devices, run


def check(database: str, state: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, str]]:
    """Exit status, and the verdict of each finding."""
    status = main(["admin", "restore-check", "--state-dir", str(state), "--database-url", database])
    lines = capsys.readouterr().out.splitlines()[:-1]
    return status, {line.split()[1]: line.split()[0] for line in lines}


def test_a_fresh_database_is_fine(database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    provision(Settings(state_dir=tmp_path))
    own_devices(database, [ONE, TWO])
    status, found = check(database, tmp_path, capsys)
    assert (status, set(found.values())) == (0, {"ok"})
    assert {"epochs", "counters", "settings_versions", "log_ins", "key_set"} <= set(found)


def test_numbers_ahead_of_the_clock_and_tables_that_do_not_fit_are_bad(
    database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    provision(Settings(state_dir=tmp_path))
    own_devices(database, [ONE, TWO], epoch=5)
    later = time.time_ns() // 1_000_000 + 3_600_000
    run(database, "UPDATE device SET last_counter = %s WHERE device_id = %s", later, ONE)
    run(database, "UPDATE device SET last_epoch = 4 WHERE device_id = %s", TWO)
    run(database, "INSERT INTO device_setting (device_id, epoch, version) VALUES (%s, 5, %s)", ONE, later)
    run(database, "UPDATE device_key SET login_ms = %s", later)
    status, found = check(database, tmp_path, capsys)
    assert status == 1
    bad = {name for name, verdict in found.items() if verdict == "BAD"}
    assert bad == {"epochs", "counters", "settings_versions", "log_ins"}


def test_without_its_key_set_no_agent_would_listen(
    database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, found = check(database, tmp_path, capsys)
    assert (status, found["key_set"]) == (1, "BAD")


def test_a_database_of_an_older_program_is_judged_once_it_is_migrated(
    database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    provision(Settings(state_dir=tmp_path))
    run(database, "DELETE FROM schema_migration WHERE number = 25")
    status, found = check(database, tmp_path, capsys)
    assert (status, found["schema"]) == (0, "look")
