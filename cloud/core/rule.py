"""Threshold rules: when a value of a device is worth telling, and when it no longer is.

Theory of operation
-------------------
A rule watches one *subject* (a measurement point, or something derived from a sample) on one *side* of a
threshold. Each sample gives one *reading*: ``over`` the threshold, ``back`` behind it by the hysteresis at
least, or ``between``, which is also what a sample says that lacks the value::

    OK ──over──▶ RISING ──over for hold_ms──▶ RAISED ──back──▶ FALLING ──back for clear_ms──▶ OK
                   └── anything else: OK                └── anything else: RAISED

Time is the samples' own. A sample is judged in the order of its position (stream, seq), and only if it is
not older than one that was judged before, so late and out-of-order samples change nothing; those whose time
is a guess, lies ahead of ours, or was imported are left out (``SKIPPED``). A silence longer than ``gap_ms``
breaks a hold: nobody knows what was in it, so RISING begins anew and FALLING is RAISED again. No sample, no
change: a device that is not heard neither raises nor clears. :mod:`cloud.core.rule_columns` does the same
for many devices at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from cloud.core.language import N_
from protocol.points import SampleFlag

SKIPPED: Final = int(SampleFlag.TIME_UNCERTAIN | SampleFlag.FROM_FUTURE | SampleFlag.IMPORTED)
"""Samples with one of these flags are not judged."""
EARLY_MS: Final = 600_000
"""A device's clock may be this far behind: so much before the start of an ownership its samples begin."""


class Side(StrEnum):
    """On which side of the threshold a rule is broken. Append only: stored."""

    ABOVE = "above"
    BELOW = "below"


class Reading(StrEnum):
    """What one sample says about one rule."""

    OVER = "over"
    BACK = "back"
    BETWEEN = "between"


class Phase(StrEnum):
    """Where a rule stands on a device. Append only: stored, but for OK, which has no row."""

    OK = "ok"
    RISING = "rising"
    RAISED = "raised"
    FALLING = "falling"


