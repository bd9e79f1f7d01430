"""The command line, in processes of its own."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from simulators.__main__ import main
from simulators.control import send


@contextmanager
def running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """The simulator in a process, and its lines up to the one that says ready."""
    process = subprocess.Popen(
        [sys.executable, "-m", "simulators", *arguments], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    lines: list[str] = []
    try:
        for line in process.stdout:
            lines.append(line.rstrip())
            if line.startswith("ready "):
                break
        yield process, lines
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_ups_on_both_transports_stops_cleanly(tmp_path: Path, number: int) -> None:
    link, socket = tmp_path / "tty", tmp_path / "s"
    arguments = ("--tcp", "127.0.0.1:0", "--rtu", str(link), "--socket", str(socket), "--set", "load_pct=44")
    with running("ups", "--profile", "smartconnect", *arguments) as (process, lines):
        assert re.fullmatch(r"Product ID \w{12}  Product Key \w{14}", lines[0])
        assert re.search(r"tcp=127\.0\.0\.1:\d+ rtu=\S+ \(/dev/pts/\d+\)", lines[-1])
        state = send(socket, ["button"])
        assert (state["load_pct"], state["smartconnect"], state["presence"]) == (44, True, 1)
        os.kill(process.pid, number)
        assert process.wait(5) == 0
    assert not link.is_symlink()
    assert not socket.exists()


def test_codes_come_from_id_and_file(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("K0123456789XYZ\n")
    codes = ("--product-id", "AB12-CD34-EF56", "--product-key-file", str(key))
    with running("ups", "--tcp", "127.0.0.1:0", *codes, "--smartconnect", "on") as (_, lines):
        assert len(lines) == 1
        assert lines[0].startswith("ready profile=smartconnect units=1 tcp=")


def test_many_units_behind_one_port(tmp_path: Path) -> None:
    labels, socket = tmp_path / "labels", tmp_path / "s"
    options = ("--profile", "smartconnect", "--labels", str(labels), "--socket", str(socket))
    with running("many", "--tcp", "127.0.0.1:0", "--count", "3", *options) as (_, lines):
        assert "units=1-3" in lines[-1]
        assert len(labels.read_text().splitlines()) == 3
        assert labels.stat().st_mode & 0o777 == 0o600
        assert send(socket, ["state"], unit=3)["serial_number"] == "AS9900000003"


def test_ctl_prints_json_and_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    socket = tmp_path / "s"
    assert main(["ctl", "--socket", str(socket), "state"]) == 1
    with running("ups", "--profile", "ups_serial", "--tcp", "127.0.0.1:0", "--socket", str(socket)):
        assert main(["ctl", "--socket", str(socket), "mains", "off"]) == 0
        assert json.loads(capsys.readouterr().out)["mode"] == "on_battery"
        assert main(["ctl", "--socket", str(socket), "mains", "maybe"]) == 1
        assert "neither on nor off" in capsys.readouterr().err


def test_label_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = tmp_path / "key"
    assert main(["label", "--portal-url", "https://x", "--key-file", str(key)]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.endswith("Product Key " + key.read_text().strip())


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["ups"], "--tcp, --rtu or both"),
        (["ups", "--tcp", "127.0.0.1:0", "--set", "colour=red"], "no point colour"),
        (["ups", "--tcp", "127.0.0.1:0", "--product-id", "AB12CD34EF56"], "belong together"),
    ],
)
def test_misuse_is_explained(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["ups", "--tcp", "nowhere"],
        ["ups", "--tcp", "x:99999"],
        ["ups", "--unit", "248"],
        ["ups", "--set", "x"],
        ["ups", "--smartconnect", "maybe"],
        ["ups", "--product-id", "short"],
        ["ups", "--profile", "none"],
    ],
)
def test_unreadable_options(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_help_lists_points(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["ups", "--help"])
    assert "state_of_charge" in capsys.readouterr().out
