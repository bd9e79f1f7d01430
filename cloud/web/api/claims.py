"""Claims for programs: submit, look, pick, stop; and what a claimant may do whose device has another owner.

An unknown Product ID, a wrong Product Key and a device nobody has seen have one answer: 202,
``waiting_for_device``. The Product Key travels in the body only, and is forgotten when the public label key
has been derived from it.
"""

from http import HTTPStatus
from typing import Annotated, Final

from aiohttp import web
from msgspec import Meta, Struct

from cloud.core.api_token import Scope
from cloud.core.authz import Action
from cloud.core.device import Device, KeyState, MatterKind, live_keys
from cloud.core.typed import fault_of
from cloud.postgres import open_claims
from cloud.services import claiming, owning
from cloud.services.claim_view import ClaimView, ViewState
from cloud.services.limits import WorkNeededError
from cloud.web import claim_entry, claim_lists, robot_form
from cloud.web.api import once
from cloud.web.api.kinds import ClaimId, Kid, Ms
from cloud.web.api.operation import Reply, Section, json_of
from cloud.web.middleware import takes_codes
from cloud.web.problems import Problem, ProblemCode
from cloud.web.state import POOL, actor_of, now_ms
from protocol.errors import IdentityError
from protocol.identity import ProductId, ProductKey, fingerprint_of

SECTION: Final = Section(
    "Claims", "A device becomes yours by the two codes of its label.", reads=Scope.CLAIMS, writes=Scope.CLAIMS
)
MAX_BODY_BYTES: Final = 4096
PAGE: Final = 200


class Codes(Struct):
    """The codes of a label. Case, blanks and dashes do not matter."""

    product_id: Annotated[str, Meta(description="12 letters and digits.")]
    product_key: Annotated[str, Meta(description="14 letters and digits. Never stored.")]
    robot: Annotated[str, Meta(description="The solution, after a work_needed.")] = ""


class AnnouncedKey(Struct):
    """A device that announces itself with this label."""

    kid: Kid
    fingerprint: Annotated[str, Meta(description="As smartconnect-agent status shows it.")]
    smartconnect: Annotated[bool, Meta(description="Whether SmartConnect is enabled on it.")]
    announced_ms: Ms


class Claim(Struct):
    """Where a claim stands."""

    claim_id: Annotated[str | None, Meta(description="None where you own the device without a claim.")]
    device_id: str
    product_id: str
    state: ViewState
    reason: Annotated[str, Meta(description="owned_elsewhere (refused), already_yours (won), or empty.")]
    keys: Annotated[list[AnnouncedKey], Meta(description="Devices to pick from, while the claim waits.")]
    picked_kid: str | None
    created_ms: Ms
    expires_ms: Ms
    decided_ms: int | None
    epoch: Annotated[int | None, Meta(description="Number of your ownership, once it is yours.")]


class OpenClaim(Struct):
    """A claim that waits for its device; ask for it by its name to learn why."""

    claim_id: str
    device_id: str
    product_id: str
    created_ms: Ms
    expires_ms: Ms


class OpenClaims(Struct):
    """Claims that wait, newest first."""

    claims: list[OpenClaim]
    next_after: Annotated[str | None, Meta(description="Give it as `after` for the next ones.")]


class Pick(Struct):
    """Which of several devices."""

    kid: Kid


class Dispute(Struct):
    """Your claim on a device that another company owns. It tells nothing of that owner."""

    claim_id: str
    device_id: str
    product_id: str
    candidates: Annotated[list[AnnouncedKey], Meta(description="New keys you may ask for it with.")]
    second_hand_kid: Annotated[str | None, Meta(description="The key you have asked with.")]
    second_hand_due_ms: Annotated[int | None, Meta(description="Yours then, if the owner does not object.")]


@SECTION.operation(
    "POST",
    "/claims",
    statuses={
        HTTPStatus.OK: "It is yours.",
        HTTPStatus.ACCEPTED: "The claim waits for its device.",
        HTTPStatus.CONFLICT: "The device is another company's.",
    },
    problems=[
        ProblemCode.CODES_INVALID,
        ProblemCode.TOO_MANY,
        ProblemCode.BUSY,
        ProblemCode.WORK_NEEDED,
        ProblemCode.ROBOT_CHECK,
        ProblemCode.FORBIDDEN,
    ],
    max_bytes=MAX_BODY_BYTES,
    marks=[takes_codes],
)
async def submit(request: web.Request, body: Codes) -> Reply[Claim]:
    """Claim a device by the codes of its label.

    The claim waits until the device announces itself, in whatever order that is. Whoever has many open claims
    is asked for patience (too_many) or for work (work_needed: solve `challenge` and send the same again with
    `robot`). Claiming again is harmless and gives the same claim.
    """
    actor_of(request).must(Action.CLAIM)
    try:
        product_id, product_key = ProductId.parse(body.product_id), ProductKey.parse(body.product_key)
    except IdentityError as error:
        raise Problem(ProblemCode.CODES_INVALID, detail=fault_of(error)) from None
    doing = claim_entry.submit(request, product_id, product_key, {robot_form.SOLUTION: body.robot})
    try:
        view = await once.done(request, ClaimView, _answer, doing)
    except WorkNeededError as asked:
        work = claim_entry.work(request, asked.bits)
        raise Problem(ProblemCode.WORK_NEEDED, retry_after_s=0, more=work) from None
    return _reply(view)


def _reply(view: ClaimView) -> Reply[Claim]:
    status = {ViewState.WON: HTTPStatus.OK, ViewState.REFUSED: HTTPStatus.CONFLICT}
    return Reply(claim_of(view), status.get(view.state, HTTPStatus.ACCEPTED))


