"""Registrations of building systems: what may be done with one, and by whom; no I/O.

Theory of operation
-------------------
A *server* has a System ID, which it can prove. A *registration* has a number and outlives System IDs: it
names the present one, and when another takes its place the old one retires for good. A System ID has one
registration at the most. A registration has two *slots*, integrator and end-user, each held by one company or
free; who holds none can neither see, associate nor change it. It is *confirmed* when the end-user has given
both consents.

A registration may follow a *lead* and then shows the lead's data; its own stays, and comes back. A lead
follows nobody and nothing follows a shadow, so there are neither cycles nor chains. A stand-alone server
that is attached to an Enterprise Server shows that one's registration, as long as both say so;
an Enterprise Server is attached to nothing.

Functions take the stored state (:class:`System`, :class:`Server`) and return the state after it, or raise
RefusedError and change nothing. The caller holds the rows; unique indexes settle what remains of races, as
with claims (:mod:`cloud.core.claim`): several may want the same, the first proof wins, nobody's wish keeps
another's out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from cloud.core.language import N_, gettext
from cloud.core.refusal import RefusalCode, RefusedError
from protocol.system import Source

INTENT_LIFE_MS: Final = 7 * 86_400_000
"""Somebody who typed a System ID waits so long for its server's yes."""
MOST_INTENTS: Final = 20
"""Open ones of a company: each is a line on somebody's server."""
OFFER_LIFE_MS: Final = 7 * 86_400_000
TICKET_LIFE_MS: Final = 15 * 60_000
CODE_DAYS: Final = 7
"""A registration code is taken on the day it is made and so many more."""
MOST_SHADOWS: Final = 500


class Slot(StrEnum):
    """The two places at a registration. Stored and sent: append only."""

    INTEGRATOR = "integrator"
    END_USER = "end_user"

    @property
    def other(self) -> "Slot":
        """The other one."""
        return Slot.END_USER if self is Slot.INTEGRATOR else Slot.INTEGRATOR


SLOT_WORDS: Final[Mapping[Slot, str]] = MappingProxyType(
    {Slot.INTEGRATOR: N_("System integrator (Branch/Partner)"), Slot.END_USER: N_("End-user")}
)


class OfferKind(StrEnum):
    """What is offered: the free slot, or one's own."""

    INVITE = "invite"
    HAND_OVER = "hand_over"


@dataclass(frozen=True, slots=True)
class Server:
    """A System ID that has proven itself."""

    system_id: str
    number: int | None = None
    """Of its registration."""
    retired: bool = False


@dataclass(frozen=True, slots=True)
class System:
    """A registration."""

    number: int
    system_id: str
    holders: Mapping[Slot, int] = field(default_factory=dict)
    """Slot → company."""
    lead: int | None = None
    shadows: int = 0
    """How many follow this one."""
    information_ms: int | None = None
    personal_ms: int | None = None
    end_user_edited: bool = False
    share_ups: bool = False
    ended: bool = False

    @property
    def confirmed(self) -> bool:
        """Whether the end-user has given both consents."""
        return self.information_ms is not None and self.personal_ms is not None

    def slots_of(self, company_id: int) -> frozenset[Slot]:
        """The slots this company holds; none where the registration is over."""
        if self.ended:
            return frozenset()
        return frozenset(slot for slot, holder in self.holders.items() if holder == company_id)


def refused(code: RefusalCode, text: str | None = None) -> RefusedError:
    """Short for the one error of this module."""
    return RefusedError(code, text=text)


def must_hold(system: System, company_id: int) -> frozenset[Slot]:
    """The company's slots; RefusedError (not_found) for everybody else: they cannot even see it."""
    slots = system.slots_of(company_id)
    if not slots:
        raise refused(RefusalCode.NOT_FOUND)
    return slots


# --- registering and associating ----------------------------------------------------------------------------


def register(
    server: Server, system: System | None, slot: Slot, company_id: int, number: int
) -> tuple[System, Server]:
    """The company takes this slot of the server's registration; one of this ``number`` is made without one.

    ``system`` is the server's registration, if it has one. Somebody who holds the slot already is answered
    alike. RefusedError: system_retired, system_taken.
    """
    if server.retired:
        raise refused(RefusalCode.SYSTEM_RETIRED)
    if system is None:
        made = System(number, server.system_id, {slot: company_id})
        return made, replace(server, number=number)
    holder = system.holders.get(slot)
    if holder is None:
        return replace(system, holders={**system.holders, slot: company_id}), server
    if holder != company_id:
        raise refused(RefusalCode.SYSTEM_TAKEN)
    return system, server


def associate(server: Server, system: System, company_id: int, replaces: str) -> tuple[System, Server]:
    """The new System ID takes the place of ``replaces``, the one that whoever asks has seen there.

    The old one retires; that is the caller's to store. Repeating it is harmless. RefusedError: not_found,
    system_retired, system_taken (the new ID has another registration), superseded (another ID came first).
    """
    must_hold(system, company_id)
    if server.retired:
        raise refused(RefusalCode.SYSTEM_RETIRED)
    if server.number == system.number:
        return system, server
    if server.number is not None:
        raise refused(
            RefusalCode.SYSTEM_TAKEN,
            gettext("This System ID has a registration of its own already. Nothing was changed."),
        )
    if system.system_id != replaces:
        raise refused(RefusalCode.SUPERSEDED)
    return replace(system, system_id=server.system_id), replace(server, number=system.number)


# --- lead and shadow ----------------------------------------------------------------------------------------


