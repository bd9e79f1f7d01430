"""What can be typed at WorkStation, and how a server's registration reads there."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.core.workstation import MENU, VERSIONS, Order, Task, menu_text, parse, registration_text


@pytest.mark.parametrize(
    ("line", "order"),
    [
        ("Register now", Order(Task.REGISTER_NOW)),
        ("  REGISTER   OFFLINE new ", Order(Task.REGISTER_OFFLINE, "new")),
        ("enter registration code ABC-DEF", Order(Task.ENTER_CODE, "ABC-DEF")),
        ("delete the system database", Order(Task.DELETE)),
        ("Delete site database", Order(Task.DELETE)),
        ("log on server-1", Order(Task.LOG_ON, "server-1")),
        ("! attach es", Order(Task.ATTACH, "es", must_fail=True)),
        ("4 ABC", Order(Task.ENTER_CODE, "ABC")),
        ("exit", Order(Task.QUIT)),
    ],
)
def test_lines(line: str, order: Order) -> None:
    assert parse(line) == order


@pytest.mark.parametrize("line", ["", "   ", "# a remark"])
def test_lines_that_say_nothing(line: str) -> None:
    assert parse(line) is None


@pytest.mark.parametrize(
    ("line", "complaint"),
    [("attach", "server is missing"), ("4", "code is missing"), ("99", "help"), ("dance", "help")],
)
def test_lines_that_are_nothing(line: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse(line)


@given(st.text(max_size=80))
def test_no_line_breaks_it(line: str) -> None:
    try:
        order = parse(line)
    except ValueError:
        return
    assert order is None or order.task in set(Task)


@pytest.mark.parametrize("version", VERSIONS)
def test_each_line_of_the_menu_can_be_typed_by_name_and_by_number(version: str) -> None:
    lines = menu_text(version).splitlines()
    assert lines[0].endswith(version)
    for number, (entry, line) in enumerate(zip(MENU, lines[2:], strict=True), 1):
        assert line.startswith(f"{number:3}  {entry.task.value}")
        by_name, by_number = parse(f"{entry.task.value} x"), parse(f"{number} x")
        assert by_name == by_number == Order(entry.task, "x")


def test_a_registration_reads_with_where_it_comes_from() -> None:
    shown: dict[str, Any] = {
        "name": "server-1",
        "kind": "standalone",
        "version": "1.9",
        "written": "AAAAA-BBBBB",
        "stand": "registered",
        "from": "Enterprise Server",
        "from_id": "CCCCC",
        "registration": {
            "number": "000001",
            "integrator": "",
            "end_user": "Example Hospital",
            "fields": {"site_name": "Main building"},
        },
        "own": {"number": "000002"},
        "attached_to": {"name": "es"},
        "link": {"state": "connected"},
        "attached": [],
        "left": None,
        "request_open": None,
        "cloud": "connected",
        "waiting": [],
        "notices": [],
        "previous": [],
    }
    text = registration_text(shown)
    for words in ("SmartStruxure server device", "Enterprise Server CCCCC", "Main building", "000002"):
        assert words in text
    assert "Integrator" not in text
