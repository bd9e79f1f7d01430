"""The pages of the API: what there is, and each operation with a form to try it.

Nobody needs to be logged in to read them, as with the document they are made from. What a form sends goes
from the reader's browser straight to the operation, with the log-in or a token.
"""

import re
from functools import cache
from typing import Final
from urllib.parse import quote, urlencode

import msgspec
from aiohttp import web
from markupsafe import Markup, escape

from cloud.core.api_token import MEANINGS
from cloud.web import sessions
from cloud.web.api import routes
from cloud.web.api_reference import Entry, Reference
from cloud.web.middleware import public
from cloud.web.problems import Problem, ProblemCode
from cloud.web.responses import page, see_other
from cloud.web.state import SETTINGS

MAX_WORDS_CHARS: Final = 100
_CODE: Final = re.compile(r"`([^`]+)`")


@cache
def _reference(brand: str, cookie: str) -> Reference:
    return Reference.of(msgspec.json.decode(routes.document_of(brand, cookie)))


def reference_of(request: web.Request) -> Reference:
    """What this portal's document says."""
    chosen = request.app[SETTINGS]
    return _reference(chosen.brand, sessions.cookie_name(chosen))


@public
async def show_api(request: web.Request) -> web.Response:
    """Everything there is, or what is about the words asked for."""
    words = request.query.get("q", "")[:MAX_WORDS_CHARS]
    found = reference_of(request)
    context = {
        "subjects": found.matching(words),
        "words_asked": words,
        "count": len(found.entries),
        "meanings": MEANINGS,
        "url": request.app[SETTINGS].portal_url,
        "coded": coded,
    }
    return page(request, "api.html", context)


def coded(text: str) -> Markup:
    """A text of the document with its `code` as such."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped just now


def _entry(request: web.Request, name: str) -> Entry:
    try:
        return reference_of(request).entries[name]
    except KeyError:
        raise Problem(ProblemCode.NOT_FOUND) from None


@public
async def show_operation(request: web.Request) -> web.Response:
    """One operation."""
    entry = _entry(request, request.match_info["operation"])
    url = request.app[SETTINGS].portal_url
    context = {"entry": entry, "meanings": MEANINGS, "url": url, "coded": coded}
    return page(request, "api_operation.html", context)


@public
async def try_operation(request: web.Request) -> web.Response:
    """Lead a form that was sent without JavaScript to what it asks for; only what changes nothing."""
    entry = _entry(request, request.query.get("operation", ""))
    if not entry.is_safe:
        raise Problem(ProblemCode.METHOD_NOT_ALLOWED)
    path, query = entry.path, dict[str, str]()
    for one in entry.parameters:
        text = request.query.get(one.name, "")
        if one.place == "path":
            path = path.replace(f"{{{one.name}}}", quote(text, safe="") or "-")
        elif text and one.place == "query":
            query[one.name] = text
    return see_other(f"{path}?{urlencode(query)}" if query else path)


def add_routes(app: web.Application) -> None:
    """Register these views."""
    app.router.add_get("/api", show_api)
    app.router.add_get("/api/try", try_operation)
    app.router.add_get("/api/operations/{operation}", show_operation)
