"""What a device's shown values mean for a person: one state, its word and its seriousness.

The order of the rules is the order of importance. *Stale* is a state of its own: values of a device that is
not heard are never shown as an outage.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from cloud.core.language import N_, gettext

QUIET_MS: Final = 180_000
"""A connected device reports every minute; three times that without a word is silence."""
LOW_RUNTIME_S: Final = 120.0
"""Low-battery warning of a Smart-UPS as delivered: two minutes of runtime left."""

ON_BATTERY: Final = 1 << 2  # bits of register 0, protocol.register_codes
BYPASS: Final = 1 << 3
OUTPUT_OFF: Final = 1 << 4
FAULT: Final = 1 << 5 | 1 << 15
INPUT_BAD: Final = 1 << 6
TEST: Final = 1 << 7
OVERLOAD: Final = 1 << 21
REPLACE_BATTERY: Final = 1 << 2  # of register 22
BATTERY_DISCONNECTED: Final = 1 << 0


class Condition(StrEnum):
    """The one state a device is shown in. Append only: programs read it."""

    ON_MAINS = "on_mains"
    ON_BATTERY = "on_battery"
    LOW_BATTERY = "low_battery"
    BYPASS = "bypass"
    OVERLOAD = "overload"
    FAULT = "fault"
    OUTPUT_OFF = "output_off"
    REPLACE_BATTERY = "replace_battery"
    SELF_TEST = "self_test"
    OFFLINE = "offline"
    SMARTCONNECT_OFF = "smartconnect_off"
    STARTING = "starting"
    SILENT = "silent"


class Tone(StrEnum):
    """How serious a state is; pages give it a colour beside its word."""

    GOOD = "good"
    WARN = "warn"
    BAD = "bad"
    CALM = "calm"


@dataclass(frozen=True, slots=True)
class Face:
    """How a state looks: its word (in English), its seriousness and the name of its icon."""

    english: str
    tone: Tone
    icon: str

    @property
    def word(self) -> str:
        """Its word in the language that is spoken."""
        return gettext(self.english)


FACES: Final[Mapping[Condition, Face]] = {
    Condition.ON_MAINS: Face(N_("On mains"), Tone.GOOD, "mains"),
    Condition.ON_BATTERY: Face(N_("On battery"), Tone.WARN, "battery"),
    Condition.LOW_BATTERY: Face(N_("Battery low"), Tone.BAD, "battery-low"),
    Condition.BYPASS: Face(N_("Bypass"), Tone.WARN, "bypass"),
    Condition.OVERLOAD: Face(N_("Overload"), Tone.BAD, "alert"),
    Condition.FAULT: Face(N_("Fault"), Tone.BAD, "fault"),
    Condition.OUTPUT_OFF: Face(N_("Output off"), Tone.CALM, "output-off"),
    Condition.REPLACE_BATTERY: Face(N_("Replace battery"), Tone.WARN, "battery-low"),
    Condition.SELF_TEST: Face(N_("Self-test"), Tone.CALM, "check"),
    Condition.OFFLINE: Face(N_("Offline"), Tone.CALM, "offline"),
    Condition.SMARTCONNECT_OFF: Face(N_("SmartConnect off"), Tone.CALM, "off"),
    Condition.SILENT: Face(N_("No readings"), Tone.CALM, "offline"),
    Condition.STARTING: Face(N_("Waiting for readings"), Tone.CALM, "wait"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceView:
    """An owned device as its owner's pages show it. ``values`` and ``bits`` are the points of ``latest``."""

    device_id: int
    product_id: str
    model: str
    sku: str
    serial: str
    firmware: str
    rated_real_power_w: int
    rated_apparent_power_va: int
    version: int
    company_id: int
    epoch: int
    kid: str
    from_ms: int
    name: str
    description: str
    time_zone: str
    ts_ms: int
    seen_ms: int
    connected: bool
    smartconnect: bool
    revoked: bool
    watch_until_ms: int
    values: Mapping[str, float | None]
    bits: Mapping[str, int]
    on_battery_since_ms: int | None
    contact_lost: bool
    settings: Mapping[str, object] = field(default_factory=dict)
    """What the device has reported of its settings, by name."""

    @property
    def title(self) -> str:
        """What the owner called it, else what it is."""
        return self.name or self.model or f"UPS {self.product_id}"

    @property
    def load_w(self) -> float | None:
        """Real power in watts, where the rating is known."""
        pct = self.values["output_real_power_pct"]
        return None if pct is None or not self.rated_real_power_w else pct / 100 * self.rated_real_power_w

    @property
    def on_battery(self) -> bool:
        """What register 0 said last, however long ago."""
        return bool(self.bits["ups_status"] & ON_BATTERY)

    @property
    def faulty(self) -> bool:
        """Whether register 0 said last that the UPS has a fault."""
        return bool(self.bits["ups_status"] & FAULT)


STALE: Final = frozenset(
    {Condition.OFFLINE, Condition.SILENT, Condition.SMARTCONNECT_OFF, Condition.STARTING}
)
"""States in which the values are old, or none yet: never shown or acted on as an outage."""


def condition_of(view: DeviceView, now_ms: int) -> Condition:
    """The state a device is in; the most important one where several hold."""
    if not view.smartconnect:
        return Condition.SMARTCONNECT_OFF
    starting = view.ts_ms == 0 and now_ms - view.from_ms <= QUIET_MS
    if starting and (view.connected or not view.seen_ms):
        return Condition.STARTING
    if not view.connected or now_ms - view.seen_ms > QUIET_MS:
        return Condition.OFFLINE
    if view.contact_lost or now_ms - view.ts_ms > QUIET_MS:
        return Condition.SILENT
    status, battery = view.bits["ups_status"], view.bits["battery_system_error"]
    runtime_s = view.values["runtime_remaining"]
    on_battery = bool(status & ON_BATTERY)
    rules = (
        (Condition.FAULT, status & FAULT),
        (Condition.OVERLOAD, status & OVERLOAD),
        (Condition.SELF_TEST, status & TEST and not status & INPUT_BAD),
        (Condition.LOW_BATTERY, on_battery and runtime_s is not None and runtime_s < LOW_RUNTIME_S),
        (Condition.ON_BATTERY, on_battery),
        (Condition.BYPASS, status & BYPASS),
        (Condition.OUTPUT_OFF, status & OUTPUT_OFF),
        (Condition.REPLACE_BATTERY, battery & (REPLACE_BATTERY | BATTERY_DISCONNECTED)),
    )
    return next((condition for condition, holds in rules if holds), Condition.ON_MAINS)
