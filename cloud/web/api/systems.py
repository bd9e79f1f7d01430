"""Registered building systems for programs, and the exchange by which their servers talk to the cloud.

A system's number is six characters, as people read it. Where a server is to be named, ``proof`` takes what
its page or terminal gives out: the link of *Register now*, a request for an offline code, or a System ID
that was typed and then waits for its server's yes.
"""

from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from cloud.core.api_token import Scope
from cloud.core.system import Slot
from cloud.core.system_data import PARTS
from cloud.services import (
    system_editing,
    system_exchange,
    system_looking,
    system_registering,
    system_slots,
)
from cloud.services.system_exchange import ExchangeError
from cloud.web.api.operation import PERSON, Reply, Section
from cloud.web.api.system_json import (
    NewSystem,
    NewSystemId,
    SealedReport,
    SystemConsents,
    SystemData,
    SystemDetail,
    SystemHistory,
    SystemLead,
    SystemLine,
    SystemList,
    SystemNumber,
    SystemOffer,
    SystemOffered,
    SystemOfferToken,
    SystemOutcome,
    SystemSummary,
    WaitingSystem,
    WaitingSystems,
    detail_of,
    number_of,
    offered_of,
    outcome_of,
    waiting_of,
)
from cloud.web.middleware import anonymous, signed_link
from cloud.web.problems import Problem, ProblemCode
from cloud.web.state import KIT, POOL, SYSTEM_KEYS, actor_of, now_ms, session_of
from protocol.codec import encode
from protocol.system import MAX_REPORT_BYTES
from protocol.system_code import written_number

SECTION: Final = Section(
    "Systems",
    "Building systems: their registration, its two slots, lead and shadows, and their servers.",
    reads=Scope.SYSTEMS_READ,
    writes=Scope.SYSTEMS_WRITE,
)
_REFUSED: Final = (
    ProblemCode.FORBIDDEN,
    ProblemCode.FIELD_INVALID,
    ProblemCode.NOT_FOUND,
    ProblemCode.SYSTEM_RETIRED,
    ProblemCode.SYSTEM_TAKEN,
    ProblemCode.SUPERSEDED,
    ProblemCode.LINK_INVALID,
    ProblemCode.TOO_MANY,
)
_SLOT: Final = (
    ProblemCode.FORBIDDEN,
    ProblemCode.NOT_FOUND,
    ProblemCode.FACTOR_NEEDED,
    ProblemCode.OTHER_SLOT,
)


async def _show(request: web.Request, number: int) -> SystemDetail:
    return detail_of(await system_looking.find(request.app[POOL], actor_of(request), number, now_ms()))


@SECTION.operation(
    "POST",
    "/systems/exchange",
    is_public=True,
    marks=[anonymous, signed_link],
    answer=dict[str, Any],
    max_bytes=MAX_REPORT_BYTES,
    problems=[
        ProblemCode.SYSTEM_PROOF_INVALID,
        ProblemCode.SYSTEM_REPORT_OLD,
        ProblemCode.TOO_MANY,
        ProblemCode.BAD_REQUEST,
        ProblemCode.BUSY,
    ],
)
async def exchange(request: web.Request, body: SealedReport) -> web.Response:
    """A server's report, sealed under the secret it shares with the cloud; the answer is sealed alike."""
    keys = request.app[SYSTEM_KEYS]
    try:
        answer = await system_exchange.exchange(
            request.app[KIT],
            keys.private,
            keys.version,
            encode(body),
            now_ms(),
            address=request.remote or "",
        )
    except ExchangeError as error:
        code = ProblemCode(error.code.value)
        raise Problem(code, detail=str(error), retry_after_s=error.after_s) from None
    return web.Response(body=answer, content_type="application/json")


@SECTION.operation("GET", "/systems")
async def list_systems(request: web.Request) -> SystemList:
    """All systems of the company."""
    found = await system_looking.overview(request.app[POOL], actor_of(request), now_ms())
    return SystemList(
        [
            SystemSummary(
                number=written_number(one.number),
                system_id=one.system_id,
                site_name=one.site_name,
                name=one.name,
                slots=one.slots,
                confirmed=one.confirmed,
                lead=None if one.lead_number is None else written_number(one.lead_number),
                attached_to=one.attached_to,
            )
            for one in found.systems
        ]
    )


