"""What programs send and get about registered systems."""

from typing import Annotated

from msgspec import Meta, Struct

from cloud.core.system import Slot
from cloud.core.system_data import Part
from cloud.postgres.system_offers import OfferRow
from cloud.postgres.system_reports import IntentRow
from cloud.services.system_looking import Detail
from cloud.services.system_registering import Outcome
from cloud.web.api.kinds import Email, Ms
from cloud.web.problems import Problem, ProblemCode
from protocol.system import Source
from protocol.system_code import Operation, read_number, written_number

SystemNumber = Annotated[
    str, Meta(max_length=32, description="A registration's number: six characters of base 32.")
]
ProofText = Annotated[
    str,
    Meta(max_length=600, description="Link of Register now, request for an offline code, or a System ID."),
]
OfferToken = Annotated[str, Meta(max_length=200, description="What the mailed link has behind its #.")]


class SealedReport(Struct):
    """A server's sealed report (protocol/system_keys.py). Bytes are base64."""

    system_id: Annotated[str, Meta(max_length=64)]
    key_number: Annotated[int, Meta(ge=0, lt=1 << 16, description="Of the cloud's key it is sealed for.")]
    body: bytes
    mac: bytes


class NewSystem(Struct):
    """A server to be registered, and the slot you take."""

    proof: ProofText
    slot: Slot


class NewSystemId(Struct):
    """A server that takes the place of the one you saw on the registration."""

    proof: ProofText
    replaces: Annotated[str, Meta(max_length=64, description="System ID that the registration has now.")]


class SystemOutcome(Struct):
    """Done (``number``), or waiting for the server's yes (``intent_id``)."""

    number: str | None
    intent_id: str
    code: Annotated[str, Meta(description="Registration code, where a request asked for one.")]


class SystemSummary(Struct):
    """A registered system in a list."""

    number: str
    system_id: str
    site_name: str
    name: str
    slots: list[str]
    confirmed: bool
    lead: str | None
    attached_to: str


class SystemList(Struct):
    """Systems of which the company holds a slot."""

    systems: list[SystemSummary]


class SystemHolder(Struct):
    """Who holds a slot."""

    slot: str
    company: str
    since_ms: Ms


class SystemOpenOffer(Struct):
    """A slot of this system that somebody may take."""

    offer_id: str
    slot: str
    kind: Annotated[str, Meta(description="invite: the free slot; hand_over: the one of who offers.")]
    company: Annotated[str, Meta(description="Who offers.")]
    to_email: str
    expires_ms: Ms


class SystemDetail(Struct, kw_only=True):
    """One registered system."""

    number: str
    system_id: str
    slots: Annotated[list[str], Meta(description="Those you hold.")]
    holders: list[SystemHolder]
    confirmed: Annotated[bool, Meta(description="Whether the end-user has given both consents.")]
    source: Annotated[Source, Meta(description="Where `data` comes from: own, lead, or attached.")]
    source_number: str
    data: dict[str, str]
    own_data: Annotated[dict[str, str], Meta(description="What it shows again when it stands alone.")]
    writable: Annotated[list[Part], Meta(description="Parts of the data that you may write now.")]
    lead: str | None
    shadows: list[str]
    attached: Annotated[list[str], Meta(description="System IDs of servers attached to this one.")]
    kind: str
    version: str
    uptime_s: int
    licences: list[str]
    seen_ms: Annotated[int, Meta(description="When its server was heard last; 0: never.")]
    offers: Annotated[list[SystemOpenOffer], Meta(description="Open ones.")]
    code: Annotated[str, Meta(description="Newest registration code for its server, while it is good.")]


class SystemLine(Struct):
    """One change."""

    ts_ms: Ms
    kind: str
    field: str
    before: str
    after: str
    person: str
    company: str


class SystemHistory(Struct):
    """Who changed what when, since you hold a slot; newest first."""

    lines: list[SystemLine]


