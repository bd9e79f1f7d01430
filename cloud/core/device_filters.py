"""The filters of the devices list: the words in front of a colon, what they ask, the states they know."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cloud.core.device_state import FACES, STALE, Condition, Tone
from cloud.core.language import N_, gettext


class TextField(StrEnum):
    """What may hold a text, in any case."""

    NAME = "name"
    MODEL = "model"
    SERIAL = "serial"
    FIRMWARE = "firmware"
    ID = "id"


class NumberField(StrEnum):
    """What may be compared with a number; in seconds, percent, watts and °C."""

    RUNTIME = "runtime"
    CHARGE = "charge"
    LOAD = "load"
    WATTS = "watts"
    TEMPERATURE = "temperature"
    LASTSEEN = "lastseen"


GROUPS: Final[Mapping[str, frozenset[Condition]]] = {
    "trouble": frozenset(one for one, face in FACES.items() if face.tone in {Tone.WARN, Tone.BAD}),
    "stale": STALE,
}
"""States that have a word together: something is wrong; what is shown is only the last known."""
STATES: Final[Mapping[str, frozenset[Condition]]] = {
    **{one.value: frozenset({one}) for one in Condition},
    **GROUPS,
}


@dataclass(frozen=True, slots=True)
class Help:
    """One filter as the page and docs/devices.md explain it; in ``english``, ``{states}`` stands for all."""

    example: str
    english: str

    @property
    def meaning(self) -> str:
        """What it asks, in the language that is spoken."""
        return gettext(self.english, states=", ".join(STATES))


FILTERS: Final[Mapping[str, Help]] = {
    "is": Help("is:offline", N_("its state: {states}; several with commas")),
    "site": Help(
        'site:"Hall 2"', N_("at this site or one below it, by name or by path; site:none: at no site")
    ),
    TextField.NAME: Help("name:rack", N_("its name holds this")),
    TextField.MODEL: Help("model:SMT1500", N_("its model or SKU holds this")),
    TextField.SERIAL: Help("serial:AS12", N_("its serial number holds this")),
    TextField.FIRMWARE: Help("firmware:15.1", N_("its firmware version holds this")),
    TextField.ID: Help("id:AB12", N_("its Product ID holds this")),
    NumberField.RUNTIME: Help("runtime:<15", N_("runtime left; minutes, or with s, min, h or d")),
    NumberField.CHARGE: Help("charge:<50", N_("charge of the battery in %")),
    NumberField.LOAD: Help("load:>80", N_("load in % of the rated power")),
    NumberField.WATTS: Help("watts:>500", N_("load in W, or with kW")),
    NumberField.TEMPERATURE: Help("temperature:>30", N_("temperature of the battery in °C")),
    NumberField.LASTSEEN: Help("lastseen:>1d", N_("heard last so long ago; minutes, or with s, min, h or d")),
}
"""Every filter there is, by the word in front of its colon."""
