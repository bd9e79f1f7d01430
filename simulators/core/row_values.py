"""What a simulated Smart-UPS would say in each row of the register map."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from protocol.registers import REGISTERS, Access, Value
from simulators.core.nameplate import PF_OF_LOAD, VERIFICATION_VALUES, inventory_values
from simulators.core.outlet import status_bits
from simulators.core.ups_state import Mode, UpsState

_EFFICIENCY_LOSS_PCT = 1.5  # of the rated power, whatever the load
_MIN_LOAD_FOR_EFFICIENCY_PCT = 5.0


def row_value(ups: UpsState, name: str) -> Value:
    """Value of one row of this unit; None where the row does not apply to it."""
    live = _LIVE.get(name)
    if live is not None:
        return live(ups)
    if name in ups.settings:
        return ups.settings[name]
    if name in VERIFICATION_VALUES:
        return VERIFICATION_VALUES[name]
    group, _, what = name.partition("_")
    if group in ups.outlets:
        return _group_value(ups, group, what)
    return inventory_values(ups.plate).get(name)


def all_values(ups: UpsState) -> dict[str, Value]:
    """Every readable row, by name."""
    return {row.name: row_value(ups, row.name) for row in REGISTERS if row.access is not Access.COMMAND}


def _bits(**bits: bool) -> frozenset[str]:
    return frozenset(name for name, is_set in bits.items() if is_set)


def _ups_status(ups: UpsState) -> Value:
    outlets = ups.outlets.values()
    return _bits(
        online=ups.output_on and ups.mode is Mode.ONLINE,
        on_battery=ups.output_on and ups.discharging,
        output_off=not ups.output_on,
        fault=bool(ups.power_errors - {"output_overload"}),
        input_bad=not ups.input_good,
        test_in_progress=ups.mode in {Mode.TESTING, Mode.CALIBRATING},
        pending_output_on=any(outlet.turn_on_s is not None for outlet in outlets),
        pending_output_off=ups.mode is Mode.ON_BATTERY
        or ups.shutdown_in_s is not None
        or any(outlet.turn_off_s is not None for outlet in outlets),
        high_efficiency=ups.high_efficiency and ups.output_on,
        overload=ups.overloaded,
    )


def _input_status(ups: UpsState) -> Value:
    low = ups.input_v < ups.plate.nominal_v
    return _bits(
        acceptable=ups.input_good and not ups.returning,
        pending_acceptable=ups.returning,
        voltage_low=not ups.input_good and low,
        voltage_high=not ups.input_good and not low,
        boost=ups.regulation == "boost",
        trim=ups.regulation == "trim",
    )


def _signalling(ups: UpsState) -> Value:
    return _bits(
        power_failure=ups.mode is Mode.ON_BATTERY or not ups.input_good,
        shutdown_imminent=ups.low_runtime or ups.shutdown_in_s is not None,
    )


def _user_interface(ups: UpsState) -> Value:
    return _bits(
        continuous_test=ups.continuous_test,
        alarm_sounding=ups.alarm_sounding,
        alarm_muted=ups.muted,
        button_pressed_recently=ups.button_pressed_recently,
    )


def _efficiency(ups: UpsState) -> Value:
    if not ups.output_on:
        return "output_off"
    if ups.discharging:
        return "on_battery"
    if not ups.battery.full:
        return "battery_charging"
    if ups.carried_pct < _MIN_LOAD_FOR_EFFICIENCY_PCT:
        return "load_too_low"
    ideal = 98.5 if ups.high_efficiency else 96.5
    return ideal * ups.carried_pct / (ups.carried_pct + _EFFICIENCY_LOSS_PCT)


def _apparent_va(ups: UpsState) -> float:
    return ups.load_w / PF_OF_LOAD


def _group_value(ups: UpsState, group: str, what: str) -> Value:
    outlet = ups.outlets[group]
    match what:
        case "outlet_status":
            return status_bits(outlet, ups.supply(), ups.delays(group), low_runtime=ups.low_runtime)
        case "turn_off_countdown":
            return _countdown(outlet.turn_off_s)
        case "turn_on_countdown":
            return _countdown(outlet.turn_on_s)
        case "stay_off_countdown":
            return _countdown(outlet.stay_off_s)
        case _:
            return None


def _countdown(left_s: float | None) -> int:
    return -1 if left_s is None else min(round(left_s), 32767)


def _lifetime(ups: UpsState) -> Value:
    return frozenset({"exceeded" if ups.worn_out else "ok"})


_LIVE: Mapping[str, Callable[[UpsState], Value]] = MappingProxyType(
    {
        "ups_status": _ups_status,
        "status_change_cause": lambda ups: ups.cause,
        "simple_signaling_status": _signalling,
        "general_error": lambda _: frozenset[str](),
        "power_system_error": lambda ups: ups.power_errors,
        "battery_system_error": lambda ups: _bits(needs_replacement=ups.worn_out),
        "battery_test_status": lambda ups: ups.test_status,
        "runtime_calibration_status": lambda ups: ups.calibration_status,
        "battery_lifetime_status": _lifetime,
        "user_interface_status": _user_interface,
        "runtime_remaining": lambda ups: int(ups.runtime_s),
        "state_of_charge": lambda ups: 100.0 * ups.battery.charge,
        "battery_voltage": lambda ups: ups.battery_v,
        "battery_replace_by": lambda ups: ups.plate.battery_replace_by,
        "reserved_134": lambda _: 1,
        "battery_temperature": lambda ups: ups.battery.temperature_c,
        "output_real_power_pct": lambda ups: ups.carried_pct,
        "output_apparent_power_pct": lambda ups: 100.0 * _apparent_va(ups) / ups.plate.rated_apparent_va,
        "output_current": lambda ups: _apparent_va(ups) / ups.output_v if ups.output_on else 0.0,
        "output_voltage": lambda ups: ups.output_v,
        "output_frequency": lambda ups: ups.output_hz,
        "output_energy": lambda ups: int(ups.energy_wh),
        "input_status": _input_status,
        "input_voltage": lambda ups: ups.input_v,
        "efficiency": _efficiency,
        "usb_product_id_number": lambda _: 1043,
    }
)
