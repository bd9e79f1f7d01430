"""Ownership of a device: release, transfer, new keys, claims of others, theft. And offers of others.

Acts that need a fresh factor take it in the same form: the code of the authenticator or, without one, the
password. Every change is a POST that ends in a redirect.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from cloud.core.account import AccountError
from cloud.core.authz import Action, Actor
from cloud.core.device import Device, KeyState, MatterKind, live_keys
from cloud.core.language import N_, gettext
from cloud.core.refusal import RefusedError
from cloud.postgres.pool import Pool
from cloud.services import offering, owning, second_factor
from cloud.services.acting import OwningCode, OwningError
from cloud.services.claim_view import ClaimView
from cloud.web.claim_views import find_claim
from cloud.web.device_views import device_id_of_path, own_device
from cloud.web.owner_facts import PROBLEMS, KeyRequest, look
from cloud.web.problems import Problem, ProblemCode
from cloud.web.responses import page, see_other, wants_json
from cloud.web.state import KIT, POOL, actor_of, now_ms, session_of
from protocol.identity import fingerprint_of

# --- the owner's page ---------------------------------------------------------------------------------------


async def show_owner(request: web.Request) -> web.Response:
    """What is open on a device, and what its owner may do; the list where its owner has given it up.

    The release of a connected device leads here, and may be over before the browser has followed.
    """
    try:
        return await _owner_page(request)
    except Problem as problem:
        asked = (request.app[POOL], actor_of(request), device_id_of_path(request))
        if problem.code is ProblemCode.NOT_FOUND and await owning.has_released(*asked):
            return see_other("/devices")
        raise


async def _owner_page(
    request: web.Request, fault: str = "", status: int = 200, to_email: str = ""
) -> web.Response:
    owner = await look(request, device_id_of_path(request))
    view = await own_device(request)
    context = {
        "view": view,
        "owner": owner,
        "fault": fault,
        "fresh": session_of(request).is_fresh(now_ms()),
        "may": actor_of(request).may(Action.RELEASE),
        "to_email": to_email,
    }
    return page(request, "owner.html", context, status=status)


async def _is_fresh(request: web.Request, form: Mapping[str, object]) -> bool:
    """Whether who asks has just shown a factor, be it in this very form. RefusedError where it is wrong."""
    session, at_ms = session_of(request), now_ms()
    if session.is_fresh(at_ms):
        return True
    proof = str(form.get("proof", ""))
    if not proof:
        return False
    await second_factor.step_up(request.app[KIT], session, code=proof, password=proof, now_ms=at_ms)
    return True


MAX_DIGITS: Final = 18
PROVE: Final = N_("Please enter the code of your authenticator, or your password, and try again.")


@dataclass(frozen=True, slots=True)
class Asked:
    """One act that was asked for."""

    request: web.Request
    device_id: int
    form: Mapping[str, object]
    fresh: bool

    def text(self, name: str) -> str:
        """A field of the form."""
        return str(self.form.get(name, ""))

    def number(self, name: str) -> int:
        """A number of the form; 0, which names nothing, where it is none."""
        text = self.text(name)
        return int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS else 0


Act = Callable[[Asked], Awaitable[object]]


def _release(asked: Asked) -> Awaitable[object]:
    return owning.release(*_who(asked), fresh=asked.fresh)


def _keep(asked: Asked) -> Awaitable[object]:
    return owning.cancel_release(*_who(asked))


def _offer(asked: Asked) -> Awaitable[object]:
    pool, actor, device_id, at_ms = _who(asked)
    return offering.offer(pool, actor, device_id, at_ms, fresh=asked.fresh, to_email=asked.text("to_email"))


def _withdraw(asked: Asked) -> Awaitable[object]:
    return offering.withdraw_offer(*_who(asked))


def _approve_key(asked: Asked) -> Awaitable[object]:
    pool, actor, device_id, at_ms = _who(asked)
    return owning.approve_rekey(pool, actor, device_id, asked.text("kid"), at_ms, fresh=asked.fresh)


def _dismiss_key(asked: Asked) -> Awaitable[object]:
    pool, actor, device_id, at_ms = _who(asked)
    return owning.dismiss_rekey(pool, actor, device_id, asked.text("kid"), at_ms)


def _dismiss_dispute(asked: Asked) -> Awaitable[object]:
    pool, actor, device_id, at_ms = _who(asked)
    return owning.dismiss_dispute(pool, actor, device_id, asked.number("company_id"), at_ms)


def _object(asked: Asked) -> Awaitable[object]:
    return owning.object_second_hand(*_who(asked))


def _stolen(asked: Asked) -> Awaitable[object]:
    return owning.mark_stolen(*_who(asked))


def _found(asked: Asked) -> Awaitable[object]:
    return owning.lift_stolen(*_who(asked), fresh=asked.fresh)


def _clear_clone(asked: Asked) -> Awaitable[object]:
    return owning.clear_clone(*_who(asked), fresh=asked.fresh)


ACTS: Final[Mapping[str, Act]] = {
    "release": _release,
    "keep": _keep,
    "offer": _offer,
    "withdraw-offer": _withdraw,
    "approve-key": _approve_key,
    "dismiss-key": _dismiss_key,
    "dismiss-dispute": _dismiss_dispute,
    "object": _object,
    "stolen": _stolen,
    "found": _found,
    "clear-clone": _clear_clone,
}


def _who(asked: Asked) -> tuple[Pool, Actor, int, int]:
    return asked.request.app[POOL], actor_of(asked.request), asked.device_id, now_ms()


def _last_of(request: web.Request) -> str:
    """What is asked for: the last part of the path."""
    return request.path.rsplit("/", 1)[1]


async def act(request: web.Request) -> web.Response:
    """Do what the form asks, then show the device's ownership again, or the list where it is nobody's now."""
    doing = ACTS[_last_of(request)]
    form = await request.post()
    try:
        fresh = await _is_fresh(request, form)
        after = await doing(Asked(request, device_id_of_path(request), form, fresh))
    except (AccountError, RefusedError) as error:
        return await _owner_page(request, str(error), 422, str(form.get("to_email", "")))
    except OwningError as error:
        if error.code is OwningCode.FACTOR_NEEDED:
            return await _owner_page(request, gettext(PROVE), 403, str(form.get("to_email", "")))
        raise Problem(PROBLEMS[error.code]) from None
    gone = isinstance(after, Device) and after.owner is None
    return see_other("/devices" if gone else f"/devices/{request.match_info['device_id']}/owner")


# --- offers of others ---------------------------------------------------------------------------------------


async def show_offers(request: web.Request) -> web.Response:
    """Offers to the company, and the field for the code of a mailed one."""
    return await _offers_page(request)


async def _offers_page(request: web.Request, typed: str = "", problem: Problem | None = None) -> web.Response:
    offers = await offering.list_offers(request.app[POOL], actor_of(request), now_ms())
    kind = None if problem is None else problem.kind
    context = {"offers": offers, "fault": kind, "typed": typed}
    return page(request, "transfers.html", context, status=200 if kind is None else kind.status.value)


async def show_offer(request: web.Request) -> web.Response:
    """The offer of this code; a POST, for the code is a secret."""
    token = _token(await request.post())
    try:
        return await _offer_page(request, token)
    except Problem as problem:
        if wants_json(request):
            raise
        return await _offers_page(request, token, problem)


def _token(form: Mapping[str, object]) -> str:
    """The code of an offer: typed, of a mail's link (``link``), or of an offer in the list (``token``)."""
    return str(form.get("link") or form.get("token") or "").strip()


