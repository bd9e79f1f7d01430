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
OWNED       exactly one company owns it, through one bound device key; while something is open on it, its
            state is named after the gravest: OFFERED, REKEY_REQUESTED, SECOND_HAND, DISPUTED, RELEASING,
            CLONE_SUSPECTED, STOLEN
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

What an owned device takes is in :mod:`cloud.core.tenure`; inputs and effects are in modules of their own.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from cloud.core import handover, tenure
from cloud.core.device import LIVE_MS, ClaimState, Device, KeyState, Pending, State
from cloud.core.effects import (
    AddClaim,
    AlreadyYours,
    Bind,
    Effect,
    EndClaim,
    IgnoreKey,
    Outcome,
    RecordKey,
    Refuse,
    SetPick,
    Wait,
)
from cloud.core.inputs import (
    Announced,
    Cancelled,
    Claimed,
    CloneCleared,
    CloneSuspected,
    DisputeDismissed,
    DisputeGranted,
    DisputeWithdrawn,
    Expired,
    IllegalTransitionError,
    Input,
    Objected,
    OfferDeclined,
    Offered,
    OfferTaken,
    OfferWithdrawn,
    OwnerLeft,
    Picked,
    RekeyApproved,
    RekeyDismissed,
    ReleaseAsked,
    ReleaseCancelled,
    SecondHandAsked,
    StolenLifted,
    StolenMarked,
)
from cloud.core.settling import recorded, settle

__all__ = [
    "TRANSITIONS",
    "AddClaim",
    "AlreadyYours",
    "Announced",
    "Bind",
    "Cancelled",
    "Claimed",
    "Effect",
    "EndClaim",
    "Expired",
    "IgnoreKey",
    "IllegalTransitionError",
    "Input",
    "Outcome",
    "Picked",
    "RecordKey",
    "Refuse",
    "SetPick",
    "Wait",
    "decide",
    "step",
]

# --- handlers while nobody owns it --------------------------------------------------------------------------


def _pending_claim(device: Device, claim_id: str, what: Input) -> Pending:
    for claim in device.pending:
        if claim.claim_id == claim_id:
            return claim
    raise IllegalTransitionError(device.state, what)


def _announce(device: Device, what: Announced, now_ms: int) -> Outcome:
    after, before = recorded(device, what, now_ms)
    if before is not None and before.state is KeyState.REVOKED:
        return device, (IgnoreKey(what.kid),)
    changed = (
        before is None or before.smartconnect != what.smartconnect or now_ms - before.announced_ms > LIVE_MS
    )
    settled, effects = settle(after, now_ms)
    return settled, (RecordKey(what.kid, inventory=True, bound=False, changed=changed), *effects)


def _claim(device: Device, what: Claimed, now_ms: int) -> Outcome:
    if any(claim.company_id == what.company_id for claim in device.pending):
        return settle(device, now_ms)
    created_ms = max([now_ms, *(claim.created_ms + 1 for claim in device.pending)])
    claim = Pending(what.claim_id, what.company_id, what.account_id, created_ms, what.expires_ms)
    settled, effects = settle(replace(device, pending=(*device.pending, claim)), now_ms)
    return settled, (AddClaim(claim), *effects)


def _pick(device: Device, what: Picked, now_ms: int) -> Outcome:
    claim = _pending_claim(device, what.claim_id, what)
    key = device.key(what.kid)
    if key is None or key.state is KeyState.REVOKED:
        raise IllegalTransitionError(device.state, what)
    picked = replace(claim, picked_kid=what.kid)
    after = replace(device, pending=tuple(picked if one is claim else one for one in device.pending))
    settled, effects = settle(after, now_ms)
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

FREE: Final[Mapping[type[Input], Handler]] = {
    Announced: tenure.announce_owned,
    Claimed: tenure.claim_owned,
    Picked: _ignore,
    Cancelled: _ignore,
    Expired: tenure.pass_time,
    ReleaseAsked: tenure.ask_release,
    Offered: handover.offer,
    CloneSuspected: tenure.suspect_clone,
    StolenMarked: tenure.mark_stolen,
    OwnerLeft: tenure.leave,
}
"""What an owned device takes on which nothing is open."""
ANSWERS: Final[Mapping[type[Input], Handler]] = {
    RekeyDismissed: handover.dismiss_rekey,
    DisputeDismissed: handover.dismiss_dispute,
    DisputeWithdrawn: handover.withdraw_dispute,
}
"""Answers that move nothing: taken whatever else is open."""
OPEN: Final[Mapping[type[Input], Handler]] = {
    **FREE,
    **ANSWERS,
    OfferTaken: handover.take_offer,
    OfferDeclined: handover.decline_offer,
    OfferWithdrawn: handover.withdraw_offer,
    RekeyApproved: handover.approve_rekey,
    DisputeGranted: handover.grant_dispute,
    SecondHandAsked: handover.ask_second_hand,
    Objected: handover.object_second_hand,
}
"""What it takes while offers, other keys or claimants wait for an answer; their handlers look for theirs."""
_MOVES: Final = (ReleaseAsked, Offered, OfferTaken, DisputeGranted, SecondHandAsked, RekeyApproved)

OWNED: Final[Mapping[State, Mapping[type[Input], Handler]]] = {
    State.OWNED: FREE,
    State.OFFERED: OPEN,
    State.REKEY_REQUESTED: OPEN,
    State.SECOND_HAND: OPEN,
    State.DISPUTED: OPEN,
    State.RELEASING: {
        **{what: handler for what, handler in FREE.items() if what is not Offered},
        **ANSWERS,
        ReleaseCancelled: tenure.cancel_release,
        Objected: handover.object_second_hand,
    },
    State.CLONE_SUSPECTED: {
        **{what: handler for what, handler in OPEN.items() if what not in _MOVES},
        RekeyApproved: handover.approve_rekey,
        CloneCleared: tenure.clear_clone,
    },
    State.STOLEN: {
        **{what: handler for what, handler in OPEN.items() if what not in _MOVES},
        CloneCleared: tenure.clear_clone,
        StolenLifted: tenure.lift_stolen,
    },
}

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
        **{(state, what): handler for state, row in OWNED.items() for what, handler in row.items()},
    }
)
"""The machine. A pair that is missing is illegal."""


def step(device: Device, what: Input, now_ms: int) -> Outcome:
    """The device after an input, and what must be done. IllegalTransitionError changes nothing."""
    handler = TRANSITIONS.get((device.state, type(what)))
    if handler is None:
        raise IllegalTransitionError(device.state, what)
    return handler(device, what, now_ms)


def is_due(device: Device, now_ms: int) -> bool:
    """Whether time alone changes this device now."""
    if any(claim.expires_ms <= now_ms for claim in device.pending):
        return True
    return bool(tenure.due_matters(device, now_ms))


def decide(device: Device, what: Input, now_ms: int) -> Outcome:
    """``step``, after whatever is due by now has happened: what a shell calls."""
    if not is_due(device, now_ms):
        return step(device, what, now_ms)
    device, ended = step(device, Expired(), now_ms)
    if isinstance(what, Expired):
        return device, ended
    device, effects = step(device, what, now_ms)
    return device, (*ended, *effects)