@SECTION.operation(
    "POST", "/systems", statuses={HTTPStatus.CREATED: "Registered, or waiting."}, problems=_REFUSED
)
async def register_system(request: web.Request, body: NewSystem) -> Reply[SystemOutcome]:
    """Take a slot of a server's registration, which is made where there is none."""
    keys = request.app[SYSTEM_KEYS].private
    proof = system_registering.read_proof(keys, body.proof)
    done = await system_registering.register(
        request.app[KIT], keys, actor_of(request), proof, body.slot, now_ms()
    )
    return Reply(outcome_of(done), HTTPStatus.CREATED)


@SECTION.operation("GET", "/systems/waiting")
async def list_waiting_systems(request: web.Request) -> WaitingSystems:
    """System IDs that were typed and whose servers have not said yes."""
    found = await system_looking.overview(request.app[POOL], actor_of(request), now_ms())
    return WaitingSystems([waiting_of(one) for one in found.waiting])


@SECTION.operation("GET", "/systems/waiting/{system_id}/{intent_id}")
async def show_waiting_system(request: web.Request, system_id: str, intent_id: str) -> WaitingSystem:
    """What became of one of them."""
    return waiting_of(
        await system_registering.find_intent(
            request.app[POOL], actor_of(request), system_id, intent_id, now_ms()
        )
    )


@SECTION.operation("DELETE", "/systems/waiting/{system_id}/{intent_id}", problems=[ProblemCode.FORBIDDEN])
async def cancel_waiting_system(request: web.Request, system_id: str, intent_id: str) -> None:
    """Wait no longer."""
    await system_registering.cancel_intent(
        request.app[POOL], actor_of(request), system_id, intent_id, now_ms()
    )


@SECTION.operation("GET", "/systems/{number}")
async def show_system(request: web.Request, number: SystemNumber) -> SystemDetail:
    """One of them."""
    return await _show(request, number_of(number))


@SECTION.operation("GET", "/systems/{number}/history")
async def show_system_history(request: web.Request, number: SystemNumber) -> SystemHistory:
    """Who changed what."""
    found = await system_looking.find(request.app[POOL], actor_of(request), number_of(number), now_ms())
    return SystemHistory(
        [
            SystemLine(row.ts_ms, row.kind, row.field, row.before, row.after, row.person, row.company)
            for row in found.history
        ]
    )


@SECTION.operation("POST", "/systems/{number}/system-id", problems=_REFUSED)
async def associate_system(request: web.Request, number: SystemNumber, body: NewSystemId) -> SystemOutcome:
    """Let a new System ID take the old one's place, for good."""
    keys, place = request.app[SYSTEM_KEYS].private, number_of(number)
    await _show(request, place)
    proof = system_registering.read_proof(keys, body.proof)
    kit, actor = request.app[KIT], actor_of(request)
    return outcome_of(
        await system_registering.associate(kit, keys, actor, proof, place, body.replaces, now_ms())
    )


@SECTION.operation(
    "PUT",
    "/systems/{number}/data",
    problems=[ProblemCode.FORBIDDEN, ProblemCode.FIELD_INVALID, ProblemCode.OTHER_SLOT],
)
async def save_system_data(request: web.Request, number: SystemNumber, body: SystemData) -> SystemDetail:
    """Write one part of what is registered."""
    unknown = sorted(set(body.values) - set(PARTS[body.part]))
    if unknown:
        told = f"{body.part.value} has no such field."
        raise Problem(ProblemCode.FIELD_INVALID, detail=told, more={"faults": {"values": told}})
    place = number_of(number)
    await system_editing.save(
        request.app[KIT], actor_of(request), place, frozenset({body.part}), body.values, now_ms()
    )
    return await _show(request, place)


@SECTION.operation(
    "PUT",
    "/systems/{number}/consents",
    scope=PERSON,
    problems=[ProblemCode.FORBIDDEN, ProblemCode.OTHER_SLOT],
)
async def save_system_consents(
    request: web.Request, number: SystemNumber, body: SystemConsents
) -> SystemDetail:
    """The end-user's two consents; with both the registration is confirmed."""
    place = number_of(number)
    await system_editing.consent(
        request.app[KIT],
        actor_of(request),
        place,
        information=body.information,
        personal=body.personal,
        share_ups=body.share_ups,
        now_ms=now_ms(),
    )
    return await _show(request, place)


