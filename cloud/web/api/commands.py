"""Commands to a UPS: outlet groups, tests, the alarm. Steps that are missing are told by code."""

import uuid
from http import HTTPStatus
from typing import Annotated, Any, Final

from aiohttp import web
from msgspec import Meta, Struct

from cloud.core.api_token import Scope
from cloud.core.command import Group, GroupState, Order, State
from cloud.core.schedule import MAX_DAYS, MIN_DAYS, Schedule
from cloud.postgres.commands import MAX_ROWS, CommandRow
from cloud.services import commanding, scheduling
from cloud.web.api import once
from cloud.web.api.devices import own
from cloud.web.api.kinds import DeviceId, Line, Ms, device_number
from cloud.web.api.operation import Reply, Section, json_of
from cloud.web.command_words import outcome_text
from cloud.web.problems import Problem, ProblemCode
from cloud.web.state import COMMANDER, POOL, actor_of, now_ms, session_of
from protocol.commands import OUTLET_KINDS, CommandKind

SECTION: Final = Section(
    "Commands",
    "Switch outlet groups, test, calibrate, mute, identify.",
    reads=Scope.DEVICES_READ,
    writes=Scope.CONTROL,
)
CommandId = Annotated[str, Meta(max_length=64, description="Name of a command.")]
REFUSED: Final = (
    ProblemCode.FORBIDDEN,
    ProblemCode.TWO_FACTOR_NEEDED,
    ProblemCode.FACTOR_NEEDED,
    ProblemCode.RELEASING,
    ProblemCode.CLONE_SUSPECTED,
    ProblemCode.SMARTCONNECT_OFF,
    ProblemCode.DEVICE_OFFLINE,
    ProblemCode.UPS_SILENT,
    ProblemCode.NO_SUCH_GROUP,
    ProblemCode.ON_BATTERY,
    ProblemCode.UPS_FAULT,
    ProblemCode.COMMAND_UNDER_WAY,
    ProblemCode.GROUP_NAME_WRONG,
)


class NewCommand(Struct):
    """What is to be done."""

    kind: CommandKind
    group: Annotated[Group | None, Meta(description="The outlet group; outlet commands need it.")] = None
    group_name: Annotated[
        Line, Meta(description="Its name, as people know it: outlet commands are confirmed by it.")
    ] = ""
    force: Annotated[bool, Meta(description="Also while the UPS runs on battery or has a fault.")] = False


class Command(Struct):
    """A command and how far it came."""

    command_id: str
    device_id: str
    kind: str
    arguments: dict[str, Any]
    state: State
    sentence: Annotated[str, Meta(description="What became of it, for people.")]
    code: Annotated[str, Meta(description="Why it did not simply succeed; empty where it did, or is open.")]
    requested_by: str
    issued_ms: Ms
    expires_ms: Annotated[int, Meta(description="Unix ms; not begun after it.")]
    delivered_ms: int | None
    ended_ms: int | None


class CommandList(Struct):
    """The newest commands of your ownership, newest first."""

    commands: list[Command]


class OutletGroup(Struct):
    """An outlet group of a UPS."""

    group: Group
    name: str
    state: GroupState


class OutletGroupList(Struct):
    """The outlet groups of a UPS, as it told last."""

    groups: list[OutletGroup]


class NewSchedule(Struct):
    """When to calibrate."""

    every_days: Annotated[int, Meta(ge=MIN_DAYS, le=MAX_DAYS, description="The rhythm, in days.")]
    first_ms: Annotated[int, Meta(ge=0, lt=1 << 53, description="Unix ms of the first one.")]


class CalibrationSchedule(Struct):
    """When the UPS calibrates its runtime by itself; all null without a schedule."""

    every_days: int | None
    due_ms: Annotated[int | None, Meta(description="Unix ms of the next one.")]
    missing: Annotated[str | None, Meta(description="The step that the last try lacked, by code.")]


def _schedule_json(schedule: Schedule | None) -> CalibrationSchedule:
    if schedule is None:
        return CalibrationSchedule(None, None, None)
    return CalibrationSchedule(schedule.every_days, schedule.due_ms, schedule.missing or None)


