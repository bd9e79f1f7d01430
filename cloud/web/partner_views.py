"""Log-in with an existing account of a partner's portal (OpenID Connect), for people.

``/login/partner`` sends the browser to the partner and writes nothing but a sealed cookie: state, nonce and
PKCE verifier. ``/login/partner/back`` is where the partner sends it back to. That is a GET that logs in, as
the protocol has it; what a form's token does elsewhere, the state does there: only the browser that went
comes back with it, once. Whatever fails leads to the log-in page, which says so; the address that held the
code is not kept in the history.
"""

import hmac
import json
from typing import Any, Final

import structlog
from aiohttp import web
from yarl import URL

from cloud.core.partner import (
    STEP_LIFE_MS,
    PartnerError,
    PartnerPerson,
    UnverifiedEmailError,
    check_answer,
    request_of,
)
from cloud.core.refusal import RefusalCode, RefusedError
from cloud.core.sign_up import SIGN_UP_LIFE_MS
from cloud.postgres import challenges
from cloud.services import partner_log_in
from cloud.services.kit import hash_of, new_token
from cloud.services.vault import VaultError
from cloud.web import login_views, tickets
from cloud.web.middleware import public
from cloud.web.partner_provider import PARTNER, PartnerAwayError, PartnerProvider
from cloud.web.partner_words import problem_words
from cloud.web.problems import Problem, ProblemCode
from cloud.web.refusals import faults_of
from cloud.web.responses import local_path, page, see_other
from cloud.web.safety_views import confirm_first, is_fresh
from cloud.web.state import KIT, METRICS, SETTINGS, now_ms, session_of, visit_of
from cloud.web.tickets import Ticket
from protocol.identity import b64url, unb64url

BACK: Final = "/login/partner/back"
ROOM: Final = "/account/partner"
HOME: Final = "/devices"
MAX_SEALED_CHARS: Final = 3000
MAX_CODE_CHARS: Final = 2000

log = structlog.get_logger()


def partner_of(request: web.Request) -> PartnerProvider:
    """The partner. Problem (not_found) where this installation has none."""
    for partner in request.app[PARTNER]:
        return partner
    raise Problem(ProblemCode.NOT_FOUND)


# --- what the browser carries -------------------------------------------------------------------------------


def _give(response: web.Response, request: web.Request, ticket: Ticket, content: dict[str, Any]) -> None:
    """Let the browser carry something that it can neither read nor change."""
    sealed = request.app[KIT].vault.seal(f"cookie {ticket}", 0, json.dumps(content).encode())
    tickets.give(response, request, ticket, b64url(sealed))


def _read(request: web.Request, ticket: Ticket) -> dict[str, Any]:
    """What it carries; empty where that is nothing of ours, or is over."""
    text = tickets.read(request, ticket, most=MAX_SEALED_CHARS)
    try:
        opened = request.app[KIT].vault.open(f"cookie {ticket}", 0, unb64url(text))
    except (ValueError, VaultError):
        return {}
    content: dict[str, Any] = json.loads(opened)
    return content if content["until_ms"] > now_ms() else {}


# --- there and back -----------------------------------------------------------------------------------------


@public
async def begin(request: web.Request) -> web.Response:
    """To the partner. ``confirm``: whoever is logged in enters the partner's password once more."""
    partner = partner_of(request)
    again = "confirm" in request.query and visit_of(request).session is not None
    try:
        metadata = await partner.metadata()
    except PartnerAwayError as error:
        return _failed(request, RefusalCode.PARTNER_AWAY, error)
    step: dict[str, Any] = {
        "state": new_token(),
        "nonce": new_token(),
        "verifier": new_token(),
        "next": local_path(request.query.get("next", ""), HOME)[: tickets.MAX_NEXT_CHARS],
        "again": again,
        "until_ms": now_ms() + STEP_LIFE_MS,
    }
    asked = request_of(
        client_id=partner.client_id,
        redirect_uri=_redirect_uri(request),
        state=step["state"],
        nonce=step["nonce"],
        verifier=step["verifier"],
        again=again,
    )
    response = see_other(str(URL(metadata.authorization_endpoint).update_query(asked)))
    _give(response, request, Ticket.PARTNER, step)
    return response


def _redirect_uri(request: web.Request) -> str:
    return request.app[SETTINGS].portal_url + BACK


@public
async def come_back(request: web.Request) -> web.Response:
    """From the partner: in, on to our second factor, to a first sign-up, or to the account's own log-in."""
    partner, step = partner_of(request), _read(request, Ticket.PARTNER)
    try:
        person = await _person(request, partner, step)
        if step["again"]:
            await partner_log_in.prove(request.app[KIT], session_of(request), person, now_ms())
            response = see_other(step["next"])
        else:
            response = await _go_on(request, person, step["next"])
    except RefusedError as refusal:
        request.app[METRICS].logins.labels("failed").inc()
        response = _failed(request, refusal.code)
    except UnverifiedEmailError as error:
        response = _failed(request, RefusalCode.PARTNER_UNVERIFIED, error)
    except PartnerError as error:
        response = _failed(request, RefusalCode.PARTNER_REFUSED, error)
    except PartnerAwayError as error:
        response = _failed(request, RefusalCode.PARTNER_AWAY, error)
    tickets.take(response, request, Ticket.PARTNER)
    return response


