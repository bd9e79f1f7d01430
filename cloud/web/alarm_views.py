"""Alarms that stand now, on one page and on each device's, and their acknowledgement."""

from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from cloud.core.authz import Action
from cloud.core.language import gettext
from cloud.core.notice import Topic
from cloud.core.notice_plan import Key
from cloud.core.refusal import RefusedError
from cloud.postgres.alarms import Standing
from cloud.services import noticeboard
from cloud.services.notice_words import NAMES, detail_text
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
        "alarms": [
            {
                "row": row,
                "field": field_of(row),
                "name": gettext(NAMES[Topic(row.topic)]),
                "detail": detail_text(row.topic, row.detail),
            }
            for row in found
        ],
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


def add_routes(app: web.Application) -> None:
    """Register them."""
    router = app.router
    router.add_get("/alarms", show_alarms)
    router.add_post("/alarms", acknowledge)
