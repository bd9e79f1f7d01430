"""What the owner of a device decides: release, transfer, new keys, claims of others, theft.

Acts that may cost somebody the device need a fresh factor (``factor_needed``: prove it, ``POST
/session/proof``). Each is one transaction, and with an ``Idempotency-Key`` its answer is stored in it.
"""

from collections.abc import Awaitable
from http import HTTPStatus
from typing import Annotated, Final

from aiohttp import web
from msgspec import Meta, Struct

from cloud.core.api_token import Scope
from cloud.core.authz import Actor
from cloud.core.device import Device, MatterKind, State
from cloud.postgres.pool import Pool
from cloud.services import offering, owning
from cloud.web.api import once
from cloud.web.api.kinds import DeviceId, Email, Kid, Ms, Number, device_number
from cloud.web.api.operation import PERSON, Section, json_of
from cloud.web.problems import ProblemCode
from cloud.web.state import POOL, actor_of, now_ms, session_of
from protocol.identity import fingerprint_of

SECTION: Final = Section(
    "Ownership",
    "Keeping, giving away and defending a device.",
    reads=Scope.DEVICES_READ,
    writes=Scope.OWNERSHIP,
)

HELD: Final = (ProblemCode.STOLEN, ProblemCode.CLONE_SUSPECTED, ProblemCode.RELEASING)
REFUSED: Final = (ProblemCode.FORBIDDEN, ProblemCode.NOTHING_OPEN, *HELD)
GUARDED: Final = (ProblemCode.FACTOR_NEEDED, *REFUSED)


class Open(Struct):
    """Something that is open."""

    opened_ms: Ms
    due_ms: Annotated[int | None, Meta(description="Unix ms of when it happens or ends by itself.")]


class OpenOffer(Struct):
    """Your offer to give the device away."""

    offer_id: str
    to_email: str | None
    opened_ms: Ms
    due_ms: Ms


class KeyRequest(Struct):
    """A new device key that asks to be the device's: after a factory reset, or of somebody's copy."""

    kid: Kid
    fingerprint: str
    opened_ms: Ms


class Claimant(Struct):
    """Somebody else holds the label and claimed the device. Nothing has changed."""

    company_id: Annotated[int, Meta(description="To answer by; it tells nothing else.")]
    opened_ms: Ms


class Ownership(Struct):
    """How you stand to a device."""

    device_id: str
    yours: bool
    state: Annotated[State | None, Meta(description="The gravest of what is open; null if not yours.")] = None
    epoch: Annotated[int | None, Meta(description="Number of your ownership.")] = None
    release: Annotated[Open | None, Meta(description="Being released: its last readings are awaited.")] = None
    offer: OpenOffer | None = None
    key_requests: list[KeyRequest] = []
    claimants: list[Claimant] = []
    second_hand: Annotated[Open | None, Meta(description="Gone to its finder then, unless you object.")] = (
        None
    )
    stolen: Open | None = None
    clone_suspected: Open | None = None


class NewOffer(Struct):
    """Who is to have the device."""

    to_email: Email


class OfferMade(Struct):
    """An offer just made. Its link's code goes to the address alone, by mail."""

    offer_id: str
    due_ms: Ms


def ownership_of(device_id: int, device: Device, actor: Actor) -> Ownership:
    """A device's facts as its owner may see them; nothing to anybody else."""
    owner = device.owner
    if owner is None or owner.company_id != actor.company_id:
        return Ownership(str(device_id), yours=False)

    def one(kind: MatterKind) -> Open | None:
        matter = device.open(kind)
        return None if matter is None else Open(matter.opened_ms, matter.due_ms)

    offer = device.open(MatterKind.OFFER)
    return Ownership(
        str(device_id),
        yours=True,
        state=device.state,
        epoch=owner.epoch,
        release=one(MatterKind.RELEASE),
        offer=OpenOffer(offer.ref or "", offer.to_email, offer.opened_ms, offer.due_ms or 0)
        if offer
        else None,
        key_requests=[
            KeyRequest(one.subject, fingerprint_of(one.subject), one.opened_ms)
            for one in device.all_open(MatterKind.REKEY)
        ],
        claimants=[
            Claimant(one.company_id or 0, one.opened_ms) for one in device.all_open(MatterKind.DISPUTE)
        ],
        second_hand=one(MatterKind.SECOND_HAND),
        stolen=one(MatterKind.STOLEN),
        clone_suspected=one(MatterKind.CLONE),
    )


def fresh(request: web.Request) -> bool:
    """Whether this person has proved who is here in the last 5 minutes."""
    return session_of(request).is_fresh(now_ms())


def who(request: web.Request, device_id: str) -> tuple[Pool, Actor, int, int]:
    """What every act begins with."""
    return request.app[POOL], actor_of(request), device_number(device_id), now_ms()


async def act(request: web.Request, device_id: str, doing: Awaitable[Device]) -> Ownership:
    """Do it; how the company stands to the device then."""
    actor, number = actor_of(request), device_number(device_id)

    def answer(device: Device) -> web.Response:
        return json_of(ownership_of(number, device, actor), HTTPStatus.OK)

    return ownership_of(number, await once.done(request, Device, answer, doing), actor)


