"""One sentence first: what a page of a device says before any figure. Also the words of events."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cloud.core.device_state import FACES, Condition, DeviceView, Face, Tone, condition_of
from cloud.web.wording import span
from protocol.messages import EventKind


@dataclass(frozen=True, slots=True)
class Summary:
    """State of a device in words."""

    condition: Condition
    face: Face
    sentence: str


def summary_of(view: DeviceView, now_ms: int) -> Summary:
    """State and sentence of a device at this moment."""
    condition = condition_of(view, now_ms)
    return Summary(condition, FACES[condition], _sentence(condition, view, now_ms))


def _sentence(condition: Condition, view: DeviceView, now_ms: int) -> str:
    left = _left(view)
    since_ms = view.on_battery_since_ms
    match condition:
        case Condition.ON_BATTERY | Condition.LOW_BATTERY:
            lasted = "" if since_ms is None else f" for {span((now_ms - since_ms) / 1000)}"
            low = "Battery low: on battery" if condition is Condition.LOW_BATTERY else "On battery"
            return f"{low}{lasted}{left}."
        case Condition.ON_MAINS:
            return f"On mains, all is well{_charge(view)}."
        case Condition.BYPASS:
            return "On bypass: the load runs on mains without protection."
        case Condition.OVERLOAD:
            return f"Overload: more is connected than the UPS can carry{left}."
        case Condition.FAULT:
            return "The UPS reports a fault. Look at its display."
        case Condition.OUTPUT_OFF:
            return "The output is switched off: the load has no power."
        case Condition.REPLACE_BATTERY:
            return "On mains, but the battery must be replaced."
        case Condition.SELF_TEST:
            return "A self-test is running; the mains are fine."
        case Condition.OFFLINE:
            return "Not heard at the moment. What you see is the last known state, not an outage."
        case Condition.SMARTCONNECT_OFF:
            return "SmartConnect is switched off at the UPS. Switch it on to see readings again."
        case Condition.STARTING:
            return "Yours. The first readings arrive in a moment."


def _left(view: DeviceView) -> str:
    runtime_s = view.values["runtime_remaining"]
    return "" if runtime_s is None else f", {span(runtime_s)} left"


def _charge(view: DeviceView) -> str:
    charge = view.values["state_of_charge"]
    return "" if charge is None else f", battery {charge:.0f} % charged"


@dataclass(frozen=True, slots=True)
class EventWords:
    """How an event is shown."""

    word: str
    tone: Tone
    icon: str


EVENTS: Final[Mapping[str, EventWords]] = {
    EventKind.ON_BATTERY: EventWords("On battery", Tone.WARN, "battery"),
    EventKind.MAINS_BACK: EventWords("Mains back", Tone.GOOD, "mains"),
    EventKind.LOW_BATTERY: EventWords("Battery low", Tone.BAD, "battery-low"),
    EventKind.LOW_BATTERY_CLEARED: EventWords("Battery no longer low", Tone.GOOD, "battery"),
    EventKind.REPLACE_BATTERY: EventWords("Replace battery", Tone.WARN, "battery-low"),
    EventKind.REPLACE_BATTERY_CLEARED: EventWords("Battery replaced", Tone.GOOD, "battery"),
    EventKind.OVERLOAD: EventWords("Overload", Tone.BAD, "alert"),
    EventKind.OVERLOAD_CLEARED: EventWords("Overload ended", Tone.GOOD, "check"),
    EventKind.BYPASS: EventWords("On bypass", Tone.WARN, "bypass"),
    EventKind.BYPASS_ENDED: EventWords("Bypass ended", Tone.GOOD, "check"),
    EventKind.FAULT: EventWords("Fault", Tone.BAD, "fault"),
    EventKind.FAULT_CLEARED: EventWords("Fault cleared", Tone.GOOD, "check"),
    EventKind.SELF_TEST: EventWords("Self-test", Tone.CALM, "check"),
    EventKind.CALIBRATION: EventWords("Runtime calibration", Tone.CALM, "check"),
    EventKind.COMMUNICATION_LOST: EventWords("Agent lost the UPS", Tone.WARN, "offline"),
    EventKind.COMMUNICATION_RESTORED: EventWords("Agent found the UPS again", Tone.GOOD, "check"),
    EventKind.OUTLET_GROUP: EventWords("Outlet group switched", Tone.CALM, "off"),
    EventKind.SETTING_CHANGED: EventWords("Setting changed", Tone.CALM, "info"),
    EventKind.FIRMWARE_CHANGED: EventWords("Firmware changed", Tone.CALM, "info"),
    EventKind.CLOCK_CORRECTED: EventWords("Clock corrected", Tone.CALM, "wait"),
    EventKind.SPOOL_OVERFLOW: EventWords("Readings were lost at the agent", Tone.BAD, "alert"),
    EventKind.SMARTCONNECT_ON: EventWords("SmartConnect on", Tone.GOOD, "check"),
    EventKind.SMARTCONNECT_OFF: EventWords("SmartConnect off", Tone.CALM, "off"),
}
UNKNOWN_EVENT: Final = Tone.CALM
MAX_DETAIL_CHARS: Final = 200


def event_words(kind: str) -> EventWords:
    """Words of an event; a kind that is newer than this portal is shown by its own name."""
    return EVENTS.get(kind) or EventWords(kind.replace("_", " ").capitalize()[:60], UNKNOWN_EVENT, "info")


def detail_text(detail: Mapping[str, Any]) -> str:
    """Values of an event as one line."""
    parts = [
        f"{name.replace('_', ' ')} {_shown(value)}" for name, value in detail.items() if value is not None
    ]
    text = " · ".join(parts)
    return text if len(text) <= MAX_DETAIL_CHARS else text[: MAX_DETAIL_CHARS - 1] + "…"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.1f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
