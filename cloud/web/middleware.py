"""What every request passes: number and log line, security headers, who it is, where it comes from, problems.

Order, outermost first: ``observe`` (request id, metrics, log) → ``forwarded`` (the person's address behind a
proxy) → ``problems`` (errors become pages or problem+json) → ``bounded`` (where too many claims are in, the
database is not asked who this is) → ``visitor`` (session or API token, one of which is needed unless the
handler is ``public``) → ``equipped`` (a second factor where the company requires one) → ``same_site`` (CSRF).
Headers are set when a response is prepared, so streams and errors have them too.
"""

import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Final, TypeVar
from urllib.parse import quote

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from cloud.core import language
from cloud.core.authz import NotAllowedError
from cloud.core.refusal import RefusedError
from cloud.postgres import acting
from cloud.postgres.safety import UNAVAILABLE
from cloud.services.passwords import BusyError
from cloud.web import bearer, sessions
from cloud.web.addresses import client_address, is_proxy
from cloud.web.problems import BY_STATUS, Problem, ProblemCode
from cloud.web.refusals import problem_of
from cloud.web.responses import netloc_of, problem_response, wants_json
from cloud.web.state import (
    LABEL_KEYS,
    METRICS,
    POOL,
    REQUEST_ID,
    SETTINGS,
    VISIT,
    WARNED,
    is_secure,
    now_ms,
    visit_of,
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
H = TypeVar("H", bound=Handler)

LANGUAGE_COOKIE: Final = "language"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
HSTS: Final = "max-age=31536000"
FORM_FIELD: Final = "form_token"
FORM_HEADER: Final = "X-Form-Token"
SLOW_S: Final = 1.0
FACTOR_PAGE: Final = "/account/two-factor"

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}

log = structlog.get_logger()


def public(handler: H) -> H:
    """Mark a handler that answers people who are not logged in. All others need a log-in."""
    handler.public = True  # type: ignore[attr-defined]  # a mark that the visitor middleware reads
    return handler


async def set_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Security headers of every response (on_response_prepare). A handler's own value stays."""
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    if is_secure(request.app[SETTINGS]):
        response.headers.setdefault("Strict-Transport-Security", HSTS)
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers["X-Request-Id"] = request.get(REQUEST_ID, "-")
    response.headers.popall("Server", None)


def wished_language(request: web.Request) -> str:
    """The language that a visitor has picked here, or else the one that the browser likes best."""
    picked = request.cookies.get(LANGUAGE_COOKIE, "")
    if picked in language.LANGUAGES:
        return picked
    return language.accepted(request.headers.get("Accept-Language", ""))


