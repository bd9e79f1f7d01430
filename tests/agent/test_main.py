"""The commands, as processes."""

from __future__ import annotations

import json
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from agent import control
from agent.app import locked
from agent.config import Settings, UpsSettings, table
from protocol.codec import encode
from protocol.messages import Installation
from tests.agent.house import wait_for
from tests.faults.processes import Parts, clean_environment, script
from tests.support.stack import free_port, listens

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOWHERE = Installation(
    audience="example", root_pub=bytes(32), ca_pem="", gateway_host="localhost", gateway_port=9, portal_url=""
)


def agent(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [script("smartconnect-agent"), *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=clean_environment(),
    )


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    with Parts(tmp_path / "logs") as running:
        yield running


@pytest.fixture
def port() -> int:
    """Where the UPS answers, if one does."""
    return free_port()


@pytest.fixture
def folder(configured: Path, port: int, parts: Parts) -> Path:
    """A simulated UPS that runs, the settings of an agent for it, and no cloud."""
    command = [script("smartconnect-simulator"), "ups", "--tcp", f"127.0.0.1:{port}"]
    parts.add("simulator", command, ready=lambda: listens(port)).start().wait_ready()
    return configured


@pytest.fixture
def configured(tmp_path: Path, port: int) -> Path:
    """The settings of an agent for a UPS that does not run, and no cloud."""
    (tmp_path / "installation.json").write_bytes(encode(NOWHERE))
    (tmp_path / "agent.toml").write_text(
        'installation = "installation.json"\nstate_dir = "state"\n'
        f'[[ups]]\nname = "rack-1"\nmodbus = "tcp://127.0.0.1:{port}"\n'
    )
    return tmp_path


def test_help_names_every_command_and_setting() -> None:
    top = agent("--help")
    assert top.returncode == 0
    for command in ("run", "enable", "reset", "doctor", "status"):
        assert command in top.stdout
        text = agent(command, "--help").stdout
        for row in table(Settings):
            assert "--" + row.name.replace("_", "-") in text
        for row in table(UpsSettings):
            assert f"  {row.name} " in text
        assert "[[ups]]" in text


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["run"], "installation must be set"),
        (["run", "--config", "missing.toml"], "missing.toml"),
        (["run", "--installation", "missing.json", "--state-dir", "STATE"], r"no [[ups]] table"),
        (["run", "--installation", "x", "--log-level", "loud"], "no log_level 'loud'"),
    ],
)
def test_mistakes_are_said_in_one_line(tmp_path: Path, words: list[str], complaint: str) -> None:
    done = agent(*[word.replace("STATE", str(tmp_path / "state")) for word in words])
    assert done.returncode == 2
    assert complaint in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_a_damaged_installation_file_is_said_in_one_line(configured: Path) -> None:
    (configured / "installation.json").write_text("{}")
    done = agent("run", "--config", str(configured / "agent.toml"))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "installation.json" in done.stderr


def test_enable_and_status_with_and_without_a_running_agent(folder: Path, parts: Parts) -> None:
    config = str(folder / "agent.toml")
    before = json.loads(agent("status", "--json", "--config", config).stdout)["upss"][0]
    assert (before["product_id"], before["smartconnect"]) == ("", False)
    running = parts.add("agent", [script("smartconnect-agent"), "run", "--config", config]).start()

    def status() -> dict[str, object]:
        found: dict[str, object] = json.loads(agent("status", "--json", "--config", config).stdout)["upss"][0]
        return found

    def is_read() -> bool:
        answer = control.ask(folder / "state", {"order": "status"})
        return answer is not None and answer["upss"][0]["ups"] == "answers"

    wait_for("the UPS is read", is_read)
    seen = status()
    assert seen["fingerprint"] == before["fingerprint"]
    assert seen["product_id"]
    assert seen["smartconnect"] is False
    assert agent("enable", "--ups", "rack-9", "--config", config).returncode == 1
    done = agent("enable", "--config", config)
    assert (done.returncode, done.stdout) == (0, "SmartConnect is on: rack-1\n")
    assert status()["smartconnect"] is True
    found = agent("doctor", "--config", config)  # it reads the UPS, but there is no cloud
    assert (found.returncode, "FAILS  connection" in found.stdout, "ok     UPS" in found.stdout) == (
        1,
        True,
        True,
    )
    readable = agent("status", "--config", config).stdout
    assert str(seen["product_id"]) in readable
    assert str(seen["fingerprint"]) in readable
    began = time.monotonic()
    assert running.stop() == 0
    assert time.monotonic() - began < 5
    assert status()["smartconnect"] is True  # remembered
    assert "does not run: start it" in agent("doctor", "--config", config).stdout
    done = agent("enable", "--config", config)  # without a running agent it reads the UPS itself
    assert (done.returncode, done.stdout) == (0, "SmartConnect is on: rack-1\n")


def test_a_second_agent_on_the_same_state_is_refused(configured: Path) -> None:
    with locked(configured / "state"):
        done = agent("run", "--config", str(configured / "agent.toml"))
        assert done.returncode == 1
        assert "another agent runs" in done.stderr


def test_enable_says_when_the_ups_does_not_answer(configured: Path) -> None:
    text = (configured / "agent.toml").read_text()
    (configured / "agent.toml").write_text(text.replace("tcp://127.0.0.1", "tcp://127.0.0.2"))
    done = agent("enable", "--config", str(configured / "agent.toml"))
    assert done.returncode == 1
    assert "nothing accepts a connection at tcp://127.0.0.2" in done.stderr


def test_a_lost_device_key_stops_the_agent_instead_of_becoming_another_device(folder: Path) -> None:
    config = str(folder / "agent.toml")
    assert agent("enable", "--config", config).returncode == 0
    (folder / "state" / "rack-1" / "device.key").unlink()
    done = agent("run", "--config", config)
    assert done.returncode == 1
    assert "new identity" in done.stderr
    assert not (folder / "state" / "rack-1" / "device.key").exists()


def test_a_ups_without_our_block_takes_its_codes_from_the_settings(tmp_path: Path, parts: Parts) -> None:
    port = free_port()
    command = [
        script("smartconnect-simulator"),
        "ups",
        "--profile",
        "ups_serial",
        "--tcp",
        f"127.0.0.1:{port}",
    ]
    parts.add("simulator", command, ready=lambda: listens(port)).start().wait_ready()
    (tmp_path / "installation.json").write_bytes(encode(NOWHERE))
    (tmp_path / "agent.toml").write_text(
        'installation = "installation.json"\nstate_dir = "state"\n'
        f'[[ups]]\nname = "rack-1"\nmodbus = "tcp://127.0.0.1:{port}"\n'
        'product_id = "abcd-2345-efgh"\nproduct_key_file = "rack-1.key"\n'
    )
    key_file = tmp_path / "rack-1.key"
    key_file.touch(0o644)
    key_file.write_text("K0123456789XYZ\n")
    config = str(tmp_path / "agent.toml")
    done = agent("status", "--config", config)
    assert (done.returncode, "open to others" in done.stderr) == (1, True)
    key_file.chmod(0o600)
    assert (
        json.loads(agent("status", "--json", "--config", config).stdout)["upss"][0]["product_id"]
        == "ABCD2345EFGH"
    )
    key_file.unlink()  # only the key derived from it is needed from now on
    done = agent("enable", "--config", config)
    assert (done.returncode, done.stdout) == (0, "SmartConnect is on: rack-1\n")
    found = json.loads(agent("status", "--json", "--config", config).stdout)["upss"][0]
    assert (found["product_id"], found["smartconnect"]) == ("ABCD2345EFGH", True)
