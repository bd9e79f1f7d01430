"""What a device can be told to do: kinds of commands, what they take, how long they live, why they fail.

Kinds, arguments and codes are stored and sent as they stand here: append, never rename. A command is signed
by the cloud, bound to device key and ownership epoch, and acted on once at the most.
"""

from enum import StrEnum
from typing import Final

from protocol.marks import N_

MAX_LIFE_MS: Final = 60_000
"""From ``issued_ms`` to ``expires_ms``: what nobody waits for any more must not happen."""
SWITCHED_GROUPS: Final = ("mog", "sog0", "sog1", "sog2")
"""Outlet groups that a command may name; a unit has those of its word 590."""


class CommandKind(StrEnum):
    """What to do. Append only."""

    OUTLET_OFF = "outlet_off"
    OUTLET_ON = "outlet_on"
    OUTLET_REBOOT = "outlet_reboot"
    SELF_TEST = "self_test"
    CALIBRATION_START = "calibration_start"
    CALIBRATION_ABORT = "calibration_abort"
    MUTE = "mute"
    IDENTIFY = "identify"


OUTLET_KINDS: Final = frozenset({CommandKind.OUTLET_OFF, CommandKind.OUTLET_ON, CommandKind.OUTLET_REBOOT})
"""Those that take power away or give it; they need ``allow_outlet_control`` at the agent."""


class CommandCode(StrEnum):
    """Why a command did not simply succeed; ``code`` of a result, "" where it did. Append only."""

    EXPIRED = "expired"
    LIFE_INVALID = "life_invalid"
    KIND_UNKNOWN = "kind_unknown"
    ARGUMENTS_INVALID = "arguments_invalid"
    GROUP_ABSENT = "group_absent"
    OUTLET_CONTROL_OFF = "outlet_control_off"
    SMARTCONNECT_OFF = "smartconnect_off"
    RATE_LIMITED = "rate_limited"
    BUSY = "busy"
    ON_BATTERY = "on_battery"
    FAULT = "fault"
    UPS_UNREACHABLE = "ups_unreachable"
    WORD_ORDER_UNKNOWN = "word_order_unknown"
    UPS_REFUSED = "ups_refused"
    NO_ANSWER = "no_answer"
    NO_EFFECT = "no_effect"
    INTERRUPTED = "interrupted"


CODE_TEXTS: Final[dict[CommandCode, str]] = {
    CommandCode.EXPIRED: N_("It came too late and was not carried out. Ask again."),
    CommandCode.LIFE_INVALID: N_("Its times make no sense, so it was not carried out."),
    CommandCode.KIND_UNKNOWN: N_("The agent does not know this command. Update the agent."),
    CommandCode.ARGUMENTS_INVALID: N_("The agent does not understand what the command asks for."),
    CommandCode.GROUP_ABSENT: N_("The UPS has no such outlet group."),
    CommandCode.OUTLET_CONTROL_OFF: N_(
        "Outlets may not be switched from afar here. Whoever runs the agent sets allow_outlet_control = true"
        " for this UPS in the agent's settings."
    ),
    CommandCode.SMARTCONNECT_OFF: N_("SmartConnect is off at the UPS."),
    CommandCode.RATE_LIMITED: N_("Too many commands within a minute. Wait a minute, then ask again."),
    CommandCode.BUSY: N_("Another command is being carried out. Wait for its result, then ask again."),
    CommandCode.ON_BATTERY: N_("The UPS runs on battery, or tests it. Wait for the mains, or say force."),
    CommandCode.FAULT: N_("The UPS has a fault. Have it looked at, or say force."),
    CommandCode.UPS_UNREACHABLE: N_("The agent does not reach the UPS, so nothing was done."),
    CommandCode.WORD_ORDER_UNKNOWN: N_(
        "The UPS does not say how its outlet groups stand, so it is not safe to switch them."
    ),
    CommandCode.UPS_REFUSED: N_("The UPS refused it."),
    CommandCode.NO_ANSWER: N_("The UPS did not answer, and does not show whether it was done. Look at it."),
    CommandCode.NO_EFFECT: N_("The UPS took it, but shows no effect yet. Look at it."),
    CommandCode.INTERRUPTED: N_(
        "The agent was interrupted in the middle, so nobody knows whether it was done. Look at the UPS."
    ),
}
"""What each code says to people, and what to do next."""
