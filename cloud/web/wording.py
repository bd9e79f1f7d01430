"""Numbers, times, spans, the brand and mails in words. Pure; the browser's times.ts uses the same words."""

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from markupsafe import Markup

from cloud.core.language import gettext, ngettext, pointed

"""Languages of ours that write 230,4 for what English writes as 230.4."""
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400


def iso(at_ms: int) -> str:
    """``2026-11-21T04:05:06.789Z`` for the attribute of a <time>."""
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def clock(at_ms: int) -> str:
    """Absolute time in UTC; the browser puts the reader's own zone in its place."""
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def ago(at_ms: int, now_ms: int) -> str:
    """``just now``, ``40 s ago``, ``3 min ago``, ``2 h ago``, ``5 days ago``."""
    age_s = max(0, (now_ms - at_ms) // 1000)
    if age_s < 5:
        return gettext("just now")
    if age_s < _MINUTE_S:
        return gettext("{seconds} s ago", seconds=age_s)
    if age_s < _HOUR_S:
        return gettext("{minutes} min ago", minutes=age_s // _MINUTE_S)
    if age_s < _DAY_S:
        return gettext("{hours} h ago", hours=age_s // _HOUR_S)
    return ngettext("{count} day ago", "{count} days ago", age_s // _DAY_S)


def span(length_s: float) -> str:
    """``45 s``, ``3 min``, ``1 h 20 min``, ``2 days 3 h``: rounded down, for promises are kept."""
    seconds = max(0, int(length_s))
    if seconds < _MINUTE_S:
        return gettext("{seconds} s", seconds=seconds)
    if seconds < _HOUR_S:
        return gettext("{minutes} min", minutes=seconds // _MINUTE_S)
    if seconds < _DAY_S:
        hours, rest = divmod(seconds, _HOUR_S)
        if rest < _MINUTE_S:
            return gettext("{hours} h", hours=hours)
        return gettext("{hours} h {minutes} min", hours=hours, minutes=rest // _MINUTE_S)
    days, rest = divmod(seconds, _DAY_S)
    if rest < _HOUR_S:
        return ngettext("{count} day", "{count} days", days)
    return ngettext("{count} day {hours} h", "{count} days {hours} h", days, hours=rest // _HOUR_S)


def number(value: float | None, unit: str = "", digits: int = 0) -> str:
    """``231 V``, or an en dash where the device does not say."""
    if value is None or math.isnan(value):
        return "–"
    rounded = f"{value:.{digits}f}"
    text = pointed(rounded.removeprefix("-") if float(rounded) == 0 else rounded.replace("-", "−"))
    return f"{text} {unit}" if unit else text


# --- browsers -----------------------------------------------------------------------------------------------

_BROWSERS: Final = (  # the first that fits: many say that they are several
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("CriOS/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS: Final = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS X", "Mac"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)


def browser(user_agent: str) -> str:
    """``Chrome on Linux``; what a program says about itself, cut short; or that nothing is known."""
    program = next((word for mark, word in _BROWSERS if mark in user_agent), "")
    system = next((word for mark, word in _SYSTEMS if mark in user_agent), "")
    if program and system:
        return gettext("{program} on {system}", program=program, system=system)
    return program or user_agent[:40].strip() or gettext("Unknown browser")


# --- the brand ----------------------------------------------------------------------------------------------

_OURS: Final = "SmartConnect"


@dataclass(frozen=True, slots=True)
class Brand:
    """The words of one installation: the product, who makes it, and what invitations call the portal."""

    name: str
    maker: str
    exchange: str

    @property
    def already_invited(self) -> str:
        """Said when somebody is invited twice."""
        return gettext(
            "This co-worker has already been invited to the {exchange} portal."
            " Please invite another co-worker.",
            exchange=self.exchange,
        )


def brand_words(brand: str) -> Brand:
    """The words that go with the setting ``brand``; its default gives those of the maker's own portal."""
    return Brand(brand, "Schneider Electric", "Exchange") if brand == _OURS else Brand(brand, brand, brand)


# --- mails --------------------------------------------------------------------------------------------------

_LINK: Final = re.compile(r"https?://[^\s<>\"']+[^\s<>\"'.,;:!?)]")
_CODE: Final = re.compile(r"(?<!\d)\d{6}(?!\d)")


def linked(text: str) -> Markup:
    """A plain text with its links to follow and its six-digit codes set off; everything else is escaped."""
    parts: list[str] = []
    end = 0
    for found in _LINK.finditer(text):
        parts += [_coded(text[end : found.start()]), Markup('<a href="{0}">{0}</a>').format(found[0])]
        end = found.end()
    return Markup("").join([*parts, _coded(text[end:])])


def _coded(text: str) -> Markup:
    parts: list[str] = []
    end = 0
    for found in _CODE.finditer(text):
        parts += [text[end : found.start()], Markup('<strong class="code">{}</strong>').format(found[0])]
        end = found.end()
    return Markup("").join([*parts, text[end:]])
