"""Log-in and log-out."""

from aiohttp import web

from cloud.postgres import accounts
from cloud.services.accounts import BusyError, TooFastError
from cloud.web import sessions
from cloud.web.middleware import public
from cloud.web.problems import KINDS, Problem, ProblemCode
from cloud.web.responses import local_path, page, see_other
from cloud.web.state import AUTHENTICATOR, METRICS, POOL, SETTINGS, now_ms, visit_of

HOME = "/devices"
MAX_EMAIL_CHARS = 254


@public
async def show_login(request: web.Request) -> web.Response:
    """The log-in page; people who are logged in go on."""
    target = local_path(request.query.get("next", ""), HOME)
    if visit_of(request).session is not None:
        return see_other(target)
    return page(request, "login.html", {"email": "", "error": None, "target": target, "ended": False})


@public
async def log_in(request: web.Request) -> web.Response:
    """Check address and password; one answer for unknown and wrong."""
    form = await request.post()
    email, password = str(form.get("email", "")), str(form.get("password", ""))
    target = local_path(str(form.get("next", "")), HOME)
    app, address, at_ms = request.app, request.remote or "", now_ms()
    try:
        identity = await app[AUTHENTICATOR].authenticate(email, password, address=address, now_ms=at_ms)
    except TooFastError as error:
        app[METRICS].logins.labels("too_fast").inc()
        return _again(request, email, target, ProblemCode.TOO_MANY, error.after_s)
    except BusyError:
        raise Problem(ProblemCode.BUSY, retry_after_s=2) from None
    if identity is None:
        app[METRICS].logins.labels("failed").inc()
        return _again(request, email, target, ProblemCode.LOGIN_FAILED)
    cookie = await sessions.begin(app[POOL], app[SETTINGS], request, identity, address, now_ms())
    await accounts.audit(
        app[POOL],
        "login",
        now_ms=now_ms(),
        account_id=identity.account_id,
        company_id=identity.company_id,
        address=address,
    )
    app[METRICS].logins.labels("done").inc()
    response = see_other(target)
    sessions.set_cookie(response, app[SETTINGS], cookie, lasting=True)
    return response


def _again(
    request: web.Request, email: str, target: str, code: ProblemCode, after_s: int | None = None
) -> web.Response:
    kind = KINDS[code]
    error = kind.detail if after_s is None else f"Too many attempts. Try again in {after_s} seconds."
    context = {"email": email[:MAX_EMAIL_CHARS], "error": error, "target": target, "ended": False}
    response = page(request, "login.html", context, status=kind.status.value)
    if after_s is not None:
        response.headers["Retry-After"] = str(after_s)
    return response


@public
async def log_out(request: web.Request) -> web.Response:
    """End this log-in, here and on the server."""
    session = visit_of(request).session
    if session is not None:
        await accounts.delete_session(request.app[POOL], session.session_hash)
        await accounts.audit(
            request.app[POOL],
            "logout",
            now_ms=now_ms(),
            account_id=session.account_id,
            company_id=session.company_id,
            address=request.remote or "",
        )
    response = see_other("/login")
    sessions.drop_cookie(response, request.app[SETTINGS])
    return response


def add_routes(app: web.Application) -> None:
    """Register these views."""
    app.router.add_get("/login", show_login)
    app.router.add_post("/login", log_in)
    app.router.add_post("/logout", log_out)
