"""The Control panel's pages: what a command would do, its safety steps, sending it, and all commands so far.

Whoever may send a command sees first what it does. Commands for outlets ask for the group's name and a factor
of the last five minutes; where that is older, the page that asks for it comes between, and leads back here.
"""

import datetime as dt
import uuid
from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from aiohttp import web

from cloud.core.authz import Action
from cloud.core.command import Group, Order, Step
from cloud.core.device_state import DeviceView
from cloud.core.language import N_, gettext
from cloud.services import commanding, scheduling
from cloud.services.commanding import CommandRefusedError, Outlook, outlets_of
from cloud.services.naming import UnknownDeviceError
from cloud.services.scheduling import ScheduleError
from cloud.web.command_facts import command_facts
from cloud.web.command_words import KINDS, StepWords, outlet_effect, step_text, step_words
from cloud.web.device_views import device_id_of_path, own_device
from cloud.web.problems import KINDS as PROBLEMS
from cloud.web.problems import Problem, ProblemCode
from cloud.web.refusals import form_of
from cloud.web.responses import page, see_other
from cloud.web.safety_views import confirm_first
from cloud.web.state import COMMANDER, POOL, actor_of, now_ms, session_of
from protocol.commands import OUTLET_KINDS, CommandKind

NOTHING: Final[Mapping[str, str]] = {}
FORCIBLE: Final = frozenset({Step.ON_BATTERY, Step.FAULT})


def _order_of(given: dict[str, str], *, typed: str | None) -> Order:
    """What a query or form asks for. Problem (not_found) where there is no such command."""
    kind, group = given.get("kind", ""), given.get("group") or None
    if kind not in CommandKind.__members__.values():
        raise Problem(ProblemCode.NOT_FOUND)
    switches = CommandKind(kind) in OUTLET_KINDS
    if switches and group not in Group.__members__.values():
        raise Problem(ProblemCode.NOT_FOUND)
    return Order(
        CommandKind(kind),
        Group(group) if switches and group else None,
        force=given.get("force") == "yes",
        typed=typed,
    )


def _path(device_id: int, order: Order) -> str:
    """The page that asks about this order."""
    asked = {"kind": order.kind.value, **({"group": order.group.value} if order.group else {})}
    return f"/devices/{device_id}/control?{urlencode(asked)}"


async def show_control(request: web.Request) -> web.Response:
    """What a command would do, and which steps are missing."""
    await own_device(request)
    return await _ask(request, _order_of(dict(request.query), typed=None))


async def _ask(
    request: web.Request,
    order: Order,
    *,
    fault: str = "",
    schedule_fault: str = "",
    schedule_typed: Mapping[str, str] = NOTHING,
    typed: str = "",
    status: int = HTTPStatus.OK,
) -> web.Response:
    device_id = device_id_of_path(request)
    asked = Order(order.kind, order.group, force=order.force)
    try:
        outlook = await commanding.foresee(request.app[POOL], session_of(request), device_id, asked, now_ms())
    except UnknownDeviceError:
        raise Problem(ProblemCode.NOT_FOUND) from None
    back, forcible = _path(device_id, order), order.kind in OUTLET_KINDS
    if _only_stale(outlook.missing):
        return confirm_first(back)
    context = {
        **_effect(outlook, order),
        "view": outlook.view,
        "kind": order.kind.value,
        "group": order.group.value if order.group else "",
        "outlet": outlook.outlet,
        "steps": [_step(one, back) for one in outlook.missing if one not in FORCIBLE or not forcible],
        "forcible": [step_words(one) for one in outlook.missing if one in FORCIBLE and forcible],
        "forced": order.force,
        "refused": status != HTTPStatus.OK,
        "command_id": str(uuid.uuid4()),
        "fault": fault,
        "typed": typed,
        "danger": order.kind in OUTLET_KINDS,
        **await _schedule_facts(request, outlook.view, order),
        "schedule_fault": schedule_fault,
        "schedule_typed": {name: schedule_typed.get(name, "") for name in ("every_days", "first")},
    }
    return page(request, "control.html", context, status=status)


def _only_stale(missing: tuple[Step, ...]) -> bool:
    """Whether the factor is all that stands in the way, but for what can be forced: then it is asked for."""
    return Step.FRESH_FACTOR in missing and not set(missing) - {Step.FRESH_FACTOR, *FORCIBLE}


