"""Logging in for programs: a session in a cookie, as browsers have it.

``GET /form-token`` gives a cookie and the token that belongs to it; ``POST /session`` logs in and answers
with the token of the new session. Changes that move devices need a fresh proof of who is there (5 minutes):
``POST /session/proof``.
"""

from http import HTTPStatus
from typing import Annotated, Final

import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from cloud.core.authz import Role
from cloud.core.language import gettext
from cloud.core.second_factor import FRESH_MS
from cloud.postgres import accounts
from cloud.postgres.accounts import Session
from cloud.services import companies, second_factor
from cloud.web import log_in as logging_in
from cloud.web import sessions
from cloud.web.api.kinds import Code, Email, Ms, Number, Password
from cloud.web.api.operation import Section, json_of
from cloud.web.middleware import sets_up_factor
from cloud.web.problems import Problem, ProblemCode
from cloud.web.state import KIT, POOL, SETTINGS, now_ms, session_of, visit_of

SECTION: Final = Section("Session", "Logging in and out, and proving again who is there.")


class FormToken(Struct):
    """The token that changes need, with the cookie it belongs to."""

    form_token: str


class LogIn(Struct):
    """E-mail address and password; with Two-Factor Authentication a code, too."""

    email: Email
    password: Password
    code: Code = ""


class SessionInfo(Struct):
    """Who is logged in, and for which company."""

    account_id: int
    email: str
    company_id: int
    company: str
    role: Role
    two_factor: Annotated[bool, Meta(description="Whether the account has Two-Factor Authentication.")]
    fresh_until_ms: Annotated[
        int | None, Meta(description="Unix ms until which what needs a fresh factor is done without one.")
    ]
    factor_due_ms: Annotated[
        int | None,
        Meta(
            description="Unix ms from which the company lets you do nothing but set up a second factor "
            "(`factor_required`); null: it asks for none, or you have one."
        ),
    ]
    expires_ms: Ms


class LoggedIn(SessionInfo):
    """A log-in with the token that its changes need."""

    form_token: str


class Proof(Struct):
    """The code of the authenticator; without Two-Factor Authentication the password."""

    code: Code = ""
    password: Password = ""


class ActFor(Struct):
    """One of your companies."""

    company_id: Number


def info_of(session: Session) -> SessionInfo:
    """A session as programs see it, without its token: answers of a POST are kept."""
    proved_ms = session.factor_ms
    fresh = proved_ms is not None and session.is_fresh(now_ms())
    return SessionInfo(
        account_id=session.account_id,
        email=session.email,
        company_id=session.company_id,
        company=session.company_name,
        role=session.role,
        two_factor=session.two_factor,
        fresh_until_ms=proved_ms + FRESH_MS if fresh and proved_ms is not None else None,
        factor_due_ms=session.factor_due_ms,
        expires_ms=session.expires_ms,
    )


def logged_in(session: Session) -> LoggedIn:
    """A log-in as programs see it, with its token: for answers that are not kept."""
    info = msgspec.structs.asdict(info_of(session))
    return LoggedIn(**info, form_token=sessions.form_token(session.csrf_key))


async def again(request: web.Request, session_hash: bytes) -> Session:
    """A session as it is now."""
    found = await accounts.find_session(
        request.app[POOL], session_hash, now_ms=now_ms(), idle_ms=sessions.IDLE_MS
    )
    if found is None:
        raise Problem(ProblemCode.LOGIN_NEEDED)
    return found


@SECTION.operation("GET", "/form-token", is_public=True)
async def show_form_token(request: web.Request) -> FormToken:
    """The token that changes need; before a log-in, too."""
    return FormToken(visit_of(request).form_token)


@SECTION.operation(
    "POST",
    "/session",
    is_public=True,
    answer=LoggedIn,
    problems=[
        ProblemCode.LOGIN_FAILED,
        ProblemCode.FACTOR_NEEDED,
        ProblemCode.FACTOR_WRONG,
        ProblemCode.LOGIN_GONE,
        ProblemCode.TOO_MANY,
        ProblemCode.BUSY,
    ],
)
async def log_in(request: web.Request, body: LogIn) -> web.Response:
    """Log in.

    `factor_needed`: the password was right, and `methods` says what could follow. Send the same again with
    `code`, or finish by a passkey: `POST /session/passkey/options` with the `step` that was told. Sending it
    twice makes two log-ins; an Idempotency-Key means nothing here.
    """
    kit = request.app[KIT]
    identity = await logging_in.check_password(request, body.email, body.password)
    if identity.needs_factor:
        if not body.code:
            step = await second_factor.begin_login(kit, identity, now_ms())
            found = await second_factor.login_step(kit, step, now_ms())
            ways = {"app": found.app, "recovery_code": True, "passkey": found.passkey}
            more = {"step": step, "methods": [way for way, there in ways.items() if there]}
            detail = gettext("Send the same again with the code, or go on with the step.")
            raise Problem(ProblemCode.FACTOR_NEEDED, detail=detail, more=more)
        step = await second_factor.begin_login(kit, identity, now_ms())
        identity = await second_factor.finish_login(kit, step, body.code, now_ms())
    cookie = await logging_in.begin(request, identity)
    session = await again(request, sessions.hash_of(cookie))
    response = json_of(logged_in(session), HTTPStatus.OK)
    sessions.set_cookie(response, request.app[SETTINGS], cookie, lasting=True)
    return response


@SECTION.operation("GET", "/session", marks=[sets_up_factor])
async def show_session(request: web.Request) -> LoggedIn:
    """Who is logged in, and the token that changes need."""
    return logged_in(session_of(request))


@SECTION.operation("DELETE", "/session", answer=type(None), marks=[sets_up_factor])
async def log_out(request: web.Request) -> web.Response:
    """Log out."""
    await logging_in.end(request)
    response = json_of(None, HTTPStatus.NO_CONTENT)
    sessions.drop_cookie(response, request.app[SETTINGS])
    return response


@SECTION.operation(
    "POST",
    "/session/proof",
    marks=[sets_up_factor],
    problems=[ProblemCode.PASSWORD_WRONG, ProblemCode.FACTOR_WRONG, ProblemCode.TOO_MANY, ProblemCode.BUSY],
)
async def prove(request: web.Request, body: Proof) -> SessionInfo:
    """Prove again who is there: what needs a fresh factor is done for the next 5 minutes."""
    session = session_of(request)
    await second_factor.step_up(
        request.app[KIT], session, code=body.code, password=body.password, now_ms=now_ms()
    )
    return info_of(await again(request, session.session_hash))


@SECTION.operation("POST", "/session/company", marks=[sets_up_factor], problems=[ProblemCode.NOT_FOUND])
async def switch_company(request: web.Request, body: ActFor) -> SessionInfo:
    """Act for another of your companies."""
    session = session_of(request)
    await companies.switch(request.app[KIT], session, body.company_id)
    return info_of(await again(request, session.session_hash))
