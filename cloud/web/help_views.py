"""Help pages, what people say of them after log-in, and the page where the operator reads that."""

from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from cloud.core.help import COMMENT_MAX_CHARS, HELP_PAGES, RATINGS, check_opinion
from cloud.core.language import gettext
from cloud.core.refusal import RefusedError
from cloud.postgres import help_opinions
from cloud.services import helping
from cloud.web.middleware import public
from cloud.web.problems import Problem, ProblemCode
from cloud.web.refusals import faults_of, form_of
from cloud.web.responses import page, see_other
from cloud.web.state import POOL, SETTINGS, now_ms, session_of, visit_of

SHOWN_COMMENTS: Final = 200


@public
async def show_index(request: web.Request) -> web.Response:
    """All of them."""
    return page(
        request,
        "help.html",
        {"pages": [(one.path, gettext(one.title), gettext(one.about)) for one in HELP_PAGES.values()]},
    )


@public
async def show_help(request: web.Request) -> web.Response:
    """One of them."""
    return await _show(request, request.match_info["page"], {}, {})


async def _show(
    request: web.Request, name: str, typed: dict[str, str], faults: dict[str, str]
) -> web.Response:
    if name not in HELP_PAGES:
        raise Problem(ProblemCode.NOT_FOUND)
    visit = visit_of(request)
    said = None
    if visit.session is not None:
        said = await help_opinions.find(request.app[POOL], visit.session.account_id, name)
    context: dict[str, Any] = {
        "pending_days": request.app[SETTINGS].pending_days,
        "help_page": HELP_PAGES[name],
        "said": said,
        "thanked": "thanks" in request.query and said is not None,
        "typed": typed or ({"rating": str(said.rating), "comment": said.comment} if said else {}),
        "faults": faults,
        "ratings": RATINGS,
        "comment_max": COMMENT_MAX_CHARS,
    }
    status = HTTPStatus.UNPROCESSABLE_ENTITY.value if faults else HTTPStatus.OK.value
    return page(request, f"help_{name.replace('-', '_')}.html", context, status=status)


async def rate(request: web.Request) -> web.Response:
    """Somebody says what they think of a page; saying it again changes it."""
    name, session, form = request.match_info["page"], session_of(request), await form_of(request)
    if name not in HELP_PAGES:
        raise Problem(ProblemCode.NOT_FOUND)
    try:
        opinion = check_opinion(form.get("rating", ""), form.get("comment", ""))
    except RefusedError as refusal:
        return await _show(request, name, form, faults_of(refusal))
    await helping.give(request.app[POOL], session.account_id, name, opinion, now_ms())
    return see_other(f"/help/{name}?thanks=1#opinion")


async def show_opinions(request: web.Request) -> web.Response:
    """What people think of the help pages. For everybody else there is no such page."""
    pool = request.app[POOL]
    if not await help_opinions.is_operator(pool, session_of(request).account_id):
        raise Problem(ProblemCode.NOT_FOUND)
    context = {
        "rated": await help_opinions.list_ratings(pool),
        "comments": await help_opinions.list_comments(pool, SHOWN_COMMENTS),
        "titles": {one.name: gettext(one.title) for one in HELP_PAGES.values()},
    }
    return page(request, "operator_help.html", context)


def add_routes(app: web.Application) -> None:
    """Register these views."""
    router = app.router
    router.add_get("/help", show_index)
    router.add_get("/help/{page}", show_help)
    router.add_post("/help/{page}", rate)
    router.add_get("/operator/help", show_opinions)
