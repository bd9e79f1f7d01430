"""Outages from events: which edges belong together, however late and in whatever order they came.

Theory of operation. Only events make an outage, never silence. Sorted by when they happened, one begins
with ``on_battery`` and ends with ``mains_back``. Three things can be missing, and are said, not guessed:
an end whose beginning was before this ownership or was lost (``start_ms`` is None); a beginning whose end was
never told, because the next one followed (``LOST``); and an end that is still to come (``OPEN``). A beginning
that is told again soon is the same outage: its agent had lost its memory. While the UPS did not answer its
agent, nobody knows what it did: that time is counted as unseen.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from protocol.messages import EventKind

AGAIN_MS: Final = 120_000
"""A second beginning within this time is the first one told again."""
KINDS: Final = (
    EventKind.ON_BATTERY,
    EventKind.MAINS_BACK,
    EventKind.LOW_BATTERY,
    EventKind.COMMUNICATION_LOST,
    EventKind.COMMUNICATION_RESTORED,
)
"""The events that tell of outages."""


@dataclass(frozen=True, slots=True, order=True)
class PowerEvent:
    """What an event says about an outage. They sort by when they happened."""

    ts_ms: int
    stream: int
    seq: int
    kind: str = field(compare=False)
    charge_pct: float | None = field(default=None, compare=False)
    cause: str = field(default="", compare=False)
    time_uncertain: bool = field(default=False, compare=False)


class Ending(StrEnum):
    """How much is known of an outage's end. Append only: programs read it."""

    OPEN = "open"
    ENDED = "ended"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Outage:
    """One time on battery. Times are unix ms; at least one of start and end is known."""

    start_ms: int | None
    end_ms: int | None
    ending: Ending
    cause: str = ""
    lowest_charge_pct: float | None = None
    battery_low: bool = False
    unseen_ms: int = 0
    """How long the UPS did not answer its agent meanwhile."""
    time_uncertain: bool = False

    @property
    def at_ms(self) -> int:
        """What an outage of a device is known by: its start, or its end where that is not known."""
        known = self.end_ms if self.start_ms is None else self.start_ms
        return 0 if known is None else known

    @property
    def lasted_ms(self) -> int | None:
        """Its length, where both ends are known."""
        return None if self.start_ms is None or self.end_ms is None else self.end_ms - self.start_ms


def pair(events: Iterable[PowerEvent]) -> list[Outage]:
    """The outages that these events tell of, the oldest first. Repeated events do no harm."""
    outages: list[Outage] = []
    now: Outage | None = None
    silent_since_ms: int | None = None
    for event in sorted(events):
        match event.kind:
            case EventKind.COMMUNICATION_LOST:
                silent_since_ms = event.ts_ms if silent_since_ms is None else silent_since_ms
            case EventKind.COMMUNICATION_RESTORED:
                now = _unseen(now, silent_since_ms, event.ts_ms)
                silent_since_ms = None
            case EventKind.ON_BATTERY:
                if now is not None and event.ts_ms - now.at_ms > AGAIN_MS:
                    outages.append(replace(now, ending=Ending.LOST))
                    now = None
                now = _seen(now or Outage(event.ts_ms, None, Ending.OPEN, event.cause), event)
            case EventKind.LOW_BATTERY:
                now = None if now is None else replace(_seen(now, event), battery_low=True)
            case EventKind.MAINS_BACK:
                now = now or _unbegun(outages, event)
                if now is not None:
                    ended = _unseen(_seen(now, event), silent_since_ms, event.ts_ms) or now
                    outages.append(replace(ended, end_ms=event.ts_ms, ending=Ending.ENDED))
                    now = None
            case _:
                continue
    return outages if now is None else [*outages, now]


def _unbegun(outages: Sequence[Outage], event: PowerEvent) -> Outage | None:
    """An end without a beginning; None where it is the last end told again."""
    last_ms = outages[-1].end_ms if outages else None
    if last_ms is not None and event.ts_ms - last_ms <= AGAIN_MS:
        return None
    return Outage(None, None, Ending.OPEN)


def _seen(outage: Outage, event: PowerEvent) -> Outage:
    charges = [one for one in (outage.lowest_charge_pct, event.charge_pct) if one is not None]
    return replace(
        outage,
        lowest_charge_pct=min(charges, default=None),
        time_uncertain=outage.time_uncertain or event.time_uncertain,
    )


def _unseen(outage: Outage | None, since_ms: int | None, until_ms: int) -> Outage | None:
    """The outage with this silence counted, as far as it lies within."""
    if outage is None or outage.start_ms is None or since_ms is None:
        return outage
    return replace(outage, unseen_ms=outage.unseen_ms + until_ms - max(since_ms, outage.start_ms))


def lower(outage: Outage, charge_pct: float | None) -> Outage:
    """The outage with a charge that readings show; the lowest one counts."""
    if charge_pct is None:
        return outage
    known = outage.lowest_charge_pct
    return replace(outage, lowest_charge_pct=charge_pct if known is None else min(known, charge_pct))