def follow(shadow: System, lead: System, company_id: int) -> System:
    """The shadow shows the lead's registration from now on. RefusedError: not_found, lead_refused."""
    must_hold(shadow, company_id)
    must_hold(lead, company_id)
    if shadow.number == lead.number:
        raise refused(RefusalCode.LEAD_REFUSED, gettext("A system cannot be its own lead."))
    if lead.lead is not None:
        text = gettext("That system is a shadow itself. Choose the one that it follows.")
        raise refused(RefusalCode.LEAD_REFUSED, text)
    if shadow.shadows:
        text = gettext("This system is the lead of others. Let those follow another lead, or none, first.")
        raise refused(RefusalCode.LEAD_REFUSED, text)
    if lead.shadows >= MOST_SHADOWS and shadow.lead != lead.number:
        text = gettext("A lead has {count} shadows at most.", count=MOST_SHADOWS)
        raise refused(RefusalCode.LEAD_REFUSED, text)
    return replace(shadow, lead=lead.number)


def stand_alone(shadow: System, company_id: int) -> System:
    """It shows its own registration again. RefusedError not_found."""
    must_hold(shadow, company_id)
    return replace(shadow, lead=None)


# --- slots --------------------------------------------------------------------------------------------------


def may_offer(system: System, company_id: int, slot: Slot) -> OfferKind:
    """What offering this slot is: inviting to the free one, or handing over one's own.

    RefusedError: not_found, slot_taken where another company holds it.
    """
    slots = must_hold(system, company_id)
    if slot in slots:
        return OfferKind.HAND_OVER
    if slot in system.holders:
        raise refused(RefusalCode.SLOT_TAKEN)
    return OfferKind.INVITE


def take(system: System, slot: Slot, kind: OfferKind, from_company: int, company_id: int) -> System:
    """An offer is taken by this company.

    RefusedError: link_invalid where who offered may no longer, slot_taken where somebody was faster.
    """
    if not system.slots_of(from_company):
        raise refused(RefusalCode.LINK_INVALID)
    holder = system.holders.get(slot)
    if kind is OfferKind.INVITE and holder is not None and holder != company_id:
        raise refused(RefusalCode.SLOT_TAKEN)
    if kind is OfferKind.HAND_OVER and holder != from_company:
        raise refused(RefusalCode.LINK_INVALID)
    after = replace(system, holders={**system.holders, slot: company_id})
    if slot is Slot.END_USER and holder != company_id:  # consents are a company's own
        after = replace(after, information_ms=None, personal_ms=None, share_ups=False)
    return after


def leave(system: System, slot: Slot, company_id: int) -> System:
    """The company gives its slot up; with the last holder the registration ends. RefusedError not_found."""
    if slot not in must_hold(system, company_id):
        raise refused(RefusalCode.NOT_FOUND)
    holders = {other: holder for other, holder in system.holders.items() if other is not slot}
    if not holders:
        return _ended(system)
    after = replace(system, holders=holders)
    if slot is Slot.END_USER:
        after = replace(after, information_ms=None, personal_ms=None, share_ups=False)
    return after


def end(system: System, company_id: int) -> System:
    """The registration is over: the server may be registered anew, shadows stand alone.

    The end-user may; the integrator while there is no end-user. RefusedError: not_found, other_slot.
    """
    slots = must_hold(system, company_id)
    if Slot.END_USER not in slots and Slot.END_USER in system.holders:
        text = gettext("Only the end-user can delete this registration.")
        raise refused(RefusalCode.OTHER_SLOT, text)
    return _ended(system)


def _ended(system: System) -> System:
    return replace(system, holders={}, lead=None, shadows=0, ended=True)


# --- consents -----------------------------------------------------------------------------------------------


def consent(
    system: System, company_id: int, *, information: bool, personal: bool, share_ups: bool, now_ms: int
) -> System:
    """The end-user gives consents or takes them back. RefusedError: not_found, other_slot."""
    if Slot.END_USER not in must_hold(system, company_id):
        raise refused(RefusalCode.OTHER_SLOT, gettext("Only the end-user can give these consents."))
    return replace(
        system,
        information_ms=(system.information_ms or now_ms) if information else None,
        personal_ms=(system.personal_ms or now_ms) if personal else None,
        share_ups=share_ups,
    )


# --- whose registration is shown ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shown:
    """Which registration a server shows, and why that one."""

    number: int | None
    source: Source = Source.OWN
    source_id: str = ""
    """System ID of the server it comes from, where that is another one."""


def shown(
    own: System | None, lead: System | None, enterprise: System | None, enterprise_lead: System | None
) -> Shown:
    """What a server shows: its Enterprise Server's registration (or that one's lead's), its lead's, its own.

    ``enterprise`` is the registration of the server it is attached to, with both saying so.
    """
    if enterprise is not None and not enterprise.ended:
        led = enterprise_lead is not None and follows(enterprise, enterprise_lead)
        there = enterprise_lead if led and enterprise_lead is not None else enterprise
        return Shown(there.number, Source.ATTACHED, enterprise.system_id)
    if own is None or own.ended:
        return Shown(None)
    if lead is not None and follows(own, lead):
        return Shown(lead.number, Source.LEAD, lead.system_id)
    return Shown(own.number)


def follows(own: System, lead: System) -> bool:
    """Whether the lead's registration is shown: while some company still holds a slot of both."""
    return (
        own.lead == lead.number
        and not lead.ended
        and bool({*own.holders.values()} & {*lead.holders.values()})
    )
