"""The claim state machine: how a device finds its owner.

Theory of operation
-------------------
A device is (Product ID, label key), so a wrong Product Key is simply *another* device that nobody has ever
seen. Two halves must meet: the device's announcement, signed by its own key and by the label key, and a
person's claim, which proves the same label key. They may come in either order, days apart.

``Device`` holds the stored facts; its ``state`` follows from them:

==========  ===================================================================
UNSEEN      nobody has announced it and nobody waits for it
CANDIDATE   announced, nobody waits for it
PENDING     one or more companies wait for it, each at most once
OWNED       exactly one company owns it, through one bound device key
==========  ===================================================================

``step(device, what, now_ms)`` looks up ``TRANSITIONS[state, kind of input]``. The handler applies the input,
then *settles*: the oldest pending claim that has a bindable key wins, the other claims are refused. A pair
that is not in the table raises IllegalTransitionError; all values are frozen, so the state stays what it was.

A key is **live** when it announced within the last 90 s by the server's clock (devices announce every
60 s ± 20 %). A key is **bindable** for a claim when it is live, has SmartConnect on, and is either the only
live key or, where the claimant has picked one by its fingerprint, that one: after a pick no other key will
do, however long the picked one stays silent. A claimant who must still pick does not hold up a later one
who has picked.

Effects are values in the order in which they must be carried out, in one transaction that holds the device's
row. The database constraint settles races; this table only decides what is asked of it. Only somebody who
holds the right label key ever reaches OWNED here, so only they learn that a device has an owner.

An announcement by another key of an owned device is recorded as a candidate and changes nothing else.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

from cloud.core.device import (
    LIVE_MS,
    ClaimState,
    Device,
    Key,
    KeyState,
    Owner,
    Pending,
    Refusal,
    State,
    Waiting,
    bindable_key,
    why_waiting,
)
from cloud.core.ownership import next_epoch

# --- inputs -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Announced:
    """A live session announced the device; both signatures and the session's nonce have been verified."""

    kid: str
    smartconnect: bool


@dataclass(frozen=True, slots=True)
class Claimed:
    """A person who holds the label wants the device for a company."""

    claim_id: str
    company_id: int
    account_id: int
    expires_ms: int


