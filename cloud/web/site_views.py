"""Sites as a tree: how the devices of each are, making, renaming, moving and removing them."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

from aiohttp import web

from cloud.core.authz import Action
from cloud.core.device_query import At, Query, text_of
from cloud.core.device_state import FACES
from cloud.core.refusal import RefusedError
from cloud.core.site_tree import TOP, Node, Tree
from cloud.services import fleet, placing
from cloud.web.notice_forms import number_of
from cloud.web.problems import Problem, ProblemCode
from cloud.web.refusals import faults_of, form_of
from cloud.web.responses import page, see_other
from cloud.web.state import POOL, actor_of, now_ms

UNPROCESSABLE: Final = HTTPStatus.UNPROCESSABLE_ENTITY.value


async def show_sites(request: web.Request) -> web.Response:
    """The tree of the company."""
    parent = request.query.get("in", "")
    return await _sites(request, {"parent": parent if parent.isascii() and parent.isdigit() else ""}, {})


async def _sites(request: web.Request, typed: Mapping[str, str], faults: dict[str, str]) -> web.Response:
    actor = actor_of(request)
    tree, sums = await fleet.at_sites(request.app[POOL], actor, now_ms())
    context = {
        "nodes": tree.nodes,
        "sums": sums,
        "devices_at": {node.site_id: devices_at(tree, node) for node in tree.nodes},
        "faces": FACES,
        "nowhere": sums[TOP].here,
        "may": actor.may(Action.NOTIFY),
        "parents": _choices(tree),
        "typed": typed,
        "faults": faults,
    }
    return page(request, "sites.html", context, status=UNPROCESSABLE if faults else 200)


def devices_at(tree: Tree, node: Node) -> str:
    """The address of the list of the devices that are there."""
    return "/devices?" + urlencode({"q": text_of(Query((At(tree.exact_name(node.site_id)),)))})


def _choices(tree: Tree, without: frozenset[int] = frozenset()) -> list[tuple[str, str]]:
    return [(str(node.site_id), node.title) for node in tree.nodes if node.site_id not in without]


def _parent(form: Mapping[str, str]) -> int:
    text = form.get("parent", "")
    return number_of(text) if text else TOP


async def add_site(request: web.Request) -> web.Response:
    """A new one, in another or at the top."""
    form = await form_of(request)
    try:
        made = await placing.add_site(
            request.app[POOL], actor_of(request), form.get("name", ""), now_ms(), _parent(form)
        )
    except RefusedError as refusal:
        if refusal.field is None:
            raise
        return await _sites(request, form, faults_of(refusal))
    return see_other(f"/sites/{made}")


async def show_site(request: web.Request) -> web.Response:
    """One site: what it is called, where it is, how it is there."""
    return await _site(request, None, {})


async def _site(
    request: web.Request, typed: Mapping[str, str] | None, faults: dict[str, str]
) -> web.Response:
    actor, number = actor_of(request), number_of(request.match_info["site"])
    tree, sums = await fleet.at_sites(request.app[POOL], actor, now_ms())
    node = tree.get(number)
    if node is None:
        raise Problem(ProblemCode.NOT_FOUND)
    above = "" if node.parent_id == TOP else str(node.parent_id)
    context: dict[str, Any] = {
        "site": node,
        "sum": sums[number],
        "line": tree.line(number)[:-1],
        "below": [(one, sums[one.site_id]) for one in tree.children(number)],
        "devices_at": devices_at(tree, node),
        "faces": FACES,
        "parents": _choices(tree, tree.below(number)),
        "typed": typed or {"name": node.name, "parent": above},
        "may": actor.may(Action.NOTIFY),
        "faults": faults,
    }
    return page(request, "site.html", context, status=UNPROCESSABLE if faults else 200)


async def save_site(request: web.Request) -> web.Response:
    """Its name, and the site that it is in."""
    form, number = await form_of(request), number_of(request.match_info["site"])
    try:
        await placing.change_site(
            request.app[POOL],
            actor_of(request),
            number,
            now_ms(),
            name=form.get("name", ""),
            parent_id=_parent(form),
        )
    except RefusedError as refusal:
        if refusal.field is None:
            raise
        return await _site(request, form, faults_of(refusal))
    return see_other(f"/sites/{number}")


async def remove_site(request: web.Request) -> web.Response:
    """It goes; what was in it is one level up then."""
    number = number_of(request.match_info["site"])
    try:
        await placing.remove_site(request.app[POOL], actor_of(request), number, now_ms())
    except RefusedError as refusal:
        if refusal.field is None:
            raise
        return await _site(request, None, faults_of(refusal))
    return see_other("/sites")


def add_routes(app: web.Application) -> None:
    """Register them."""
    router = app.router
    router.add_get("/sites", show_sites)
    router.add_post("/sites", add_site)
    router.add_get("/sites/{site}", show_site)
    router.add_post("/sites/{site}", save_site)
    router.add_post("/sites/{site}/remove", remove_site)
