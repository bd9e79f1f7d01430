"""What the cloud knows of a device and of the claims on it, and the rules that follow from those facts alone.

The facts are stored; states and reasons are computed from them and the clock, as docs/claiming.md
and docs/owning.md describe. The inputs that change them are in :mod:`cloud.core.claim`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

LIVE_MS: Final = 90_000
"""An announcement counts as live this long: one of 60 s + 20 %, and some slack."""


class State(StrEnum):
    """Where a device stands. Those after OWNED are owned devices on which something is open."""

    UNSEEN = "unseen"
    CANDIDATE = "candidate"
    PENDING = "pending"
    OWNED = "owned"
    OFFERED = "offered"
    REKEY_REQUESTED = "rekey_requested"
    SECOND_HAND = "second_hand"
    DISPUTED = "disputed"
    RELEASING = "releasing"
    CLONE_SUSPECTED = "clone_suspected"
    STOLEN = "stolen"


class MatterKind(StrEnum):
    """What can be open on an owned device. Stored; append only."""

    RELEASE = "release"
    OFFER = "offer"
    REKEY = "rekey"
    DISPUTE = "dispute"
    SECOND_HAND = "second_hand"
    CLONE = "clone"
    STOLEN = "stolen"


class MatterStatus(StrEnum):
    """How a matter stands or ended. Stored; append only."""

    OPEN = "open"
    DONE = "done"
    DISMISSED = "dismissed"
    """The owner said no."""
    WITHDRAWN = "withdrawn"
    """Who began it took it back."""
    DECLINED = "declined"
    EXPIRED = "expired"
    VOID = "void"
    """Something else ended it."""


class KeyState(StrEnum):
    """What a device key is to its device. Stored; append only."""

    CANDIDATE = "candidate"
    BOUND = "bound"
    REVOKED = "revoked"


class ClaimState(StrEnum):
    """How far a claim came. Stored; append only."""

    PENDING = "pending"
    WON = "won"
    REFUSED = "refused"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class Refusal(StrEnum):
    """Why a claim is refused. Stored; append only."""

    OWNED_ELSEWHERE = "owned_elsewhere"


class Waiting(StrEnum):
    """Why a claim cannot be decided yet."""

    FOR_DEVICE = "waiting_for_device"
    SMARTCONNECT_OFF = "smartconnect_off"
    SEVERAL_KEYS = "several_keys"


@dataclass(frozen=True, slots=True)
class Key:
    """A device key that has announced itself for this device."""

    kid: str
    state: KeyState
    announced_ms: int
    smartconnect: bool


@dataclass(frozen=True, slots=True)
class Pending:
    """A company that waits for this device. ``created_ms`` gives the order and never repeats."""

    claim_id: str
    company_id: int
    account_id: int
    created_ms: int
    expires_ms: int
    picked_kid: str | None = None


@dataclass(frozen=True, slots=True)
class Owner:
    """The live ownership, and what was heard through it."""

    company_id: int
    kid: str
    epoch: int
    connected: bool = False
    heard_ms: int = 0
    """Server's clock when the bound key was last heard; 0: not yet in this ownership."""
    stored_ms: int = 0
    """Time of the newest stored sample of this ownership."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matter:
    """Something that is open, or was and is remembered, on an owned device: one a kind and subject.

    ``subject``: the claimant's company for a dispute, the key for a re-key, else empty. ``company_id`` and
    ``account_id``: who asks, or is offered the device. ``ref`` names the offer, or the claim that a
    second-hand request will become. A second-hand request without ``kid`` is the bound key's own.
    """

    kind: MatterKind
    subject: str = ""
    opened_ms: int
    due_ms: int | None = None
    status: MatterStatus = MatterStatus.OPEN
    told_ms: int = 0
    """When the owner was told of it; 0: not at all, because of others of its kind."""
    reminded: int = 0
    """How many reminders the owner had of a second-hand request."""
    company_id: int | None = None
    account_id: int | None = None
    kid: str | None = None
    ref: str | None = None
    to_email: str | None = None
    secret_hash: bytes | None = None


REMEMBERED: Final = frozenset({MatterKind.REKEY, MatterKind.DISPUTE, MatterKind.SECOND_HAND})
"""Kinds whose refusal holds for the rest of the ownership."""
REFUSED: Final = frozenset({MatterStatus.DISMISSED, MatterStatus.WITHDRAWN})

STATE_OF: Final[Mapping[MatterKind, State]] = MappingProxyType(
    {
        MatterKind.STOLEN: State.STOLEN,
        MatterKind.CLONE: State.CLONE_SUSPECTED,
        MatterKind.RELEASE: State.RELEASING,
        MatterKind.DISPUTE: State.DISPUTED,
        MatterKind.SECOND_HAND: State.SECOND_HAND,
        MatterKind.REKEY: State.REKEY_REQUESTED,
        MatterKind.OFFER: State.OFFERED,
    }
)
"""The state that an open matter means, the gravest first: the state of a device is that of its gravest."""


@dataclass(frozen=True, slots=True)
class Device:
    """All that a decision about a device rests on."""

    keys: tuple[Key, ...] = ()
    pending: tuple[Pending, ...] = ()
    owner: Owner | None = None
    last_epoch: int = 0
    matters: tuple[Matter, ...] = ()

    @property
    def state(self) -> State:
        """The state these facts mean."""
        if self.owner is not None:
            kinds = {matter.kind for matter in self.matters if matter.status is MatterStatus.OPEN}
            return next((state for kind, state in STATE_OF.items() if kind in kinds), State.OWNED)
        if self.pending:
            return State.PENDING
        return State.CANDIDATE if self.keys else State.UNSEEN

    def key(self, kid: str) -> Key | None:
        """The key of this name."""
        return next((key for key in self.keys if key.kid == kid), None)

    def open(self, kind: MatterKind, subject: str = "") -> Matter | None:
        """The open matter of this kind and subject."""
        found = self.remembered(kind, subject)
        return found if found is not None and found.status is MatterStatus.OPEN else None

    def remembered(self, kind: MatterKind, subject: str = "") -> Matter | None:
        """The matter of this kind and subject, open or refused."""
        return next((one for one in self.matters if (one.kind, one.subject) == (kind, subject)), None)

    def all_open(self, kind: MatterKind) -> tuple[Matter, ...]:
        """All open matters of a kind."""
        return tuple(one for one in self.matters if one.kind is kind and one.status is MatterStatus.OPEN)


def live_keys(device: Device, now_ms: int) -> tuple[Key, ...]:
    """Keys that announced lately and were not revoked."""
    return tuple(
        key
        for key in device.keys
        if key.state is not KeyState.REVOKED and now_ms - key.announced_ms <= LIVE_MS
    )


def bindable_key(device: Device, claim: Pending, now_ms: int) -> Key | None:
    """The key this claim may be bound through now (see *bindable* above)."""
    found = _chosen_key(device, claim, now_ms)
    return found if isinstance(found, Key) and found.smartconnect else None


def why_waiting(device: Device, claim: Pending, now_ms: int) -> Waiting:
    """What a pending claim lacks. A claim that lacks nothing is bound by the next announcement."""
    found = _chosen_key(device, claim, now_ms)
    if isinstance(found, Waiting):
        return found
    return Waiting.FOR_DEVICE if found.smartconnect else Waiting.SMARTCONNECT_OFF


def _chosen_key(device: Device, claim: Pending, now_ms: int) -> Key | Waiting:
    live = live_keys(device, now_ms)
    if not live:
        return Waiting.FOR_DEVICE
    if claim.picked_kid is not None:
        return next((key for key in live if key.kid == claim.picked_kid), Waiting.SEVERAL_KEYS)
    return live[0] if len(live) == 1 else Waiting.SEVERAL_KEYS
