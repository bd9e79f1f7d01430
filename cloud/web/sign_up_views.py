"""Sign-up: the two pages *Register*, *Verify your account*, and the challenge of "I am not a robot"."""

from functools import partial
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from cloud.core.privacy import PRIVACY_VERSION
from cloud.core.refusal import RefusalCode, RefusedError
from cloud.core.sign_up import LABELS, REQUIRED
from cloud.services import signing_up
from cloud.services.accounts import Identity
from cloud.services.signing_up import SignUp
from cloud.web import claim_entry, robot_form, sessions, tickets
from cloud.web.middleware import anonymous, public
from cloud.web.refusals import faults_of, form_of
from cloud.web.responses import json_response, local_path, page, see_other
from cloud.web.state import KIT, POOL, SETTINGS, now_ms, visit_of
from cloud.web.tables import locations, said, said_choices
from cloud.web.tickets import Ticket

HOME: Final = "/devices"
NAMES: Final = ("first_name", "last_name")
PAGE_ONE: Final = ("email", *NAMES, "location")
UNPROCESSABLE: Final = HTTPStatus.UNPROCESSABLE_ENTITY.value


@anonymous
async def challenge(request: web.Request) -> web.Response:
    """Work for a browser whose person is no robot."""
    return json_response(claim_entry.work(request, robot_form.bits_of(request.query.get("bits", ""))))


@public
async def show_page_one(request: web.Request) -> web.Response:
    """Email, name, password, location."""
    if visit_of(request).session is not None:
        return see_other(HOME)
    response = _page_one(request, {})
    tickets.give_next(response, request, request.query.get("next", ""))
    return response


def _page_one(
    request: web.Request, typed: dict[str, str], faults: dict[str, str] | None = None
) -> web.Response:
    context = {
        "typed": {field: typed.get(field, "") for field in PAGE_ONE},
        "faults": faults or {},
        "locations": locations(),
        "invited": bool(tickets.read(request, Ticket.INVITATION)),
    }
    return page(request, "sign_up.html", context, status=UNPROCESSABLE if faults else 200)


@public
async def post_page_one(request: web.Request) -> web.Response:
    """Check and keep page one."""
    form = await form_of(request)
    try:
        token = await signing_up.begin(
            request.app[KIT],
            email=form.get("email", ""),
            first_name=form.get("first_name", ""),
            last_name=form.get("last_name", ""),
            password=form.get("password", ""),
            location=form.get("location", ""),
            invitation=tickets.read(request, Ticket.INVITATION) or None,
            address=request.remote or "",
            now_ms=now_ms(),
        )
    except RefusedError as refusal:
        return _page_one(request, form, faults_of(refusal))
    response = see_other("/signup/company")
    tickets.give(response, request, Ticket.SIGN_UP, token)
    return response


@public
async def show_page_two(request: web.Request) -> web.Response:
    """The company, privacy notice, promotional materials, the robot check."""
    found = await _look(request)
    if found is None:
        return see_other("/signup")
    names = {"first_name": found.first_name, "last_name": found.last_name}
    return _page_two(request, found, {"location": found.location, **names})


def _page_two(
    request: web.Request, found: SignUp, typed: dict[str, str], refusal: RefusedError | None = None
) -> web.Response:
    faults = {} if refusal is None else faults_of(refusal)
    context: dict[str, Any] = {
        "sign_up": found,
        "typed": {**dict.fromkeys([*NAMES, *LABELS, "privacy", "promotions"], ""), **typed},
        "faults": faults,
        "labels": said(LABELS),
        "required": REQUIRED,
        "choices": said_choices(request.app[KIT].choices),
        "locations": locations(),
        **robot_form.context(request, typed, refusal),
    }
    return page(request, "sign_up_company.html", context, status=UNPROCESSABLE if faults else 200)


