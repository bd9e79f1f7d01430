"""Settings: three sources, and every mistake named."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.config import Enable, ModbusAddress, Settings, UpsSettings, load, table
from agent.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """
installation = "installation.json"
spool_max_mb = 8
[[ups]]
name = "rack-1"
modbus = "serial:/dev/ttyUSB0"
[[ups]]
name = "rack-2"
modbus = "rtu+tcp://[2001:db8::1]:502"
unit = 7
enable = "auto"
report_interval_s = 1
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "agent.toml"
    path.write_text(text)
    return path


def test_a_file_with_two_upss(tmp_path: Path) -> None:
    settings = load(written(tmp_path, GOOD), {}, {})
    assert settings.installation == tmp_path / "installation.json"
    assert settings.spool_max_mb == 8
    one, two = settings.ups
    assert (one.name, one.unit, one.enable, one.report_interval_s) == ("rack-1", 1, Enable.ASK, 60.0)
    assert one.modbus == ModbusAddress("/dev/ttyUSB0", None, 0, rtu=True)
    assert two.modbus == ModbusAddress(None, "2001:db8::1", 502, rtu=True)
    assert (two.unit, two.enable, two.report_interval_s) == (7, Enable.AUTO, 1.0)


def test_a_later_source_wins(tmp_path: Path) -> None:
    environment = {
        "SMARTCONNECT_AGENT_SPOOL_MAX_MB": "9",
        "SMARTCONNECT_AGENT_LOG_LEVEL": "debug",
        "OTHER": "x",
    }
    settings = load(written(tmp_path, GOOD), environment, {"spool_max_mb": "10"})
    assert (settings.spool_max_mb, settings.log_level) == (10, "debug")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "installation must be set"),
        ("state_folder = 'x'", "there is no setting 'state_folder'"),
        ("installation = 5", "is not a path"),
        ("installation = 'x'\nspool_max_mb = true", "is not a whole number"),
        ("installation = 'x'\nspool_max_mb = 0", "at least 1"),
        ("installation = 'x'\nlog_level = 'loud'", "no log_level"),
        ("installation = 'x'\nlog_format = 'xml'", "log_format is"),
        ("installation = 'x'\nups = 3", r"\[\[ups\]\] table"),
        ("installation = 'x'\n[[ups]]\nname = 'a'", "modbus must be set"),
        ("installation = 'x'\n[[ups]]\nname = '../a'\nmodbus = 'tcp://h:1'", "cannot be the name"),
        ("installation = 'x'\n[[ups]]\nname = 'a'\nmodbus = 'h:1'", "is not serial:/path"),
        ("installation = 'x'\n[[ups]]\nname = 'a'\nmodbus = 'tcp://h:70000'", "is not serial:/path"),
        ("installation = 'x'\n[[ups]]\nname = 'a'\nmodbus = 'tcp://h:1'\nunit = 300", "unit is 1 to 247"),
        (
            "installation = 'x'\n[[ups]]\nname = 'a'\nmodbus = 'tcp://h:1'\nenable = 'yes'",
            "is not auto or ask",
        ),
        ("installation = 'x'\n[[ups]]\nname = 'a'\nmodbus = 'tcp://h:1'\ncolour = 1", "no setting 'colour'"),
        (
            "installation = 'x'\n[[ups]]\nname = 'a'\nmodbus = 'tcp://h:1'\nallow_outlet_control = 1",
            "is not true or false",
        ),
        (
            "installation = 'x'\n[[ups]]\nname = 'a'\nmodbus = 'tcp://h:1'\npoll_interval_s = 0",
            "poll_interval_s",
        ),
        (
            "installation = 'x'\n[[ups]]\nname = 'a'\nmodbus = 'tcp://h:1'\nreport_interval_s = 0",
            "report_interval_s",
        ),
        ("installation = 'x'\n[[ups]]\nname = 'a'\nmodbus = 'tcp://h:1'\nbaud_rate = 9601", "baud_rate"),
        ("installation = 'x'" + 2 * "\n[[ups]]\nname = 'a'\nmodbus = 'tcp://h:1'", "the same name"),
        (
            "installation = 'x'\n[[ups]]\nname = 'a'\nmodbus = 'tcp://h:1'\n[[ups]]\nname = 'b'\nmodbus = 'tcp://h:1'",
            "the same address and unit",
        ),
        ("= 3", "agent.toml"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        load(written(tmp_path, text), {}, {})


def test_outlets_are_switched_from_afar_only_where_it_is_said(tmp_path: Path) -> None:
    one, two = load(written(tmp_path, GOOD + "allow_outlet_control = true\n"), {}, {}).ups
    assert (one.allow_outlet_control, two.allow_outlet_control) == (False, True)
    (row,) = [row for row in table(UpsSettings) if row.name == "allow_outlet_control"]
    assert row.default == "false"


def test_sources_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="SMARTCONNECT_AGENT_COLOUR"):
        load(None, {"SMARTCONNECT_AGENT_COLOUR": "x"}, {})
    with pytest.raises(ConfigError, match="--spool-max-mb"):
        load(None, {}, {"spool_max_mb": "many"})
    with pytest.raises(ConfigError, match=r"missing\.toml"):
        load(tmp_path / "missing.toml", {}, {})


def test_the_tables_name_every_setting() -> None:
    assert [row.name for row in table(Settings)] == [
        field.name for field in dataclasses.fields(Settings) if field.name != "ups"
    ]
    assert all(row.explanation for row in (*table(Settings), *table(UpsSettings)))


@given(st.text(max_size=40))
def test_addresses_parse_or_are_refused(text: str) -> None:
    try:
        address = ModbusAddress.parse(text)
    except ValueError:
        return
    if address.host is None or ":" not in address.host:
        assert ModbusAddress.parse(str(address)) == address
