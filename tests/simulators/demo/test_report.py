"""What the demo prints."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from simulators.demo.layout import Account, Unit
from simulators.demo.report import Report, UnitReport, render

LABEL = re.compile(r"^Product ID ([0-9A-Z]{12})  Product Key ([0-9A-Z]{14})$", re.MULTILINE)
UNITS = (
    Unit("Server room", "rtu", "ABCDEFGH2345", "ABCDEFGHJK2345", "AS1", 30.0, True),
    Unit("Reception", "tcp", "ABCDEFGH2346", "ABCDEFGHJK2346", "AS2", 20.0, False),
)


def report() -> Report:
    commands = (("pull the mains", ["ctl", "--socket", "/a b/x.sock", "mains", "off"]),)
    return Report(
        portal_url="http://127.0.0.1:8080",
        gateway="127.0.0.1:8883",
        notes=["something to know"],
        accounts=[Account("first@example.org", "First", "Owner", "Volt-1")],
        units=[UnitReport(unit, "somewhere", commands) for unit in UNITS],
    )


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", None])
def test_each_label_is_one_plain_line(encoding: str | None) -> None:
    text = render(report(), encoding)
    assert LABEL.findall(text) == [(unit.product_id, unit.product_key) for unit in UNITS]
    assert "\x1b" not in text, "no colour"
    if encoding != "utf-8":
        assert text.isascii()


def test_everything_a_person_needs_is_there() -> None:
    text = render(report(), "utf-8")
    for needed in (
        "http://127.0.0.1:8080",
        "first@example.org",
        "Volt-1",
        "something to know",
        "█",
        "is off; its button",
    ):
        assert needed in text


def test_a_command_is_a_pasteable_line_of_its_own() -> None:
    lines = render(report(), "utf-8").splitlines()
    commands = [shlex.split(line) for line in lines if line.strip().startswith("ctl ")]
    assert commands == [["ctl", "--socket", "/a b/x.sock", "mains", "off"]] * len(UNITS)


def test_a_terminal_shows_the_qr_code_light_on_dark_and_the_label_plain() -> None:
    text = render(report(), "utf-8", colour=True)
    assert LABEL.findall(text), "the label's line has no colour even here"
    painted = [line for line in text.splitlines() if "\x1b" in line]
    assert painted
    assert all(line.startswith("\x1b[97;40m") and "\x1b[0m" in line for line in painted)


@pytest.mark.parametrize("attempt", ["say('nobody hears this')", "check_output()"])
def test_a_closed_pipe_is_noticed_and_not_complained_about_at_exit(attempt: str) -> None:
    program = f"""
from simulators.demo.report import OutputClosedError, check_output, say
import sys
sys.stdin.readline()
try:
    {attempt}
except OutputClosedError:
    sys.exit(7)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        _, complaint = process.communicate("go on\n")
    assert (process.returncode, complaint) == (7, "")


def test_an_open_pipe_and_a_file_are_fine(tmp_path: Path) -> None:
    program = [sys.executable, "-c", "from simulators.demo.report import check_output; check_output()"]
    assert subprocess.run(program, stdout=subprocess.PIPE, check=False).returncode == 0
    with (tmp_path / "out").open("wb") as out:
        assert subprocess.run(program, stdout=out, check=False).returncode == 0
