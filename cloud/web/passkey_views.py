"""Passkeys: choosing a method, adding one, naming and removing, log-in and step-up by one.

The browser's part is passkey.ts: it asks the API for the options, has the authenticator answer, and sends the
answer with the form it belongs to. Without it the forms say that passkeys need it.
"""

from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from cloud.core.account import AccountError
from cloud.core.language import gettext
from cloud.core.passkey import MAX_ANSWER_CHARS
from cloud.core.refusal import RefusalCode, RefusedError
from cloud.services import passkeys, second_factor
from cloud.web import tickets, wording
from cloud.web.login_views import finish_by, show_refused
from cloud.web.middleware import public, sets_up_factor
from cloud.web.passkey_facts import passkey_facts
from cloud.web.refusals import faults_of, form_of, number_of
from cloud.web.responses import local_path, page, see_other
from cloud.web.safety_views import (
    METHOD,
    NEW,
    TWO_FACTOR,
    confirm_first,
    confirm_page,
    is_fresh,
    show_codes,
    two_factor_page,
)
from cloud.web.state import KIT, now_ms, session_of
from cloud.web.tickets import Ticket

UNPROCESSABLE: Final = HTTPStatus.UNPROCESSABLE_ENTITY.value


async def _answer(request: web.Request) -> tuple[dict[str, str], str]:
    """The form, and in full the authenticator's answer in it."""
    posted = await request.post()
    answer = posted.get("credential", "")
    return await form_of(request), answer[: MAX_ANSWER_CHARS + 1] if isinstance(answer, str) else ""


def _without_script() -> RefusedError:
    text = gettext("Passkeys need JavaScript in this browser. Nothing has changed.")
    return RefusedError(RefusalCode.PASSKEY_WRONG, text=text)


# --- adding -------------------------------------------------------------------------------------------------


@sets_up_factor
async def show_method(request: web.Request) -> web.Response:
    """*Choose your preferred verification method for two-factor authentication.*"""
    kit = request.app[KIT]
    status = await second_factor.status(kit, session_of(request).account_id)
    if status.on:
        return see_other(TWO_FACTOR)
    return page(request, "two_factor_method.html", {**passkey_facts(kit), "status": status})


@sets_up_factor
async def show_new(request: web.Request) -> web.Response:
    """Name a new passkey, then make it."""
    if not is_fresh(request):
        return confirm_first(NEW)
    name = wording.browser(request.headers.get("User-Agent", ""))
    return _new(request, name, {})


def _new(request: web.Request, name: str, faults: dict[str, str]) -> web.Response:
    context: dict[str, Any] = {**passkey_facts(request.app[KIT]), "name": name, "faults": faults}
    return page(request, "passkey_new.html", context, status=UNPROCESSABLE if faults else 200)


@sets_up_factor
async def add(request: web.Request) -> web.Response:
    """Keep what the authenticator has made; the first factor shows the recovery codes, this once."""
    form, answer = await _answer(request)
    name = form.get("name", "")
    try:
        if not answer:
            raise _without_script()
        added = await passkeys.add(
            request.app[KIT], session_of(request), name=name, answer=answer, now_ms=now_ms()
        )
    except RefusedError as refusal:
        return _new(request, name, faults_of(refusal))
    return show_codes(request, added.recovery_codes)


@sets_up_factor
async def rename(request: web.Request) -> web.Response:
    """Another name."""
    form = await form_of(request)
    try:
        await passkeys.rename(
            request.app[KIT],
            session_of(request).account_id,
            number_of(form, "passkey"),
            form.get("name", ""),
        )
    except AccountError as refusal:
        return await two_factor_page(request, {"form": str(refusal)}, typed=form)
    return see_other(TWO_FACTOR)


@sets_up_factor
async def remove(request: web.Request) -> web.Response:
    """Remove one."""
    form = await form_of(request)
    if not is_fresh(request):
        return confirm_first(TWO_FACTOR)
    await passkeys.remove(
        request.app[KIT],
        session_of(request).account_id,
        number_of(form, "passkey"),
        fresh=True,
        now_ms=now_ms(),
    )
    return see_other(TWO_FACTOR)


# --- proving ------------------------------------------------------------------------------------------------


@public
async def finish_log_in(request: web.Request) -> web.Response:
    """The second step of a log-in, by a passkey."""
    _, answer = await _answer(request)
    try:
        if not answer:
            raise _without_script()
        identity = await passkeys.finish_log_in(
            request.app[KIT], tickets.read(request, Ticket.LOGIN), answer, now_ms()
        )
    except RefusedError as refusal:
        return await show_refused(request, refusal)
    return await finish_by(request, identity)


@sets_up_factor
async def confirm(request: web.Request) -> web.Response:
    """Confirm that it is you, by a passkey."""
    form, answer = await _answer(request)
    target = local_path(form.get("next", ""), "/account")
    try:
        if not answer:
            raise _without_script()
        await passkeys.step_up(request.app[KIT], session_of(request), answer, now_ms())
    except RefusedError as refusal:
        return confirm_page(request, target, faults_of(refusal))
    return see_other(target)


def add_routes(app: web.Application) -> None:
    """Register these views."""
    app.router.add_get(METHOD, show_method)
    app.router.add_get(NEW, show_new)
    app.router.add_post(f"{TWO_FACTOR}/passkeys", add)
    app.router.add_post(f"{TWO_FACTOR}/passkeys/rename", rename)
    app.router.add_post(f"{TWO_FACTOR}/passkeys/remove", remove)
    app.router.add_post("/account/confirm/passkey", confirm)
    app.router.add_post("/login/passkey", finish_log_in)
