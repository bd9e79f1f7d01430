"""A Smart-UPS with its battery, load, mains plug and outlet groups, stepped by the caller.

Theory of operation. ``step`` moves the mains, the mode and the battery on by a time that the caller measured;
everything else (commands, plug, button) happens between steps. The mode:

============  =====================================================  =========================================
mode          means                                                  leaves it
============  =====================================================  =========================================
online        mains are good and feed the load                       mains bad → on battery; self-test started
on battery    mains are bad, the inverter feeds the load             mains good for 2 s → online; empty → dead
testing       self-test: 20 s on battery with good mains             time over, abort, mains bad
calibrating   calibration: on battery down to 10 %                   10 % reached, abort, mains bad
dead          battery empty, mains bad: no output                    mains good → online
============  =====================================================  =========================================

Traces seen on real units (reference, "quirks"): a power failure shows 0x0244 with cause 4, its end 0x0002
with cause 8; a self-test shows 0x0084 for about 20 s and 0x0042, then 0x0044, in its status word; high
efficiency returns after about five minutes. ``simulators.core.register_image`` makes words of all this.
"""

from collections.abc import Callable
from dataclasses import replace

from protocol.extension import PRESENCE_MODULUS
from protocol.registers import Value
from simulators.core import battery as cell
from simulators.core import outlet as group_of
from simulators.core.outlet import Outlet
from simulators.core.ups_state import NOTHING, RETURN_DELAY_S, Mode, UpsState

MAX_STEP_S = 1.0  # longer steps are cut into such pieces
SELF_TEST_S = 20.0
CALIBRATION_ENDS_AT = 0.10
CALIBRATION_MIN_LOAD_PCT = 14.0
SIGNALLED_SHUTDOWN_S = 60.0  # fixed, whatever the group's delay says
SIGNALLED_RETURN_S = 15.0  # switched groups come after the main group
OVERLOAD_ON_BATTERY_S = 30.0  # then the output is dropped

_BY_PROTOCOL = "source_protocol"


