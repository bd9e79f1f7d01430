"""Commands to a UPS: what must hold before one is sent, and how far it came.

Theory of operation
-------------------
A command is made with everything checked that the cloud can check (:func:`missing_steps`), under the device's
lock, signed, and stored. The gateway that holds the device's session hands it over once, marking it as
delivered before it sends a byte: what a crash or a broken link swallows then is ``unknown``, never repeated.

===========  =================  ==============  ==============  ==========================================
state        handed over        its time over   owner or key    result of the device
                                                changed
===========  =================  ==============  ==============  ==========================================
requested    delivered          expired         expired         as it says
delivered                       unknown         unknown         as it says
ended by us                                                     as it says: the device knows better
ended by it                                                     the first one stays, but for ``unknown``
===========  =================  ==============  ==============  ==========================================

A missing pair is an illegal transition. Time is over at ``due_ms``: for a requested command when it expires,
for a delivered one some time later, in which its result may come.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from cloud.core.language import N_, gettext
from protocol.commands import OUTLET_KINDS, CommandKind

ANSWER_MS: Final = 30_000
"""So long after that a device may still be reading back what it did; then nobody knows."""
RATE_MS: Final = 60_000
MAX_IN_RATE: Final = 6
"""Commands of one device within ``RATE_MS``: every group off and on, and nobody wears a relay out."""


class Group(StrEnum):
    """An outlet group, by its name in the register map (``protocol.commands.SWITCHED_GROUPS``)."""

    MOG = "mog"
    SOG0 = "sog0"
    SOG1 = "sog1"
    SOG2 = "sog2"


USES_BATTERY: Final = frozenset({CommandKind.SELF_TEST, CommandKind.CALIBRATION_START})


class State(StrEnum):
    """How far a command came. Append only: stored."""

    REQUESTED = "requested"
    DELIVERED = "delivered"
    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    EXPIRED = "expired"
    UNKNOWN = "unknown"


OPEN: Final = frozenset({State.REQUESTED, State.DELIVERED})


class Happening(StrEnum):
    """What may happen to a command that is open."""

    HANDED_OVER = "handed_over"
    TIME_OVER = "time_over"
    OWNER_CHANGED = "owner_changed"
    """The ownership ended or moved, or the device goes on with another key."""


TRANSITIONS: Final[Mapping[tuple[State, Happening], State]] = MappingProxyType(
    {
        (State.REQUESTED, Happening.HANDED_OVER): State.DELIVERED,
        (State.REQUESTED, Happening.TIME_OVER): State.EXPIRED,
        (State.REQUESTED, Happening.OWNER_CHANGED): State.EXPIRED,
        (State.DELIVERED, Happening.TIME_OVER): State.UNKNOWN,
        (State.DELIVERED, Happening.OWNER_CHANGED): State.UNKNOWN,
    }
)


class IllegalStepError(Exception):
    """What cannot happen to a command in this state."""


def step(state: State, what: Happening) -> State:
    """The state after it. IllegalStepError."""
    try:
        return TRANSITIONS[state, what]
    except KeyError:
        raise IllegalStepError(f"{what} of a command that is {state}") from None


def state_at(state: State, due_ms: int | None, now_ms: int) -> State:
    """The state as it is to be shown, also before anybody has written down that time is over."""
    return state if due_ms is None or now_ms < due_ms else step(state, Happening.TIME_OVER)


def takes_result(state: State, *, reported: bool) -> bool:
    """Whether a result of the device replaces this state; ``reported``: it comes from the device itself."""
    return not reported or state is State.UNKNOWN


# --- what must hold -----------------------------------------------------------------------------------------


class Step(StrEnum):
    """A safety step that is missing, in the order in which people are told. Append only: stable codes."""

    ROLE = "forbidden"
    TWO_FACTOR = "two_factor_needed"
    FRESH_FACTOR = "factor_needed"
    RELEASING = "releasing"
    CLONE_SUSPECTED = "clone_suspected"
    SMARTCONNECT_OFF = "smartconnect_off"
    OFFLINE = "device_offline"
    SILENT = "ups_silent"
    NO_GROUP = "no_such_group"
    ON_BATTERY = "on_battery"
    FAULT = "ups_fault"
    UNDER_WAY = "command_under_way"
    TOO_MANY = "too_many"
    GROUP_NAME = "group_name_wrong"


@dataclass(frozen=True, slots=True)
class Order:
    """What somebody asks for. ``typed``: the group's name as they typed it; None where that comes later."""

    kind: CommandKind
    group: Group | None = None
    force: bool = False
    typed: str | None = None

    @property
    def arguments(self) -> dict[str, str | bool]:
        """As they travel."""
        if self.group is None or self.kind not in OUTLET_KINDS:
            return {}
        return {"group": self.group.value, "force": self.force}


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """All that a command depends on, as it is under the device's lock."""

    role_allows: bool
    two_factor: bool
    fresh: bool
    releasing: bool
    clone_suspected: bool
    smartconnect: bool
    online: bool
    answering: bool
    """Whether the agent has heard the UPS lately."""
    groups: Mapping[Group, str]
    """The groups there are, with the names they have on this UPS."""
    on_battery: bool
    fault: bool
    outlet_under_way: bool
    lately: int
    """Commands of this device within ``RATE_MS``."""


