"""The cloud's commands as processes."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from cloud import logs
from cloud.__main__ import main
from cloud.app import arm_fault, database_of
from cloud.config import ConfigError, Settings
from cloud.postgres.roles import Part
from protocol import faults
from tests.accept import wait_until

MISSING_SETTING = 2


def cloud(*words: str, secret: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    return subprocess.run(
        [sys.executable, "-m", "cloud", *words],
        input=secret,
        capture_output=True,
        text=True,
        check=False,
        env={**kept, **environment},
    )


@pytest.fixture
def disarmed() -> Iterator[None]:
    yield
    faults.disarm()


def test_the_private_server_alone_serves_migrations_and_accounts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setattr(logs, "configure", lambda *_args, **_settings: None)  # for the whole process

    def admin(*words: str, secret: str = "") -> int:
        monkeypatch.setattr(sys, "stdin", io.StringIO(secret))
        return main(["admin", *words])

    state = ["--state-dir", str(tmp_path / "state")]
    with subprocess.Popen(
        [sys.executable, "-m", "cloud", "postgres", *state], stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stderr is not None
            ready = json.loads(server.stderr.readline())
            assert ready["event"] == "ready"
            dsn = (tmp_path / "state" / "pg.dsn").read_text().strip()
            assert cloud("migrate", *state).returncode == 0
            person = ["--email", "ada@example.org", "--first-name", "Ada", "--last-name", "Miller"]
            added = cloud("admin", "account", "add", *state, *person, secret="Volt-2x9k-7qm3\n")
            assert added.returncode == 0, added.stderr
            assert admin("account", "add", *state, *person, secret="Volt-2x9k-7qm3\n") == 1
            assert "exists already" in capsys.readouterr().err
            other = [*person[2:], "--email", "b@example.org"]
            assert admin("account", "add", *state, *other, secret="short\n") == 1
            assert admin("account", "factor-off", *state, *person[:2]) == 1
            assert "not turned on" in capsys.readouterr().err
            with psycopg.connect(dsn) as connection:
                assert connection.execute("SELECT email FROM account").fetchall() == [("ada@example.org",)]
        finally:
            server.send_signal(signal.SIGTERM)
        assert server.wait(10) == 0
    assert not (tmp_path / "state" / "pg.dsn").exists()
    with pytest.raises(ProcessLookupError):
        os.kill(ready["pid"], 0)


def test_the_private_server_ends_when_postgresql_does(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cloud", "postgres", "--state-dir", str(tmp_path / "state")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        os.kill(json.loads(server.stderr.readline())["pid"], signal.SIGKILL)
        assert server.wait(10) == 1


def test_what_cannot_start_says_why_in_one_line(tmp_path: Path) -> None:
    state = ["--state-dir", str(tmp_path)]
    for words in (["migrate", *state], ["portal", *state, "--gateway-port", "1"]):
        done = cloud(*words)
        assert done.returncode == MISSING_SETTING
        assert json.loads(done.stderr.splitlines()[-1])["event"] == "cannot start"
        assert "Traceback" not in done.stderr
    assert cloud("gateway", *state, "--gateway-port", "many").returncode == MISSING_SETTING
    assert cloud("migrate", *state, DATABASE_URL="postgresql://x@127.0.0.1:1/x").returncode == MISSING_SETTING


def test_a_part_waits_for_a_private_server_that_was_killed_with_it(tmp_path: Path) -> None:
    """Status 2 would end ``serve`` for good."""
    state = ["--state-dir", str(tmp_path / "state"), "--gateway-port", "0"]
    command = [sys.executable, "-m", "cloud"]
    with subprocess.Popen([*command, "postgres", *state], stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        os.kill(json.loads(server.stderr.readline())["pid"], signal.SIGKILL)
        assert server.wait(10) == 1
    with subprocess.Popen([*command, "gateway", *state], stderr=subprocess.PIPE, text=True) as gateway:
        assert gateway.stderr is not None
        assert "waiting" in json.loads(gateway.stderr.readline())["event"]
        with subprocess.Popen([*command, "postgres", *state], stderr=subprocess.PIPE, text=True) as server:
            while json.loads(gateway.stderr.readline())["event"] != "listening":
                pass
            gateway.send_signal(signal.SIGTERM)
            gateway.stderr.read()
            assert gateway.wait(10) == 0
            server.send_signal(signal.SIGTERM)


def test_the_bundle_is_what_an_agent_needs(tmp_path: Path) -> None:
    words = ["--state-dir", str(tmp_path), "--hosts", "ups.example.org", "--gateway-port", "1883"]
    done = cloud("admin", "bundle", *words)
    found = json.loads(done.stdout)
    assert (found["gateway_host"], found["gateway_port"]) == ("ups.example.org", 1883)
    assert "PRIVATE" not in done.stdout
    certificate = (tmp_path / "tls" / "server.pem").read_bytes()
    again = cloud("admin", "bundle", "--state-dir", str(tmp_path))
    assert again.stdout == done.stdout, "the hosts are those the cloud was started with"
    assert (tmp_path / "tls" / "server.pem").read_bytes() == certificate


@pytest.mark.usefixtures("disarmed")
def test_each_part_logs_in_to_the_database_as_itself(tmp_path: Path) -> None:
    for_all = Settings(state_dir=tmp_path, database_url="postgresql://all")
    own = replace(for_all, portal_database_url="postgresql://portal")
    assert {part: database_of(part, own) for part in Part} == {
        Part.GATEWAY: "postgresql://all",
        Part.PORTAL: "postgresql://portal",
        Part.JOBS: "postgresql://all",
    }
    private = Settings(state_dir=tmp_path)
    with pytest.raises(ConfigError, match="no database"):
        database_of(Part.JOBS, private)
    (tmp_path / "pg.dsn").write_text("postgresql://owner\n")
    with pytest.raises(ConfigError, match="older version"):
        database_of(Part.JOBS, private)
    (tmp_path / "pg.jobs.dsn").write_text("postgresql://jobs\n")
    assert database_of(Part.JOBS, private) == "postgresql://jobs"


def test_a_held_fault_point_waits_for_its_file(tmp_path: Path) -> None:
    path = tmp_path / "held"
    arm_fault(f"gateway.commit.before:2:hold:{path}")
    faults.reach("gateway.commit.before")
    assert not path.exists()
    passing = threading.Thread(target=faults.reach, args=["gateway.commit.before"])
    passing.start()
    wait_until("the point is reached", path.exists, 5)
    assert passing.is_alive()
    path.unlink()
    passing.join(5)
    assert not passing.is_alive()


@pytest.mark.usefixtures("disarmed")
def test_only_known_fault_points_can_be_armed() -> None:
    arm_fault("")
    with pytest.raises(KeyError):
        arm_fault("no.such.point:1")