@SECTION.operation(
    "PUT", "/systems/{number}/lead", problems=[ProblemCode.FORBIDDEN, ProblemCode.LEAD_REFUSED]
)
async def save_system_lead(request: web.Request, number: SystemNumber, body: SystemLead) -> SystemDetail:
    """Show another system's registration (lead and shadow), or the own one again."""
    kit, actor, place = request.app[KIT], actor_of(request), number_of(number)
    if body.lead is None:
        await system_editing.stand_alone(kit, actor, place, now_ms())
    else:
        await system_editing.follow(kit, actor, place, number_of(body.lead), now_ms())
    return await _show(request, place)


@SECTION.operation(
    "POST",
    "/systems/{number}/offers",
    problems=[*_SLOT, ProblemCode.SLOT_TAKEN, ProblemCode.FIELD_INVALID, ProblemCode.ALREADY_INVITED],
)
async def offer_system_slot(request: web.Request, number: SystemNumber, body: SystemOffer) -> SystemDetail:
    """Invite somebody to the free slot, or hand your own over; the link goes to the address alone."""
    place = number_of(number)
    await system_slots.offer(
        request.app[KIT],
        actor_of(request),
        place,
        body.slot,
        body.to_email,
        now_ms(),
        fresh=session_of(request).is_fresh(now_ms()),
    )
    return await _show(request, place)


@SECTION.operation(
    "DELETE", "/systems/{number}/offers/{offer_id}", problems=[ProblemCode.FORBIDDEN, ProblemCode.NOT_FOUND]
)
async def withdraw_system_offer(request: web.Request, number: SystemNumber, offer_id: str) -> SystemDetail:
    """Take an offer back; either holder may."""
    place = number_of(number)
    await system_slots.withdraw(request.app[POOL], actor_of(request), place, offer_id, now_ms())
    return await _show(request, place)


@SECTION.operation(
    "POST", "/systems/offers/look", problems=[ProblemCode.LINK_INVALID, ProblemCode.OTHER_ADDRESS]
)
async def look_at_system_offer(request: web.Request, body: SystemOfferToken) -> SystemOffered:
    """What you are offered. Changes nothing."""
    return offered_of(
        await system_slots.see_offer(request.app[POOL], actor_of(request), body.token, now_ms())
    )


@SECTION.operation(
    "POST",
    "/systems/offers/decline",
    problems=[ProblemCode.FORBIDDEN, ProblemCode.LINK_INVALID, ProblemCode.OTHER_ADDRESS],
)
async def decline_system_offer(request: web.Request, body: SystemOfferToken) -> None:
    """Do not take it."""
    await system_slots.decline_offer(request.app[KIT], actor_of(request), body.token, now_ms())


@SECTION.operation(
    "POST",
    "/systems/offers/accept",
    scope=PERSON,
    problems=[*_SLOT, ProblemCode.SLOT_TAKEN, ProblemCode.LINK_INVALID, ProblemCode.OTHER_ADDRESS],
)
async def accept_system_offer(request: web.Request, body: SystemOfferToken) -> SystemDetail:
    """Take the slot that you were offered."""
    fresh = session_of(request).is_fresh(now_ms())
    place = await system_slots.take_offer(
        request.app[KIT], actor_of(request), body.token, now_ms(), fresh=fresh
    )
    return await _show(request, place)


@SECTION.operation("DELETE", "/systems/{number}/slots/{slot}", scope=PERSON, problems=_SLOT)
async def leave_system(request: web.Request, number: SystemNumber, slot: Slot) -> None:
    """Give your slot up; with the last one the registration ends."""
    fresh = session_of(request).is_fresh(now_ms())
    await system_slots.leave(
        request.app[KIT], actor_of(request), number_of(number), slot, now_ms(), fresh=fresh
    )


@SECTION.operation("DELETE", "/systems/{number}", scope=PERSON, problems=_SLOT)
async def delete_system(request: web.Request, number: SystemNumber) -> None:
    """Delete the registration; its shadows stand alone."""
    fresh = session_of(request).is_fresh(now_ms())
    await system_slots.end(request.app[KIT], actor_of(request), number_of(number), now_ms(), fresh=fresh)
