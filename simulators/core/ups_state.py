"""What a simulated Smart-UPS is at one moment, and everything that can be seen of it.

``simulators.core.smart_ups`` changes it; ``simulators.core.row_values`` reads it.
"""

import math
from enum import StrEnum
from typing import TYPE_CHECKING

from simulators.core import battery as cell
from simulators.core.battery import Battery, BatterySpec
from simulators.core.nameplate import Nameplate, default_settings
from simulators.core.outlet import Delays, Outlet, Supply

if TYPE_CHECKING:
    from protocol.registers import Value

RETURN_DELAY_S = 2.0  # how long mains must be good before the UPS goes back
HIGH_EFFICIENCY_AFTER_S = 300.0
LOW_RUNTIME_S = 120.0  # below it the UPS warns that it will shut down
OVERLOAD_PCT = 105.0
WORN_OUT = 0.5  # health below which a battery needs replacement
BUTTON_SHOWN_S = 5.0
DIP_V = 0.6  # amplitude of the mains' wandering

NOTHING: frozenset[str] = frozenset()


class Mode(StrEnum):
    """What feeds the load, and why."""

    ONLINE = "online"
    ON_BATTERY = "on_battery"
    TESTING = "testing"
    CALIBRATING = "calibrating"
    DEAD = "dead"


DISCHARGING = frozenset({Mode.ON_BATTERY, Mode.TESTING, Mode.CALIBRATING})


class UpsState:
    """The unit's state. Attributes and properties may be read freely, and are changed by SmartUps alone."""

    def __init__(
        self, plate: Nameplate | None = None, *, charge: float = 1.0, load_pct: float = 30.0
    ) -> None:
        self.plate = plate or Nameplate()
        self.settings: dict[str, Value] = default_settings(self.plate)
        self.battery = Battery(BatterySpec(rated_w=self.plate.rated_real_w), charge=charge)
        self.outlets = {name: Outlet() for name in self.plate.groups}
        self.mode = Mode.ONLINE
        self.cause = "system_initialization"
        self.time_s = 0.0
        self.plugged = True
        self.mains_v = float(self.plate.nominal_v)
        self.mains_hz = float(self.plate.nominal_hz)
        self.dip_v = DIP_V
        self.ambient_c = 24.0
        self.load_pct = load_pct
        self.energy_wh = 184_000.0
        self.test_status = NOTHING
        self.calibration_status = NOTHING
        self.power_errors = NOTHING
        self.muted = False
        self.continuous_test = False
        self.beeps = 0  # short tests of lamps and beeper
        self.smartconnect = False
        self.presence = 0
        self.shutdown_in_s: float | None = None
        self.good_s = math.inf  # mains good for
        self.stable_s = math.inf  # online without interruption for
        self.mode_s = 0.0
        self.overload_s = 0.0
        self.button_s = math.inf  # since the button was pressed

    @property
    def input_v(self) -> float:
        """Voltage at the plug, wandering a little."""
        if not self.plugged:
            return 0.0
        wander = math.sin(self.time_s / 7.0) + 0.5 * math.sin(self.time_s / 2.3)
        return max(self.mains_v + self.dip_v * wander, 0.0)

    @property
    def input_good(self) -> bool:
        """Whether the plug's voltage lies inside the transfer limits."""
        return self.setting("transfer_low") <= self.input_v <= self.setting("transfer_high")

    @property
    def discharging(self) -> bool:
        """Whether the battery feeds the load."""
        return self.mode in DISCHARGING

    @property
    def output_on(self) -> bool:
        """Whether any outlet group has voltage."""
        return self.mode is not Mode.DEAD and any(outlet.on for outlet in self.outlets.values())

    @property
    def carried_pct(self) -> float:
        """Load on the groups that are on, in percent of the rated power."""
        if not self.output_on:
            return 0.0
        return self.load_pct * sum(outlet.on for outlet in self.outlets.values()) / len(self.outlets)

    @property
    def load_w(self) -> float:
        """The same in watts."""
        return self.carried_pct / 100.0 * self.plate.rated_real_w

    @property
    def runtime_s(self) -> float:
        """How long the battery would carry, or carries, this load."""
        return cell.runtime_s(self.battery, self.load_w)

    @property
    def battery_v(self) -> float:
        """At the battery's terminals."""
        charging = self.mode is Mode.ONLINE
        return cell.voltage_v(self.battery, None if charging else self.load_w)

    @property
    def output_v(self) -> float:
        """At the outlets: the mains, boosted or trimmed where that is enough, or the inverter."""
        if not self.output_on:
            return 0.0
        if self.discharging:
            return float(self.plate.nominal_v)
        return self.input_v * {"boost": 1.12, "trim": 0.88, "": 1.0}[self.regulation]

    @property
    def regulation(self) -> str:
        """What the transformer does while online: "boost", "trim" or nothing."""
        share = self.input_v / self.plate.nominal_v
        if self.mode is not Mode.ONLINE or 0.93 <= share <= 1.08:
            return ""
        return "boost" if share < 1 else "trim"

    @property
    def output_hz(self) -> float:
        """At the outlets."""
        if not self.output_on:
            return 0.0
        return float(self.plate.nominal_hz) if self.discharging else self.mains_hz

    @property
    def overloaded(self) -> bool:
        """More load than the unit is rated for."""
        return self.carried_pct > OVERLOAD_PCT

    @property
    def high_efficiency(self) -> bool:
        """The relay bypasses the regulator, some minutes after the last disturbance."""
        return self.mode is Mode.ONLINE and self.stable_s >= HIGH_EFFICIENCY_AFTER_S

    @property
    def low_runtime(self) -> bool:
        """The unit warns that it will go off soon."""
        return self.discharging and self.runtime_s <= LOW_RUNTIME_S

    @property
    def worn_out(self) -> bool:
        """The battery should be replaced."""
        return self.battery.health < WORN_OUT

    @property
    def alarm_sounding(self) -> bool:
        """Whether somebody next to it would hear it."""
        return (self.mode is Mode.ON_BATTERY or self.overloaded) and not self.muted

    @property
    def returning(self) -> bool:
        """Mains are good again, but not yet for long enough."""
        return self.input_good and self.good_s < RETURN_DELAY_S

    @property
    def button_pressed_recently(self) -> bool:
        """Somebody stood in front of it within the last seconds."""
        return self.button_s < BUTTON_SHOWN_S

    def supply(self) -> Supply:
        """What the outlet groups can draw from."""
        return Supply(mains_ok=self.input_good, runtime_s=self.runtime_s)

    def delays(self, group: str) -> Delays:
        """Settings of an outlet group."""
        return Delays(
            turn_off_s=self.setting(f"{group}_turn_off_delay"),
            turn_on_s=self.setting(f"{group}_turn_on_delay"),
            stay_off_s=self.setting(f"{group}_stay_off_delay"),
            min_return_runtime_s=self.setting(f"{group}_min_return_runtime"),
        )

    def setting(self, name: str) -> float:
        """A setting that is a number."""
        value = self.settings[name]
        return float(value) if isinstance(value, int | float) else 0.0
