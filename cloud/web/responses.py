"""Answers: pages, fragments, JSON and problems."""

import gzip
import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from aiohttp import web

from cloud.core.language import gettext
from cloud.web.partner_provider import PARTNER
from cloud.web.problems import Problem, ProblemCode
from cloud.web.state import PAGES, REQUEST_ID, SETTINGS, VISIT, now_ms

THEMES: Final = frozenset({"light", "dark"})
SQUEEZE_LEVEL: Final = 4
"""Of zlib: the next ones take twice the time for the last percent."""
PROBLEM_TYPE: Final = "application/problem+json"
_CHALLENGES: Final = {
    ProblemCode.TOKEN_INVALID: "invalid_token",
    ProblemCode.SCOPE_NEEDED: "insufficient_scope",
}
"""Words of RFC 6750 for what is wrong with a token."""


def page(
    request: web.Request,
    template: str,
    context: Mapping[str, Any] | None = None,
    *,
    status: int = 200,
    squeeze: bool = False,
) -> web.Response:
    """A page or fragment; every template knows the visit, the time and the request's number.

    ``squeeze``: a large page, which leaves compressed where the person asked for it (:func:`_may_squeeze`).
    """
    visit, theme = request.get(VISIT), request.cookies.get("theme")
    text = request.app[PAGES].render(
        template,
        {
            "session": visit.session if visit else None,
            "form_token": visit.form_token if visit else "",
            "now_ms": now_ms(),
            "request_id": request.get(REQUEST_ID, "-"),
            "path": request.path,
            "mailbox": request.app[SETTINGS].mail == "mailbox",
            "partner": next((one.name for one in request.app[PARTNER]), ""),
            "theme": theme if theme in THEMES else None,
            "printed_from": f"{request.app[SETTINGS].portal_url}{request.path}",
            **(context or {}),
        },
    )
    answer = web.Response(content_type="text/html", charset="utf-8", status=status)
    if squeeze and _may_squeeze(request):
        answer.body = gzip.compress(text.encode(), SQUEEZE_LEVEL, mtime=0)
        answer.headers.update({"Content-Encoding": "gzip", "Vary": "Accept-Encoding, Sec-Fetch-Site"})
    else:
        answer.text = text
    return answer


def _may_squeeze(request: web.Request) -> bool:
    """Whether the browser takes gzip and says that no other site made it ask.

    The length of a compressed page tells what of the address is in it again, so somebody who can make a
    browser ask and see its lines would find out the page's secrets letter by letter (BREACH).
    """
    takes = "gzip" in request.headers.get("Accept-Encoding", "")
    by_a_person = request.headers.get("Sec-Fetch-Mode") == "navigate"
    return takes and by_a_person and request.headers.get("Sec-Fetch-Site") in {"same-origin", "none"}


def json_response(content: object, *, status: int = 200) -> web.Response:
    """JSON; NaN is a bug here, since browsers cannot read it."""
    return web.Response(
        text=json.dumps(content, allow_nan=False, separators=(",", ":")),
        content_type="application/json",
        status=status,
    )


def see_other(location: str) -> web.Response:
    """After a change: look there."""
    return web.Response(status=303, headers={"Location": location})


def wants_json(request: web.Request) -> bool:
    """Whether the caller is a program."""
    accept = request.headers.get("Accept", "")
    return request.path.startswith("/api/v") or (
        bool(accept) and "html" not in accept and "*/*" not in accept
    )


def problem_response(request: web.Request, problem: Problem) -> web.Response:
    """The problem as a page for people, as problem+json for programs."""
    kind = problem.kind
    title, detail = gettext(kind.title), problem.detail or gettext(kind.detail)
    if wants_json(request):
        body = {
            "type": f"urn:smartconnect:problem:{problem.code}",
            "title": title,
            "status": kind.status.value,
            "detail": detail,
            "code": problem.code,
            "request_id": request.get(REQUEST_ID, "-"),
            **problem.more,
        }
        response = web.Response(text=json.dumps(body), content_type=PROBLEM_TYPE, status=kind.status.value)
    else:
        response = page(
            request,
            "error.html",
            {"title": title, "detail": detail, "code": problem.code},
            status=kind.status.value,
        )
    if problem.retry_after_s is not None:
        response.headers["Retry-After"] = str(problem.retry_after_s)
    if problem.code in _CHALLENGES:
        scope = problem.more.get("scope", "")
        named = f', scope="{scope}"' if scope else ""
        response.headers["WWW-Authenticate"] = f'Bearer error="{_CHALLENGES[problem.code]}"{named}'
    if problem.code is ProblemCode.LOGIN_NEEDED and "HX-Request" in request.headers:
        response.headers["HX-Redirect"] = "/login"
    return response


def netloc_of(text: str) -> str | None:
    """The network location of an address, empty where it has none; None where it is no address at all."""
    try:
        return urlsplit(text).netloc
    except ValueError:  # a bracket that is not closed, for one
        return None


def local_path(text: str, default: str) -> str:
    """``text`` if it is a path of this site, else ``default``: no log-in link leads anywhere else."""
    safe = (
        text.startswith("/")
        and not text.startswith(("//", "/\\"))
        and netloc_of(text) == ""
        and text.isprintable()
    )
    return text if safe and "\\" not in text else default
