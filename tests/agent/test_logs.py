"""Logs as other programs and people see them."""

from __future__ import annotations

import json
import subprocess
import sys

import structlog

from agent.logs import Repeats

PROGRAM = """
import structlog
from agent import logs
logs.configure(level="info", form={form!r})
structlog.get_logger("x").warning("a text", reason="from a peer\\n\\x1b[2J", ups="rack-1")
structlog.get_logger("x").debug("not shown")
"""


def said(form: str) -> str:
    """What the program writes on standard error."""
    command = [sys.executable, "-c", PROGRAM.format(form=form)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stderr


def test_one_json_object_a_line_elsewhere_than_on_a_terminal() -> None:
    (line,) = said("auto").splitlines()
    found = json.loads(line)
    assert found.pop("timestamp").endswith("Z")
    assert found == {
        "event": "a text",
        "level": "warning",
        "process": "agent",
        "ups": "rack-1",
        "reason": "from a peer\\n\\x1b[2J",
    }


def test_human_lines_hold_no_control_characters_of_peers() -> None:
    (line,) = said("human").splitlines()
    assert "a text" in line
    assert "\x1b[2J" not in line


def test_the_first_failure_is_loud_the_rest_is_quiet() -> None:
    with structlog.testing.capture_logs() as lines:
        repeats = Repeats(structlog.get_logger())
        repeats.worked("well again")
        repeats.failed("broken", reason="a")
        repeats.failed("broken", reason="b")
        repeats.worked("well again")
        repeats.failed("broken", reason="c")
    assert [(line["log_level"], line["event"]) for line in lines] == [
        ("warning", "broken"),
        ("debug", "broken"),
        ("info", "well again"),
        ("warning", "broken"),
    ]
