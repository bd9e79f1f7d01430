"""Requests that carry an API token (``Authorization: Bearer …``, RFC 6750) instead of a log-in's cookie.

Only handlers that are marked with scopes look at the header. There it decides alone: the cookie is not read,
and no form token is needed, since no other site's page can make a browser send this header.
"""

import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final, TypeVar

from aiohttp import web

from cloud.core.api_token import Scope
from cloud.services import api_tokens
from cloud.web.problems import Problem, ProblemCode
from cloud.web.state import POOL, VISIT, Visit, now_ms

H = TypeVar("H", bound=Callable[[web.Request], Awaitable[web.StreamResponse]])

HEADER: Final = "Authorization"
SCHEME: Final = "bearer"
PERSONAL: Final = frozenset({ProblemCode.FACTOR_NEEDED, ProblemCode.TWO_FACTOR_NEEDED})
"""Problems that only a person can do something about."""


def accepting(scopes: Sequence[Scope]) -> Callable[[H], H]:
    """Mark a handler that may be asked with a token that has one of these scopes; with none: with no token,
    but for an answer that says so.
    """

    def mark(handler: H) -> H:
        handler.scopes = tuple(scopes)  # type: ignore[attr-defined]  # a mark that the visitor middleware reads
        return handler

    return mark


def token_of(request: web.Request) -> str | None:
    """The token that a request carries to a handler that looks for one."""
    if getattr(request.match_info.handler, "scopes", None) is None:
        return None
    scheme, _, text = request.headers.get(HEADER, "").partition(" ")
    return text.strip() if scheme.lower() == SCHEME else None


async def read_visit(request: web.Request, token: str) -> Visit:
    """Whom the token stands for. Problem token_invalid, person_needed, scope_needed."""
    found = await api_tokens.identify(request.app[POOL], token, address=request.remote or "", now_ms=now_ms())
    if found is None:
        raise Problem(ProblemCode.TOKEN_INVALID)
    scopes: tuple[Scope, ...] = getattr(request.match_info.handler, "scopes", ())
    if not scopes:
        raise Problem(ProblemCode.PERSON_NEEDED)
    if not found.scopes.intersection(scopes):
        raise Problem(ProblemCode.SCOPE_NEEDED, more={"scope": scopes[0].value})
    return Visit(found.session, "", grant=found)


@contextlib.contextmanager
def without_person(request: web.Request) -> Iterator[None]:
    """Say ``person_needed`` where a token was asked for a proof that only a person has."""
    try:
        yield
    except Problem as problem:
        visit = request.get(VISIT)
        missing = problem.more.get("missing", ())
        told = {problem.code.value, *(missing if isinstance(missing, list) else ())}
        if visit is None or visit.grant is None or not told & PERSONAL:
            raise
        raise Problem(ProblemCode.PERSON_NEEDED) from None
