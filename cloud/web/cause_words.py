"""Why a UPS changed its state, in words; register 2 of the Smart-UPS map."""

from collections.abc import Mapping
from typing import Final

from cloud.core.language import N_, gettext

CAUSES: Final[Mapping[str, str]] = {
    "low_input_voltage": N_("the mains voltage was too low"),
    "high_input_voltage": N_("the mains voltage was too high"),
    "distorted_input": N_("the mains were distorted"),
    "rapid_input_change": N_("the mains failed"),
    "high_input_frequency": N_("the mains frequency was too high"),
    "low_input_frequency": N_("the mains frequency was too low"),
    "frequency_or_phase_difference": N_("frequency or phase of the mains were off"),
    "input_phase_delta": N_("the phases of the mains were off"),
    "input_neutral_missing": N_("the neutral wire was missing"),
    "acceptable_input": N_("the mains are good"),
    "automatic_test": N_("a test"),
    "test_ended": N_("a test has ended"),
    "low_battery_voltage": N_("the battery is empty"),
    "automatic_restart": N_("it started again by itself"),
    "local_ui_command": N_("at the front panel"),
    "protocol_command": N_("by a command"),
}


def cause_text(cause: object) -> str:
    """Words of a cause; one that has none is shown by its own name."""
    text = str(cause) if cause else ""
    known = CAUSES.get(text)
    return text.replace("_", " ") if known is None else gettext(known)
