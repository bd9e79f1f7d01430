"""*Company → Audit trail*: what people did in the company, and what happened to its devices."""

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from cloud.core.authz import Action
from cloud.postgres import audit_trail
from cloud.services.outages import END_OF_TIME_MS
from cloud.web.problems import Problem, ProblemCode
from cloud.web.responses import page
from cloud.web.state import POOL, actor_of

SHOWN: Final = 100
_WORDS: Final[Mapping[str, str]] = {
    "bound": "Device claimed",
    "login": "Logged in",
    "logout": "Logged out",
    "profile": "Device named",
    "token_made": "API token made",
    "token_revoked": "API token revoked",
}


def words_of(kind: str) -> str:
    """A kind of line for people."""
    return _WORDS.get(kind) or kind.replace("_", " ").capitalize()


async def show_audit(request: web.Request) -> web.Response:
    """The newest lines, or those before a time; for the company's heads."""
    actor = actor_of(request)
    actor.must(Action.MEMBERS)
    text = request.query.get("before_ms", "")
    if text and not (text.isascii() and text.isdigit() and len(text) < 15):
        raise Problem(ProblemCode.BAD_REQUEST, detail="before_ms is unix time in milliseconds.")
    before_ms = int(text) if text else END_OF_TIME_MS
    lines = await audit_trail.of_company(
        request.app[POOL], actor.company_id, from_ms=0, to_ms=before_ms, limit=SHOWN
    )
    context = {
        "lines": [(line, words_of(line.kind)) for line in lines],
        "older_before_ms": lines[-1].ts_ms if len(lines) == SHOWN else None,
        "is_first": not text,
    }
    return page(request, "audit.html", context)


def add_routes(app: web.Application) -> None:
    """Register this view."""
    app.router.add_get("/company/audit", show_audit)