def missing_steps(order: Order, now: Circumstances) -> tuple[Step, ...]:
    """The safety steps that are missing, in the order of :class:`Step`; none where it may be sent."""
    switches = order.kind in OUTLET_KINDS
    risky = switches or order.kind in USES_BATTERY
    forced = order.force and switches
    known = order.group is not None and order.group in now.groups
    rules: Sequence[tuple[Step, bool]] = (
        (Step.ROLE, not now.role_allows),
        (Step.TWO_FACTOR, switches and not now.two_factor),
        (Step.FRESH_FACTOR, switches and not now.fresh),
        (Step.RELEASING, now.releasing),
        (Step.CLONE_SUSPECTED, now.clone_suspected),
        (Step.SMARTCONNECT_OFF, not now.smartconnect),
        (Step.OFFLINE, now.smartconnect and not now.online),
        (Step.SILENT, now.smartconnect and now.online and not now.answering),
        (Step.NO_GROUP, switches and not known),
        (Step.ON_BATTERY, risky and now.on_battery and not forced),
        (Step.FAULT, risky and now.fault and not forced),
        (Step.UNDER_WAY, switches and now.outlet_under_way),
        (Step.TOO_MANY, now.lately >= MAX_IN_RATE),
        (Step.GROUP_NAME, switches and known and not _named(order, now)),
    )
    return tuple(one for one, missing in rules if missing)


def _named(order: Order, now: Circumstances) -> bool:
    """Whether the group's name was typed, or is yet to be; letter case and blanks do not matter.

    What a group without a name is called may be typed in English, too: programs do not change languages.
    """
    if order.typed is None or order.group is None:
        return order.typed is None
    name, default = now.groups[order.group], DEFAULT_NAMES[order.group]
    names = {name, default} if name == gettext(default) else {name}
    return _plain(order.typed) in {_plain(one) for one in names}


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


def next_counter(last: int, now_ms: int) -> int:
    """The number of the next command: it grows, and stays ahead of every agent after a restored backup."""
    return max(last + 1, now_ms)


# --- outlet groups ------------------------------------------------------------------------------------------

DEFAULT_NAMES: Final[Mapping[Group, str]] = MappingProxyType(
    {
        Group.MOG: N_("Main outlets"),
        Group.SOG0: N_("Outlet group 1"),
        Group.SOG1: N_("Outlet group 2"),
        Group.SOG2: N_("Outlet group 3"),
    }
)
"""Where the UPS has not told the names that were given to its groups."""

_ON: Final = 1 << 0  # bits of an outlet group's status, protocol.register_codes
_OFF: Final = 1 << 1
_REBOOTING: Final = 1 << 2
_SHUTTING_DOWN: Final = 1 << 3
_SLEEPING: Final = 1 << 4


class GroupState(StrEnum):
    """What an outlet group does, as pages and programs are told. Append only."""

    ON = "on"
    OFF = "off"
    REBOOTING = "rebooting"
    SHUTTING_DOWN = "shutting_down"
    SLEEPING = "sleeping"


def group_state(status: int) -> GroupState | None:
    """The state in a group's status bits; None where the UPS has no such group."""
    rules = (
        (GroupState.REBOOTING, _REBOOTING),
        (GroupState.SHUTTING_DOWN, _SHUTTING_DOWN),
        (GroupState.SLEEPING, _SLEEPING),
        (GroupState.ON, _ON),
        (GroupState.OFF, _OFF),
    )
    return next((state for state, bit in rules if status & bit), None)


def groups_of(bits: Mapping[str, int], settings: Mapping[str, object]) -> dict[Group, str]:
    """The groups of a UPS that tells these status bits and settings, each with its name.

    A group that nobody has named is called in the language that is spoken.
    """
    return {
        group: str(settings.get(f"{group}_name") or "").strip() or gettext(DEFAULT_NAMES[group])
        for group in Group
        if group_state(bits[f"{group}_outlet_status"]) is not None
    }