def command_json(row: CommandRow, at_ms: int) -> Command:
    """One command."""
    state = commanding.state_of(row, at_ms)
    return Command(
        command_id=row.command_id,
        device_id=str(row.device_id),
        kind=row.kind,
        arguments=dict(row.arguments),
        state=state,
        sentence=outcome_text(row, state),
        code=row.code,
        requested_by=f"{row.first_name} {row.last_name}".strip(),
        issued_ms=row.issued_ms,
        expires_ms=row.expires_ms,
        delivered_ms=row.delivered_ms,
        ended_ms=row.ended_ms,
    )


@SECTION.operation("GET", "/devices/{device_id}/outlet-groups")
async def list_groups(request: web.Request, device_id: DeviceId) -> OutletGroupList:
    """Outlet groups with their names and states."""
    view = await own(request, device_id)
    found = commanding.outlets_of(view)
    return OutletGroupList([OutletGroup(one.group, one.name, one.state) for one in found])


@SECTION.operation(
    "POST",
    "/devices/{device_id}/commands",
    statuses={HTTPStatus.ACCEPTED: "It is on its way; ask for it to learn what became of it."},
    problems=REFUSED,
)
async def send(request: web.Request, device_id: DeviceId, body: NewCommand) -> Reply[Command]:
    """Send a command: signed, delivered once within a minute, carried out once at the most.

    Outlet commands need Two-Factor Authentication, a factor of the last five minutes (`POST /session/proof`),
    the group's name, and `allow_outlet_control` at the agent. `missing` names every step that is missing.
    """
    switches = body.kind in OUTLET_KINDS
    order = Order(
        body.kind, body.group if switches else None, body.force, body.group_name if switches else None
    )

    def answer(row: CommandRow) -> web.Response:
        return json_of(command_json(row, now_ms()), HTTPStatus.ACCEPTED)

    doing = commanding.request(
        request.app[COMMANDER],
        session_of(request),
        device_number(device_id),
        order,
        str(uuid.uuid4()),
        now_ms(),
    )
    made = await once.done(request, CommandRow, answer, doing)
    return Reply(command_json(made, now_ms()), HTTPStatus.ACCEPTED)


@SECTION.operation("GET", "/devices/{device_id}/calibration-schedule")
async def show_schedule(request: web.Request, device_id: DeviceId) -> CalibrationSchedule:
    """When the UPS calibrates its runtime by itself."""
    return _schedule_json(
        await scheduling.look(request.app[POOL], actor_of(request), device_number(device_id))
    )


@SECTION.operation(
    "PUT",
    "/devices/{device_id}/calibration-schedule",
    problems=[ProblemCode.FORBIDDEN, ProblemCode.FIELD_INVALID],
)
async def set_schedule(request: web.Request, device_id: DeviceId, body: NewSchedule) -> CalibrationSchedule:
    """Let it calibrate its runtime in a rhythm, each time when nothing speaks against it."""
    made = await scheduling.set_up(
        request.app[POOL],
        actor_of(request),
        device_number(device_id),
        every_days=body.every_days,
        first_ms=body.first_ms,
        now_ms=now_ms(),
    )
    return _schedule_json(made)


@SECTION.operation("DELETE", "/devices/{device_id}/calibration-schedule", problems=[ProblemCode.FORBIDDEN])
async def end_schedule(request: web.Request, device_id: DeviceId) -> None:
    """No more calibrations by themselves."""
    await scheduling.give_up(request.app[POOL], actor_of(request), device_number(device_id), now_ms())


@SECTION.operation("GET", "/devices/{device_id}/commands")
async def list_commands(request: web.Request, device_id: DeviceId) -> CommandList:
    """The newest commands of your ownership."""
    at_ms = now_ms()
    rows = await commanding.history(request.app[POOL], actor_of(request), device_number(device_id), MAX_ROWS)
    return CommandList([command_json(row, at_ms) for row in rows])


@SECTION.operation("GET", "/devices/{device_id}/commands/{command_id}")
async def show_command(request: web.Request, device_id: DeviceId, command_id: CommandId) -> Command:
    """One command."""
    try:
        name = str(uuid.UUID(command_id))
    except ValueError:
        raise Problem(ProblemCode.NOT_FOUND) from None
    row = await commanding.look(request.app[POOL], actor_of(request), device_number(device_id), name)
    return command_json(row, now_ms())
