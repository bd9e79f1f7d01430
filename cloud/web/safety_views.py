"""Two-Factor Authentication, proving oneself again, log-ins, and *Delete My Account*."""

import io
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

import segno
from aiohttp import web
from markupsafe import Markup

from cloud.core.language import gettext
from cloud.core.refusal import RefusalCode, RefusedError
from cloud.services import account_deletion, companies, profile, second_factor
from cloud.web import sessions, tickets
from cloud.web.middleware import public, sets_up_factor
from cloud.web.passkey_facts import passkey_facts
from cloud.web.refusals import faults_of, form_of
from cloud.web.responses import local_path, page, see_other
from cloud.web.state import KIT, SETTINGS, now_ms, session_of

UNPROCESSABLE: Final = HTTPStatus.UNPROCESSABLE_ENTITY.value
TWO_FACTOR: Final = "/account/two-factor"
METHOD: Final = f"{TWO_FACTOR}/method"
NEW: Final = f"{TWO_FACTOR}/passkeys/new"
DELETE: Final = "/account/delete"


def confirm_first(back: str) -> web.Response:
    """To the page that asks who is here, and from there to ``back``."""
    return see_other(f"/account/confirm?next={quote(back, safe='/')}")


def is_fresh(request: web.Request) -> bool:
    """Whether this person has proved who is here in the last 5 minutes."""
    return session_of(request).is_fresh(now_ms())


@sets_up_factor
async def show_confirm(request: web.Request) -> web.Response:
    """Please confirm that it is you."""
    return confirm_page(request, local_path(request.query.get("next", ""), "/account"), {})


def confirm_page(request: web.Request, target: str, faults: Mapping[str, str]) -> web.Response:
    """Ask for a factor, or the password, and go on to ``target``."""
    context = {**passkey_facts(request.app[KIT]), "faults": faults, "target": target}
    return page(request, "confirm.html", context, status=UNPROCESSABLE if faults else 200)


@sets_up_factor
async def confirm(request: web.Request) -> web.Response:
    """Check the password or, with Two-Factor Authentication, a code."""
    form = await form_of(request)
    target = local_path(form.get("next", ""), "/account")
    try:
        await second_factor.step_up(
            request.app[KIT],
            session_of(request),
            code=form.get("code", ""),
            password=form.get("password", ""),
            now_ms=now_ms(),
        )
    except RefusedError as refusal:
        return confirm_page(request, target, faults_of(refusal))
    return see_other(target)


# --- Two-Factor Authentication ------------------------------------------------------------------------------


@sets_up_factor
async def show_two_factor(request: web.Request) -> web.Response:
    """Whether it is on, and what can be done."""
    return await two_factor_page(request, {})


async def two_factor_page(
    request: web.Request, faults: Mapping[str, str], *, typed: Mapping[str, str] | None = None
) -> web.Response:
    """The methods of an account. Whoever may see nothing else can still go to another company."""
    kit, session = request.app[KIT], session_of(request)
    due_ms = session.factor_due_ms
    context = {
        "status": await second_factor.status(kit, session.account_id),
        "mine": [] if due_ms is None else await companies.mine(kit, session.account_id),
        "faults": faults,
        "typed": typed or {},
        **passkey_facts(kit),
    }
    return page(request, "two_factor.html", context, status=UNPROCESSABLE if faults else 200)


@sets_up_factor
async def start(request: web.Request) -> web.Response:
    """The method that was chosen: a passkey has its own page, an app gets its QR code."""
    form = await form_of(request)
    if form.get("method") == "passkey":
        return see_other(NEW)
    if not is_fresh(request):
        return confirm_first(METHOD)
    enrolment = await second_factor.start(
        request.app[KIT], session_of(request).account_id, fresh=True, now_ms=now_ms()
    )
    context = {
        "qr": qr_code(enrolment.uri),
        "uri": enrolment.uri,
        "secret": " ".join(_fours(enrolment.secret)),
        "faults": {},
    }
    return page(request, "two_factor_start.html", context)


def qr_code(text: str) -> Markup:
    """An SVG to stand in a page, with its quiet zone."""
    out = io.BytesIO()
    segno.make(text, error="m", micro=False).save(
        out, kind="svg", xmldecl=False, svgns=False, omitsize=True, border=4, dark="#000", light="#fff"
    )
    return Markup(out.getvalue().decode())  # noqa: S704 - drawn here; the text is in it as squares only


def _fours(text: str) -> list[str]:
    return [text[at : at + 4] for at in range(0, len(text), 4)]


@sets_up_factor
async def confirm_two_factor(request: web.Request) -> web.Response:
    """The first code of the app turns it on; shows the recovery codes, this once."""
    form, session = await form_of(request), session_of(request)
    try:
        codes = await second_factor.confirm(
            request.app[KIT], session.account_id, session.session_hash, form.get("code", ""), now_ms()
        )
    except RefusedError as refusal:
        if refusal.code in {RefusalCode.FACTOR_ON, RefusalCode.FACTOR_OFF}:
            return see_other(TWO_FACTOR)
        context = {"qr": "", "uri": "", "secret": "", "faults": faults_of(refusal)}
        return page(request, "two_factor_start.html", context, status=UNPROCESSABLE)
    return show_codes(request, codes)


