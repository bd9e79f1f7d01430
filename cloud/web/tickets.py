"""Short-lived cookies that carry a visitor's own token from page to page: a sign-up, a log-in's second step,
an invitation, a way to a partner, and where somebody wanted to go. What a token opens is decided by the
services, not here.
"""

from enum import StrEnum
from typing import Final

from aiohttp import web

from cloud.services.kit import MAX_TOKEN_CHARS
from cloud.web.responses import local_path
from cloud.web.state import SETTINGS, is_secure

MAX_NEXT_CHARS: Final = 300
HOUR_S: Final = 3600


class Ticket(StrEnum):
    """What is carried."""

    SIGN_UP = "signup"
    LOGIN = "login"
    INVITATION = "invitation"
    NEXT = "next"
    PARTNER = "partner"
    PARTNER_LINK = "partner_link"


def read(request: web.Request, ticket: Ticket, *, most: int = MAX_TOKEN_CHARS) -> str:
    """The token, or an empty text."""
    return request.cookies.get(_name(request, ticket), "")[:most]


def give(response: web.StreamResponse, request: web.Request, ticket: Ticket, value: str) -> None:
    """Let the browser carry it for an hour."""
    response.set_cookie(
        _name(request, ticket),
        value,
        path="/",
        httponly=True,
        secure=is_secure(request.app[SETTINGS]),
        samesite="Lax",
        max_age=HOUR_S,
    )


def take(response: web.StreamResponse, request: web.Request, ticket: Ticket) -> None:
    """It is used up."""
    if _name(request, ticket) in request.cookies:
        response.del_cookie(
            _name(request, ticket),
            path="/",
            httponly=True,
            secure=is_secure(request.app[SETTINGS]),
            samesite="Lax",
        )


def give_next(response: web.StreamResponse, request: web.Request, target: str) -> None:
    """Remember where somebody wanted to go; only paths of this site are remembered."""
    path = local_path(target, "")
    if path and len(path) <= MAX_NEXT_CHARS:
        give(response, request, Ticket.NEXT, path)


def read_next(request: web.Request, default: str) -> str:
    """Where somebody wanted to go."""
    return local_path(request.cookies.get(_name(request, Ticket.NEXT), ""), default)


def _name(request: web.Request, ticket: Ticket) -> str:
    settings = request.app[SETTINGS]
    return f"__Host-{ticket}" if is_secure(settings) else f"smartconnect_{ticket}_{settings.portal_port}"
