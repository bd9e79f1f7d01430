"""Logging in and out, for pages and programs."""

from aiohttp import web

from cloud.postgres import accounts
from cloud.services.accounts import BusyError, Identity, TooFastError
from cloud.web import sessions
from cloud.web.problems import Problem, ProblemCode
from cloud.web.state import AUTHENTICATOR, METRICS, POOL, SETTINGS, now_ms, visit_of


async def check_password(request: web.Request, email: str, password: str) -> Identity:
    """Whom this proves. Problem too_many, busy, or login_failed: one answer for unknown and wrong."""
    app = request.app
    try:
        identity = await app[AUTHENTICATOR].authenticate(
            email, password, address=request.remote or "", now_ms=now_ms()
        )
    except TooFastError as error:
        app[METRICS].logins.labels("too_fast").inc()
        raise Problem(ProblemCode.TOO_MANY, retry_after_s=error.after_s) from None
    except BusyError:
        raise Problem(ProblemCode.BUSY, retry_after_s=2) from None
    if identity is None:
        app[METRICS].logins.labels("failed").inc()
        raise Problem(ProblemCode.LOGIN_FAILED)
    return identity


async def begin(request: web.Request, identity: Identity) -> str:
    """A new log-in; its cookie. Whatever log-in the browser had before ends."""
    app, address = request.app, request.remote or ""
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
    return cookie


async def end(request: web.Request) -> None:
    """End this log-in on the server, if there is one."""
    session = visit_of(request).session
    if session is None:
        return
    await accounts.delete_session(request.app[POOL], session.session_hash)
    await accounts.audit(
        request.app[POOL],
        "logout",
        now_ms=now_ms(),
        account_id=session.account_id,
        company_id=session.company_id,
        address=request.remote or "",
    )
