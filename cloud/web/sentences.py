"""What a page of a device says before any figure, and the words of events."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeGuard

from cloud.core.cloud_event import CloudEventKind
from cloud.core.detail_words import name_text, setting_text, value_text
from cloud.core.device_state import FACES, STALE, Condition, DeviceView, Face, Tone, condition_of
from cloud.core.language import N_, gettext, ngettext, pointed
from cloud.postgres.devices import EventRow
from cloud.web.cause_words import cause_text
from cloud.web.rule_words import deed_text
from cloud.web.wording import number, span
from protocol.messages import EventKind


@dataclass(frozen=True, slots=True)
class Summary:
    """State of a device in words."""

    condition: Condition
    face: Face
    sentence: str
    current: bool
    tail: str = ""
    """What makes one sentence with the face's word: ``for 3 min, 41 min left``."""


def summary_of(view: DeviceView, now_ms: int) -> Summary:
    """State of a device at this moment. ``current`` is false where its values are only the last known."""
    condition = condition_of(view, now_ms)
    tail = _on_battery(view, now_ms) if condition is Condition.ON_BATTERY else ""
    sentence = _sentence(condition, view, now_ms)
    return Summary(condition, FACES[condition], sentence, condition not in STALE, tail)


def _sentence(condition: Condition, view: DeviceView, now_ms: int) -> str:
    match condition:
        case Condition.ON_BATTERY:
            tail = _on_battery(view, now_ms)
            return _on_battery_since(tail) if tail else gettext("The load runs on the battery.")
        case Condition.LOW_BATTERY:
            tail = _on_battery(view, now_ms)
            return _join(gettext("Shut down what you can."), _on_battery_since(tail) if tail else "")
        case Condition.ON_MAINS:
            return _join(gettext("All is well."), _charged(view))
        case Condition.OVERLOAD:
            over = gettext("More is connected than the UPS can carry.")
            return _join(over, _left(view) if view.on_battery else "")
        case Condition.SILENT if view.contact_lost:
            return gettext(
                "The agent is connected, but its UPS does not answer. You see the last known state."
            )
        case _:
            return gettext(SENTENCES[condition])


SENTENCES: Final[Mapping[Condition, str]] = {
    Condition.BYPASS: N_("The load runs on mains without protection."),
    Condition.FAULT: N_("The UPS reports a fault. Its display says more."),
    Condition.OUTPUT_OFF: N_("The output is switched off: the load has no power."),
    Condition.REPLACE_BATTERY: N_("The mains are fine, but the battery must be replaced."),
    Condition.SELF_TEST: N_("The battery is being tested. The mains are fine."),
    Condition.OFFLINE: N_(
        "Nothing is heard from here at the moment. You see the last known state; this is no outage."
    ),
    Condition.SILENT: N_("Nothing new was measured for some minutes. You see the last known state."),
    Condition.SMARTCONNECT_OFF: N_(
        "SmartConnect is switched off at the UPS. Enable it there to see readings again."
    ),
    Condition.STARTING: N_("This UPS is yours. Its first readings arrive in a moment."),
}
"""Of the states that need no figures."""


