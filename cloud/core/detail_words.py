"""Names and values that events carry, in words: those that agents of ours send; others show by their own."""

from collections.abc import Mapping
from typing import Final

from cloud.core.language import N_, gettext
from protocol.settings import BY_SETTING

NAMES: Final[Mapping[str, str]] = {
    "result": N_("result"),
    "source": N_("source"),
    "why": N_("why"),
    "reason": N_("reason"),
    "before": N_("before"),
    "after": N_("after"),
    "by": N_("by"),
    "imported": N_("imported"),
    "dropped_total": N_("dropped total"),
}
VALUES: Final[Mapping[str, str]] = {
    "passed": N_("passed"),
    "failed": N_("failed"),
    "refused": N_("refused"),
    "aborted": N_("aborted"),
    "protocol": N_("protocol"),
    "local_ui": N_("local ui"),
    "internal": N_("internal"),
    "invalid_state": N_("invalid state"),
    "internal_fault": N_("internal fault"),
    "state_of_charge": N_("state of charge"),
    "load_change": N_("load change"),
    "ac_input": N_("ac input"),
    "load_too_low": N_("load too low"),
    "overcharge_in_progress": N_("overcharge in progress"),
    "battery_low": N_("battery low"),
    "portal": N_("portal"),
    "front panel": N_("front panel"),
}
"""Bits of the registers of tests, without what says which kind of bit it is (protocol.register_codes); who
changes settings (agent.core.settings)."""


def name_text(name: str) -> str:
    """Words of the name of a value."""
    known = NAMES.get(name)
    return name.replace("_", " ") if known is None else gettext(known)


def value_text(value: str) -> str:
    """Words of a value that is a text."""
    known = VALUES.get(value)
    return value.replace("_", " ") if known is None else gettext(known)


def setting_text(name: object) -> str:
    """The label of a setting that has changed."""
    if not isinstance(name, str):
        return ""
    known = BY_SETTING.get(name)
    label = name.replace("_", " ") if known is None else gettext(known.label)
    return gettext("setting {name}", name=label)
