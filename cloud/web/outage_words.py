"""Outages in words: what one was, how it ended, and what is not known of it. Pure."""

from dataclasses import dataclass

from cloud.core.device_state import Tone
from cloud.core.language import gettext
from cloud.core.outage import Ending, Outage
from cloud.web.cause_words import cause_text
from cloud.web.wording import number, span


@dataclass(frozen=True, slots=True)
class OutageWords:
    """How an outage is shown."""

    title: str
    detail: str
    tone: Tone


def outage_words(outage: Outage, now_ms: int, *, known: bool) -> OutageWords:
    """Words of an outage; ``known`` says whether the device is heard, and on battery, at this moment."""
    return OutageWords(_title(outage, now_ms, known=known), _detail(outage), _tone(outage, known=known))


def _title(outage: Outage, now_ms: int, *, known: bool) -> str:
    if outage.lasted_ms is not None:
        return gettext("{time} on battery", time=span(outage.lasted_ms / 1000))
    if outage.start_ms is None:
        return gettext("On battery until then; the beginning was not recorded")
    if outage.ending is Ending.LOST:
        return gettext("On battery; the end was not recorded")
    if known:
        return gettext("On battery for {time} now", time=span((now_ms - outage.start_ms) / 1000))
    return gettext("On battery when it was last heard; the end is not known yet")


def _detail(outage: Outage) -> str:
    charge, unseen = outage.lowest_charge_pct, span(outage.unseen_ms / 1000)
    parts = [
        cause_text(outage.cause),
        "" if charge is None else gettext("battery down to {charge}", charge=number(charge, "%")),
        gettext("battery was low") if outage.battery_low else "",
        gettext("the UPS was silent for {time} of it", time=unseen) if outage.unseen_ms >= 1000 else "",
        gettext("time uncertain") if outage.time_uncertain else "",
    ]
    return " · ".join(part for part in parts if part)


def _tone(outage: Outage, *, known: bool) -> Tone:
    if outage.battery_low:
        return Tone.BAD
    return Tone.WARN if outage.ending is Ending.OPEN and known else Tone.CALM