def _step(step: Step, back: str) -> StepWords:
    """What is missing; a factor is shown on a page of its own, which leads ``back``."""
    words = step_words(step)
    return (
        replace(words, link=confirm_first(back).headers["Location"]) if step is Step.FRESH_FACTOR else words
    )


def _effect(outlook: Outlook, order: Order) -> dict[str, str]:
    words, view, outlet = KINDS[order.kind], outlook.view, outlook.outlet
    if outlet is None:
        return {"title": gettext(words.title), "effect": gettext(words.effect)}
    others = [one for one in outlets_of(view) if one.group is not outlet.group]
    effect = outlet_effect(order.kind, outlet, others, view.title)
    return {"title": gettext(words.of_outlet, outlet=outlet.name), "effect": effect}


async def send(request: web.Request) -> web.Response:
    """Send a command, or say which step is missing."""
    device_id, form = device_id_of_path(request), await form_of(request)
    await own_device(request)
    typed = form.get("name", "")
    order = _order_of(form, typed=typed)
    try:
        await commanding.request(
            request.app[COMMANDER], session_of(request), device_id, order, _id_of(form), now_ms()
        )
    except UnknownDeviceError:
        raise Problem(ProblemCode.NOT_FOUND) from None
    except CommandRefusedError as refused:
        fault = ""
        if Step.GROUP_NAME in refused.missing:
            fault = step_text(Step.GROUP_NAME)
        status = PROBLEMS[ProblemCode(refused.missing[0].value)].status.value
        return await _ask(request, order, fault=fault, typed=typed, status=status)
    return see_other(f"/devices/{device_id}#control")


def _id_of(form: dict[str, str]) -> str:
    """The name that the page has given the command: a form that is sent twice makes one."""
    try:
        return str(uuid.UUID(form["command_id"]))
    except (KeyError, ValueError):
        return str(uuid.uuid4())


async def show_commands(request: web.Request) -> web.Response:
    """All commands of this ownership."""
    view, at_ms = await own_device(request), now_ms()
    rows = await commanding.history(request.app[POOL], actor_of(request), view.device_id)
    context = {"view": view, "commands": [command_facts(view, row, at_ms) for row in rows]}
    return page(request, "commands.html", context)


# --- calibrations on a schedule -----------------------------------------------------------------------------

RHYTHMS: Final = {
    30: N_("Every month"),
    90: N_("Every three months"),
    180: N_("Twice a year"),
    365: N_("Every year"),
}


async def _schedule_facts(request: web.Request, view: DeviceView, order: Order) -> dict[str, object]:
    """For ``_schedule.html``, which belongs to one kind of command."""
    if order.kind is not CommandKind.CALIBRATION_START:
        return {}
    schedule = await scheduling.look(request.app[POOL], actor_of(request), view.device_id)
    missing = "" if schedule is None else schedule.missing
    return {
        "schedule": schedule,
        "lacked": step_words(Step(missing)).missing if missing else "",
        "rhythms": {days: gettext(words) for days, words in RHYTHMS.items()},
        "may_control": actor_of(request).may(Action.CONTROL),
    }


async def save_schedule(request: web.Request) -> web.Response:
    """Set a schedule up, or give it up."""
    view, form = await own_device(request), await form_of(request)
    asked = (request.app[POOL], actor_of(request), view.device_id)
    order = Order(CommandKind.CALIBRATION_START)
    if form.get("stop") == "yes":
        await scheduling.give_up(*asked, now_ms())
        return see_other(_path(view.device_id, order))
    try:
        first = dt.datetime.fromisoformat(form.get("first", "")).replace(tzinfo=ZoneInfo(view.time_zone))
        await scheduling.set_up(
            *asked,
            every_days=int(form.get("every_days", "")),
            first_ms=int(first.timestamp() * 1000),
            now_ms=now_ms(),
        )
    except (ScheduleError, ValueError, OverflowError):
        why = gettext("Choose how often, and a first time from now on that is within two years.")
        status = HTTPStatus.UNPROCESSABLE_ENTITY
        return await _ask(request, order, schedule_fault=why, schedule_typed=form, status=status)
    return see_other(_path(view.device_id, order))


def add_routes(app: web.Application) -> None:
    """Register these views."""
    app.router.add_get(r"/devices/{device_id:\d{1,19}}/control", show_control)
    app.router.add_post(r"/devices/{device_id:\d{1,19}}/control", send)
    app.router.add_get(r"/devices/{device_id:\d{1,19}}/commands", show_commands)
    app.router.add_post(r"/devices/{device_id:\d{1,19}}/calibration-schedule", save_schedule)
