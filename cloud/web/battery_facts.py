"""What the page of a device says of its battery."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Final

from aiohttp import web

from cloud.core.authz import Action
from cloud.core.battery import Battery, BatteryTest, Health, battery_of
from cloud.core.detail_words import value_text
from cloud.core.device_state import DeviceView, Tone
from cloud.core.language import N_, gettext, ngettext
from cloud.postgres import batteries
from cloud.services import ruling
from cloud.web.state import POOL, actor_of, now_ms
from protocol.messages import EventKind


@dataclass(frozen=True, slots=True)
class HealthWords:
    """How a battery's health is shown."""

    word: str
    tone: Tone
    advice: str


HEALTH: Final[Mapping[Health, HealthWords]] = {
    Health.GOOD: HealthWords(N_("Good"), Tone.GOOD, ""),
    Health.REPLACE_SOON: HealthWords(
        N_("Replace soon"), Tone.WARN, N_("Order a battery now: its time ends within three months.")
    ),
    Health.REPLACE: HealthWords(
        N_("Replace now"),
        Tone.BAD,
        N_("Replace the battery. Until then an outage may be shorter than shown."),
    ),
    Health.DISCONNECTED: HealthWords(
        N_("Disconnected"), Tone.BAD, N_("No battery is connected: an outage cuts the load at once.")
    ),
    Health.UNKNOWN: HealthWords(N_("Not known yet"), Tone.CALM, N_("Nothing was measured yet.")),
}
TESTS: Final[Mapping[str, str]] = {
    EventKind.SELF_TEST: N_("Self-test"),
    EventKind.CALIBRATION: N_("Calibration"),
}
RESULTS: Final[Mapping[str, tuple[str, Tone]]] = {
    "passed": (N_("Passed"), Tone.GOOD),
    "failed": (N_("Failed"), Tone.BAD),
    "refused": (N_("Refused by the UPS"), Tone.WARN),
    "aborted": (N_("Stopped"), Tone.CALM),
}
YEAR_DAYS: Final = 365.25
MONTH_DAYS: Final = YEAR_DAYS / 12


async def facts(request: web.Request, view: DeviceView) -> dict[str, object]:
    """For ``_battery.html``."""
    found = await batteries.last_tests(request.app[POOL], view.device_id, view.epoch)
    said = await ruling.battery_day(request.app[POOL], actor_of(request), view.device_id)
    today = datetime.fromtimestamp(now_ms() / 1000, UTC).date()
    battery = battery_of(view, today, date.fromisoformat(said) if said else None)
    return {
        "battery_said": said,
        "may_say_battery": actor_of(request).may(Action.RULES),
        "battery": battery,
        "health": _words_of(battery),
        "battery_age": "" if battery.age_days is None else days_text(battery.age_days),
        "battery_left": _left(battery),
        "tests": [_test(kind, gettext(title), found.get(kind)) for kind, title in TESTS.items()],
    }


def _words_of(battery: Battery) -> HealthWords:
    words = health_words(battery.health)
    if battery.estimated and battery.health is Health.REPLACE_SOON:
        return replace(words, advice=gettext("By its age, it is time to order a new one."))
    return words


def health_words(health: Health) -> HealthWords:
    """Words of a battery's health in the language that is spoken."""
    words = HEALTH[health]
    return replace(words, word=gettext(words.word), advice=gettext(words.advice))


def _left(battery: Battery) -> str:
    if battery.days_left is None:
        return ""
    words = days_text(abs(battery.days_left))
    return gettext("in {time}", time=words) if battery.days_left >= 0 else gettext("{time} ago", time=words)


def _test(kind: str, title: str, found: BatteryTest | None) -> dict[str, object]:
    if found is None:
        return {"kind": kind, "title": title, "word": "", "tone": Tone.CALM, "ts_ms": 0, "why": ""}
    known = RESULTS.get(found.result)
    word, tone = ("", Tone.CALM) if known is None else (gettext(known[0]), known[1])
    word = word or found.result.replace("_", " ") or gettext("Told without a result")
    why = value_text(found.why.removeprefix("why_"))
    return {"kind": kind, "title": title, "word": word, "tone": tone, "ts_ms": found.ts_ms, "why": why}


def days_text(days: int) -> str:
    """``12 days``, ``5 months``, ``2 years 3 months``: rounded down."""
    if days < MONTH_DAYS:
        return ngettext("{count} day", "{count} days", days)
    years, months = divmod(int(days / MONTH_DAYS), 12)
    parts = [ngettext("{count} year", "{count} years", years) if years else ""]
    parts.append(ngettext("{count} month", "{count} months", months) if months else "")
    return " ".join(part for part in parts if part)
