"""Threshold rules in words, with figures in the unit that people read."""

import math
from collections.abc import Mapping
from typing import Any, Final

from cloud.core.language import N_, gettext, pointed
from cloud.core.rule import SUBJECTS, Condition, Side, Subject, shown_unit
from cloud.web.wording import number, span

WHY: Final[Mapping[str, str]] = {
    "changed": N_("the rule was changed"),
    "switched_off": N_("the rule was switched off"),
    "deleted": N_("the rule was deleted"),
    "moved": N_("the rule is not about this device any more"),
}
"""Why a rule is over on a device though no value went back."""
INSIDE: Final[Mapping[str, str]] = {
    "output_real_power_pct": N_("load"),
    "output_apparent_power_pct": N_("load (apparent)"),
    "load_w": N_("load in watts"),
    "output_current": N_("output current"),
    "runtime_remaining": N_("runtime"),
    "state_of_charge": N_("battery charge"),
    "battery_temperature": N_("battery temperature"),
    "battery_voltage": N_("battery voltage"),
    "battery_age_days": N_("battery age"),
    "input_voltage": N_("mains voltage"),
    "output_voltage": N_("output voltage"),
    "output_frequency": N_("output frequency"),
    "bypass_voltage": N_("bypass voltage"),
    "efficiency": N_("efficiency"),
}
"""Names of what rules watch within a sentence; states have none."""


def figure(subject: Subject, measured: float) -> str:
    """A value as it was measured, in the unit people read: ``12.5 min``."""
    value = measured / subject.factor
    return number(value, gettext(shown_unit(subject)), 0 if math.isclose(value, round(value)) else 1)


def typed(value: float) -> str:
    """A number as it stands in a form: ``12.5``, ``80``."""
    return pointed(f"{value:.6f}".rstrip("0").rstrip("."))


def sentence(says: Condition) -> str:
    """``Load above 80 % for 5 min. Ends at 75 % or less for 5 min.``"""
    return f"{_begins(says)} {_ends(says)}"


def _begins(says: Condition) -> str:
    subject = SUBJECTS[says.subject]
    held = span(says.hold_ms / 1000) if says.hold_ms else ""
    what = gettext(subject.label)
    if subject.is_state:
        return gettext("{what} for {time}.", what=what, time=held) if held else f"{what}."
    level = figure(subject, says.threshold)
    if says.side is Side.ABOVE:
        if held:
            return gettext("{what} above {level} for {time}.", what=what, level=level, time=held)
        return gettext("{what} above {level}.", what=what, level=level)
    if held:
        return gettext("{what} below {level} for {time}.", what=what, level=level, time=held)
    return gettext("{what} below {level}.", what=what, level=level)


def _ends(says: Condition) -> str:
    subject = SUBJECTS[says.subject]
    cleared = span(says.clear_ms / 1000) if says.clear_ms else ""
    if subject.is_state:
        if cleared:
            return gettext("Ends when it is over for {time}.", time=cleared)
        return gettext("Ends when it is over.")
    level = figure(subject, says.clear_level)
    if says.side is Side.ABOVE:
        if cleared:
            return gettext("Ends at {level} or less for {time}.", level=level, time=cleared)
        return gettext("Ends at {level} or less.", level=level)
    if cleared:
        return gettext("Ends at {level} or more for {time}.", level=level, time=cleared)
    return gettext("Ends at {level} or more.", level=level)


def deed_text(detail: Mapping[str, Any]) -> str:
    """What an event of a rule tells: its name, the value that decided, how long it had lasted."""
    parts = [str(detail.get("rule", "")), _measured(detail)]
    if why := WHY.get(str(detail.get("why", ""))):
        parts.append(gettext(why))
    if isinstance(lasted_s := detail.get("lasted_s"), int | float):
        parts.append(gettext("lasted {time}", time=span(lasted_s)))
    return " · ".join(part for part in parts if part)


def _measured(detail: Mapping[str, Any]) -> str:
    """``load 85 % (above 80 %)``; empty where the event tells no value."""
    subject, value = SUBJECTS.get(detail.get("subject", "")), detail.get("value")
    if subject is None or not isinstance(value, int | float) or subject.is_state:
        return ""
    told = f"{gettext(INSIDE[subject.name])} {figure(subject, value)}"
    threshold = detail.get("threshold")
    if not isinstance(threshold, int | float) or detail.get("side") not in set(Side):
        return told
    level = figure(subject, threshold)
    if detail["side"] == Side.ABOVE:
        return gettext("{measured} (above {level})", measured=told, level=level)
    return gettext("{measured} (below {level})", measured=told, level=level)
