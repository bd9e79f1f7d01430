"""What the page of a device says of its battery."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from aiohttp import web

from cloud.core.battery import Battery, BatteryTest, Health, battery_of
from cloud.core.device_state import DeviceView, Tone
from cloud.postgres import batteries
from cloud.web.state import POOL, now_ms
from protocol.messages import EventKind


@dataclass(frozen=True, slots=True)
class HealthWords:
    """How a battery's health is shown."""

    word: str
    tone: Tone
    advice: str


HEALTH: Final[Mapping[Health, HealthWords]] = {
    Health.GOOD: HealthWords("Good", Tone.GOOD, ""),
    Health.REPLACE_SOON: HealthWords(
        "Replace soon", Tone.WARN, "Order a battery now: its time ends within three months."
    ),
    Health.REPLACE: HealthWords(
        "Replace now", Tone.BAD, "Replace the battery. Until then an outage may be shorter than shown."
    ),
    Health.DISCONNECTED: HealthWords(
        "Disconnected", Tone.BAD, "No battery is connected: an outage cuts the load at once."
    ),
    Health.UNKNOWN: HealthWords("Not known yet", Tone.CALM, "Nothing was measured yet."),
}
TESTS: Final[Mapping[str, str]] = {
    EventKind.SELF_TEST: "Self-test",
    EventKind.CALIBRATION: "Calibration",
}
RESULTS: Final[Mapping[str, tuple[str, Tone]]] = {
    "passed": ("Passed", Tone.GOOD),
    "failed": ("Failed", Tone.BAD),
    "refused": ("Refused by the UPS", Tone.WARN),
    "aborted": ("Stopped", Tone.CALM),
}
YEAR_DAYS: Final = 365.25
MONTH_DAYS: Final = YEAR_DAYS / 12


async def facts(request: web.Request, view: DeviceView) -> dict[str, object]:
    """For ``_battery.html``."""
    found = await batteries.last_tests(request.app[POOL], view.device_id, view.epoch)
    battery = battery_of(view, datetime.fromtimestamp(now_ms() / 1000, UTC).date())
    return {
        "battery": battery,
        "health": HEALTH[battery.health],
        "battery_age": "" if battery.age_days is None else days_text(battery.age_days),
        "battery_left": _left(battery),
        "tests": [_test(kind, title, found.get(kind)) for kind, title in TESTS.items()],
    }


def _left(battery: Battery) -> str:
    if battery.days_left is None:
        return ""
    words = days_text(abs(battery.days_left))
    return f"in {words}" if battery.days_left >= 0 else f"{words} ago"


def _test(kind: str, title: str, found: BatteryTest | None) -> dict[str, object]:
    if found is None:
        return {"kind": kind, "title": title, "word": "", "tone": Tone.CALM, "ts_ms": 0, "why": ""}
    word, tone = RESULTS.get(
        found.result, (found.result.replace("_", " ") or "Told without a result", Tone.CALM)
    )
    why = found.why.removeprefix("why_").replace("_", " ")
    return {"kind": kind, "title": title, "word": word, "tone": tone, "ts_ms": found.ts_ms, "why": why}


def days_text(days: int) -> str:
    """``12 days``, ``5 months``, ``2 years 3 months``: rounded down."""
    if days < MONTH_DAYS:
        return "1 day" if days == 1 else f"{days} days"
    years, months = divmod(int(days / MONTH_DAYS), 12)
    parts = [f"{years} year{'s' if years > 1 else ''}" if years else ""]
    parts.append(f"{months} month{'s' if months > 1 else ''}" if months else "")
    return " ".join(part for part in parts if part)
