"""A rule as people type it, checked; and rules to begin with.

Numbers are in the unit that the subject is shown in (runtime in minutes), as people read them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from cloud.core.language import N_, gettext
from cloud.core.rule import STATE_THRESHOLD, SUBJECTS, Condition, Side
from cloud.core.sign_up import FormError

NAME_MAX_CHARS: Final = 60
MAX_HOLD_S: Final = 7 * 86_400
MIN_GAP_S: Final = 60
MAX_GAP_S: Final = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A rule as somebody wants it."""

    name: str
    subject: str
    side: str
    threshold: float
    hysteresis: float = 0.0
    hold_s: int = 0
    clear_s: int = 0
    gap_s: int = 180


@dataclass(frozen=True, slots=True)
class Template:
    """A rule to begin with, and why one would want it."""

    draft: Draft
    meaning: str


TEMPLATES: Final[Mapping[str, Template]] = MappingProxyType(
    {
        "load": Template(
            Draft(
                name=N_("High load"),
                subject="output_real_power_pct",
                side="above",
                threshold=80,
                hysteresis=5,
                hold_s=300,
                clear_s=300,
            ),
            N_("More than 80 % of the rated power for 5 minutes: time to move something to another UPS."),
        ),
        "runtime": Template(
            Draft(
                name=N_("Short runtime"),
                subject="runtime_remaining",
                side="below",
                threshold=15,
                hysteresis=2,
                hold_s=60,
                clear_s=300,
            ),
            N_("The battery would last less than 15 minutes: enough to shut down, but not much more."),
        ),
        "temperature": Template(
            Draft(
                name=N_("Warm battery"),
                subject="battery_temperature",
                side="above",
                threshold=35,
                hysteresis=3,
                hold_s=600,
                clear_s=600,
            ),
            N_("A warm battery ages twice as fast for every 10 °C."),
        ),
        "age": Template(
            Draft(
                name=N_("Old battery"),
                subject="battery_age_days",
                side="above",
                threshold=1095,
            ),
            N_("Batteries last three to five years: order the next one in time."),
        ),
        "charge": Template(
            Draft(
                name=N_("Low charge"),
                subject="state_of_charge",
                side="below",
                threshold=50,
                hysteresis=20,
                clear_s=300,
            ),
            N_("Half of the charge is gone."),
        ),
        "outage": Template(
            Draft(
                name=N_("Long outage"),
                subject="on_battery",
                side="above",
                threshold=STATE_THRESHOLD,
                hold_s=300,
                clear_s=60,
            ),
            N_("On battery for 5 minutes: more than a flicker of the mains."),
        ),
        "mains": Template(
            Draft(
                name=N_("Low mains voltage"),
                subject="input_voltage",
                side="below",
                threshold=205,
                hysteresis=5,
                hold_s=120,
                clear_s=300,
            ),
            N_("Low mains for 2 minutes, before the UPS has to help."),
        ),
    }
)
"""By the name that a link carries."""


def condition_of(draft: Draft, now_ms: int) -> tuple[str, Condition]:
    """Name and condition of a draft; FormError with all faults."""
    faults: dict[str, str] = {}
    name = " ".join(draft.name.split())
    if not name or len(name) > NAME_MAX_CHARS or not name.isprintable():
        faults["name"] = gettext("Please enter a name of 1 to {count} characters.", count=NAME_MAX_CHARS)
    subject = SUBJECTS.get(draft.subject)
    if subject is None:
        faults["subject"] = gettext("Please choose what the rule watches.")
    if draft.side not in set(Side):
        faults["side"] = gettext("Please choose above or below.")
    for field, value, low, high in (
        ("hold_s", draft.hold_s, 0, MAX_HOLD_S),
        ("clear_s", draft.clear_s, 0, MAX_HOLD_S),
        ("gap_s", draft.gap_s, MIN_GAP_S, MAX_GAP_S),
    ):
        if not low <= value <= high:
            faults[field] = gettext("Please enter {low} to {high} seconds.", low=low, high=high)
    threshold, hysteresis, side = STATE_THRESHOLD, 0.0, Side.ABOVE
    if subject is not None and not subject.is_state:
        threshold, hysteresis = draft.threshold * subject.factor, draft.hysteresis * subject.factor
        if not math.isfinite(threshold) or not subject.low <= threshold <= subject.high:
            faults["threshold"] = gettext(
                "Please enter a number from {low} to {high}.",
                low=f"{subject.low / subject.factor:.0f}",
                high=f"{subject.high / subject.factor:.0f}",
            )
        if not math.isfinite(hysteresis) or not 0 <= hysteresis <= subject.high - subject.low:
            faults["hysteresis"] = gettext("Please enter 0 or more.")
        if not faults:
            side = Side(draft.side)
    if faults:
        raise FormError(faults)
    return name, Condition(
        subject=draft.subject,
        side=side,
        threshold=threshold,
        hysteresis=hysteresis,
        hold_ms=draft.hold_s * 1000,
        clear_ms=draft.clear_s * 1000,
        gap_ms=draft.gap_s * 1000,
        from_ms=now_ms,
    )