class SmartUps(UpsState):
    """The whole unit; its methods are the only way to change it."""

    # What the world does to it.

    def step(self, dt_s: float) -> None:
        """Let ``dt_s`` pass."""
        while dt_s > 0:
            piece = min(dt_s, MAX_STEP_S)
            self._step(piece)
            dt_s -= piece

    def plug(self, *, into_mains: bool) -> None:
        """Pull or restore the mains plug."""
        self.plugged = into_mains
        self._settle()

    def set_mains_v(self, volts: float) -> None:
        """Change the mains voltage, for brown-outs and swells."""
        self.mains_v = volts
        self._settle()

    def set_load_pct(self, percent: float) -> None:
        """Change what is plugged in, as a share of the rated power."""
        self.load_pct = min(max(percent, 0.0), 200.0)

    def set_charge(self, share: float) -> None:
        """Set the state of charge at once."""
        self.battery = replace(self.battery, charge=min(max(share, 0.0), 1.0))

    def set_health(self, share: float) -> None:
        """Age the battery: the share of its capacity that is left."""
        self.battery = replace(self.battery, health=min(max(share, 0.01), 1.0))

    def press_button(self) -> None:
        """Front panel: someone is there. Switches SmartConnect on if it is off; never switches it off."""
        self.presence = (self.presence + 1) % PRESENCE_MODULUS
        self.button_s = 0.0
        self.smartconnect = True

    # What commands do to it.

    def start_self_test(self) -> None:
        """Register 1541, bit 0."""
        if self.mode is not Mode.ONLINE or not self.output_on:
            self.test_status = frozenset({"refused", _BY_PROTOCOL, "why_invalid_state"})
        elif self.battery.charge < CALIBRATION_ENDS_AT:
            self.test_status = frozenset({"refused", _BY_PROTOCOL, "why_state_of_charge"})
        else:
            self.test_status = frozenset({"in_progress", _BY_PROTOCOL})
            self._enter(Mode.TESTING, "automatic_test")

    def start_calibration(self) -> None:
        """Register 1542, bit 0."""
        reason = self._against_calibration()
        if reason:
            self.calibration_status = frozenset({"refused", _BY_PROTOCOL, reason})
        else:
            self.calibration_status = frozenset({"in_progress", _BY_PROTOCOL})
            self._enter(Mode.CALIBRATING, "automatic_test")

    def abort(self, mode: Mode) -> bool:
        """Stop the self-test or the calibration; False when it does not run."""
        if self.mode is not mode:
            return False
        self._finish("aborted")
        self._enter(Mode.ONLINE, "test_ended")
        return True

    def change_outlets(self, groups: list[str], change: Callable[[str, Outlet], Outlet]) -> None:
        """Apply an outlet command to some groups."""
        for group in groups:
            self.outlets[group] = change(group, self.outlets[group])
        self.cause = "protocol_command"

    def request_shutdown(self) -> None:
        """Register 1540, bit 0: everything off in a minute, and on again with the mains."""
        self.shutdown_in_s = SIGNALLED_SHUTDOWN_S
        self.cause = "protocol_command"

    def change_setting(self, name: str, value: Value) -> None:
        """A setting written by a client or at the front panel."""
        self.settings[name] = value
        self.cause = "configuration_change"
        self._settle()

    def clear_faults(self) -> None:
        """Forget latched errors."""
        self.power_errors = NOTHING
        self.cause = "error_cleared"

    # How it works.

    def _step(self, dt_s: float) -> None:
        self.time_s += dt_s
        self.button_s += dt_s
        self.good_s = self.good_s + dt_s if self.input_good else 0.0
        self.stable_s += dt_s
        self.mode_s += dt_s
        self._flow(dt_s)
        self._watch_load(dt_s)
        self._settle()
        self._step_outlets(dt_s)

    def _flow(self, dt_s: float) -> None:
        """Energy in, energy out, heat."""
        self.energy_wh += self.load_w * dt_s / 3600.0
        warming = 0.0
        if self.discharging:
            self.battery = cell.discharge(self.battery, self.load_w, dt_s)
            warming = self.carried_pct / 100.0
        elif self.input_good and not self.battery.full:
            self.battery = cell.recharge(self.battery, dt_s)
        self.battery = cell.settle_temperature(self.battery, self.ambient_c, warming, dt_s)

    def _watch_load(self, dt_s: float) -> None:
        self.overload_s = self.overload_s + dt_s if self.overloaded else 0.0
        if self.overloaded:
            self.power_errors |= {"output_overload"}
            if self.discharging and self.overload_s >= OVERLOAD_ON_BATTERY_S:
                self._lose_output()
                self.cause = "power_system_error"
        elif self.output_on:
            self.power_errors -= {"output_overload"}

    def _settle(self) -> None:
        """Change the mode where the mains or the battery say so."""
        if not self.input_good:
            self.good_s = 0.0
            if self.mode in {Mode.ONLINE, Mode.TESTING, Mode.CALIBRATING}:
                self._finish("aborted", "why_ac_input")
                self._enter(Mode.ON_BATTERY, self._cause_of_failure())
            if self.mode is Mode.ON_BATTERY and self.battery.empty:
                self._lose_output()
                self._enter(Mode.DEAD, "low_battery_voltage")
        elif self.mode is Mode.ON_BATTERY and self.good_s >= RETURN_DELAY_S:
            self._enter(Mode.ONLINE, "acceptable_input")
        elif self.mode is Mode.DEAD and self.good_s >= RETURN_DELAY_S:
            self._enter(Mode.ONLINE, "automatic_restart")
        elif self.mode is Mode.TESTING and self.mode_s >= SELF_TEST_S:
            self._finish("failed" if self.worn_out else "passed")
            self._enter(Mode.ONLINE, "test_ended")
        elif self.mode is Mode.CALIBRATING and self.battery.charge <= CALIBRATION_ENDS_AT:
            self._finish("passed")
            self._enter(Mode.ONLINE, "test_ended")

    def _step_outlets(self, dt_s: float) -> None:
        if self.shutdown_in_s is not None:
            self.shutdown_in_s -= dt_s
            if self.shutdown_in_s <= 0:
                self.shutdown_in_s = None
                self._lose_output(SIGNALLED_RETURN_S)
        if self.mode is Mode.DEAD:
            return
        for name, outlet in self.outlets.items():
            self.outlets[name] = group_of.step(outlet, dt_s, self.supply(), self.delays(name))
            if self.outlets[name].on != outlet.on:
                back = outlet.comes_back and outlet.waits_for_mains and not outlet.on
                self.cause = "automatic_restart" if back else "outlet_group_state_change"

    def _enter(self, mode: Mode, cause: str) -> None:
        self.mode, self.cause = mode, cause
        self.mode_s = 0.0
        self.stable_s = 0.0
        self.muted = self.muted and mode is Mode.ON_BATTERY

    def _finish(self, how: str, *reasons: str) -> None:
        """Latch the result of the test or calibration that runs, if one does."""
        result = frozenset({how, _BY_PROTOCOL, *reasons})
        if self.mode is Mode.TESTING:
            self.test_status = result - {"why_ac_input"}
        elif self.mode is Mode.CALIBRATING:
            self.calibration_status = result

    def _lose_output(self, switched_groups_later_s: float = 0.0) -> None:
        for name, outlet in self.outlets.items():
            later = self.delays(name).turn_on_s + (0.0 if name == "mog" else switched_groups_later_s)
            self.outlets[name] = group_of.lose_output(outlet, later)

    def _cause_of_failure(self) -> str:
        if not self.plugged:
            return "rapid_input_change"
        return "low_input_voltage" if self.input_v < self.plate.nominal_v else "high_input_voltage"

    def _against_calibration(self) -> str:
        if self.mode is not Mode.ONLINE or not self.output_on:
            return "why_invalid_state"
        if not self.battery.full:
            return "why_state_of_charge"
        return "why_load_too_low" if self.carried_pct < CALIBRATION_MIN_LOAD_PCT else ""
