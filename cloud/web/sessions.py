"""Log-ins: an opaque 256-bit id in a cookie, its hash and everything else in the table ``web_session``.

The id is new at every log-in, ends when it was idle for a week or after ``session_days``, and can be ended on
all portal processes at once by deleting its row. Forms carry a token that only this visitor's cookie gives;
somebody who is not logged in has a cookie of its own for that, which leads nowhere.

Over HTTPS the cookie is ``__Host-…`` and Secure. On plain HTTP, which is served on this machine's loopback
only, not every client sends such cookies, so there it has neither: docs/decisions/0005-session-cookie.md.
"""

import hashlib
import hmac
import re
import secrets
from typing import Final

from aiohttp import web

from cloud.config import Settings
from cloud.postgres import accounts
from cloud.postgres.pool import Pool
from cloud.services.accounts import Identity
from cloud.web.state import Visit, is_secure
from protocol.identity import b64url, unb64url

ID_BYTES: Final = 32
IDLE_MS: Final = 7 * 86_400_000
TOUCH_MS: Final = 60_000  # a session's use is written down once a minute at most
DAY_MS: Final = 86_400_000
_COOKIE: Final = re.compile(r"[A-Za-z0-9_-]{43}")


def cookie_name(settings: Settings) -> str:
    """Name of the session's cookie. Ports share cookies on one host, so plain HTTP has the port in it."""
    return "__Host-session" if is_secure(settings) else f"smartconnect_session_{settings.portal_port}"


def new_id() -> str:
    """A fresh opaque id."""
    return b64url(secrets.token_bytes(ID_BYTES))


def hash_of(cookie: str) -> bytes:
    """What is stored of an id."""
    return hashlib.sha256(unb64url(cookie)).digest()


def form_token(key: bytes) -> str:
    """The token that forms of one visitor carry."""
    return b64url(hmac.digest(key, b"form/1", "sha256"))


def token_matches(wanted: str, given: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(wanted.encode(), given.encode(errors="replace"))


async def read_visit(pool: Pool, settings: Settings, request: web.Request, now_ms: int) -> Visit:
    """Who this request's cookie says it is; an unknown visitor gets a cookie for its forms."""
    cookie = request.cookies.get(cookie_name(settings), "")
    if not _COOKIE.fullmatch(cookie):
        fresh = new_id()
        return Visit(None, form_token(unb64url(fresh)), fresh)
    session = await accounts.find_session(pool, hash_of(cookie), now_ms=now_ms, idle_ms=IDLE_MS)
    if session is None:
        return Visit(None, form_token(unb64url(cookie)))
    if now_ms - session.seen_ms > TOUCH_MS:
        await accounts.touch_session(pool, session.session_hash, now_ms)
    return Visit(session, form_token(session.csrf_key))


async def begin(
    pool: Pool, settings: Settings, request: web.Request, identity: Identity, address: str, now_ms: int
) -> str:
    """Write a new log-in and return its cookie; whatever log-in the browser had before ends.

    The person has proved everything that the account asks for; the proof is fresh if that was now, not if a
    log-in elsewhere stands for it. ValueError while the second factor is missing.
    """
    if identity.needs_factor:
        raise ValueError("a log-in without its second factor")
    cookie = new_id()
    before = request.cookies.get(cookie_name(settings), "")
    session = accounts.NewSession(
        session_hash=hash_of(cookie),
        account_id=identity.account_id,
        company_id=identity.company_id,
        csrf_key=secrets.token_bytes(ID_BYTES),
        now_ms=now_ms,
        expires_ms=now_ms + settings.session_days * DAY_MS,
        address=address,
        user_agent=request.headers.get("User-Agent", ""),
        factor_ms=now_ms if identity.fresh else None,
    )
    await accounts.insert_session(pool, session, hash_of(before) if _COOKIE.fullmatch(before) else None)
    return cookie


def set_cookie(response: web.StreamResponse, settings: Settings, cookie: str, *, lasting: bool) -> None:
    """Give the browser its cookie; ``lasting`` ones outlive the browser, up to the session's end."""
    response.set_cookie(
        cookie_name(settings),
        cookie,
        path="/",
        httponly=True,
        secure=is_secure(settings),
        samesite="Lax",
        max_age=settings.session_days * DAY_MS // 1000 if lasting else None,
    )


def drop_cookie(response: web.StreamResponse, settings: Settings) -> None:
    """Take the cookie away."""
    response.del_cookie(
        cookie_name(settings), path="/", secure=is_secure(settings), httponly=True, samesite="Lax"
    )