async def _offer_page(request: web.Request, token: str, fault: str = "", status: int = 200) -> web.Response:
    try:
        found = await offering.see_offer(request.app[POOL], actor_of(request), token, now_ms())
    except OwningError as error:
        raise Problem(PROBLEMS[error.code]) from None
    context = {
        "offer": found,
        "token": token,
        "fault": fault,
        "fresh": session_of(request).is_fresh(now_ms()),
    }
    return page(request, "transfer.html", context, status=status)


async def answer_offer(request: web.Request) -> web.Response:
    """Accept or decline."""
    form = await request.post()
    token = _token(form)
    pool, actor = request.app[POOL], actor_of(request)
    try:
        if _last_of(request) == "decline":
            await offering.decline_offer(pool, actor, token, now_ms())
            return see_other("/transfers")
        fresh = await _is_fresh(request, form)
        await offering.accept_offer(pool, actor, token, now_ms(), fresh=fresh)
    except RefusedError as error:
        return await _offer_page(request, token, str(error), 422)
    except OwningError as error:
        if error.code is OwningCode.FACTOR_NEEDED:
            return await _offer_page(request, token, gettext(PROVE), 403)
        raise Problem(PROBLEMS[error.code]) from None
    return see_other(f"/devices/{offering.device_of(token)}")


# --- the claimant of somebody else's device -----------------------------------------------------------------


async def _disputed(request: web.Request) -> tuple[ClaimView, Device]:
    """The claim of the path and the device it is on, as far as its company disputes that device."""
    view = await find_claim(request)
    try:
        device = await owning.look_as_claimant(request.app[POOL], actor_of(request), view.device_id)
    except OwningError as error:
        raise Problem(PROBLEMS[error.code]) from None
    return view, device


async def show_dispute(request: web.Request) -> web.Response:
    """What a claimant may do whose device has another owner. It tells nothing of that owner."""
    view, device = await _disputed(request)
    asked = device.open(MatterKind.SECOND_HAND)
    ours = asked if asked is not None and asked.company_id == session_of(request).company_id else None
    keys = [
        KeyRequest(key.kid, fingerprint_of(key.kid), key.announced_ms)
        for key in live_keys(device, now_ms())
        if key.state is KeyState.CANDIDATE and key.smartconnect
    ]
    return page(request, "dispute.html", {"claim": view, "asked": ours, "candidates": keys})


async def act_on_dispute(request: web.Request) -> web.Response:
    """Withdraw, or ask for the device of an owner who is gone."""
    view, _device = await _disputed(request)
    pool, actor = request.app[POOL], actor_of(request)
    try:
        if _last_of(request) == "withdraw":
            await owning.withdraw_dispute(pool, actor, view.device_id, now_ms())
            return see_other("/devices")
        kid = str((await request.post()).get("kid", ""))
        await owning.ask_second_hand(pool, actor, view.device_id, kid, now_ms())
    except OwningError as error:
        raise Problem(PROBLEMS[error.code]) from None
    return see_other(f"/claims/{view.claim_id}/dispute")


def add_routes(app: web.Application) -> None:
    """Register these views."""
    app.router.add_get(r"/devices/{device_id:\d{1,19}}/owner", show_owner)
    for name in ACTS:
        app.router.add_post(rf"/devices/{{device_id:\d{{1,19}}}}/owner/{name}", act)
    app.router.add_get("/claims/{claim_id}/dispute", show_dispute)
    app.router.add_post("/claims/{claim_id}/dispute/withdraw", act_on_dispute)
    app.router.add_post("/claims/{claim_id}/dispute/second-hand", act_on_dispute)
    app.router.add_get("/transfers", show_offers)
    app.router.add_post("/transfers", show_offer)
    app.router.add_post("/transfers/accept", answer_offer)
    app.router.add_post("/transfers/decline", answer_offer)