def _answer(view: ClaimView) -> web.Response:
    reply = _reply(view)
    return json_of(reply.content, reply.status)


@SECTION.operation("GET", "/claims", problems=[ProblemCode.FIELD_INVALID])
async def list_open(request: web.Request, after: str = "") -> OpenClaims:
    """The claims of your company that wait for their devices: 200 at a time."""
    actor = actor_of(request)
    actor.must(Action.SEE)
    place = claim_lists.place_of(after) if after else None
    if after and place is None:
        raise Problem(ProblemCode.FIELD_INVALID, more={"faults": {"after": "It is no next_after of ours."}})
    found = await open_claims.list_open(request.app[POOL], actor.company_id, now_ms(), PAGE + 1, place)
    return OpenClaims(
        [
            OpenClaim(one.claim_id, str(one.device_id), one.product_id, one.created_ms, one.expires_ms)
            for one in found[:PAGE]
        ],
        claim_lists.token_of(found[PAGE - 1]) if len(found) > PAGE else None,
    )


@SECTION.operation("GET", "/claims/{claim_id}")
async def show(request: web.Request, claim_id: ClaimId) -> Claim:
    """Where a claim stands."""
    return claim_of(await _find(request, claim_id))


async def _find(request: web.Request, claim_id: str) -> ClaimView:
    return await claiming.view(request.app[POOL], actor_of(request), claim_id=claim_id, now_ms=now_ms())


@SECTION.operation(
    "POST", "/claims/{claim_id}/pick", problems=[ProblemCode.CODES_INVALID, ProblemCode.FORBIDDEN]
)
async def pick(request: web.Request, claim_id: ClaimId, body: Pick) -> Claim:
    """Choose one of several keys by its fingerprint."""
    doing = claiming.pick(request.app[POOL], actor_of(request), claim_id, body.kid, now_ms())
    return claim_of(await once.done(request, ClaimView, _claim_answer, doing))


@SECTION.operation("DELETE", "/claims/{claim_id}", problems=[ProblemCode.FORBIDDEN])
async def cancel(request: web.Request, claim_id: ClaimId) -> Claim:
    """Stop waiting for a device.

    A claim that was decided meanwhile stays as it is.
    """
    return claim_of(await claiming.cancel(request.app[POOL], actor_of(request), claim_id, now_ms()))


def _claim_answer(view: ClaimView) -> web.Response:
    return json_of(claim_of(view), HTTPStatus.OK)


def claim_of(view: ClaimView) -> Claim:
    """A claim as programs get it."""
    return Claim(
        claim_id=view.claim_id,
        device_id=str(view.device_id),
        product_id=view.product_id,
        state=view.state,
        reason=view.reason,
        keys=[
            AnnouncedKey(key.kid, key.fingerprint, key.smartconnect, key.announced_ms) for key in view.keys
        ],
        picked_kid=view.picked_kid,
        created_ms=view.created_ms,
        expires_ms=view.expires_ms,
        decided_ms=view.decided_ms,
        epoch=view.epoch,
    )


# --- the claimant of somebody else's device -----------------------------------------------------------------


@SECTION.operation("GET", "/claims/{claim_id}/dispute", problems=[ProblemCode.FORBIDDEN])
async def show_dispute(request: web.Request, claim_id: ClaimId) -> Dispute:
    """What you may do about a device that another company owns."""
    view = await _find(request, claim_id)
    device = await owning.look_as_claimant(request.app[POOL], actor_of(request), view.device_id)
    return _dispute_of(request, view, device)


@SECTION.operation(
    "DELETE", "/claims/{claim_id}/dispute", problems=[ProblemCode.NOTHING_OPEN, ProblemCode.FORBIDDEN]
)
async def withdraw_dispute(request: web.Request, claim_id: ClaimId) -> None:
    """Give it up."""
    view = await _find(request, claim_id)
    await owning.withdraw_dispute(request.app[POOL], actor_of(request), view.device_id, now_ms())


@SECTION.operation(
    "POST",
    "/claims/{claim_id}/dispute/second-hand",
    problems=[
        ProblemCode.NOTHING_OPEN,
        ProblemCode.STOLEN,
        ProblemCode.RELEASING,
        ProblemCode.CLONE_SUSPECTED,
        ProblemCode.FORBIDDEN,
    ],
)
async def ask_second_hand(request: web.Request, claim_id: ClaimId, body: Pick) -> Dispute:
    """Ask for the device of an owner who is gone, with the new key it has.

    It is yours after 14 days unless its owner objects or its old key is heard.
    """
    view = await _find(request, claim_id)

    def answer(device: Device) -> web.Response:
        return json_of(_dispute_of(request, view, device), HTTPStatus.OK)

    doing = owning.ask_second_hand(request.app[POOL], actor_of(request), view.device_id, body.kid, now_ms())
    return _dispute_of(request, view, await once.done(request, Device, answer, doing))


def _dispute_of(request: web.Request, view: ClaimView, device: Device) -> Dispute:
    asked = device.open(MatterKind.SECOND_HAND)
    ours = asked if asked is not None and asked.company_id == actor_of(request).company_id else None
    return Dispute(
        claim_id=view.claim_id or "",
        device_id=str(view.device_id),
        product_id=view.product_id,
        candidates=[
            AnnouncedKey(key.kid, fingerprint_of(key.kid), key.smartconnect, key.announced_ms)
            for key in live_keys(device, now_ms())
            if key.state is KeyState.CANDIDATE and key.smartconnect
        ],
        second_hand_kid=ours.kid if ours else None,
        second_hand_due_ms=ours.due_ms if ours else None,
    )
