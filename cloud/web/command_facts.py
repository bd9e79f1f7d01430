"""What pages show of a device's outlets and commands."""

from collections.abc import Sequence
from typing import Final

from cloud.core.authz import Action, Actor
from cloud.core.command import Group, GroupState, State
from cloud.core.device_state import DeviceView
from cloud.core.language import gettext
from cloud.postgres.commands import CommandRow
from cloud.services.commanding import Outlet, outlets_of, state_of
from cloud.web.command_words import GROUP_STATES, KINDS, PASSED, STATES, outcome_text
from cloud.web.wording import number
from protocol.commands import CommandKind

JSON = dict[str, object]
_OFFERED: Final = {
    GroupState.ON: (CommandKind.OUTLET_REBOOT, CommandKind.OUTLET_OFF),
    GroupState.OFF: (CommandKind.OUTLET_ON,),
}
"""What a page offers of a group in this state; of one that is changing, nothing."""


def panel_facts(view: DeviceView, actor: Actor, rows: Sequence[CommandRow], now_ms: int) -> JSON:
    """For ``_control.html`` and its parts."""
    return {
        "view": view,
        "may_control": actor.may(Action.CONTROL),
        "outlets": [_outlet_facts(one) for one in outlets_of(view)],
        "commands": [command_facts(view, row, now_ms) for row in rows],
        "now_ms": now_ms,
    }


def _outlet_facts(outlet: Outlet) -> JSON:
    word, tone = GROUP_STATES[outlet.state]
    offered = [(kind.value, gettext(KINDS[kind].title)) for kind in _OFFERED.get(outlet.state, ())]
    return {
        "group": outlet.group.value,
        "name": outlet.name,
        "word": gettext(word),
        "tone": tone,
        "offered": offered,
    }


def command_facts(view: DeviceView, row: CommandRow, now_ms: int) -> JSON:
    """One command, as ``_commands.html`` shows it."""
    state = state_of(row, now_ms)
    return {
        "row": row,
        "title": title_of(view, row),
        "state": state.value,
        "words": STATES[state],
        "word": gettext(STATES[state].word),
        "outcome": outcome_text(row, state),
        "way": _way(row, state),
        "who": f"{row.first_name} {row.last_name}".strip(),
    }


def _way(row: CommandRow, state: State) -> str:
    """The states it went through: ``Requested → delivered after 0.2 s → done after 1.4 s``."""
    passed = [(State.DELIVERED, row.delivered_ms), (state, row.ended_ms)]
    later = [
        gettext(PASSED[one], time=number(max(0, at_ms - row.issued_ms) / 1000, "s", 1))
        for one, at_ms in passed
        if at_ms is not None
    ]
    return " → ".join([gettext(STATES[State.REQUESTED].word), *later])


def title_of(view: DeviceView, row: CommandRow) -> str:
    """What was ordered: ``Reboot: Outlet group 1``. A kind newer than this portal has its own name."""
    known = row.kind in CommandKind.__members__.values()
    title = gettext(KINDS[CommandKind(row.kind)].title) if known else row.kind.replace("_", " ")
    group = row.arguments.get("group")
    names = {one.group: one.name for one in outlets_of(view)}
    if not isinstance(group, str) or group not in Group.__members__.values():
        return title
    return f"{title}: {names.get(Group(group), group)}"
