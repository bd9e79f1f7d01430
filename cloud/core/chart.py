"""Which part of the past a chart shows, in what pieces, and what it is drawn from. Pure.

A chart has about as many pieces as a screen has room for. Short windows are drawn from the samples
themselves, longer ones from rollups of five minutes or an hour (``docs/charts.md``). Pieces begin at
multiples of their width since 1970, so that two readings of the same time have the same pieces.
"""

from dataclasses import dataclass, replace
from typing import Final

from cloud.core.language import gettext

HOUR_S: Final = 3600
DAY_S: Final = 86_400
RANGES_S: Final = (600, HOUR_S, 6 * HOUR_S, DAY_S, 7 * DAY_S, 30 * DAY_S, 365 * DAY_S)
"""Ranges up to now that pages and programs may name."""
ALL: Final = 0
"""The range that begins with what is stored."""
DEFAULT_RANGE_S: Final = HOUR_S
MIN_SPAN_MS: Final = 60_000
MAX_MS: Final = 253_402_300_799_999  # the year 9999, as far as PostgreSQL, Python and browsers agree
PIECES: Final = 360
MIN_PIECES: Final = 12
MAX_PIECES: Final = 720
FINE_S: Final = 300
COARSE_S: Final = HOUR_S
FROM_SAMPLES_MS: Final = 12 * HOUR_S * 1000
"""Up to this span samples are read: 43 200 of a device that reports every second."""
FROM_FINE_MS: Final = 16 * DAY_S * 1000
"""Up to this span rollups of five minutes are read: 4 608 rows."""
FINE_KEPT_MS: Final = 100 * DAY_S * 1000
"""So long rollups of five minutes are kept; those of an hour stay as long as the telemetry they tell of, and
longer."""
REPORT_S: Final = 60
"""A device reports once a minute unless its setting says otherwise."""
GAP_REPORTS: Final = 2.5
GAP_PIECES: Final = 1.5
"""What is missing longer than both is a gap."""
TABLE_STEPS_S: Final = (
    *(10, 30, 60, 300, 600, 900, 1800),
    *(HOUR_S, 2 * HOUR_S, 6 * HOUR_S, 12 * HOUR_S),
    *(DAY_S, 2 * DAY_S, 7 * DAY_S, 14 * DAY_S, 30 * DAY_S, 91 * DAY_S, 365 * DAY_S),
)
TABLE_ROWS: Final = 24


class WindowError(ValueError):
    """A window that cannot be; the text is for a person."""


@dataclass(frozen=True, slots=True)
class Window:
    """From when to when, unix ms. ``range_s``: the range up to now that was chosen; ``whole``: all there is;
    with either the window is live and moves on.
    """

    from_ms: int
    to_ms: int
    range_s: int | None = None
    whole: bool = False

    @property
    def span_ms(self) -> int:
        """Its length."""
        return self.to_ms - self.from_ms

    @property
    def live(self) -> bool:
        """Whether it ends now."""
        return self.whole or self.range_s is not None


def last(range_s: int, now_ms: int) -> Window:
    """The last seconds."""
    return Window(now_ms - range_s * 1000, now_ms, range_s)


def everything(stored_from_ms: int, now_ms: int) -> Window:
    """All that is stored."""
    return Window(min(stored_from_ms, now_ms - MIN_SPAN_MS), now_ms, whole=True)


def between(from_ms: int, to_ms: int, now_ms: int) -> Window:
    """A window that was chosen freely; what is still to come is cut off. WindowError."""
    if to_ms - from_ms < MIN_SPAN_MS:
        raise WindowError(gettext("A chart shows a minute at least: to_ms is 60000 or more after from_ms."))
    if from_ms > now_ms - MIN_SPAN_MS:
        raise WindowError(gettext("from_ms is a minute or more in the past."))
    return Window(from_ms, min(to_ms, now_ms))


# --- moving on without a browser's help ---------------------------------------------------------------------


def earlier(window: Window) -> Window:
    """Half a window back."""
    return _shifted(window, -window.span_ms // 2)


def later(window: Window, now_ms: int) -> Window | None:
    """Half a window on; None where there is nothing later."""
    if window.live or window.to_ms >= now_ms:
        return None
    return _shifted(window, min(window.span_ms // 2, now_ms - window.to_ms))


def closer(window: Window) -> Window | None:
    """The middle half; None where it is as close as it gets."""
    half = window.span_ms // 2
    if half < MIN_SPAN_MS:
        return None
    start = window.from_ms + half // 2
    return Window(start, start + half)


def wider(window: Window, stored_from_ms: int, now_ms: int) -> Window | None:
    """Twice as much around it, as far as there is anything; None where all is shown."""
    if window.whole or (window.from_ms <= stored_from_ms and window.to_ms >= now_ms):
        return None
    side = window.span_ms // 2
    start, end = max(0, window.from_ms - side), min(now_ms, window.to_ms + side)
    return Window(start, max(end, start + MIN_SPAN_MS))


def _shifted(window: Window, by_ms: int) -> Window:
    start = max(0, window.from_ms + by_ms)
    return replace(window, from_ms=start, to_ms=start + window.span_ms, range_s=None, whole=False)


# --- what it is drawn from ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Plan:
    """How a window is read: in pieces of ``piece_ms``; ``width_s`` names the rollup, None the samples."""

    piece_ms: int
    width_s: int | None
    from_ms: int
    to_ms: int


def plan(window: Window, pieces: int, now_ms: int) -> Plan:
    """How to read a window in about so many pieces, of whole seconds."""
    return plan_pieces(window, max(1000, window.span_ms // pieces // 1000 * 1000), now_ms)


def plan_pieces(window: Window, piece_ms: int, now_ms: int) -> Plan:
    """How to read a window in pieces of this width, or of somewhat more."""
    width_s = _width_s(window, now_ms)
    if width_s is not None:
        width_ms = width_s * 1000
        piece_ms = max(1, -(-piece_ms // width_ms)) * width_ms
    return Plan(piece_ms, width_s, window.from_ms // piece_ms * piece_ms, window.to_ms)


def _width_s(window: Window, now_ms: int) -> int | None:
    if window.span_ms <= FROM_SAMPLES_MS:
        return None
    if window.span_ms <= FROM_FINE_MS and window.from_ms >= now_ms - FINE_KEPT_MS:
        return FINE_S
    return COARSE_S


def table_piece_ms(window: Window) -> int:
    """Width of a row of a table that one reads in one go."""
    fits = (step for step in TABLE_STEPS_S if window.span_ms <= step * 1000 * TABLE_ROWS)
    return next(fits, TABLE_STEPS_S[-1]) * 1000


def gap_ms(piece_ms: int, report_s: float) -> int:
    """What is missing longer than this is drawn as a gap, of a device that reports every ``report_s``."""
    return int(max(GAP_REPORTS * max(report_s, REPORT_S) * 1000, GAP_PIECES * piece_ms))
