"""What a company waits for: its open claims, so that nobody has to keep a link to find them again."""

import re
from typing import Final

from aiohttp import web

from cloud.core.authz import Action
from cloud.postgres import open_claims
from cloud.postgres.open_claims import OpenClaim
from cloud.web.problems import Problem, ProblemCode
from cloud.web.responses import page
from cloud.web.state import POOL, actor_of, now_ms

PAGE: Final = 100
SHOWN: Final = 5
"""On the page of devices; the others are a link away."""
_PLACE: Final = re.compile(r"([0-9]{1,18})\.([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})", re.ASCII)


def place_of(token: str) -> tuple[int, str] | None:
    """Where a list goes on, from :func:`token_of`; None for any other text."""
    found = _PLACE.fullmatch(token)
    return (int(found[1]), found[2]) if found else None


def token_of(last: OpenClaim) -> str:
    """Names the place behind this claim."""
    return f"{last.created_ms}.{last.claim_id}"


async def list_open(request: web.Request) -> web.Response:
    """The claims that wait for their devices, newest first."""
    actor = actor_of(request)
    actor.must(Action.SEE)
    after = request.query.get("after", "")
    place = place_of(after)
    if after and place is None:
        raise Problem(ProblemCode.NOT_FOUND)
    found = await open_claims.list_open(request.app[POOL], actor.company_id, now_ms(), PAGE + 1, place)
    more = token_of(found[PAGE - 1]) if len(found) > PAGE else ""
    return page(request, "claims.html", {"waiting": found[:PAGE], "more": more, "at_start": not after})


async def newest_open(request: web.Request) -> list[OpenClaim]:
    """The newest ones, one more than are shown where there are more."""
    return await open_claims.list_open(request.app[POOL], actor_of(request).company_id, now_ms(), SHOWN + 1)


def add_routes(app: web.Application) -> None:
    """Register these views."""
    app.router.add_get("/claims", list_open)
