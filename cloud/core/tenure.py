"""The life of an owned device: release, transfer, re-key, dispute, second-hand, clone suspected, stolen.

Handlers of the machine in :mod:`cloud.core.claim`; the table there says which state takes which input. What
is open on a device is a :class:`~cloud.core.device.Matter`. The owner changes by the owner's own act, by an
operator's decision, or after 14 days in which the owner was told and did not object:

===============  ==============================  ==========================================================
release          the owner asks                  at once, or when a connected device has drained (<= 60 s)
transfer         owner offers, other accepts     within 7 days; new epoch, same key
re-key           another key, right label        candidate only; owner approves: same epoch, old key revoked
dispute          another company, right label    both see it; the owner dismisses, the claimant withdraws,
                                                 an operator decides
second-hand      signed by the bound key         after 14 days released, unless the owner objects; reminders
                                                 to the owner after 3 and 7 days
second-hand      new key of a disputing          after 14 days theirs, unless the owner objects or the bound
                 claimant                        key is heard
clone suspected  two holders of the bound key    frozen until owner or operator clears it, or a re-key
stolen           the owner says so               no release, transfer, re-key, second-hand until lifted
===============  ==============================  ==========================================================

Whatever ends an ownership ends all that was open on it.
"""

from typing import Final

from cloud.core import handover
from cloud.core.device import (
    Device,
    KeyState,
    Matter,
    MatterKind,
    MatterStatus,
    Owner,
    Refusal,
    State,
)
from cloud.core.effects import (
    AlreadyYours,
    Effect,
    Ending,
    IgnoreKey,
    Notice,
    Notify,
    OpenMatter,
    Outcome,
    RecordKey,
    Refuse,
)
from cloud.core.inputs import (
    Announced,
    Claimed,
    CloneCleared,
    CloneSuspected,
    Expired,
    IllegalTransitionError,
    OwnerLeft,
    ReleaseAsked,
    ReleaseCancelled,
    StolenLifted,
    StolenMarked,
)
from cloud.core.matter import (
    SECOND_HAND_MS,
    all_open,
    close_all,
    closed,
    end_ownership,
    move_ownership,
    need,
    opened,
    owner_of,
    raise_matter,
    remind,
    reminders_due,
)
from cloud.core.settling import recorded

DRAIN_MS: Final = 60_000
"""A connected device has so long to hand over what it holds before it is released."""
FORGET_KEY_MS: Final = 86_400_000
"""A key that asks to be the device's and then falls silent is forgotten."""
MAX_REKEYS: Final = 8
MAX_DISPUTES: Final = 16
"""More than these are not kept: whoever holds a label could otherwise fill the page."""

ACTS: Final = (MatterKind.RELEASE, MatterKind.OFFER, MatterKind.SECOND_HAND)
"""What a suspicion or a theft stops."""


# --- announced, claimed -------------------------------------------------------------------------------------


def announce_owned(device: Device, what: Announced, now_ms: int) -> Outcome:
    """The owner's key is heard, or another one asks to be the device's."""
    after, before = recorded(device, what, now_ms)
    if before is not None and before.state is KeyState.REVOKED:
        return device, (IgnoreKey(what.kid),)
    bound = before is not None and before.state is KeyState.BOUND
    changed = before is None or before.smartconnect != what.smartconnect
    effects: tuple[Effect, ...] = (RecordKey(what.kid, inventory=bound, bound=bound, changed=changed),)
    after, more = _bound_key_heard(after, what, now_ms) if bound else _ask_rekey(after, what.kid, now_ms)
    return after, (*effects, *more)


def _bound_key_heard(device: Device, what: Announced, now_ms: int) -> Outcome:
    second_hand = device.remembered(MatterKind.SECOND_HAND)
    effects: tuple[Effect, ...] = ()
    if device.open(MatterKind.SECOND_HAND) and second_hand is not None and second_hand.kid is not None:
        device, effects = close_all(device, (second_hand,), MatterStatus.VOID)
        second_hand = None
    frozen = device.state in {State.STOLEN, State.CLONE_SUSPECTED, State.RELEASING}
    if not what.release or second_hand is not None or frozen:
        return device, effects
    matter = Matter(kind=MatterKind.SECOND_HAND, opened_ms=now_ms, due_ms=now_ms + SECOND_HAND_MS)
    device, more = raise_matter(device, matter, Notice.SECOND_HAND_ASKED, now_ms)
    return device, (*effects, *more)


