"""How a battery is: its age, what its UPS says of it, the result of its last tests. Pure.

Dates are those that the UPS keeps (registers 595 and 133): the day somebody installed the battery, and the
day by which the UPS wants it replaced. Where the owner has said that a battery was put in later than the UPS
knows, both dates of the UPS are those of a battery that is gone: the age counts from the owner's date, and
the day of replacement is only estimated, which never says more than that a new one is to be ordered.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Any, Final

from cloud.core.device_state import DeviceView

INSTALLED: Final = "battery_install_date"
REPLACE_BY: Final = "battery_replace_by"
WARM_C: Final = 30.0
"""Lead-acid batteries age twice as fast for every 10 °C above 20 to 25 °C."""
HOT_C: Final = 40.0
SOON_DAYS: Final = 90
LIFE_DAYS: Final = 4 * 365 + 1
"""How long a battery is expected to last where its UPS does not say it: four years, the middle of the three
to five that makers of lead-acid batteries for standby name at 25 °C."""
_REPLACE: Final = 1 << 2  # bits of register 22
_DISCONNECTED: Final = 1 << 0


class Health(StrEnum):
    """What is to be done about a battery. Append only."""

    GOOD = "good"
    REPLACE_SOON = "replace_soon"
    REPLACE = "replace"
    DISCONNECTED = "disconnected"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class BatteryTest:
    """The newest result of one kind of test."""

    kind: str
    ts_ms: int
    result: str
    why: str


@dataclass(frozen=True, slots=True)
class Battery:
    """What is known of a battery; days count from today, and are negative where they have passed."""

    health: Health
    installed: date | None
    age_days: int | None
    replace_by: date | None
    days_left: int | None
    temperature_c: float | None
    warm: bool
    hot: bool
    said: bool = False
    """The owner has said when it was put in, and the UPS does not know of it."""
    estimated: bool = False
    """The day of replacement follows from its age alone."""


def battery_of(view: DeviceView, today: date, said: date | None = None) -> Battery:
    """What a device has said of its battery, and its owner: on which day it was put in."""
    installed, replace_by = (_date(view.settings.get(name)) for name in (INSTALLED, REPLACE_BY))
    by_owner = said is not None and (installed is None or said > installed)
    if by_owner:
        installed, replace_by = said, replace_by if installed is None else None
    estimated = replace_by is None and installed is not None
    if replace_by is None and installed is not None:
        replace_by = installed + timedelta(days=LIFE_DAYS)
    days_left = None if replace_by is None else (replace_by - today).days
    temperature_c = view.values["battery_temperature"]
    return Battery(
        health=_health(view, days_left, estimated=estimated),
        installed=installed,
        age_days=None if installed is None else max(0, (today - installed).days),
        replace_by=replace_by,
        days_left=days_left,
        temperature_c=temperature_c,
        warm=temperature_c is not None and temperature_c >= WARM_C,
        hot=temperature_c is not None and temperature_c >= HOT_C,
        said=by_owner,
        estimated=estimated,
    )


def _health(view: DeviceView, days_left: int | None, *, estimated: bool) -> Health:
    errors = view.bits["battery_system_error"]
    if errors & _DISCONNECTED:
        return Health.DISCONNECTED
    if errors & _REPLACE or (days_left is not None and days_left < 0 and not estimated):
        return Health.REPLACE
    if not view.ts_ms:
        return Health.UNKNOWN
    return Health.REPLACE_SOON if days_left is not None and days_left <= SOON_DAYS else Health.GOOD


def _date(value: object) -> date | None:
    """A date that a device has reported as text."""
    if not isinstance(value, str):
        return None
    try:
        return date.fromisoformat(value)
    except ValueError:
        return None


def result_of(kind: str, ts_ms: int, detail: Mapping[str, Any]) -> BatteryTest:
    """The result that an event tells, its texts cut short."""
    return BatteryTest(kind, ts_ms, str(detail.get("result") or "")[:40], str(detail.get("why") or "")[:80])
