"""Alarms that stand now, on one page and on each device's, and their acknowledgement; sites."""

from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from cloud.core.authz import Action
from cloud.core.notice import Topic
from cloud.core.notice_plan import Key
from cloud.core.refusal import RefusedError
from cloud.postgres.alarms import Standing
from cloud.services import noticeboard, placing
from cloud.services.notice_words import NAMES
from cloud.web.notice_forms import number_of
from cloud.web.problems import Problem, ProblemCode
from cloud.web.refusals import faults_of, form_of
from cloud.web.responses import page, see_other
from cloud.web.state import POOL, actor_of, now_ms

UNPROCESSABLE: Final = HTTPStatus.UNPROCESSABLE_ENTITY.value


def field_of(alarm: Standing) -> str:
    """Name of an alarm's box in a form."""
    return f"alarm {alarm.device_id} {alarm.topic} {alarm.subject}"


def _key(field: str) -> Key | None:
    parts = field.split(" ", 3)
    if len(parts) != 4 or parts[0] != "alarm":
        return None
    try:
        return Key(number_of_device(parts[1]), Topic(parts[2]), parts[3])
    except ValueError:
        return None


def number_of_device(text: str) -> int:
    """The number of a device. ValueError."""
    if not text.isascii() or not text.isdigit() or len(text) > 19 or int(text) >= 1 << 63:
        raise ValueError(text)
    return int(text)


async def facts(request: web.Request, device_id: int | None = None) -> dict[str, Any]:
    """What the list of alarms shows: of the company, or of one device."""
    actor = actor_of(request)
    found = await noticeboard.standing(request.app[POOL], actor, device_id)
    return {
        "alarms": [{"row": row, "field": field_of(row), "name": NAMES[Topic(row.topic)]} for row in found],
        "may_notify": actor.may(Action.NOTIFY),
        "alarms_of": device_id,
    }


async def show_alarms(request: web.Request) -> web.Response:
    """Everything that stands."""
    return await _alarms(request, {}, {})


async def _alarms(request: web.Request, typed: dict[str, str], faults: dict[str, str]) -> web.Response:
    context = {**await facts(request), "typed": typed, "faults": faults}
    return page(request, "alarms.html", context, status=UNPROCESSABLE if faults else 200)


async def acknowledge(request: web.Request) -> web.Response:
    """Somebody looks after the chosen ones."""
    form = await form_of(request)
    keys = [key for field in form if (key := _key(field)) is not None]
    try:
        await noticeboard.acknowledge(
            request.app[POOL], actor_of(request), keys, form.get("reason", ""), now_ms()
        )
    except RefusedError as refusal:
        return await _alarms(request, form, faults_of(refusal))
    back = form.get("back", "")
    return see_other(f"/devices/{back}" if back.isascii() and back.isdigit() else "/alarms")


# --- sites --------------------------------------------------------------------------------------------------


async def show_sites(request: web.Request) -> web.Response:
    """The sites of the company."""
    return await _sites(request, {}, {})


async def _sites(request: web.Request, typed: dict[str, str], faults: dict[str, str]) -> web.Response:
    actor = actor_of(request)
    board = await noticeboard.look(request.app[POOL], actor, now_ms())
    nowhere = sum(one.site_id == 0 for one in board.devices)
    context = {
        "sites": board.sites,
        "nowhere": nowhere,
        "may": actor.may(Action.NOTIFY),
        "typed": typed,
        "faults": faults,
    }
    return page(request, "sites.html", context, status=UNPROCESSABLE if faults else 200)


async def add_site(request: web.Request) -> web.Response:
    """A new one; next, its devices."""
    form = await form_of(request)
    try:
        made = await placing.add_site(request.app[POOL], actor_of(request), form.get("name", ""), now_ms())
    except RefusedError as refusal:
        return await _sites(request, form, faults_of(refusal))
    return see_other(f"/sites/{made}")


async def show_site(request: web.Request) -> web.Response:
    """One site: its name and its devices."""
    return await _site(request, None, {})


async def _site(request: web.Request, name: str | None, faults: dict[str, str]) -> web.Response:
    actor, number = actor_of(request), number_of(request.match_info["site"])
    board = await noticeboard.look(request.app[POOL], actor, now_ms())
    site = next((one for one in board.sites if one.site_id == number), None)
    if site is None:
        raise Problem(ProblemCode.NOT_FOUND)
    context = {
        "site": site,
        "name": site.name if name is None else name,
        "devices": board.devices,
        "site_names": {one.site_id: one.name for one in board.sites},
        "may": actor.may(Action.NOTIFY),
        "faults": faults,
    }
    return page(request, "site.html", context, status=UNPROCESSABLE if faults else 200)


async def save_site(request: web.Request) -> web.Response:
    """Its name, and which devices are there."""
    form, actor, number = await form_of(request), actor_of(request), number_of(request.match_info["site"])
    chosen = [int(field[7:]) for field in form if field.startswith("device_") and field[7:].isdecimal()]
    if any(device_id >= 1 << 63 for device_id in chosen):
        raise Problem(ProblemCode.BAD_REQUEST)
    try:
        await placing.rename_site(request.app[POOL], actor, number, form.get("name", ""), now_ms())
    except RefusedError as refusal:
        if refusal.field is None:
            raise
        return await _site(request, form.get("name", ""), faults_of(refusal))
    await placing.place(request.app[POOL], actor, number, chosen, now_ms())
    return see_other("/sites")


async def remove_site(request: web.Request) -> web.Response:
    """It goes; its devices stay the company's."""
    number = number_of(request.match_info["site"])
    await placing.remove_site(request.app[POOL], actor_of(request), number, now_ms())
    return see_other("/sites")


def add_routes(app: web.Application) -> None:
    """Register them."""
    router = app.router
    router.add_get("/alarms", show_alarms)
    router.add_post("/alarms", acknowledge)
    router.add_get("/sites", show_sites)
    router.add_post("/sites", add_site)
    router.add_get("/sites/{site}", show_site)
    router.add_post("/sites/{site}", save_site)
    router.add_post("/sites/{site}/remove", remove_site)
