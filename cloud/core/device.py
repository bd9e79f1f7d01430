"""What the cloud knows of a device and of the claims on it, and the rules that follow from those facts alone.

The facts are stored; states and reasons are computed from them and the clock (design section 3). The inputs
that change them are in :mod:`cloud.core.claim`.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

LIVE_MS: Final = 90_000
"""An announcement counts as live this long: one of 60 s + 20 %, and some slack."""


class State(StrEnum):
    """Where a device stands."""

    UNSEEN = "unseen"
    CANDIDATE = "candidate"
    PENDING = "pending"
    OWNED = "owned"


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
    """The live ownership."""

    company_id: int
    kid: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Device:
    """All that a decision about a device rests on."""

    keys: tuple[Key, ...] = ()
    pending: tuple[Pending, ...] = ()
    owner: Owner | None = None
    last_epoch: int = 0

    @property
    def state(self) -> State:
        """The state these facts mean."""
        if self.owner is not None:
            return State.OWNED
        if self.pending:
            return State.PENDING
        return State.CANDIDATE if self.keys else State.UNSEEN

    def key(self, kid: str) -> Key | None:
        """The key of this name."""
        return next((key for key in self.keys if key.kid == kid), None)


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
