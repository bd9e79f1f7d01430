"""*My Account → API tokens*."""

from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from cloud.core.api_token import DEFAULT_LIFE_DAYS, LIVES_DAYS, MEANINGS
from cloud.core.language import gettext, ngettext
from cloud.core.refusal import RefusedError
from cloud.services import api_tokens
from cloud.web.company_views import AS_ROLE
from cloud.web.problems import Problem, ProblemCode
from cloud.web.refusals import MAX_FIELD_CHARS, faults_of
from cloud.web.responses import page, see_other
from cloud.web.safety_views import confirm_first, is_fresh
from cloud.web.state import KIT, SETTINGS, now_ms, session_of
from cloud.web.tables import said

TOKENS: Final = "/account/tokens"
NEW: Final = f"{TOKENS}/new"
_FIELDS: Final = {"expires_days": "days"}
UNPROCESSABLE: Final = HTTPStatus.UNPROCESSABLE_ENTITY.value


async def show_tokens(request: web.Request) -> web.Response:
    """What there is, when it was used last and from where."""
    found = await api_tokens.list_mine(request.app[KIT], session_of(request).account_id)
    context = {"tokens": found, "meanings": said(MEANINGS), "revoked": "revoked" in request.query}
    return page(request, "tokens.html", context)


async def show_new(request: web.Request) -> web.Response:
    """The form of a new one."""
    if not is_fresh(request):
        return confirm_first(NEW)
    return _form(request, {"name": "", "scopes": [], "days": str(DEFAULT_LIFE_DAYS)}, {})


def _form(request: web.Request, typed: dict[str, Any], faults: dict[str, str]) -> web.Response:
    context: dict[str, Any] = {
        "typed": typed,
        "faults": faults,
        "meanings": said(MEANINGS),
        "lives": [(str(days), ngettext("{count} day", "{count} days", days)) for days in LIVES_DAYS],
        "role": gettext(AS_ROLE[session_of(request).role]),
    }
    return page(request, "token_new.html", context, status=UNPROCESSABLE if faults else 200)


async def make(request: web.Request) -> web.Response:
    """Make it, and show it this once."""
    if not is_fresh(request):
        return confirm_first(NEW)
    posted = await request.post()
    texts = {name: value[:MAX_FIELD_CHARS] for name, value in posted.items() if isinstance(value, str)}
    scopes = [value for value in posted.getall("scopes", []) if isinstance(value, str)]
    days = texts.get("days", "")
    name = texts.get("name", "")
    typed = {"name": name, "scopes": scopes, "days": days}
    try:
        made = await api_tokens.make(
            request.app[KIT],
            session_of(request),
            name,
            scopes,
            int(days) if days.isascii() and days.isdigit() and len(days) < 5 else 0,
            now_ms(),
        )
    except RefusedError as refusal:
        faults = {_FIELDS.get(field, field): text for field, text in faults_of(refusal).items()}
        return _form(request, typed, faults)
    context = {"made": made, "url": request.app[SETTINGS].portal_url}
    return page(request, "token_made.html", context, status=HTTPStatus.CREATED.value)


async def revoke(request: web.Request) -> web.Response:
    """End one at once."""
    number = request.match_info["token_id"]
    if len(number) > 18:
        raise Problem(ProblemCode.NOT_FOUND)
    await api_tokens.revoke(request.app[KIT], session_of(request), int(number), now_ms())
    return see_other(f"{TOKENS}?revoked=1")


def add_routes(app: web.Application) -> None:
    """Register these views."""
    app.router.add_get(TOKENS, show_tokens)
    app.router.add_get(NEW, show_new)
    app.router.add_post(NEW, make)
    app.router.add_post(TOKENS + r"/{token_id:\d{1,19}}/revoke", revoke)
