"""Notifications: policies, channels, maintenance windows, the log of what was sent, the way out of mails."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from cloud.core.authz import Action
from cloud.core.language import N_, gettext
from cloud.core.notice import DEFAULT_TOPICS, Topic
from cloud.core.refusal import RefusalCode, RefusedError
from cloud.postgres.notice_policies import PolicyRow
from cloud.services import noticeboard
from cloud.services.notice_letters import is_test
from cloud.services.notice_words import NAMES, policy_name, subject
from cloud.services.noticeboard import Board
from cloud.services.profile import time_zones
from cloud.services.unsubscribing import read_token, unsubscribe
from cloud.web import notice_forms
from cloud.web.middleware import signed_link
from cloud.web.notice_forms import number_of
from cloud.web.problems import Problem, ProblemCode
from cloud.web.refusals import faults_of, form_of
from cloud.web.responses import page, see_other
from cloud.web.state import KIT, POOL, SETTINGS, actor_of, now_ms

BAD_LINK: Final = N_(
    "This link is not complete. Copy all of it from the mail, or log in and open Notifications."
)
UNPROCESSABLE: Final = HTTPStatus.UNPROCESSABLE_ENTITY.value


async def show_board(request: web.Request) -> web.Response:
    """All there is to arrange."""
    return await _board(request, {}, {})


async def _board(request: web.Request, faults: dict[str, str], typed: dict[str, str]) -> web.Response:
    actor = actor_of(request)
    board = await noticeboard.look(request.app[POOL], actor, now_ms())
    context: dict[str, Any] = {
        "board": board,
        "zone": notice_forms.zone_of(board, actor.account_id),
        "areas": notice_forms.areas(board),
        "area_names": dict(notice_forms.areas(board)),
        "told": {
            row.policy_id: notice_forms.told_text(board, board.targets.get(row.policy_id, []))
            for row in board.policies
        },
        "names": NAMES,
        "policy_name": policy_name,
        "shown_text": notice_forms.shown_text,
        "may": actor.may(Action.NOTIFY),
        "gone": next((one.gone for one in board.readers if one.account_id == actor.account_id), []),
        "faults": faults,
        "typed": typed,
        "tested": "tested" in request.query,
    }
    return page(request, "notifications.html", context, status=UNPROCESSABLE if faults else 200)


# --- policies -----------------------------------------------------------------------------------------------


async def show_policy(request: web.Request) -> web.Response:
    """The form of a new or an old policy."""
    board = await noticeboard.look(request.app[POOL], actor_of(request), now_ms())
    return _policy(request, board, notice_forms.typed_of(*_row(request, board)), {})


def _row(request: web.Request, board: Board) -> tuple[PolicyRow, list[Any]]:
    number = request.match_info.get("policy")
    if number is None:
        zone = notice_forms.zone_of(board, actor_of(request).account_id)
        return PolicyRow(name="", topics=sorted(DEFAULT_TOPICS), quiet_zone=zone), []
    for row in board.policies:
        if str(row.policy_id) == number:
            return row, board.targets.get(row.policy_id, [])
    raise Problem(ProblemCode.NOT_FOUND)


def _policy(
    request: web.Request, board: Board, typed: dict[str, str], faults: dict[str, str]
) -> web.Response:
    context: dict[str, Any] = {
        "policy": request.match_info.get("policy"),
        "typed": typed,
        "faults": faults,
        "topics": {topic.value: gettext(NAMES[topic]) for topic in Topic},
        "areas": notice_forms.areas(board),
        "who": notice_forms.everybody(board),
        "time_zones": sorted(time_zones()),
        "may": actor_of(request).may(Action.NOTIFY),
    }
    return page(request, "notice_policy.html", context, status=UNPROCESSABLE if faults else 200)


async def save_policy(request: web.Request) -> web.Response:
    """Write it."""
    actor, form = actor_of(request), await form_of(request)
    board = await noticeboard.look(request.app[POOL], actor, now_ms())
    before, _ = _row(request, board)
    try:
        row, targets = notice_forms.policy_of(form, before.policy_id, board)
        await noticeboard.save_policy(request.app[POOL], actor, row, targets, now_ms())
    except RefusedError as refusal:
        return _policy(request, board, form, faults_of(refusal))
    return see_other("/notifications")


async def remove_policy(request: web.Request) -> web.Response:
    """Nobody is told anything by it any more."""
    number = number_of(request.match_info["policy"])
    await noticeboard.remove_policy(request.app[POOL], actor_of(request), number, now_ms())
    return see_other("/notifications")


async def subscribe(request: web.Request) -> web.Response:
    """Whether one gets the mails of a policy oneself."""
    form = await form_of(request)
    await noticeboard.subscribe(
        request.app[POOL],
        actor_of(request),
        number_of(request.match_info["policy"]),
        wanted=form.get("wanted") == "yes",
        now_ms=now_ms(),
    )
    return see_other("/notifications")


# --- channels -----------------------------------------------------------------------------------------------


async def show_channel(request: web.Request) -> web.Response:
    """The form of a new channel."""
    return _channel(request, {}, {})


def _channel(request: web.Request, typed: dict[str, str], faults: dict[str, str]) -> web.Response:
    context = {"typed": typed, "faults": faults, "secret": None}
    return page(request, "notice_channel.html", context, status=UNPROCESSABLE if faults else 200)


async def add_channel(request: web.Request) -> web.Response:
    """Make it; the secret of a webhook is shown this once."""
    form = await form_of(request)
    try:
        made, secret = await noticeboard.add_channel(
            request.app[KIT],
            actor_of(request),
            form.get("kind", ""),
            form.get("name", ""),
            form.get("address", ""),
            private=request.app[SETTINGS].notify_private,
            now_ms=now_ms(),
        )
    except RefusedError as refusal:
        return _channel(request, form, faults_of(refusal))
    if not secret:
        return see_other("/notifications")
    context = {"typed": form, "faults": {}, "secret": secret, "made": made}
    return page(request, "notice_channel.html", context)


async def remove_channel(request: web.Request) -> web.Response:
    """Nothing is sent there any more."""
    number = number_of(request.match_info["channel"])
    await noticeboard.remove_channel(request.app[POOL], actor_of(request), number, now_ms())
    return see_other("/notifications")


async def send_test(request: web.Request) -> web.Response:
    """A test to a channel, or a mail to oneself."""
    form = await form_of(request)
    channel_id = number_of(form["channel"]) if form.get("channel") else None
    try:
        await noticeboard.send_test(request.app[KIT], actor_of(request), channel_id, now_ms())
    except RefusedError as refusal:
        if refusal.code is RefusalCode.NOT_FOUND:
            raise
        return await _board(request, faults_of(refusal), {})
    return see_other("/notifications?tested=1")


# --- windows ------------------------------------------------------------------------------------------------


async def add_window(request: web.Request) -> web.Response:
    """Plan work on devices."""
    actor, form = actor_of(request), await form_of(request)
    board = await noticeboard.look(request.app[POOL], actor, now_ms())
    try:
        row = notice_forms.window_of(form, notice_forms.zone_of(board, actor.account_id), now_ms())
        await noticeboard.add_window(request.app[POOL], actor, row, now_ms())
    except RefusedError as refusal:
        return await _board(request, faults_of(refusal), form)
    return _back(form)


def _back(form: Mapping[str, str]) -> web.Response:
    """To the device on whose page it was done, else to the plans."""
    back = form.get("back", "")
    is_device = back.isascii() and back.isdigit() and len(back) < 20
    return see_other(f"/devices/{back}#mute" if is_device else "/notifications#windows")


async def end_window(request: web.Request) -> web.Response:
    """The work is done."""
    number = number_of(request.match_info["window"])
    await noticeboard.end_window(request.app[POOL], actor_of(request), number, now_ms())
    return _back(await form_of(request))


# --- log and way out ----------------------------------------------------------------------------------------


async def show_log(request: web.Request) -> web.Response:
    """What was sent to whom, and what became of it."""
    before = request.query.get("before")
    lines = await noticeboard.read_log(
        request.app[POOL], actor_of(request), None if before is None else number_of(before)
    )
    shown = [
        {
            "line": line,
            "subject": gettext("A test") if is_test(line.items) else subject(line.items, line.site),
            "to": notice_forms.sent_text(line),
            "policy": policy_name(line.policy),
            "error": notice_forms.error_text(line.error),
        }
        for line in lines
    ]
    return page(request, "notice_log.html", {"lines": shown})


@signed_link
async def show_unsubscribe(request: web.Request) -> web.Response:
    """Ask; a link alone changes nothing, for programs follow links."""
    if read_token(request.app[KIT].vault, request.match_info["token"]) is None:
        raise Problem(ProblemCode.NOT_FOUND, detail=gettext(BAD_LINK))
    return page(request, "unsubscribe.html", {"done": False})


@signed_link
async def do_unsubscribe(request: web.Request) -> web.Response:
    """No more mails: by the button, or by a mail program's one click (RFC 8058)."""
    kit = request.app[KIT]
    if not await unsubscribe(kit.pool, kit.vault, request.match_info["token"], now_ms()):
        raise Problem(ProblemCode.NOT_FOUND, detail=gettext(BAD_LINK))
    return page(request, "unsubscribe.html", {"done": True})


def add_routes(app: web.Application) -> None:
    """Register them."""
    router = app.router
    router.add_get("/notifications", show_board)
    router.add_get("/notifications/log", show_log)
    router.add_get("/notifications/policies/new", show_policy)
    router.add_post("/notifications/policies/new", save_policy)
    router.add_get("/notifications/policies/{policy}", show_policy)
    router.add_post("/notifications/policies/{policy}", save_policy)
    router.add_post("/notifications/policies/{policy}/remove", remove_policy)
    router.add_post("/notifications/policies/{policy}/mails", subscribe)
    router.add_get("/notifications/channels/new", show_channel)
    router.add_post("/notifications/channels/new", add_channel)
    router.add_post("/notifications/channels/{channel}/remove", remove_channel)
    router.add_post("/notifications/test", send_test)
    router.add_post("/notifications/windows", add_window)
    router.add_post("/notifications/windows/{window}/end", end_window)
    router.add_get("/unsubscribe/{token}", show_unsubscribe)
    router.add_post("/unsubscribe/{token}", do_unsubscribe)
