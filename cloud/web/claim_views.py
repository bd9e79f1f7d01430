"""Adding a device by its product codes, and the page of a claim until it is decided."""

from dataclasses import replace
from http import HTTPStatus
from typing import Final

from aiohttp import web

from cloud.core.language import N_, gettext
from cloud.core.refusal import RefusalCode, RefusedError
from cloud.core.typed import fault_of
from cloud.services import claiming
from cloud.services.claim_view import ClaimView, ViewState
from cloud.services.claiming import UnknownClaimError, UnknownKeyError
from cloud.services.limits import WorkNeededError
from cloud.web import bulk_views, claim_entry, link_views, robot_form, scan_views, sse
from cloud.web.middleware import takes_codes
from cloud.web.problems import Problem, ProblemCode
from cloud.web.refusals import faults_of, form_of
from cloud.web.responses import page, see_other
from cloud.web.state import HUB, PAGES, POOL, actor_of, now_ms, session_of, visit_of
from protocol.errors import IdentityError
from protocol.identity import ProductId, ProductKey

BEAT_S: Final = 2.0
SHOWN_CHARS: Final = 40


async def show_ways(request: web.Request) -> web.Response:
    """Ways to add a device."""
    return page(request, "add.html")


async def show_codes(request: web.Request) -> web.Response:
    """The form for Product ID and Product Key."""
    return page(request, "codes.html", {"product_id": "", "faults": {}})


@takes_codes
async def register(request: web.Request) -> web.Response:
    """Claim the device of the typed codes. The Product Key is used here and then forgotten."""
    form = await form_of(request)
    typed_id, typed_key = form.get("product_id", ""), form.get("product_key", "")
    faults: dict[str, str] = {}
    for name, parse, text in (
        ("product_id", ProductId.parse, typed_id),
        ("product_key", ProductKey.parse, typed_key),
    ):
        try:
            parse(text)
        except IdentityError as error:
            faults[name] = fault_of(error) if text.strip() else gettext(MISSING[name])
    if faults:
        context = {
            "product_id": "" if _is_product_key(typed_id) else typed_id[:SHOWN_CHARS],
            "faults": faults,
        }
        return page(request, "codes.html", context, status=422)
    product_id, product_key = ProductId.parse(typed_id), ProductKey.parse(typed_key)
    shown: dict[str, object] = {"product_id": product_id.value, "faults": faults}
    status = HTTPStatus.TOO_MANY_REQUESTS.value
    try:
        view = await claim_entry.submit(request, product_id, product_key, form)
    except WorkNeededError as asked:
        faults["robot"] = gettext(
            "Several of your claims still wait for their devices: please tick this box as well."
        )
        again = {**shown, "bits": asked.bits, **robot_form.context(request)}
        return page(request, "codes.html", again, status=status)
    except RefusedError as refusal:
        if refusal.code not in {RefusalCode.ROBOT_CHECK, RefusalCode.ROBOT_WAIT}:
            raise
        faults.update(faults_of(refusal))
        bits = robot_form.bits_of(form.get(robot_form.BITS, ""))
        again = {**shown, "bits": bits, **robot_form.context(request, form, refusal)}
        return page(request, "codes.html", again, status=status)
    return see_other(f"/devices/{view.device_id}" if view.claim_id is None else f"/claims/{view.claim_id}")


def _is_product_key(text: str) -> bool:
    """Whether somebody may have typed the Product Key here; then it is not shown again."""
    try:
        ProductKey.parse(text)
    except IdentityError:
        return False
    return True


MISSING: Final = {
    "product_id": N_("Please enter the Product ID."),
    "product_key": N_("Please enter the Product Key."),
}


async def find_claim(request: web.Request) -> ClaimView:
    """The claim of the path if it is the company's; else it does not exist."""
    try:
        return await claiming.view(
            request.app[POOL], actor_of(request), claim_id=request.match_info["claim_id"], now_ms=now_ms()
        )
    except UnknownClaimError:
        raise Problem(ProblemCode.NOT_FOUND) from None


async def show_claim(request: web.Request) -> web.Response:
    """How far the claim has come; live where JavaScript runs, else reloaded by hand."""
    return page(request, "claim.html", claim_context(await find_claim(request)))


def claim_context(view: ClaimView) -> dict[str, object]:
    """What the templates of a claim need to know."""
    return {
        "claim": view,
        "final": view.state.final,
        "won": view.state is ViewState.WON,
        "refused": view.state is ViewState.REFUSED,
        "ended": view.state in {ViewState.EXPIRED, ViewState.CANCELLED},
        "off": view.state is ViewState.SMARTCONNECT_OFF,
        "several": view.state is ViewState.SEVERAL_KEYS,
    }


async def stream_claim(request: web.Request) -> web.StreamResponse:
    """The claim's steps as they happen; ends once it is decided."""
    view, session = await find_claim(request), session_of(request)
    with request.app[HUB].watch(view.device_id, session) as subscription:
        async with sse.EventStream(request) as stream:
            shown = ""
            while not subscription.closed:
                text = _steps(request, view)
                if text != shown:
                    shown = text
                    await stream.send(text)
                else:
                    await stream.send("", "alive")
                if view.state.final:
                    await stream.send("", "decided")
                    break
                while await subscription.next(BEAT_S) is None and not subscription.closed:
                    await stream.beat()
                if not subscription.closed:
                    view = await find_claim(request)
            if subscription.revoked:
                await stream.send("", "gone")
        return stream.response


def _steps(request: web.Request, view: ClaimView) -> str:
    # The keys' announcement times would change the text each minute without changing what it says.
    still = replace(view, keys=tuple(replace(key, announced_ms=0) for key in view.keys))
    token = visit_of(request).form_token
    return request.app[PAGES].render("_claim.html", {**claim_context(still), "form_token": token})


async def cancel(request: web.Request) -> web.Response:
    """Stop waiting for the device."""
    claim_id = request.match_info["claim_id"]
    try:
        await claiming.cancel(request.app[POOL], actor_of(request), claim_id, now_ms())
    except UnknownClaimError:
        raise Problem(ProblemCode.NOT_FOUND) from None
    return see_other(f"/claims/{claim_id}")


async def pick(request: web.Request) -> web.Response:
    """Say which of several devices that announce with this label is the one at hand."""
    claim_id, form = request.match_info["claim_id"], await request.post()
    try:
        await claiming.pick(
            request.app[POOL], actor_of(request), claim_id, str(form.get("kid", "")), now_ms()
        )
    except UnknownClaimError:
        raise Problem(ProblemCode.NOT_FOUND) from None
    except UnknownKeyError:
        detail = gettext("That device no longer announces itself.")
        raise Problem(ProblemCode.BAD_REQUEST, detail=detail) from None
    return see_other(f"/claims/{claim_id}")


def add_routes(app: web.Application) -> None:
    """Register these views."""
    link_views.add_routes(app)
    bulk_views.add_routes(app)
    scan_views.add_routes(app)
    app.router.add_get("/add", show_ways)
    app.router.add_get("/add/codes", show_codes)
    app.router.add_post("/add/codes", register)
    claim = "/claims/{claim_id:[0-9a-f-]{36}}"
    app.router.add_get(claim, show_claim)
    app.router.add_get(claim + "/live", stream_claim, allow_head=False)
    app.router.add_post(claim + "/cancel", cancel)
    app.router.add_post(claim + "/pick", pick)