class SystemData(Struct):
    """One part of the data, all of its fields."""

    part: Part
    values: Annotated[
        dict[str, Annotated[str, Meta(max_length=500)]],
        Meta(description="Field → text; what is missing becomes empty."),
    ]


class SystemConsents(Struct):
    """The end-user's consents."""

    information: Annotated[bool, Meta(description="To share system information.")]
    personal: Annotated[bool, Meta(description="To share personal information.")]
    share_ups: Annotated[bool, Meta(description="The integrator may see the UPSs.")] = False


class SystemLead(Struct):
    """Whom to follow; null: nobody."""

    lead: SystemNumber | None


class SystemOffer(Struct):
    """A slot for somebody: the free one, or your own."""

    slot: Slot
    to_email: Email


class SystemOfferToken(Struct):
    """An offer you got."""

    token: OfferToken


class SystemOffered(Struct):
    """What you are offered."""

    number: str
    site_name: str
    slot: str
    kind: str
    company: Annotated[str, Meta(description="Who offers.")]
    expires_ms: Ms


class WaitingSystem(Struct):
    """A System ID that was typed, and what became of it."""

    system_id: str
    intent_id: str
    slot: str
    operation: Annotated[str, Meta(description="register or associate.")]
    number: Annotated[str | None, Meta(description="Of the registration to associate with.")]
    state: Annotated[
        str, Meta(description="waiting, done, declined, refused (see reason), cancelled or expired.")
    ]
    reason: str
    created_ms: Ms
    expires_ms: Ms


class WaitingSystems(Struct):
    """System IDs whose servers have not said yes; newest first."""

    waiting: list[WaitingSystem]


def number_of(text: str) -> int:
    """A registration's number; a text that cannot be one is a system that does not exist."""
    number = read_number(text)
    if number is None:
        raise Problem(ProblemCode.NOT_FOUND)
    return number


def outcome_of(outcome: Outcome) -> SystemOutcome:
    """What became of a proof."""
    number = None if outcome.number is None else written_number(outcome.number)
    return SystemOutcome(number, outcome.intent_id, outcome.code)


def detail_of(one: Detail) -> SystemDetail:
    """One system for one of its holders."""
    server = one.server
    return SystemDetail(
        number=written_number(one.system.number),
        system_id=one.system.system_id,
        slots=sorted(slot.value for slot in one.slots),
        holders=[SystemHolder(row.slot, row.company, row.from_ms) for row in one.holders],
        confirmed=one.system.confirmed,
        source=one.source,
        source_number=written_number(one.shown_number),
        data=one.data,
        own_data=one.own,
        writable=sorted(one.writable),
        lead=None if one.system.lead is None else written_number(one.system.lead),
        shadows=[written_number(row.number) for row in one.shadows],
        attached=[row.system_id for row in one.attached],
        kind="" if server is None else server.kind,
        version="" if server is None else server.product_version,
        uptime_s=0 if server is None else server.uptime_s,
        licences=[] if server is None else list(server.licences),
        seen_ms=0 if server is None else server.seen_ms,
        offers=[
            SystemOpenOffer(row.offer_id, row.slot, row.kind, row.company, row.to_email, row.expires_ms)
            for row in one.offers
        ],
        code="" if one.code is None else one.code.code,
    )


def waiting_of(one: IntentRow) -> WaitingSystem:
    """What the company waits for, or waited for."""
    return WaitingSystem(
        system_id=one.system_id,
        intent_id=one.intent_id,
        slot=one.slot,
        operation=Operation(one.operation).name.lower(),
        number=None if one.number is None else written_number(one.number),
        state=one.state,
        reason=one.reason,
        created_ms=one.created_ms,
        expires_ms=one.expires_ms,
    )


def offered_of(one: OfferRow) -> SystemOffered:
    """An offer, for whom it was made to."""
    return SystemOffered(
        written_number(one.number), one.site_name, one.slot, one.kind, one.company, one.expires_ms
    )
