import pytest

from protocol.registers import REGISTERS, Access, decode_register, encode_value
from simulators.core.row_values import all_values, row_value
from simulators.core.smart_ups import SmartUps


def test_every_row_of_the_map_has_a_value_that_it_can_hold() -> None:
    values = all_values(SmartUps())
    assert set(values) == {row.name for row in REGISTERS if row.access is not Access.COMMAND}
    for row in REGISTERS:
        value = values.get(row.name)
        if value is not None:
            decode_register(row, encode_value(row.name, value))


def test_efficiency_gives_its_reason() -> None:
    ups = SmartUps(load_pct=60)
    assert row_value(ups, "efficiency") == pytest.approx(98.5 * 60 / 61.5)
    ups.set_load_pct(2)
    assert row_value(ups, "efficiency") == "load_too_low"
    ups.set_load_pct(60)
    ups.set_charge(0.5)
    assert row_value(ups, "efficiency") == "battery_charging"
    ups.plug(into_mains=False)
    assert row_value(ups, "efficiency") == "on_battery"
    ups.step(10000)
    assert row_value(ups, "efficiency") == "output_off"


def test_input_status() -> None:
    ups = SmartUps()
    assert row_value(ups, "input_status") == {"acceptable"}
    ups.set_mains_v(212)
    assert row_value(ups, "input_status") == {"acceptable", "boost"}
    ups.set_mains_v(270)
    assert row_value(ups, "input_status") == {"voltage_high"}
    ups.plug(into_mains=False)
    assert row_value(ups, "input_status") == {"voltage_low"}
    ups.set_mains_v(230)
    ups.plug(into_mains=True)
    ups.step(1)
    assert row_value(ups, "input_status") == {"pending_acceptable"}


def test_signalling_and_front_panel() -> None:
    ups = SmartUps(load_pct=100)
    assert row_value(ups, "simple_signaling_status") == frozenset()
    ups.plug(into_mains=False)
    assert row_value(ups, "simple_signaling_status") == {"power_failure"}
    assert row_value(ups, "user_interface_status") == {"alarm_sounding"}
    ups.step(330)
    assert row_value(ups, "simple_signaling_status") == {"power_failure", "shutdown_imminent"}
    ups.muted = True
    ups.press_button()
    assert row_value(ups, "user_interface_status") == {"alarm_muted", "button_pressed_recently"}


def test_worn_battery_is_reported() -> None:
    ups = SmartUps()
    assert row_value(ups, "battery_lifetime_status") == {"ok"}
    ups.set_health(0.4)
    assert row_value(ups, "battery_lifetime_status") == {"exceeded"}
    assert row_value(ups, "battery_system_error") == {"needs_replacement"}


def test_rows_of_absent_groups_do_not_apply() -> None:
    ups = SmartUps()
    assert row_value(ups, "sog0_turn_off_countdown") == -1
    assert row_value(ups, "sog1_turn_off_countdown") is None
    assert row_value(ups, "mog_load_shed_runtime") is None
    assert row_value(ups, "bypass_voltage") is None