async def _person(request: web.Request, partner: PartnerProvider, step: dict[str, Any]) -> PartnerPerson:
    """Whom the answer names. PartnerError, PartnerAwayError, RefusedError partner_gone, partner_denied."""
    query = request.query
    state = query.get("state", "")
    ours = bool(step) and hmac.compare_digest(step["state"].encode(), state.encode(errors="replace"))
    if not ours or not await _first_time(request, step):
        raise RefusedError(RefusalCode.PARTNER_GONE)
    check_answer(await partner.metadata(), query.get("iss"))
    code = query.get("code", "")
    if query.get("error") == "access_denied":
        raise RefusedError(RefusalCode.PARTNER_DENIED)
    if "error" in query or not code or len(code) > MAX_CODE_CHARS:
        raise PartnerError("the provider answered with an error")
    return await partner.redeem(
        code, verifier=step["verifier"], redirect_uri=_redirect_uri(request), nonce=step["nonce"]
    )


async def _first_time(request: web.Request, step: dict[str, Any]) -> bool:
    return await challenges.use(
        request.app[KIT].pool, hash_of(step["state"]), expires_ms=step["until_ms"], now_ms=now_ms()
    )


async def _go_on(request: web.Request, person: PartnerPerson, target: str) -> web.Response:
    invitation = tickets.read(request, Ticket.INVITATION) or None
    met = await partner_log_in.meet(request.app[KIT], person, invitation=invitation, now_ms=now_ms())
    if met.identity is not None:
        return await login_views.admit(request, met.identity, target)
    if met.known:
        here = visit_of(request).session is not None
        response = see_other(ROOM if here else f"/login?next={ROOM}")
        content = {"issuer": person.issuer, "subject": person.subject, "email": person.email.value}
        until_ms = now_ms() + SIGN_UP_LIFE_MS
        _give(response, request, Ticket.PARTNER_LINK, {**content, "until_ms": until_ms})
        return response
    response = see_other("/signup/company")
    tickets.give(response, request, Ticket.SIGN_UP, met.sign_up)
    tickets.give_next(response, request, target)
    return response


def _failed(request: web.Request, code: RefusalCode, error: Exception | None = None) -> web.Response:
    """To a page that says why, without what the partner sent in its address."""
    if error is not None:
        log.warning("log-in with a partner's account failed", code=code, reason=str(error)[:200])
    if visit_of(request).session is not None:
        return see_other(f"{ROOM}?problem={code}")
    return see_other(f"/login?problem={code}")


@public
async def log_out_there(request: web.Request) -> web.Response:
    """End the log-in at the partner, too (OpenID Connect RP-Initiated Logout 1.0); ours has ended before."""
    partner = partner_of(request)
    try:
        endpoint = (await partner.metadata()).end_session_endpoint
    except PartnerAwayError as error:
        return _failed(request, RefusalCode.PARTNER_AWAY, error)
    if not endpoint:
        return see_other("/login")
    query = {
        "client_id": partner.client_id,
        "post_logout_redirect_uri": request.app[SETTINGS].portal_url + "/login",
    }
    return see_other(str(URL(endpoint).update_query(query)))


# --- the profile's room -------------------------------------------------------------------------------------


async def show(request: web.Request) -> web.Response:
    """What this account is connected with, and what waits to be connected."""
    return await _room(request, {})


async def _room(request: web.Request, faults: dict[str, str]) -> web.Response:
    partner, session = partner_of(request), session_of(request)
    found = await partner_log_in.connection_of(request.app[KIT], session.account_id, partner.issuer)
    waiting = _read(request, Ticket.PARTNER_LINK)
    context = {
        "name": partner.name,
        "found": found,
        "waiting": waiting.get("email", ""),
        "problem": problem_words(request, partner.name),
        "faults": faults,
    }
    return page(request, "partner.html", context, status=422 if faults else 200)


async def connect(request: web.Request) -> web.Response:
    """Yes, the two are mine."""
    partner, waiting = partner_of(request), _read(request, Ticket.PARTNER_LINK)
    if not waiting or waiting["issuer"] != partner.issuer:
        return await _room(request, faults_of(RefusedError(RefusalCode.PARTNER_GONE)))
    if not is_fresh(request):
        return confirm_first(ROOM)
    try:
        await partner_log_in.connect(
            request.app[KIT],
            session_of(request),
            issuer=waiting["issuer"],
            subject=waiting["subject"],
            email=waiting["email"],
            fresh=True,
            now_ms=now_ms(),
        )
    except RefusedError as refusal:
        return await _room(request, faults_of(refusal))
    response = see_other(ROOM)
    tickets.take(response, request, Ticket.PARTNER_LINK)
    return response


async def disconnect(request: web.Request) -> web.Response:
    """From now on only the account's own log-in leads in."""
    partner = partner_of(request)
    if not is_fresh(request):
        return confirm_first(ROOM)
    await partner_log_in.disconnect(
        request.app[KIT], session_of(request), partner.issuer, fresh=True, now_ms=now_ms()
    )
    return see_other(ROOM)


def add_routes(app: web.Application) -> None:
    """Register these views, and the partner of the settings."""
    partner = PartnerProvider.of(app[SETTINGS])
    app[PARTNER] = [] if partner is None else [partner]
    app.router.add_get("/login/partner", begin)
    app.router.add_get(BACK, come_back)
    app.router.add_get("/login/partner/out", log_out_there)
    app.router.add_get(ROOM, show)
    app.router.add_post(ROOM + "/connect", connect)
    app.router.add_post(ROOM + "/disconnect", disconnect)
