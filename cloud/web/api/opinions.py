"""Help pages for programs: what somebody says of one, and what the operator reads of all."""

from typing import Annotated, Final

from aiohttp import web
from msgspec import Meta, Struct

from cloud.core.help import COMMENT_MAX_CHARS, HELP_PAGES, RATINGS, check_opinion
from cloud.postgres import help_opinions
from cloud.services import helping
from cloud.web.api.kinds import Ms
from cloud.web.api.operation import Section
from cloud.web.problems import Problem, ProblemCode
from cloud.web.state import POOL, now_ms, session_of

SECTION: Final = Section("Help", "What people think of the help pages.")
SHOWN: Final = 200

HelpName = Annotated[str, Meta(max_length=64, description=f"One of: {', '.join(HELP_PAGES)}.")]


class HelpOpinion(Struct):
    """How much a page has helped, and a few words."""

    rating: Annotated[int, Meta(ge=RATINGS[0], le=RATINGS[-1])]
    comment: Annotated[str, Meta(max_length=COMMENT_MAX_CHARS)] = ""


class HelpComment(Struct):
    """What somebody wrote of a page."""

    page: str
    rating: int
    comment: str
    changed_ms: Ms
    name: str
    email: str


class HelpRating(Struct):
    """How a page was rated. ``given``: how often each rating, from 1 to 5."""

    page: str
    count: int
    given: list[int]


class HelpOpinions(Struct):
    """All of it, the newest comments first."""

    ratings: list[HelpRating]
    comments: list[HelpComment]


def _known(page: str) -> str:
    if page not in HELP_PAGES:
        raise Problem(ProblemCode.NOT_FOUND)
    return page


@SECTION.operation("GET", "/help/{page}/opinion")
async def show_opinion(request: web.Request, page: HelpName) -> HelpOpinion:
    """What one has said of a help page oneself."""
    account_id = session_of(request).account_id
    said = await help_opinions.find(request.app[POOL], account_id, _known(page))
    if said is None:
        raise Problem(ProblemCode.NOT_FOUND)
    return HelpOpinion(said.rating, said.comment)


@SECTION.operation("PUT", "/help/{page}/opinion", problems=[ProblemCode.FIELD_INVALID])
async def give_opinion(request: web.Request, page: HelpName, body: HelpOpinion) -> None:
    """Say what one thinks of a help page; saying it again changes it."""
    opinion = check_opinion(str(body.rating), body.comment)
    await helping.give(request.app[POOL], session_of(request).account_id, _known(page), opinion, now_ms())


@SECTION.operation("GET", "/help-opinions", problems=[ProblemCode.NOT_FOUND])
async def list_opinions(request: web.Request) -> HelpOpinions:
    """What people think of the help pages; for everybody but the operator there is nothing here."""
    pool = request.app[POOL]
    if not await help_opinions.is_operator(pool, session_of(request).account_id):
        raise Problem(ProblemCode.NOT_FOUND)
    rated = await help_opinions.list_ratings(pool)
    return HelpOpinions(
        [HelpRating(one.page, one.count, list(one.given)) for one in rated],
        [
            HelpComment(
                one.page, one.opinion.rating, one.opinion.comment, one.changed_ms, one.name, one.email
            )
            for one in await help_opinions.list_comments(pool, SHOWN)
        ],
    )
