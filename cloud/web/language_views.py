"""The languages at the foot of every page: whoever picks one gets pages, and mails, in it."""

from aiohttp import web

from cloud.core.language import LANGUAGES, speak
from cloud.postgres import accounts
from cloud.web.middleware import LANGUAGE_COOKIE, public
from cloud.web.problems import Problem, ProblemCode
from cloud.web.refusals import form_of
from cloud.web.responses import local_path, see_other
from cloud.web.state import POOL, SETTINGS, is_secure, visit_of

YEAR_S = 31_536_000


@public
async def pick(request: web.Request) -> web.Response:
    """Keep the language with this browser, and with the account of who is logged in; back to the page."""
    form = await form_of(request)
    chosen = form.get("language", "")
    if chosen not in LANGUAGES:
        raise Problem(ProblemCode.BAD_REQUEST)
    session = visit_of(request).session
    if session is not None:
        await accounts.set_language(request.app[POOL], session.account_id, chosen)
    speak(chosen)
    response = see_other(local_path(form.get("next", ""), "/"))
    response.set_cookie(
        LANGUAGE_COOKIE,
        chosen,
        path="/",
        max_age=YEAR_S,
        secure=is_secure(request.app[SETTINGS]),
        samesite="Lax",
    )
    return response


def add_routes(app: web.Application) -> None:
    """Routes of this module."""
    app.router.add_post("/language", pick)