def _join(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _on_battery_since(tail: str) -> str:
    return gettext("On battery {tail}.", tail=tail)


def _on_battery(view: DeviceView, now_ms: int) -> str:
    """``for 3 min, 41 min left``, or as much of it as is known."""
    since_ms, runtime_s = view.on_battery_since_ms, view.values["runtime_remaining"]
    parts = [
        "" if since_ms is None else gettext("for {time}", time=span((now_ms - since_ms) / 1000)),
        "" if runtime_s is None else gettext("{time} left", time=span(runtime_s)),
    ]
    return ", ".join(part for part in parts if part)


def _left(view: DeviceView) -> str:
    runtime_s = view.values["runtime_remaining"]
    return "" if runtime_s is None else gettext("About {time} left at this load.", time=span(runtime_s))


def _charged(view: DeviceView) -> str:
    charge, runtime_s = view.values["state_of_charge"], view.values["runtime_remaining"]
    if charge is None:
        return ""
    full = number(charge, "%")
    if runtime_s is None:
        return gettext("The battery is {charge} charged.", charge=full)
    lasts = span(runtime_s)
    return gettext("The battery is {charge} charged and would last {time}.", charge=full, time=lasts)


@dataclass(frozen=True, slots=True)
class EventWords:
    """How an event is shown."""

    word: str
    tone: Tone
    icon: str


EVENTS: Final[Mapping[str, EventWords]] = {
    EventKind.ON_BATTERY: EventWords(N_("On battery"), Tone.WARN, "battery"),
    EventKind.MAINS_BACK: EventWords(N_("Mains back"), Tone.GOOD, "mains"),
    EventKind.LOW_BATTERY: EventWords(N_("Battery low"), Tone.BAD, "battery-low"),
    EventKind.LOW_BATTERY_CLEARED: EventWords(N_("Battery no longer low"), Tone.GOOD, "battery"),
    EventKind.REPLACE_BATTERY: EventWords(N_("Replace battery"), Tone.WARN, "battery-low"),
    EventKind.REPLACE_BATTERY_CLEARED: EventWords(N_("Battery replaced"), Tone.GOOD, "battery"),
    EventKind.OVERLOAD: EventWords(N_("Overload"), Tone.BAD, "alert"),
    EventKind.OVERLOAD_CLEARED: EventWords(N_("Overload ended"), Tone.GOOD, "check"),
    EventKind.BYPASS: EventWords(N_("On bypass"), Tone.WARN, "bypass"),
    EventKind.BYPASS_ENDED: EventWords(N_("Bypass ended"), Tone.GOOD, "check"),
    EventKind.FAULT: EventWords(N_("Fault"), Tone.BAD, "fault"),
    EventKind.FAULT_CLEARED: EventWords(N_("Fault cleared"), Tone.GOOD, "check"),
    EventKind.SELF_TEST: EventWords(N_("Self-test"), Tone.CALM, "check"),
    EventKind.CALIBRATION: EventWords(N_("Runtime calibration"), Tone.CALM, "check"),
    EventKind.COMMUNICATION_LOST: EventWords(N_("Agent lost the UPS"), Tone.WARN, "offline"),
    EventKind.COMMUNICATION_RESTORED: EventWords(N_("Agent found the UPS again"), Tone.GOOD, "check"),
    EventKind.OUTLET_GROUP: EventWords(N_("Outlet group switched"), Tone.CALM, "off"),
    EventKind.SETTING_CHANGED: EventWords(N_("Setting changed"), Tone.CALM, "info"),
    EventKind.FIRMWARE_CHANGED: EventWords(N_("Firmware changed"), Tone.CALM, "info"),
    EventKind.CLOCK_CORRECTED: EventWords(N_("Clock corrected"), Tone.CALM, "wait"),
    EventKind.SPOOL_OVERFLOW: EventWords(N_("Readings were lost at the agent"), Tone.BAD, "alert"),
    EventKind.SMARTCONNECT_ON: EventWords(N_("SmartConnect on"), Tone.GOOD, "check"),
    EventKind.SMARTCONNECT_OFF: EventWords(N_("SmartConnect off"), Tone.CALM, "off"),
    CloudEventKind.DEVICE_OFFLINE: EventWords(N_("Nothing heard from the device"), Tone.WARN, "offline"),
    CloudEventKind.DEVICE_ONLINE: EventWords(N_("Device heard again"), Tone.GOOD, "check"),
    CloudEventKind.RULE_RAISED: EventWords(N_("Threshold crossed"), Tone.WARN, "alert"),
    CloudEventKind.RULE_CLEARED: EventWords(N_("Back within the threshold"), Tone.GOOD, "check"),
}
UNKNOWN_EVENT: Final = Tone.CALM
MAX_DETAILS: Final = 4
MAX_DETAIL_CHARS: Final = 200


def event_words(kind: str) -> EventWords:
    """Words of an event; a kind that is newer than this portal is shown by its own name."""
    known = EVENTS.get(kind)
    if known is None:
        return EventWords(kind.replace("_", " ").capitalize()[:60], UNKNOWN_EVENT, "info")
    return replace(known, word=gettext(known.word))


def event_facts(rows: Sequence[EventRow]) -> list[dict[str, object]]:
    """Events as ``_events.html`` shows them."""
    return [
        {"row": row, "words": event_words(row.kind), "detail": detail_text(row.detail), "device": ""}
        for row in rows
    ]


def detail_text(detail: Mapping[str, Any]) -> str:
    """Values of an event as one line: what matters most in our words, others by their own names."""
    if "rule_id" in detail:
        return deed_text(detail)
    told = [text for name, words in DETAILS.items() if (text := words(detail.get(name)))]
    told = told[:MAX_DETAILS] + [
        name_text(name) if value is True else f"{name_text(name)} {_shown(value)}"
        for name, value in detail.items()
        if value is not None and name not in DETAILS
    ]
    text = " · ".join(told)
    return text if len(text) <= MAX_DETAIL_CHARS else text[: MAX_DETAIL_CHARS - 1] + "…"


def _figure(words: Callable[[float], str]) -> Callable[[object], str]:
    return lambda value: words(value) if _is_number(value) else ""


GROUPS: Final[Mapping[str, str]] = {
    "mog": N_("main outlets"),
    "sog0": N_("outlet group 1"),
    "sog1": N_("outlet group 2"),
    "sog2": N_("outlet group 3"),
}


def _group(value: object) -> str:
    known = GROUPS.get(str(value))
    return str(value)[:40] if known is None else gettext(known)


DETAILS: Final[Mapping[str, Callable[[object], str]]] = {
    "lasted_s": _figure(lambda value: gettext("lasted {time}", time=span(value))),
    "off_s": _figure(lambda value: gettext("was off by {time}", time=number(value, "s", 1))),
    "cause": cause_text,
    "setting": setting_text,
    "group": lambda value: _group(value) if value else "",
    "on": lambda value: _switched(on=value) if isinstance(value, bool) else "",
    "dropped": _figure(
        lambda value: ngettext("{count} reading lost", "{count} readings lost", round(value)) if value else ""
    ),
    "dropped_events": _figure(
        lambda value: ngettext("{count} event lost", "{count} events lost", round(value)) if value else ""
    ),
    "state_of_charge": _figure(lambda value: gettext("battery {charge}", charge=number(value, "%"))),
    "runtime_remaining": _figure(lambda value: gettext("{time} left", time=span(value))),
    "input_voltage": _figure(lambda value: gettext("mains {voltage}", voltage=number(value, "V"))),
    "output_real_power_pct": _figure(lambda value: gettext("load {load}", load=number(value, "%"))),
}
"""Values that events often carry, the most telling first."""


def _switched(*, on: bool) -> str:
    return gettext("switched on") if on else gettext("switched off")


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return gettext("yes") if value else gettext("no")
    if isinstance(value, float):
        return pointed(f"{value:.1f}".removesuffix(".0"))
    return value_text(str(value))
