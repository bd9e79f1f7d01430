"""Log-in, with its second step where the account has Two-Factor Authentication, and log-out."""

from collections.abc import Mapping
from http import HTTPStatus

from aiohttp import web

from cloud.core.language import gettext, ngettext
from cloud.core.refusal import TEXTS, RefusalCode, RefusedError
from cloud.services import second_factor
from cloud.services.accounts import Identity
from cloud.web import log_in as logging_in
from cloud.web import sessions, tickets
from cloud.web.middleware import public
from cloud.web.partner_provider import PARTNER
from cloud.web.partner_words import problem_words
from cloud.web.passkey_facts import passkey_facts
from cloud.web.problems import KINDS, Problem, ProblemCode
from cloud.web.refusals import faults_of, form_of
from cloud.web.responses import local_path, page, see_other
from cloud.web.state import KIT, METRICS, SETTINGS, now_ms, visit_of
from cloud.web.tickets import Ticket

HOME = "/devices"
MAX_EMAIL_CHARS = 254


@public
async def show_login(request: web.Request) -> web.Response:
    """The log-in page; people who are logged in go on."""
    target = local_path(request.query.get("next", ""), HOME)
    if visit_of(request).session is not None:
        return see_other(target)
    partners = request.app[PARTNER]
    context = {
        "email": "",
        "error": problem_words(request, partners[0].name) if partners else "",
        "target": target,
        "ended": "out" in request.query and bool(partners),
    }
    return page(request, "login.html", context)


@public
async def log_in(request: web.Request) -> web.Response:
    """Check address and password; one answer for unknown and wrong."""
    form = await request.post()
    email, password = str(form.get("email", "")), str(form.get("password", ""))
    target = local_path(str(form.get("next", "")), HOME)
    try:
        identity = await logging_in.check_password(request, email, password)
    except Problem as problem:
        if problem.code is ProblemCode.BUSY:
            raise
        return _again(request, email, target, problem.code, problem.retry_after_s)
    return await admit(request, identity, target)


async def admit(request: web.Request, identity: Identity, target: str) -> web.Response:
    """Whoever proved who is there: in, or on to the second factor."""
    if identity.needs_factor:
        response = see_other("/login/verify")
        step = await second_factor.begin_login(request.app[KIT], identity, now_ms())
        tickets.give(response, request, Ticket.LOGIN, step)
        tickets.give_next(response, request, target)
        return response
    return await let_in(request, identity, target)


async def let_in(request: web.Request, identity: Identity, target: str) -> web.Response:
    """Begin the log-in and go on."""
    cookie = await logging_in.begin(request, identity)
    response = see_other(target)
    sessions.set_cookie(response, request.app[SETTINGS], cookie, lasting=True)
    return response


def _again(
    request: web.Request, email: str, target: str, code: ProblemCode, after_s: int | None = None
) -> web.Response:
    kind = KINDS[code]
    error = gettext(kind.detail) if after_s is None else _too_many(after_s)
    context = {"email": email[:MAX_EMAIL_CHARS], "error": error, "target": target, "ended": False}
    response = page(request, "login.html", context, status=kind.status.value)
    if after_s is not None:
        response.headers["Retry-After"] = str(after_s)
    return response


def _too_many(after_s: int) -> str:
    return ngettext(
        "Too many attempts. Try again in {count} second.",
        "Too many attempts. Try again in {count} seconds.",
        after_s,
    )


@public
async def show_second_step(request: web.Request) -> web.Response:
    """Ask for a passkey, the code of the authenticator, or a recovery code."""
    return await _second_step(request, {}) or see_other("/login")


async def _second_step(
    request: web.Request, faults: Mapping[str, str], status: int = 200
) -> web.Response | None:
    """The page of a log-in that waits for its second factor; None where it waits no longer."""
    kit = request.app[KIT]
    try:
        step = await second_factor.login_step(kit, tickets.read(request, Ticket.LOGIN), now_ms())
    except RefusedError:
        return None
    return page(
        request, "login_verify.html", {**passkey_facts(kit), "faults": faults, "step": step}, status=status
    )


@public
async def finish(request: web.Request) -> web.Response:
    """Check the second factor."""
    form = await form_of(request)
    try:
        identity = await second_factor.finish_login(
            request.app[KIT], tickets.read(request, Ticket.LOGIN), form.get("code", ""), now_ms()
        )
    except RefusedError as refusal:
        return await show_refused(request, refusal)
    return await finish_by(request, identity)


async def show_refused(request: web.Request, refusal: RefusedError) -> web.Response:
    """The second step once more; the first one where there have been too many tries."""
    request.app[METRICS].logins.labels("failed").inc()
    status = HTTPStatus.UNAUTHORIZED.value
    response = await _second_step(request, faults_of(refusal), status)
    if response is None:
        error = gettext(TEXTS[RefusalCode.LOGIN_GONE])
        context = {"email": "", "error": error, "target": HOME, "ended": False}
        response = page(request, "login.html", context, status=status)
    if refusal.after_s is not None:
        response.headers["Retry-After"] = str(refusal.after_s)
    return response


async def finish_by(request: web.Request, identity: Identity) -> web.Response:
    """The second step was right: to where somebody wanted to go."""
    response = await let_in(request, identity, tickets.read_next(request, HOME))
    for ticket in (Ticket.LOGIN, Ticket.NEXT):
        tickets.take(response, request, ticket)
    return response


@public
async def log_out(request: web.Request) -> web.Response:
    """End this log-in, here and on the server."""
    await logging_in.end(request)
    response = see_other("/login?out=1" if request.app[PARTNER] else "/login")
    sessions.drop_cookie(response, request.app[SETTINGS])
    return response


def add_routes(app: web.Application) -> None:
    """Register these views."""
    app.router.add_get("/login", show_login)
    app.router.add_post("/login", log_in)
    app.router.add_get("/login/verify", show_second_step)
    app.router.add_post("/login/verify", finish)
    app.router.add_post("/logout", log_out)