def show_codes(request: web.Request, codes: Sequence[str]) -> web.Response:
    """The recovery codes of a first factor, this once; a further factor has made none."""
    # Where somebody wanted to go before they signed up, be it to a label's codes that wait in their browser.
    target = tickets.read_next(request, TWO_FACTOR)
    if not codes:
        return see_other(TWO_FACTOR)
    response = page(request, "recovery_codes.html", {"codes": codes, "first": True, "target": target})
    tickets.take(response, request, tickets.Ticket.NEXT)
    return response


@sets_up_factor
async def make_recovery_codes(request: web.Request) -> web.Response:
    """New recovery codes; the old ones are void."""
    if not is_fresh(request):
        return confirm_first(TWO_FACTOR)
    codes = await second_factor.new_recovery_codes(
        request.app[KIT], session_of(request).account_id, fresh=True, now_ms=now_ms()
    )
    return page(request, "recovery_codes.html", {"codes": codes, "first": False, "target": TWO_FACTOR})


async def remove_app(request: web.Request) -> web.Response:
    """Remove the authenticator app; passkeys stay."""
    if not is_fresh(request):
        return confirm_first(TWO_FACTOR)
    await second_factor.remove_app(
        request.app[KIT], session_of(request).account_id, fresh=True, now_ms=now_ms()
    )
    return see_other(TWO_FACTOR)


async def turn_off(request: web.Request) -> web.Response:
    """Turn Off."""
    if not is_fresh(request):
        return confirm_first(TWO_FACTOR)
    await second_factor.turn_off(
        request.app[KIT], session_of(request).account_id, fresh=True, now_ms=now_ms()
    )
    return see_other(TWO_FACTOR)


# --- log-ins ------------------------------------------------------------------------------------------------


async def show_log_ins(request: web.Request) -> web.Response:
    """Where this account is logged in."""
    found = await profile.log_ins(request.app[KIT], session_of(request), now_ms())
    return page(request, "log_ins.html", {"log_ins": found})


async def end_log_in(request: web.Request) -> web.Response:
    """End one of them."""
    form = await form_of(request)
    await profile.end_log_in(request.app[KIT], session_of(request), form.get("name", ""), now_ms())
    return see_other("/account/log-ins")


async def end_others(request: web.Request) -> web.Response:
    """End all but this one."""
    await profile.end_other_log_ins(request.app[KIT], session_of(request), now_ms())
    return see_other("/account/log-ins")


# --- Delete My Account --------------------------------------------------------------------------------------


async def show_delete(request: web.Request) -> web.Response:
    """*Account Deletion Request*: what will happen."""
    if not is_fresh(request):
        return confirm_first(DELETE)
    return await _delete(request, {})


async def _delete(request: web.Request, faults: dict[str, str]) -> web.Response:
    outlook = await account_deletion.foresee(request.app[KIT], session_of(request))
    movable = any(part.devices or part.systems for part in outlook.closing)
    context = {"outlook": outlook, "movable": movable, "faults": faults}
    return page(request, "delete_account.html", context, status=UNPROCESSABLE if faults else 200)


async def delete(request: web.Request) -> web.Response:
    """Delete the account."""
    form = await form_of(request)
    if not is_fresh(request):
        return confirm_first(DELETE)
    if form.get("sure") != "yes":
        return await _delete(request, {"sure": gettext("Please confirm that the account is to be deleted.")})
    hand_to = form.get("hand_to", "")
    try:
        await account_deletion.delete(
            request.app[KIT],
            session_of(request),
            fresh=True,
            hand_to=int(hand_to) if hand_to.isascii() and hand_to.isdigit() else None,
            now_ms=now_ms(),
        )
    except RefusedError as refusal:
        return await _delete(request, faults_of(refusal))
    response = see_other("/account-deleted")
    sessions.drop_cookie(response, request.app[SETTINGS])
    return response


@public
async def show_deleted(request: web.Request) -> web.Response:
    """It is done."""
    return page(request, "account_deleted.html")


def add_routes(app: web.Application) -> None:
    """Register these views."""
    app.router.add_get("/account/confirm", show_confirm)
    app.router.add_post("/account/confirm", confirm)
    app.router.add_get(TWO_FACTOR, show_two_factor)
    app.router.add_post(TWO_FACTOR + "/start", start)
    app.router.add_post(TWO_FACTOR + "/confirm", confirm_two_factor)
    app.router.add_post(TWO_FACTOR + "/recovery-codes", make_recovery_codes)
    app.router.add_post(TWO_FACTOR + "/app/remove", remove_app)
    app.router.add_post(TWO_FACTOR + "/off", turn_off)
    app.router.add_get("/account/log-ins", show_log_ins)
    app.router.add_post("/account/log-ins/end", end_log_in)
    app.router.add_post("/account/log-ins/end-others", end_others)
    app.router.add_get(DELETE, show_delete)
    app.router.add_post(DELETE, delete)
    app.router.add_get("/account-deleted", show_deleted)
