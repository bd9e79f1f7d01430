"""Offers of others: a device that somebody wants to give to you.

An offer made to an e-mail address is answered with the code behind the # of the mailed link. It is a secret,
so it travels in bodies only.
"""

from http import HTTPStatus
from typing import Final

from aiohttp import web
from msgspec import Struct

from cloud.core.api_token import Scope
from cloud.core.device import Device
from cloud.postgres.owners import OfferRow
from cloud.services import offering
from cloud.web.api import once
from cloud.web.api.kinds import Ms, Token
from cloud.web.api.operation import PERSON, Section, json_of
from cloud.web.api.ownership import HELD, Ownership, fresh, ownership_of
from cloud.web.problems import ProblemCode
from cloud.web.state import POOL, actor_of, now_ms

SECTION: Final = Section(
    "Offers", "Devices that others want to give to you.", reads=Scope.OWNERSHIP, writes=Scope.OWNERSHIP
)
REFUSED: Final = (ProblemCode.UNKNOWN_OFFER, ProblemCode.OFFER_FOR_ANOTHER, ProblemCode.FORBIDDEN)


class OfferCode(Struct):
    """What the mailed link has behind its #, or the offer_id of one made to your company."""

    token: Token


class Offer(Struct):
    """A device that is offered."""

    offer_id: str
    product_id: str
    model: str
    from_company: str
    due_ms: Ms


class OfferList(Struct):
    """Offers made to your company."""

    offers: list[Offer]


class Declined(Struct):
    """The offer that was declined."""

    device_id: str


def _offer_of(row: OfferRow) -> Offer:
    return Offer(row.offer_id, row.product_id, row.model, row.from_company, row.due_ms)


@SECTION.operation("GET", "/offers")
async def list_offers(request: web.Request) -> OfferList:
    """Open offers to your company by name. Those made to an address are in the mail."""
    found = await offering.list_offers(request.app[POOL], actor_of(request), now_ms())
    return OfferList([_offer_of(row) for row in found])


@SECTION.operation("POST", "/offers/look", problems=REFUSED)
async def look(request: web.Request, body: OfferCode) -> Offer:
    """What is offered. Changes nothing."""
    return _offer_of(await offering.see_offer(request.app[POOL], actor_of(request), body.token, now_ms()))


@SECTION.operation(
    "POST",
    "/offers/accept",
    scope=PERSON,
    problems=[ProblemCode.FACTOR_NEEDED, ProblemCode.OWN_DEVICE, ProblemCode.NOTHING_OPEN, *HELD, *REFUSED],
)
async def accept(request: web.Request, body: OfferCode) -> Ownership:
    """Take the device over for your company."""
    actor = actor_of(request)

    def answer(device: Device) -> web.Response:
        return json_of(ownership_of(offering.device_of(body.token), device, actor), HTTPStatus.OK)

    doing = offering.accept_offer(request.app[POOL], actor, body.token, now_ms(), fresh=fresh(request))
    device = await once.done(request, Device, answer, doing)
    return ownership_of(offering.device_of(body.token), device, actor)


@SECTION.operation("POST", "/offers/decline", problems=[ProblemCode.NOTHING_OPEN, *HELD, *REFUSED])
async def decline(request: web.Request, body: OfferCode) -> Declined:
    """Do not take it."""

    def answer(_: Device) -> web.Response:
        return json_of(Declined(str(offering.device_of(body.token))), HTTPStatus.OK)

    doing = offering.decline_offer(request.app[POOL], actor_of(request), body.token, now_ms())
    await once.done(request, Device, answer, doing)
    return Declined(str(offering.device_of(body.token)))