def _ask_rekey(device: Device, kid: str, now_ms: int) -> Outcome:
    known = device.remembered(MatterKind.REKEY, kid) is not None
    if known or len(device.all_open(MatterKind.REKEY)) >= MAX_REKEYS:
        return device, ()
    matter = Matter(kind=MatterKind.REKEY, subject=kid, opened_ms=now_ms, kid=kid)
    return raise_matter(device, matter, Notice.REKEY_REQUESTED, now_ms)


def claim_owned(device: Device, what: Claimed, now_ms: int) -> Outcome:
    """Yours already; or somebody else's, who comes to know that you say it is yours."""
    owner = owner_of(device)
    if owner.company_id == what.company_id:
        return device, (AlreadyYours(owner.epoch),)
    refused = Refuse(what.claim_id, Refusal.OWNED_ELSEWHERE)
    subject = str(what.company_id)
    known = device.remembered(MatterKind.DISPUTE, subject)
    settled = known is not None and known.status is not MatterStatus.WITHDRAWN
    if settled or len(device.all_open(MatterKind.DISPUTE)) >= MAX_DISPUTES:
        return device, (refused,)
    matter = Matter(
        kind=MatterKind.DISPUTE,
        subject=subject,
        opened_ms=now_ms,
        company_id=what.company_id,
        account_id=what.account_id,
    )
    device, effects = raise_matter(device, matter, Notice.DISPUTED, now_ms)
    return device, (refused, *effects)


# --- release ------------------------------------------------------------------------------------------------


def ask_release(device: Device, _what: ReleaseAsked, now_ms: int) -> Outcome:
    """Give the device up: at once, or after a connected one has drained."""
    owner = owner_of(device)
    if device.open(MatterKind.RELEASE):
        return device, ()
    if not owner.connected:
        return end_ownership(device, Ending.RELEASED)
    device, effects = close_all(device, device.all_open(MatterKind.OFFER), MatterStatus.WITHDRAWN)
    matter = Matter(kind=MatterKind.RELEASE, opened_ms=now_ms, due_ms=now_ms + DRAIN_MS)
    told = Notify(Notice.RELEASE_ASKED, owner.company_id)
    return opened(device, matter), (*effects, OpenMatter(matter), told)


def cancel_release(device: Device, what: ReleaseCancelled, _now_ms: int) -> Outcome:
    """Keep the device after all."""
    matter = need(device, what, MatterKind.RELEASE)
    device, ended = closed(device, matter, MatterStatus.WITHDRAWN)
    return device, (ended, Notify(Notice.RELEASE_CANCELLED, owner_of(device).company_id))


def leave(device: Device, what: OwnerLeft, now_ms: int) -> Outcome:
    """The company is closed: nothing holds its devices, not even a theft mark nobody could lift any more."""
    if what.to_company_id is None:
        return end_ownership(device, Ending.OWNER_LEFT)
    if what.to_company_id == owner_of(device).company_id:
        raise IllegalTransitionError(device.state, what)
    return move_ownership(device, (what.to_company_id, what.account_id), Ending.OWNER_LEFT, now_ms)


# --- suspicion and theft ------------------------------------------------------------------------------------


def suspect_clone(device: Device, what: CloneSuspected, now_ms: int) -> Outcome:
    """Freeze: no act of one of the two holders may move the device."""
    owner = owner_of(device)
    if what.kid != owner.kid or device.open(MatterKind.CLONE):
        return device, ()
    return _stop(device, Matter(kind=MatterKind.CLONE, opened_ms=now_ms), Notice.CLONE_SUSPECTED)


