"""Registrations of systems by plain rules, written from docs/systems.md and not from the code under test."""

from dataclasses import dataclass, field

COMPANIES = 4
BOXES = 5
ENTERPRISE = (0, 1)
"""Boxes that are Enterprise Servers; the others stand alone."""
SLOTS = ("integrator", "end_user")
DAY = 86_400_000
TICKET = 15 * 60_000
INTENT = 7 * DAY
OFFER = 7 * DAY


class RefusedError(Exception):
    """The rules do not allow it; the text is the stable code."""


@dataclass
class Reg:
    """A registration. ``box_id`` is (box, database) of its System ID."""

    box_id: tuple[int, int]
    holders: dict[str, int]
    lead: int | None = None
    information: bool = False
    personal: bool = False
    edited: bool = False
    site: str = ""
    ended: bool = False


@dataclass
class Database:
    """What the cloud may know of one System ID."""

    reg: int | None = None
    retired: bool = False
    heard: bool = False
    attached_to: tuple[int, int] | None = None
    members: set[tuple[int, int]] = field(default_factory=set)
    waiting: dict[int, tuple[str, str, int | None, tuple[int, int] | None, int]] = field(default_factory=dict)
    """Company → (operation, slot, registration, replaced System ID, since when)."""


@dataclass
class Model:
    """The world. ``life`` is the number of each box's present database."""

    regs: list[Reg] = field(default_factory=list)
    life: list[int] = field(default_factory=lambda: [0] * BOXES)
    databases: dict[tuple[int, int], Database] = field(default_factory=dict)
    offers: list[tuple[int, str, str, int, int, int, bool]] = field(default_factory=list)
    """(registration, slot, kind, who offers, to whom, since when, whether it is open)."""

    def of(self, box: int) -> tuple[int, int]:
        """The present database of a box."""
        return box, self.life[box]

    def database(self, box_id: tuple[int, int]) -> Database:
        """What is known of it."""
        return self.databases.setdefault(box_id, Database())

    def need(self, holds: object, code: str) -> None:
        """RefusedError unless it holds."""
        if not holds:
            raise RefusedError(code)

    def mine(self, company: int, reg: int) -> set[str]:
        """Slots of the company there; refused as if there were nothing for who has none."""
        one = self.regs[reg]
        slots = {slot for slot, holder in one.holders.items() if holder == company}
        self.need(slots and not one.ended, "not_found")
        return slots

    # --- registering ----------------------------------------------------------------------------------------

    def register(self, box: int, company: int, slot: str) -> int:
        """With a proof of the server."""
        box_id = self.of(box)
        at = self.database(box_id)
        self.need(not at.retired, "system_retired")
        if at.reg is None:
            self.regs.append(Reg(box_id, {slot: company}))
            at.reg = len(self.regs) - 1
            return at.reg
        holders = self.regs[at.reg].holders
        self.need(holders.get(slot, company) == company, "system_taken")
        if slot not in holders:
            self._void_offers(at.reg, slot)
        holders[slot] = company
        return at.reg

    def associate(self, box: int, company: int, reg: int, replaces: tuple[int, int]) -> int:
        """With a proof of the server."""
        self.mine(company, reg)
        box_id = self.of(box)
        at = self.database(box_id)
        self.need(not at.retired, "system_retired")
        if at.reg == reg:
            return reg
        self.need(at.reg is None, "system_taken")
        self.need(self.regs[reg].box_id == replaces, "superseded")
        old = self.database(self.regs[reg].box_id)
        old.reg, old.retired = None, True
        self.regs[reg].box_id = box_id
        at.reg = reg
        return reg

    # --- slots ----------------------------------------------------------------------------------------------

    def leave(self, company: int, reg: int, slot: str) -> None:
        """Give a slot up."""
        self.need(slot in self.mine(company, reg), "not_found")
        one = self.regs[reg]
        del one.holders[slot]
        self._void_offers(reg, slot)
        if slot == "end_user":
            one.information = one.personal = False
        self._void_strangers(reg)
        if not one.holders:
            self._end(reg)

    def end(self, company: int, reg: int) -> None:
        """Delete the registration."""
        slots = self.mine(company, reg)
        self.need("end_user" in slots or "end_user" not in self.regs[reg].holders, "other_slot")
        self._end(reg)

    def _end(self, reg: int) -> None:
        one = self.regs[reg]
        for slot in list(one.holders):
            self._void_offers(reg, slot)
        one.holders.clear()
        self._void_strangers(reg)
        one.site = ""
        one.ended, one.lead, one.information, one.personal = True, None, False, False
        self.database(one.box_id).reg = None
        for other in self.regs:
            if other.lead == reg:
                other.lead = None

    def _void_offers(self, reg: int, slot: str) -> None:
        self.offers = [
            (*offer[:6], offer[6] and (offer[0], offer[1]) != (reg, slot)) for offer in self.offers
        ]

    def _void_strangers(self, reg: int) -> None:
        """Who holds no slot any more offers none."""
        holders = self.regs[reg].holders.values()
        self.offers = [
            (*offer[:6], offer[6] and (offer[0] != reg or offer[3] in holders)) for offer in self.offers
        ]

    def offer(self, company: int, reg: int, slot: str, to: int, now: int) -> int:
        """Invite to the free slot, or hand the own one over; the offer's number."""
        slots = self.mine(company, reg)
        holders = self.regs[reg].holders
        self.need(slot in slots or slot not in holders, "slot_taken")
        same = [
            offer for offer in self.offers if offer[:2] == (reg, slot) and offer[6] and now < offer[5] + OFFER
        ]
        self.need(not same, "already_invited")
        self._void_offers(reg, slot)
        kind = "hand_over" if slot in slots else "invite"
        self.offers.append((reg, slot, kind, company, to, now, True))
        return len(self.offers) - 1

    def take(self, company: int, number: int, now: int) -> int:
        """Take an offer."""
        reg, slot, kind, by, to, since, is_open = self.offers[number]
        one = self.regs[reg]
        self.need(is_open and now < since + OFFER, "link_invalid")
        self.need(to == company, "other_address")
        self.need(not one.ended and by in one.holders.values(), "link_invalid")
        holder = one.holders.get(slot)
        self.need(kind == "hand_over" or holder in {None, company}, "slot_taken")
        self.need(kind == "invite" or holder == by, "link_invalid")
        one.holders[slot] = company
        if slot == "end_user" and holder != company:
            one.information = one.personal = False
        self._void_offers(reg, slot)
        self._void_strangers(reg)
        return reg

    # --- what is registered ---------------------------------------------------------------------------------

    def consent(self, company: int, reg: int, information: bool, personal: bool) -> None:
        """The end-user's consents."""
        self.need("end_user" in self.mine(company, reg), "other_slot")
        one = self.regs[reg]
        one.information, one.personal = information, personal

    def write(self, company: int, reg: int, site: str) -> None:
        """System data: by the end-user, by the integrator until the end-user has written."""
        slots = self.mine(company, reg)
        one = self.regs[reg]
        self.need("end_user" in slots or not one.edited, "other_slot")
        if one.site != site:
            one.site = site
            one.edited = one.edited or "end_user" in slots

    def warranty(self, company: int, reg: int) -> None:
        """The warranty: by the integrator alone."""
        self.need("integrator" in self.mine(company, reg), "other_slot")

    # --- lead and shadow, attached servers ------------------------------------------------------------------

    def follow(self, company: int, reg: int, lead: int) -> None:
        """Show another registration."""
        self.mine(company, reg)
        self.mine(company, lead)
        self.need(reg != lead and self.regs[lead].lead is None, "lead_refused")
        self.need(all(other.lead != reg for other in self.regs), "lead_refused")
        self.regs[reg].lead = lead

    def stand_alone(self, company: int, reg: int) -> None:
        """Show the own one again."""
        self.mine(company, reg)
        self.regs[reg].lead = None

    def shown(self, box_id: tuple[int, int]) -> tuple[str, int | None]:
        """Where what a server shows comes from, and which registration that is."""
        at = self.database(box_id)
        over = at.attached_to
        if (
            over is not None
            and box_id[0] not in ENTERPRISE
            and over[0] in ENTERPRISE
            and box_id in self.database(over).members
            and self.database(over).reg is not None
        ):
            return "attached", self._led(self.database(over).reg)
        if at.reg is None:
            return "own", None
        led = self._led(at.reg)
        return ("own" if led == at.reg else "lead"), led

    def _led(self, reg: int | None) -> int | None:
        if reg is None:
            return None
        lead = self.regs[reg].lead
        if lead is None or self.regs[lead].ended:
            return reg
        shared = set(self.regs[reg].holders.values()) & set(self.regs[lead].holders.values())
        return lead if shared else reg