@dataclass(frozen=True, slots=True)
class Picked:
    """The claimant compared fingerprints and picked this key."""

    claim_id: str
    kid: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The claimant no longer waits."""

    claim_id: str


@dataclass(frozen=True, slots=True)
class Expired:
    """Time has passed: every claim whose time is over ends."""


Input = Announced | Claimed | Picked | Cancelled | Expired


# --- effects ------------------------------------------------------------------------------------------------


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


Effect = RecordKey | IgnoreKey | AddClaim | SetPick | EndClaim | Bind | Refuse | Wait | AlreadyYours
Outcome = tuple[Device, tuple[Effect, ...]]


class IllegalTransitionError(Exception):
    """An input that has no meaning in this state; nothing was changed."""

    def __init__(self, state: State, what: Input) -> None:
        super().__init__(f"{type(what).__name__} has no meaning while a device is {state}")
        self.state = state
        self.what = what


# --- rules --------------------------------------------------------------------------------------------------


def _settle(device: Device, now_ms: int) -> Outcome:
    """Bind the oldest claim that has a bindable key and refuse the others; else say what each lacks."""
    waiting = tuple(sorted(device.pending, key=lambda claim: (claim.created_ms, claim.claim_id)))
    for claim in waiting:
        key = bindable_key(device, claim, now_ms)
        if key is not None:
            refused = tuple(
                Refuse(other.claim_id, Refusal.OWNED_ELSEWHERE) for other in waiting if other is not claim
            )
            return _bound(device, claim, key, now_ms), (Bind(claim.claim_id, key.kid), *refused)
    return device, tuple(Wait(claim.claim_id, why_waiting(device, claim, now_ms)) for claim in waiting)


def _bound(device: Device, claim: Pending, winner: Key, now_ms: int) -> Device:
    epoch = next_epoch(device.last_epoch, now_ms)
    keys = tuple(replace(key, state=KeyState.BOUND) if key is winner else key for key in device.keys)
    return Device(keys, (), Owner(claim.company_id, winner.kid, epoch), epoch)


def _recorded(device: Device, what: Announced, now_ms: int) -> tuple[Device, Key | None]:
    """The device with this announcement, and the key as it was before."""
    before = device.key(what.kid)
    state = KeyState.CANDIDATE if before is None else before.state
    after = Key(what.kid, state, now_ms, what.smartconnect)
    if before is None:
        return replace(device, keys=(*device.keys, after)), None
    return replace(device, keys=tuple(after if key is before else key for key in device.keys)), before


def _pending_claim(device: Device, claim_id: str, what: Input) -> Pending:
    for claim in device.pending:
        if claim.claim_id == claim_id:
            return claim
    raise IllegalTransitionError(device.state, what)


# --- handlers -----------------------------------------------------------------------------------------------


def _announce(device: Device, what: Announced, now_ms: int) -> Outcome:
    after, before = _recorded(device, what, now_ms)
    if before is not None and before.state is KeyState.REVOKED:
        return device, (IgnoreKey(what.kid),)
    changed = (
        before is None or before.smartconnect != what.smartconnect or now_ms - before.announced_ms > LIVE_MS
    )
    settled, effects = _settle(after, now_ms)
    return settled, (RecordKey(what.kid, inventory=True, bound=False, changed=changed), *effects)


def _announce_owned(device: Device, what: Announced, now_ms: int) -> Outcome:
    after, before = _recorded(device, what, now_ms)
    if before is not None and before.state is KeyState.REVOKED:
        return device, (IgnoreKey(what.kid),)
    bound = before is not None and before.state is KeyState.BOUND
    changed = before is None or before.smartconnect != what.smartconnect
    return after, (RecordKey(what.kid, inventory=bound, bound=bound, changed=changed),)


def _claim(device: Device, what: Claimed, now_ms: int) -> Outcome:
    if any(claim.company_id == what.company_id for claim in device.pending):
        return _settle(device, now_ms)
    created_ms = max([now_ms, *(claim.created_ms + 1 for claim in device.pending)])
    claim = Pending(what.claim_id, what.company_id, what.account_id, created_ms, what.expires_ms)
    settled, effects = _settle(replace(device, pending=(*device.pending, claim)), now_ms)
    return settled, (AddClaim(claim), *effects)


def _claim_owned(device: Device, what: Claimed, now_ms: int) -> Outcome:  # noqa: ARG001  one signature for all
    if device.owner is not None and device.owner.company_id == what.company_id:
        return device, (AlreadyYours(device.owner.epoch),)
    return device, (Refuse(what.claim_id, Refusal.OWNED_ELSEWHERE),)


def _pick(device: Device, what: Picked, now_ms: int) -> Outcome:
    claim = _pending_claim(device, what.claim_id, what)
    key = device.key(what.kid)
    if key is None or key.state is KeyState.REVOKED:
        raise IllegalTransitionError(device.state, what)
    picked = replace(claim, picked_kid=what.kid)
    after = replace(device, pending=tuple(picked if one is claim else one for one in device.pending))
    settled, effects = _settle(after, now_ms)
    return settled, (SetPick(what.claim_id, what.kid), *effects)


def _cancel(device: Device, what: Cancelled, now_ms: int) -> Outcome:  # noqa: ARG001  one signature for all
    claim = _pending_claim(device, what.claim_id, what)
    rest = tuple(one for one in device.pending if one is not claim)
    return replace(device, pending=rest), (EndClaim(what.claim_id, ClaimState.CANCELLED),)


def _expire(device: Device, _what: Expired, now_ms: int) -> Outcome:
    over = tuple(claim for claim in device.pending if claim.expires_ms <= now_ms)
    rest = tuple(claim for claim in device.pending if claim not in over)
    ended = tuple(EndClaim(claim.claim_id, ClaimState.EXPIRED) for claim in over)
    return replace(device, pending=rest), ended


def _ignore(device: Device, _what: Input, _now_ms: int) -> Outcome:
    return device, ()


Handler = Callable[[Device, Any, int], Outcome]

TRANSITIONS: Final[Mapping[tuple[State, type[Input]], Handler]] = MappingProxyType(
    {
        (State.UNSEEN, Announced): _announce,
        (State.UNSEEN, Claimed): _claim,
        (State.CANDIDATE, Announced): _announce,
        (State.CANDIDATE, Claimed): _claim,
        (State.PENDING, Announced): _announce,
        (State.PENDING, Claimed): _claim,
        (State.PENDING, Picked): _pick,
        (State.PENDING, Cancelled): _cancel,
        (State.PENDING, Expired): _expire,
        (State.OWNED, Announced): _announce_owned,
        (State.OWNED, Claimed): _claim_owned,
        (State.OWNED, Picked): _ignore,
        (State.OWNED, Cancelled): _ignore,
        (State.OWNED, Expired): _ignore,
    }
)
"""The machine. A pair that is missing is illegal."""


def step(device: Device, what: Input, now_ms: int) -> Outcome:
    """The device after an input, and what must be done. IllegalTransitionError changes nothing."""
    handler = TRANSITIONS.get((device.state, type(what)))
    if handler is None:
        raise IllegalTransitionError(device.state, what)
    return handler(device, what, now_ms)


def decide(device: Device, what: Input, now_ms: int) -> Outcome:
    """``step``, after the claims whose time is over have ended: what a shell calls."""
    if not any(claim.expires_ms <= now_ms for claim in device.pending):
        return step(device, what, now_ms)
    device, ended = step(device, Expired(), now_ms)
    if isinstance(what, Expired):
        return device, ended
    device, effects = step(device, what, now_ms)
    return device, (*ended, *effects)