@web.middleware
async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request its number, count it, and log it: no query, no body, no cookie."""
    request[REQUEST_ID] = secrets.token_hex(8)
    language.speak(wished_language(request))
    structlog.contextvars.bind_contextvars(request_id=request[REQUEST_ID])
    began = time.perf_counter()
    status = HTTPStatus.INTERNAL_SERVER_ERROR.value
    try:
        response = await handler(request)
        status = response.status
    except web.HTTPException as answer:
        status = answer.status
        raise
    else:
        return response
    finally:
        took_s = time.perf_counter() - began
        resource = request.match_info.route.resource
        route = resource.canonical if resource is not None else "unknown"
        request.app[METRICS].observe(route, request.method, status, took_s)
        slow = took_s > SLOW_S and not request.path.endswith("/live")
        level = (
            "warning" if status >= 500 else "info" if slow or request.method not in SAFE_METHODS else "debug"
        )
        getattr(log, level)(
            "request", method=request.method, route=route, status=status, took_ms=round(took_s * 1000, 1)
        )
        structlog.contextvars.unbind_contextvars("request_id")


@web.middleware
async def forwarded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Take the person's address from X-Forwarded-For where a configured proxy says so, and only there.

    Says once in the log that it came from somebody else: a proxy that is not configured, which makes all its
    people one address for the limits, or a visitor who tries.
    """
    lines = request.headers.getall("X-Forwarded-For", [])
    if lines:
        proxies = request.app[SETTINGS].trusted_proxies
        peer = request.remote or ""
        if not is_proxy(peer, proxies) and not request.app[WARNED]:
            request.app[WARNED].add(peer)
            log.warning("X-Forwarded-For of a peer that is not in trusted_proxies is ignored", peer=peer)
        address = client_address(peer, lines, proxies)
        if address != peer:
            request = request.clone(remote=address)
    return await handler(request)


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever went wrong into an answer that says so; unknown errors are logged with their trace."""
    try:
        return await handler(request)
    except Problem as problem:
        return problem_response(request, problem)
    except NotAllowedError:
        return problem_response(request, Problem(ProblemCode.FORBIDDEN))
    except RefusedError as refusal:
        return problem_response(request, problem_of(refusal, request.app[SETTINGS].brand))
    except BusyError:
        return problem_response(request, Problem(ProblemCode.BUSY, retry_after_s=2))
    except web.HTTPRedirection:
        raise
    except web.HTTPException as answer:
        code = BY_STATUS.get(answer.status)
        if code is None:
            raise
        response = problem_response(request, Problem(code))
        if "Allow" in answer.headers:
            response.headers["Allow"] = answer.headers["Allow"]
        return response
    except UNAVAILABLE as error:
        log.warning("the database is not available", error=str(error))
        return problem_response(request, Problem(ProblemCode.DATABASE_UNAVAILABLE, retry_after_s=5))
    except ConnectionResetError:  # the browser has gone; nobody reads an answer
        raise
    except Exception:
        log.exception("a request failed", path=request.path)
        return problem_response(request, Problem(ProblemCode.INTERNAL))


def takes_codes(handler: H) -> H:
    """Mark a handler that checks typed product codes: refused while no further claim can be taken in."""
    handler.takes_codes = True  # type: ignore[attr-defined]  # a mark that the middleware bounded reads
    return handler


def takes_upload(handler: H) -> H:
    """Mark a handler whose form has a photo: it checks the form's token as it reads it (uploads.py)."""
    handler.takes_upload = True  # type: ignore[attr-defined]  # a mark that the middleware same_site reads
    return handler


@web.middleware
async def bounded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse claims past the bound at next to no cost, so that those who were taken in get done."""
    if getattr(request.match_info.handler, "takes_codes", False):
        label_keys = request.app[LABEL_KEYS]
        if label_keys.full:
            raise Problem(ProblemCode.BUSY, retry_after_s=label_keys.retry_after_s)
    return await handler(request)


@web.middleware
async def visitor(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Find out who this is. Without a log-in only ``public`` handlers answer."""
    found = request.match_info
    if found.http_exception is not None or getattr(found.handler, "anonymous", False):
        with acting.nobody():  # nobody needs to be known for these
            return await handler(request)
    token = bearer.token_of(request)
    if token is not None:
        with acting.across(acting.Reason.VISITOR):
            request[VISIT] = await bearer.read_visit(request, token)
        with _acting_for(request):
            return await handler(request)
    with acting.across(acting.Reason.VISITOR):
        request[VISIT] = await sessions.read_visit(
            request.app[POOL], request.app[SETTINGS], request, now_ms()
        )
    session = visit_of(request).session
    if session is not None:
        language.speak(session.language)
    elif not getattr(found.handler, "public", False):
        if request.method in SAFE_METHODS and not wants_json(request) and "HX-Request" not in request.headers:
            raise web.HTTPSeeOther(f"/login?next={quote(request.path, safe='/')}")
        raise Problem(ProblemCode.LOGIN_NEEDED)
    with _acting_for(request):
        response = await handler(request)
    fresh = visit_of(request).new_cookie
    if fresh is not None and not response.prepared and not response.cookies:
        sessions.set_cookie(response, request.app[SETTINGS], fresh, lasting=False)
    return response


