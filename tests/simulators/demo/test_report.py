"""What the demo prints."""

import re

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
        "off: a claim",
    ):
        assert needed in text


def test_a_command_is_one_pasteable_line() -> None:
    assert "ctl --socket '/a b/x.sock' mains off\n" in render(report(), "utf-8")
