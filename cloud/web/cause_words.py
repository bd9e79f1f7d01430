"""Why a UPS changed its state, in words; register 2 of the Smart-UPS map."""

from collections.abc import Mapping
from typing import Final

CAUSES: Final[Mapping[str, str]] = {
    "low_input_voltage": "the mains voltage was too low",
    "high_input_voltage": "the mains voltage was too high",
    "distorted_input": "the mains were distorted",
    "rapid_input_change": "the mains failed",
    "high_input_frequency": "the mains frequency was too high",
    "low_input_frequency": "the mains frequency was too low",
    "frequency_or_phase_difference": "frequency or phase of the mains were off",
    "input_phase_delta": "the phases of the mains were off",
    "input_neutral_missing": "the neutral wire was missing",
    "acceptable_input": "the mains are good",
    "automatic_test": "a test",
    "test_ended": "a test has ended",
    "low_battery_voltage": "the battery is empty",
    "automatic_restart": "it started again by itself",
    "local_ui_command": "at the front panel",
    "protocol_command": "by a command",
}


def cause_text(cause: object) -> str:
    """Words of a cause; one that has none is shown by its own name."""
    text = str(cause) if cause else ""
    return CAUSES.get(text, text.replace("_", " "))
