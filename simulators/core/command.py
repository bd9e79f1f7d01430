"""Commands of the register map (1536 to 1543) carried out on a simulated Smart-UPS.

ValueError stands for exception 4: the unit knows the register and refuses the value.
"""

from collections.abc import Callable

from protocol.register_map import OUTLET_MODIFIERS, OUTLET_TARGETS
from protocol.registers import Value
from simulators.core import outlet as group_of
from simulators.core.nameplate import default_settings
from simulators.core.outlet import Outlet
from simulators.core.smart_ups import SmartUps
from simulators.core.ups_state import Mode


def execute(ups: SmartUps, name: str, value: Value) -> None:
    """Do what was written to the command register ``name``."""
    if not isinstance(value, frozenset):
        raise ValueError(f"{name} takes bits")  # noqa: TRY004  the unit's refusal, see above
    _COMMANDS[name](ups, value)


def _outlet_command(ups: SmartUps, bits: frozenset[str]) -> None:
    actions = bits & set(OUTLET_MODIFIERS)
    modifiers = {bit for bit in bits if bit.startswith("mod_")}
    groups = [group for group, bit in OUTLET_TARGETS.items() if bit in bits]
    sources = {bit for bit in bits if bit.startswith("source_")}
    known = actions | modifiers | sources | {OUTLET_TARGETS[group] for group in groups}
    if len(actions) != 1 or bits - known or not groups or not set(groups) <= set(ups.outlets):
        raise ValueError("not an outlet command of this unit")
    action = next(iter(actions))
    if not modifiers <= OUTLET_MODIFIERS[action]:
        raise ValueError(f"illegal modifier of {action}")
    ups.change_outlets(groups, _outlet_change(ups, action, modifiers))


def _outlet_change(ups: SmartUps, action: str, modifiers: set[str]) -> Callable[[str, Outlet], Outlet]:
    def change(group: str, outlet: Outlet) -> Outlet:
        delays = ups.delays(group)
        off_delay_s = delays.turn_off_s if "mod_use_off_delay" in modifiers else 0.0
        on_delay_s = delays.turn_on_s if "mod_use_on_delay" in modifiers else 0.0
        match action:
            case "cancel":
                return group_of.cancel(outlet)
            case "output_on":
                return group_of.turn_on(outlet, on_delay_s, cold_boot="mod_cold_boot_allowed" in modifiers)
            case "output_off":
                return group_of.turn_off(outlet, off_delay_s)
            case "output_shutdown":
                return group_of.shut_down(outlet, off_delay_s, delays.stay_off_s, on_delay_s)
            case _:
                return group_of.reboot(outlet, off_delay_s, delays.stay_off_s, on_delay_s)

    return change


def _simple_signaling(ups: SmartUps, bits: frozenset[str]) -> None:
    groups = list(ups.outlets)
    match sorted(bits):
        case ["request_shutdown"]:
            ups.request_shutdown()
        case ["remote_off"]:
            ups.change_outlets(groups, lambda _, outlet: group_of.turn_off(outlet, 0.0))
        case ["remote_on"]:
            ups.change_outlets(groups, lambda _, outlet: group_of.turn_on(outlet, 0.0, cold_boot=False))
        case _:
            raise ValueError("one bit at a time")


def _battery_test(ups: SmartUps, bits: frozenset[str]) -> None:
    if bits == {"start"}:
        ups.start_self_test()
    elif bits != {"abort"} or not ups.abort(Mode.TESTING):
        raise ValueError("no test to abort")  # seen on a real unit, too


def _calibration(ups: SmartUps, bits: frozenset[str]) -> None:
    if bits == {"start"}:
        ups.start_calibration()
    elif bits != {"abort"} or not ups.abort(Mode.CALIBRATING):
        raise ValueError("no calibration to abort")


def _user_interface(ups: SmartUps, bits: frozenset[str]) -> None:
    match sorted(bits):
        case ["mute_all"]:
            ups.muted = True
        case ["cancel_mute"]:
            ups.muted = False
        case ["continuous_test"]:
            ups.continuous_test = not ups.continuous_test
        case ["short_test"]:
            ups.beeps += 1
        case ["ack_battery_alarms"] | ["ack_site_wiring"]:
            pass  # alarms that this unit does not have
        case _:
            raise ValueError("one bit at a time")


def _ups_command(ups: SmartUps, bits: frozenset[str]) -> None:
    match sorted(bits):
        case ["clear_faults"]:
            ups.clear_faults()
        case ["restore_factory_settings"]:
            ups.settings.update(default_settings(ups.plate))
            ups.cause = "configuration_change"
        case ["reset_strings"]:
            names = default_settings(ups.plate).items()
            ups.settings.update({name: value for name, value in names if name.endswith("_name")})
            ups.cause = "configuration_change"
        case ["reset_logs"]:
            pass  # logs are not part of the map
        case _:
            raise ValueError("a line-interactive unit has no bypass")


_COMMANDS: dict[str, Callable[[SmartUps, frozenset[str]], None]] = {
    "ups_command": _ups_command,
    "outlet_command": _outlet_command,
    "simple_signaling_command": _simple_signaling,
    "battery_test_command": _battery_test,
    "runtime_calibration_command": _calibration,
    "user_interface_command": _user_interface,
}
