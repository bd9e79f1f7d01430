"""Threshold rules in words, with figures in the unit that people read."""

import math
from collections.abc import Mapping
from typing import Any, Final

from cloud.core.rule import SUBJECTS, Condition, Side, Subject, shown_unit
from cloud.web.wording import number, span

WHY: Final[Mapping[str, str]] = {
    "changed": "the rule was changed",
    "switched_off": "the rule was switched off",
    "deleted": "the rule was deleted",
    "moved": "the rule is not about this device any more",
}
"""Why a rule is over on a device though no value went back."""


def figure(subject: Subject, measured: float) -> str:
    """A value as it was measured, in the unit people read: ``12.5 min``."""
    value = measured / subject.factor
    return number(value, shown_unit(subject), 0 if math.isclose(value, round(value)) else 1)


def typed(value: float) -> str:
    """A number as it stands in a form: ``12.5``, ``80``."""
    return f"{value:.6f}".rstrip("0").rstrip(".")


def sentence(says: Condition) -> str:
    """``Load above 80 % for 5 min. Ends at 75 % or less for 5 min.``"""
    subject = SUBJECTS[says.subject]
    held = f" for {span(says.hold_ms / 1000)}" if says.hold_ms else ""
    cleared = f" for {span(says.clear_ms / 1000)}" if says.clear_ms else ""
    if subject.is_state:
        return f"{subject.label}{held}. Ends when it is over{cleared}."
    bound = "or less" if says.side is Side.ABOVE else "or more"
    return (
        f"{subject.label} {says.side} {figure(subject, says.threshold)}{held}."
        f" Ends at {figure(subject, says.clear_level)} {bound}{cleared}."
    )


def deed_text(detail: Mapping[str, Any]) -> str:
    """What an event of a rule tells: its name, the value that decided, how long it had lasted."""
    parts = [str(detail.get("rule", ""))]
    subject, value, threshold = (
        SUBJECTS.get(detail.get("subject", "")),
        detail.get("value"),
        detail.get("threshold"),
    )
    if subject is not None and isinstance(value, int | float) and not subject.is_state:
        text = figure(subject, value)
        if isinstance(threshold, int | float) and detail.get("side") in set(Side):
            text += f" ({detail['side']} {figure(subject, threshold)})"
        parts.append(f"{subject.label.lower()} {text}")
    if why := WHY.get(str(detail.get("why", ""))):
        parts.append(why)
    if isinstance(lasted_s := detail.get("lasted_s"), int | float):
        parts.append(f"lasted {span(lasted_s)}")
    return " · ".join(part for part in parts if part)