def clear_clone(device: Device, what: CloneCleared, _now_ms: int) -> Outcome:
    """It was none."""
    device, ended = closed(device, need(device, what, MatterKind.CLONE), MatterStatus.DONE)
    return device, (ended, Notify(Notice.CLONE_CLEARED, owner_of(device).company_id))


def mark_stolen(device: Device, _what: StolenMarked, now_ms: int) -> Outcome:
    """Nothing may move the device until its owner lifts the mark."""
    if device.open(MatterKind.STOLEN):
        return device, ()
    return _stop(device, Matter(kind=MatterKind.STOLEN, opened_ms=now_ms), Notice.STOLEN_MARKED)


def lift_stolen(device: Device, what: StolenLifted, _now_ms: int) -> Outcome:
    """The owner has it back."""
    device, ended = closed(device, need(device, what, MatterKind.STOLEN), MatterStatus.DONE)
    return device, (ended, Notify(Notice.STOLEN_LIFTED, owner_of(device).company_id))


def _stop(device: Device, matter: Matter, notice: Notice) -> Outcome:
    stopped = tuple(one for one in all_open(device) if one.kind in ACTS)
    device, effects = close_all(device, stopped, MatterStatus.VOID)
    told = Notify(notice, owner_of(device).company_id)
    return opened(device, matter), (*effects, OpenMatter(matter), told)


# --- time ---------------------------------------------------------------------------------------------------


def due_matters(device: Device, now_ms: int) -> tuple[Matter, ...]:
    """What time alone ends or completes now, in the order in which it is looked at."""
    if device.owner is None:
        return ()
    owner = device.owner
    return tuple(one for one in all_open(device) if _is_due(device, owner, one, now_ms))


def _is_due(device: Device, owner: Owner, matter: Matter, now_ms: int) -> bool:
    over = _is_over(matter, now_ms)
    match matter.kind:
        case MatterKind.RELEASE:
            return over or not owner.connected or owner.stored_ms >= matter.opened_ms
        case MatterKind.SECOND_HAND:
            return over or _is_void(owner, matter) or reminders_due(matter, now_ms) > matter.reminded
        case MatterKind.REKEY:
            key = device.key(matter.subject)
            return key is None or now_ms - key.announced_ms > FORGET_KEY_MS
        case _:
            return over


def _is_over(matter: Matter, now_ms: int) -> bool:
    return matter.due_ms is not None and matter.due_ms <= now_ms


def _is_void(owner: Owner, matter: Matter) -> bool:
    """A request for a new key, while the bound one is heard."""
    return matter.kid is not None and owner.heard_ms > matter.opened_ms


def pass_time(device: Device, _what: Expired, now_ms: int) -> Outcome:
    """Drained releases, offers nobody took, requests nobody objected to (yet), keys that fell silent."""
    owner = owner_of(device)
    effects: tuple[Effect, ...] = ()
    for matter in sorted(due_matters(device, now_ms), key=lambda one: list(MatterKind).index(one.kind)):
        more: tuple[Effect, ...]
        match matter.kind:
            case MatterKind.RELEASE:
                device, more = end_ownership(device, Ending.RELEASED, matter)
            case MatterKind.SECOND_HAND if _is_void(owner, matter):
                device, more = close_all(device, (matter,), MatterStatus.VOID)
            case MatterKind.SECOND_HAND if _is_over(matter, now_ms):
                device, more = handover.finish_second_hand(device, matter, now_ms)
            case MatterKind.SECOND_HAND:
                device, more = remind(device, matter, now_ms)
            case MatterKind.OFFER:
                device, ended = closed(device, matter, MatterStatus.EXPIRED)
                told = Notify(Notice.OFFER_EXPIRED, owner.company_id)
                more = (ended, told, Notify(Notice.OFFER_EXPIRED, matter.company_id, matter.to_email))
            case _:
                device, ended = closed(device, matter, MatterStatus.EXPIRED)
                more = (ended,)
        effects = (*effects, *more)
        if device.owner is None or device.owner.epoch != owner.epoch:
            break
    return device, effects