def _acting_for(request: web.Request) -> contextlib.AbstractContextManager[None]:
    """What the handler finds in the database: what belongs to its person and their company, or, where nobody
    needs to be known, what a secret, an address or a cookie leads to.
    """
    session = visit_of(request).session
    if session is None or getattr(request.match_info.handler, "public", False):
        return acting.across(acting.Reason.VISITOR)
    return acting.acting_for(session.company_id, session.account_id)


def sets_up_factor(handler: H) -> H:
    """Mark a handler that leads to a second factor: it answers those, too, whose company waits for theirs."""
    handler.sets_up_factor = True  # type: ignore[attr-defined]  # a mark that the middleware equipped reads
    return handler


@web.middleware
async def equipped(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let those whose company requires a second factor, and whose time for it is over, do nothing else."""
    visit, found = request.get(VISIT), request.match_info
    due_ms = None if visit is None or visit.session is None else visit.session.factor_due_ms
    is_open = any(getattr(found.handler, mark, False) for mark in ("sets_up_factor", "public"))
    if due_ms is None or now_ms() < due_ms or is_open or found.http_exception is not None:
        return await handler(request)
    if request.method in SAFE_METHODS and not wants_json(request) and "HX-Request" not in request.headers:
        raise web.HTTPSeeOther(FACTOR_PAGE)
    raise Problem(ProblemCode.FACTOR_REQUIRED, more={"missing": ["second_factor"]})


def anonymous(handler: H) -> H:
    """Mark a handler that needs neither log-in nor session: health, keys, time, files."""
    handler.anonymous = True  # type: ignore[attr-defined]  # a mark that the visitor middleware reads
    return public(handler)


def signed_link(handler: H) -> H:
    """Mark a handler whose address itself proves that we gave it to somebody: others post to it, too.

    A mail program unsubscribes that way (RFC 8058): without cookies, without a form of ours.
    """
    handler.signed_link = True  # type: ignore[attr-defined]  # a mark that the middleware same_site reads
    return public(handler)


@web.middleware
async def same_site(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse changes that another site asks for: by the browser's own headers, and by the form's token.

    Not those with an API token: no other site's page can send one.
    """
    found, visit = request.match_info, request.get(VISIT)
    is_signed = getattr(found.handler, "signed_link", False) or (
        visit is not None and visit.grant is not None
    )
    if request.method not in SAFE_METHODS and found.http_exception is None and not is_signed:
        if not _from_here(request):
            raise Problem(ProblemCode.CROSS_SITE)
        given = request.headers.get(FORM_HEADER)
        if given is None and getattr(found.handler, "takes_upload", False):
            return await handler(request)  # which reads no photo before the form's token was right
        is_page = not request.path.startswith("/api/")
        if given is None or (is_page and not getattr(found.handler, "takes_upload", False)):
            form = await _posted(request)  # kept: handlers of pages get the same
            value = form.get(FORM_FIELD)
            given = (value if isinstance(value, str) else "") if given is None else given
        if not sessions.token_matches(visit_of(request).form_token, given):
            raise Problem(ProblemCode.FORM_EXPIRED)
    return await handler(request)


async def _posted(request: web.Request) -> Mapping[str, object]:
    """The form in a request. Problem bad_request: it says that there is one, and none can be read."""
    try:
        return await request.post()
    except (
        ValueError,
        LookupError,
        AssertionError,
        RuntimeError,
        HttpProcessingError,
        web.RequestPayloadError,
    ):
        raise Problem(ProblemCode.BAD_REQUEST) from None


def _from_here(request: web.Request) -> bool:
    """Whether the browser says that our own page asks.

    With the referrer policy ``no-referrer`` a form's Origin is "null" (Fetch standard, "append a request
    Origin header"), so Sec-Fetch-Site decides where it is there; the token is needed in any case.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None and site != "same-origin":
        return False
    origin = request.headers.get("Origin")
    if origin is None or origin == "null":
        return True
    netloc = netloc_of(origin)
    return netloc is not None and netloc.lower() == request.host.lower()


ALL: Final = (observe, forwarded, problems, bounded, visitor, equipped, same_site)
"""In the order in which a request passes them."""