@public
async def post_page_two(request: web.Request) -> web.Response:
    """Keep page two and mail the code."""
    form, at_ms, kit = await form_of(request), now_ms(), request.app[KIT]
    found = await _look(request)
    if found is None:
        return see_other("/signup")
    try:
        identity = await signing_up.register(
            kit,
            tickets.read(request, Ticket.SIGN_UP),
            form,
            privacy=form.get("privacy") == "yes",
            promotions=form.get("promotions") == "yes",
            check_robot=partial(robot_form.check, request, form, at_ms),
            now_ms=at_ms,
        )
    except RefusedError as refusal:
        if refusal.code is RefusalCode.SIGN_UP_GONE:
            return see_other("/signup")
        return _page_two(request, found, form, refusal)
    return see_other("/signup/verify") if identity is None else await _let_in(request, identity)


@public
async def show_verify(request: web.Request) -> web.Response:
    """*Verify your account*."""
    found = await _look(request)
    if found is None or not found.code_sent:
        return see_other("/signup")
    return _verify(request, found)


def _verify(request: web.Request, found: SignUp, faults: dict[str, str] | None = None) -> web.Response:
    context = {"sign_up": found, "faults": faults or {}, "sent": "sent" in request.query}
    return page(request, "sign_up_verify.html", context, status=UNPROCESSABLE if faults else 200)


@public
async def verify(request: web.Request) -> web.Response:
    """Check the code, make the account, and log in."""
    form = await form_of(request)
    found = await _look(request)
    if found is None:
        return see_other("/signup")
    try:
        identity = await signing_up.verify(
            request.app[KIT], tickets.read(request, Ticket.SIGN_UP), form.get("code", ""), now_ms()
        )
    except RefusedError as refusal:
        return _verify(request, found, faults_of(refusal))
    return await _let_in(request, identity)


async def _let_in(request: web.Request, identity: Identity) -> web.Response:
    """The account exists: log in, and offer Two-Factor Authentication."""
    app, address = request.app, request.remote or ""
    cookie = await sessions.begin(app[POOL], app[SETTINGS], request, identity, address, now_ms())
    response = see_other("/account/two-factor/offer")
    sessions.set_cookie(response, app[SETTINGS], cookie, lasting=True)
    for ticket in (Ticket.SIGN_UP, Ticket.INVITATION):
        tickets.take(response, request, ticket)
    return response


@public
async def resend(request: web.Request) -> web.Response:
    """Mail another code."""
    found = await _look(request)
    if found is None:
        return see_other("/signup")
    try:
        await signing_up.resend(request.app[KIT], tickets.read(request, Ticket.SIGN_UP), now_ms())
    except RefusedError as refusal:
        return _verify(request, found, faults_of(refusal))
    return see_other("/signup/verify?sent=1")


async def _look(request: web.Request) -> SignUp | None:
    """The sign-up this browser is in; None where it must start again."""
    try:
        return await signing_up.look(request.app[KIT], tickets.read(request, Ticket.SIGN_UP), now_ms())
    except RefusedError:
        return None


async def offer_two_factor(request: web.Request) -> web.Response:
    """After sign-up: would you like Two-Factor Authentication?"""
    return page(request, "two_factor_offer.html", {"target": tickets.read_next(request, HOME)})


@public
async def privacy(request: web.Request) -> web.Response:
    """The privacy notice."""
    back = local_path(request.query.get("back", ""), "")
    return page(request, "privacy.html", {"back": back, "version": PRIVACY_VERSION})


def add_routes(app: web.Application) -> None:
    """Register these views."""
    app.router.add_get("/robot", challenge)
    app.router.add_get("/privacy", privacy)
    app.router.add_get("/signup", show_page_one)
    app.router.add_post("/signup", post_page_one)
    app.router.add_get("/signup/company", show_page_two)
    app.router.add_post("/signup/company", post_page_two)
    app.router.add_get("/signup/verify", show_verify)
    app.router.add_post("/signup/verify", verify)
    app.router.add_post("/signup/resend", resend)
    app.router.add_get("/account/two-factor/offer", offer_two_factor)