TRANSITIONS: Final[Mapping[tuple[Phase, Reading], Phase]] = MappingProxyType(
    {
        (Phase.OK, Reading.OVER): Phase.RISING,
        (Phase.OK, Reading.BETWEEN): Phase.OK,
        (Phase.OK, Reading.BACK): Phase.OK,
        (Phase.RISING, Reading.OVER): Phase.RISING,
        (Phase.RISING, Reading.BETWEEN): Phase.OK,
        (Phase.RISING, Reading.BACK): Phase.OK,
        (Phase.RAISED, Reading.OVER): Phase.RAISED,
        (Phase.RAISED, Reading.BETWEEN): Phase.RAISED,
        (Phase.RAISED, Reading.BACK): Phase.FALLING,
        (Phase.FALLING, Reading.OVER): Phase.RAISED,
        (Phase.FALLING, Reading.BETWEEN): Phase.RAISED,
        (Phase.FALLING, Reading.BACK): Phase.FALLING,
    }
)
"""Before the holds are looked at: a hold of 0 ms passes through RISING or FALLING in one sample."""
_SETTLED: Final = {Phase.RISING: Phase.OK, Phase.FALLING: Phase.RAISED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What a rule says. ``threshold`` and ``hysteresis`` are in the unit of the subject as it is measured.

    ``from_ms``: samples measured earlier are none of its business; it was made or changed then.
    """

    subject: str
    side: Side
    threshold: float
    hysteresis: float = 0.0
    hold_ms: int = 0
    clear_ms: int = 0
    gap_ms: int = 180_000
    from_ms: int = 0

    @property
    def clear_level(self) -> float:
        """Where the value has to be again."""
        return self.threshold + (-self.hysteresis if self.side is Side.ABOVE else self.hysteresis)


@dataclass(frozen=True, slots=True)
class State:
    """Where a rule stands on a device. ``since_ms``: begin of RISING or FALLING; ``raised_ms``: when it was
    raised, in RAISED and FALLING. 0 where it means nothing.
    """

    phase: Phase = Phase.OK
    since_ms: int = 0
    raised_ms: int = 0


OK: Final = State()


@dataclass(frozen=True, slots=True)
class Edge:
    """A rule was raised, or cleared, by the sample of ``ts_ms``; it had begun to be at ``since_ms``.

    ``raised_ms`` is when it was raised.
    """

    raised: bool
    ts_ms: int
    since_ms: int
    raised_ms: int
    value: float


def reading_of(condition: Condition, value: float) -> Reading:
    """What a value says. NaN, "not available", is between."""
    if condition.side is Side.ABOVE:
        over, back = value > condition.threshold, value <= condition.clear_level
    else:
        over, back = value < condition.threshold, value >= condition.clear_level
    if over:
        return Reading.OVER
    return Reading.BACK if back else Reading.BETWEEN


def step(
    condition: Condition, state: State, before_ms: int, ts_ms: int, value: float
) -> tuple[State, Edge | None]:
    """The state after one sample; ``before_ms`` is the time of the device's last judged sample."""
    phase, since_ms = state.phase, state.since_ms
    if phase in _SETTLED and ts_ms - before_ms > condition.gap_ms:
        phase = _SETTLED[phase]
    target = TRANSITIONS[phase, reading_of(condition, value)]
    if target is not phase:
        since_ms = ts_ms
    if target is Phase.RISING:
        if ts_ms - since_ms < condition.hold_ms:
            return State(target, since_ms), None
        return State(Phase.RAISED, 0, ts_ms), Edge(True, ts_ms, since_ms, ts_ms, value)
    if target is Phase.FALLING:
        if ts_ms - since_ms < condition.clear_ms:
            return State(target, since_ms, state.raised_ms), None
        return OK, Edge(False, ts_ms, since_ms, state.raised_ms, value)
    return (OK if target is Phase.OK else State(target, 0, state.raised_ms)), None


# --- subjects -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Facts:
    """What a derived value needs beside the sample; 0: not known."""

    rated_real_power_w: int = 0
    battery_installed_ms: int = 0


@dataclass(frozen=True, slots=True)
class Subject:
    """Something a rule may watch. ``points`` are the columns of a sample it is made of, none for age alone.

    People read and type it in ``unit``, which is the measured one (``raw_unit``) divided by ``factor``.
    ``low`` and ``high`` bound a threshold, in the measured unit. A *state* is 1 or 0, and has no threshold.
    """

    name: str
    label: str
    raw_unit: str
    low: float
    high: float
    points: tuple[str, ...]
    unit: str = ""
    factor: float = 1.0
    is_state: bool = False


_STATUS: Final = "ups_status"
_MINUTE_S: Final = 60.0
_SUBJECTS: Final = (
    Subject("output_real_power_pct", N_("Load"), "%", 0, 256, ("output_real_power_pct",)),
    Subject("output_apparent_power_pct", N_("Load (apparent)"), "%", 0, 256, ("output_apparent_power_pct",)),
    Subject("load_w", N_("Load in watts"), "W", 0, 1e6, ("output_real_power_pct",)),
    Subject("output_current", N_("Output current"), "A", 0, 2047, ("output_current",)),
    Subject("runtime_remaining", N_("Runtime"), "s", 0, 2**32, ("runtime_remaining",), "min", _MINUTE_S),
    Subject("state_of_charge", N_("Battery charge"), "%", 0, 128, ("state_of_charge",)),
    Subject("battery_temperature", N_("Battery temperature"), "°C", -256, 256, ("battery_temperature",)),
    Subject("battery_voltage", N_("Battery voltage"), "V", -1024, 1024, ("battery_voltage",)),
    Subject("battery_age_days", N_("Battery age"), N_("days"), 0, 36_500, ()),
    Subject("input_voltage", N_("Mains voltage"), "V", 0, 1000, ("input_voltage",)),
    Subject("output_voltage", N_("Output voltage"), "V", 0, 1000, ("output_voltage",)),
    Subject("output_frequency", N_("Output frequency"), "Hz", 0, 500, ("output_frequency",)),
    Subject("bypass_voltage", N_("Bypass voltage"), "V", 0, 1024, ("bypass_voltage",)),
    Subject("efficiency", N_("Efficiency"), "%", 0, 256, ("efficiency",)),
    Subject("on_battery", N_("On battery"), "", 0, 1, (_STATUS,), is_state=True),
    Subject("on_bypass", N_("On bypass"), "", 0, 1, (_STATUS,), is_state=True),
    Subject("output_off", N_("Output off"), "", 0, 1, (_STATUS,), is_state=True),
    Subject("overload", N_("Overload"), "", 0, 1, (_STATUS,), is_state=True),
)
SUBJECTS: Final[Mapping[str, Subject]] = MappingProxyType({one.name: one for one in _SUBJECTS})
"""All of them, by name. Append only: stored."""
STATE_BITS: Final[Mapping[str, int]] = MappingProxyType(
    {"on_battery": 1 << 2, "on_bypass": 1 << 3, "output_off": 1 << 4, "overload": 1 << 21}
)
"""Bits of register 0 (ups_status), as in :mod:`cloud.core.device_state`; 0 as a whole is "not available"."""
STATE_THRESHOLD: Final = 0.5
DAY_MS: Final = 86_400_000


def shown_unit(subject: Subject) -> str:
    """The unit people read and type."""
    return subject.unit or subject.raw_unit
