"""Command kinds: parameters, privilege and lifetime."""

from dataclasses import dataclass
from enum import StrEnum

COMMAND_LIFE_MS = 60_000
"""No command lives longer: an order that arrives late is worse than one that never arrives."""


class CommandKind(StrEnum):
    """What a UPS can be told to do. Append only."""

    OUTLET_OFF = "outlet_off"
    OUTLET_ON = "outlet_on"
    OUTLET_REBOOT = "outlet_reboot"
    SELF_TEST = "self_test"
    CALIBRATION = "calibration"
    MUTE = "mute"
    IDENTIFY = "identify"


@dataclass(frozen=True, slots=True)
class CommandRule:
    """What a kind needs: names of its arguments, and whether it can take power away from a load."""

    arguments: frozenset[str]
    cuts_power: bool


RULES: dict[CommandKind, CommandRule] = {
    CommandKind.OUTLET_OFF: CommandRule(frozenset({"group"}), cuts_power=True),
    CommandKind.OUTLET_ON: CommandRule(frozenset({"group"}), cuts_power=False),
    CommandKind.OUTLET_REBOOT: CommandRule(frozenset({"group"}), cuts_power=True),
    CommandKind.SELF_TEST: CommandRule(frozenset(), cuts_power=False),
    CommandKind.CALIBRATION: CommandRule(frozenset(), cuts_power=False),
    CommandKind.MUTE: CommandRule(frozenset(), cuts_power=False),
    CommandKind.IDENTIFY: CommandRule(frozenset(), cuts_power=False),
}
"""The rule of every command kind."""
