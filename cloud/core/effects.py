"""What must be done about a device: the effects of its state machine (:mod:`cloud.core.claim`).

They are carried out in their order, in one transaction that holds the device's row.
"""

from dataclasses import dataclass
from enum import StrEnum

from cloud.core.device import ClaimState, Device, Matter, MatterKind, MatterStatus, Pending, Refusal, Waiting


@dataclass(frozen=True, slots=True)
class RecordKey:
    """Store the announcement.

    ``inventory``: its model, serial number… are the device's; ``bound``: it is the owner's key;
    ``changed``: a page or a hello shows something else now.
    """

    kid: str
    inventory: bool
    bound: bool
    changed: bool


@dataclass(frozen=True, slots=True)
class IgnoreKey:
    """A revoked key announces: store nothing."""

    kid: str


@dataclass(frozen=True, slots=True)
class AddClaim:
    """Store a pending claim."""

    claim: Pending


@dataclass(frozen=True, slots=True)
class SetPick:
    """Store which key the claimant picked."""

    claim_id: str
    kid: str


@dataclass(frozen=True, slots=True)
class EndClaim:
    """Store that a pending claim expired or was cancelled."""

    claim_id: str
    state: ClaimState


@dataclass(frozen=True, slots=True)
class Bind:
    """Make the claimant the owner, through this key."""

    claim_id: str
    kid: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """Tell a claimant that the device is somebody else's."""

    claim_id: str
    reason: Refusal


@dataclass(frozen=True, slots=True)
class Wait:
    """The claim stays pending, and why."""

    claim_id: str
    reason: Waiting


@dataclass(frozen=True, slots=True)
class AlreadyYours:
    """The claimant's company owns the device."""

    epoch: int


# --- while it is owned --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OpenMatter:
    """Store that this is open now."""

    matter: Matter


@dataclass(frozen=True, slots=True)
class CloseMatter:
    """Store how an open matter ended."""

    kind: MatterKind
    subject: str
    status: MatterStatus


@dataclass(frozen=True, slots=True)
class NoteReminder:
    """Store that so many reminders of this open matter are out."""

    kind: MatterKind
    subject: str
    reminded: int


class Ending(StrEnum):
    """Why an ownership ended, or went on with another key. Stored; append only."""

    RELEASED = "released"
    TRANSFERRED = "transferred"
    SECOND_HAND = "second_hand"
    DISPUTE_GRANTED = "dispute_granted"
    OWNER_LEFT = "owner_left"


@dataclass(frozen=True, slots=True)
class EndOwnership:
    """The device has no owner from now on; its key may be claimed again."""

    epoch: int
    reason: Ending


@dataclass(frozen=True, slots=True)
class MoveOwnership:
    """The device is another company's from now on, with the key it has; ``account_id`` took it."""

    epoch: int
    company_id: int
    account_id: int | None
    reason: Ending


@dataclass(frozen=True, slots=True)
class Rekey:
    """The device goes on with this key in the same ownership; the old key is revoked."""

    epoch: int
    kid: str


class Notice(StrEnum):
    """What a mail tells. Stored; append only."""

    RELEASE_ASKED = "release_asked"
    RELEASE_CANCELLED = "release_cancelled"
    RELEASED = "released"
    OFFERED = "offered"
    OFFER_TAKEN = "offer_taken"
    OFFER_DECLINED = "offer_declined"
    OFFER_WITHDRAWN = "offer_withdrawn"
    OFFER_EXPIRED = "offer_expired"
    RECEIVED = "received"
    REKEY_REQUESTED = "rekey_requested"
    REKEYED = "rekeyed"
    REKEY_DISMISSED = "rekey_dismissed"
    DISPUTED = "disputed"
    DISPUTE_DISMISSED = "dispute_dismissed"
    DISPUTE_WITHDRAWN = "dispute_withdrawn"
    LOST = "lost"
    SECOND_HAND_ASKED = "second_hand_asked"
    SECOND_HAND_REMINDER = "second_hand_reminder"
    SECOND_HAND_REFUSED = "second_hand_refused"
    SECOND_HAND_DONE = "second_hand_done"
    CLONE_SUSPECTED = "clone_suspected"
    CLONE_CLEARED = "clone_cleared"
    STOLEN_MARKED = "stolen_marked"
    STOLEN_LIFTED = "stolen_lifted"


@dataclass(frozen=True, slots=True)
class Notify:
    """Tell a company, or whoever reads this e-mail address; ``due_ms``: what happens then."""

    kind: Notice
    company_id: int | None = None
    to_email: str | None = None
    due_ms: int | None = None


Effect = (
    RecordKey
    | IgnoreKey
    | AddClaim
    | SetPick
    | EndClaim
    | Bind
    | Refuse
    | Wait
    | AlreadyYours
    | OpenMatter
    | CloseMatter
    | NoteReminder
    | EndOwnership
    | MoveOwnership
    | Rekey
    | Notify
)
Outcome = tuple[Device, tuple[Effect, ...]]