@SECTION.operation("GET", "/devices/{device_id}/ownership")
async def show(request: web.Request, device_id: DeviceId) -> Ownership:
    """What is open on a device."""
    pool, actor, number, at_ms = who(request, device_id)
    return ownership_of(number, await owning.look(pool, actor, number, at_ms), actor)


@SECTION.operation("POST", "/devices/{device_id}/release", scope=PERSON, problems=GUARDED)
async def release(request: web.Request, device_id: DeviceId) -> Ownership:
    """Give the device up: then it is nobody's, and whoever holds its label may claim it.

    While it is connected its last readings are awaited first, a minute at most: `release` says until when.
    """
    return await act(request, device_id, owning.release(*who(request, device_id), fresh=fresh(request)))


@SECTION.operation("DELETE", "/devices/{device_id}/release", problems=REFUSED)
async def keep(request: web.Request, device_id: DeviceId) -> Ownership:
    """Keep a device that is being released."""
    return await act(request, device_id, owning.cancel_release(*who(request, device_id)))


@SECTION.operation(
    "POST",
    "/devices/{device_id}/offer",
    scope=PERSON,
    statuses={HTTPStatus.CREATED: "It is offered; the mail is on its way."},
    problems=[ProblemCode.FIELD_INVALID, *GUARDED],
)
async def offer(request: web.Request, device_id: DeviceId, body: NewOffer) -> OfferMade:
    """Offer the device to the holder of an e-mail address, for seven days.

    They get a mail with a link. They see nothing of your time, and you nothing of theirs.
    """

    def answer(device: Device) -> web.Response:
        made = device.open(MatterKind.OFFER)
        if made is None:
            raise AssertionError("an offer that was made is open")
        return json_of(OfferMade(made.ref or "", made.due_ms or 0), HTTPStatus.CREATED)

    doing = offering.offer(*who(request, device_id), fresh=fresh(request), to_email=body.to_email)
    made = await once.done(request, Device, answer, doing)
    return OfferMade(made.offer_id, made.due_ms)


@SECTION.operation("DELETE", "/devices/{device_id}/offer", problems=REFUSED)
async def withdraw_offer(request: web.Request, device_id: DeviceId) -> Ownership:
    """Take the offer back."""
    return await act(request, device_id, offering.withdraw_offer(*who(request, device_id)))


@SECTION.operation("POST", "/devices/{device_id}/key-requests/{kid}/approve", scope=PERSON, problems=GUARDED)
async def approve_key(request: web.Request, device_id: DeviceId, kid: Kid) -> Ownership:
    """It is ours: the device goes on with this key, and the old one is void."""
    pool, actor, number, at_ms = who(request, device_id)
    doing = owning.approve_rekey(pool, actor, number, kid, at_ms, fresh=fresh(request))
    return await act(request, device_id, doing)


@SECTION.operation("POST", "/devices/{device_id}/key-requests/{kid}/dismiss", problems=REFUSED)
async def dismiss_key(request: web.Request, device_id: DeviceId, kid: Kid) -> Ownership:
    """It is not ours."""
    pool, actor, number, at_ms = who(request, device_id)
    return await act(request, device_id, owning.dismiss_rekey(pool, actor, number, kid, at_ms))


@SECTION.operation("POST", "/devices/{device_id}/claimants/{company_id}/dismiss", problems=REFUSED)
async def dismiss_claimant(request: web.Request, device_id: DeviceId, company_id: Number) -> Ownership:
    """The device is not theirs."""
    pool, actor, number, at_ms = who(request, device_id)
    return await act(request, device_id, owning.dismiss_dispute(pool, actor, number, company_id, at_ms))


@SECTION.operation("POST", "/devices/{device_id}/second-hand/object", problems=REFUSED)
async def object_to_second_hand(request: web.Request, device_id: DeviceId) -> Ownership:
    """We still own it."""
    return await act(request, device_id, owning.object_second_hand(*who(request, device_id)))


@SECTION.operation("POST", "/devices/{device_id}/stolen", problems=REFUSED)
async def mark_stolen(request: web.Request, device_id: DeviceId) -> Ownership:
    """Nobody can release, transfer or re-key the device until the mark is lifted. Needs no factor."""
    return await act(request, device_id, owning.mark_stolen(*who(request, device_id)))


@SECTION.operation("DELETE", "/devices/{device_id}/stolen", scope=PERSON, problems=GUARDED)
async def lift_stolen(request: web.Request, device_id: DeviceId) -> Ownership:
    """We have it back."""
    return await act(request, device_id, owning.lift_stolen(*who(request, device_id), fresh=fresh(request)))


@SECTION.operation("DELETE", "/devices/{device_id}/clone-suspicion", scope=PERSON, problems=GUARDED)
async def clear_clone(request: web.Request, device_id: DeviceId) -> Ownership:
    """There is no clone."""
    return await act(request, device_id, owning.clear_clone(*who(request, device_id), fresh=fresh(request)))
