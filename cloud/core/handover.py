"""How a device comes to another company or another key: transfer, re-key, dispute, second-hand.

Handlers of the machine in :mod:`cloud.core.claim`; :mod:`cloud.core.tenure` tells the rules.
"""

from dataclasses import replace
from typing import Final

from cloud.core.device import (
    LIVE_MS,
    Device,
    Key,
    KeyState,
    Matter,
    MatterKind,
    MatterStatus,
    Owner,
    Pending,
)
from cloud.core.effects import (
    AddClaim,
    Ending,
    Notice,
    Notify,
    OpenMatter,
    Outcome,
    Rekey,
    SetPick,
)
from cloud.core.inputs import (
    DisputeDismissed,
    DisputeGranted,
    DisputeWithdrawn,
    IllegalTransitionError,
    Objected,
    OfferDeclined,
    Offered,
    OfferTaken,
    OfferWithdrawn,
    RekeyApproved,
    RekeyDismissed,
    SecondHandAsked,
)
from cloud.core.matter import (
    SECOND_HAND_MS,
    close_all,
    closed,
    end_ownership,
    move_ownership,
    need,
    opened,
    owner_of,
    raise_matter,
)
from cloud.core.settling import settle

OFFER_MS: Final = 7 * 86_400_000
SECOND_HAND_CLAIM_MS: Final = 7 * 86_400_000
"""A second-hand device has so long to announce itself once it is free."""


# --- transfer -----------------------------------------------------------------------------------------------


def offer(device: Device, what: Offered, now_ms: int) -> Outcome:
    """Offer the device; an earlier offer is withdrawn."""
    owner = owner_of(device)
    if what.to_company_id == owner.company_id:
        raise IllegalTransitionError(device.state, what)
    device, effects = close_all(device, device.all_open(MatterKind.OFFER), MatterStatus.WITHDRAWN)
    matter = Matter(
        kind=MatterKind.OFFER,
        opened_ms=now_ms,
        due_ms=now_ms + OFFER_MS,
        told_ms=now_ms,
        company_id=what.to_company_id,
        account_id=what.account_id,
        ref=what.offer_id,
        to_email=what.to_email,
        secret_hash=what.secret_hash,
    )
    told = Notify(Notice.OFFERED, what.to_company_id, what.to_email)
    return opened(device, matter), (*effects, OpenMatter(matter), told)


def take_offer(device: Device, what: OfferTaken, now_ms: int) -> Outcome:
    """Accept: the device is the other company's, in a new epoch."""
    matter = need(device, what, MatterKind.OFFER)
    if what.company_id == owner_of(device).company_id:
        raise IllegalTransitionError(device.state, what)
    return move_ownership(device, (what.company_id, what.account_id), Ending.TRANSFERRED, now_ms, matter)


def decline_offer(device: Device, what: OfferDeclined, _now_ms: int) -> Outcome:
    """Say no."""
    device, ended = closed(device, need(device, what, MatterKind.OFFER), MatterStatus.DECLINED)
    return device, (ended, Notify(Notice.OFFER_DECLINED, owner_of(device).company_id))


def withdraw_offer(device: Device, what: OfferWithdrawn, _now_ms: int) -> Outcome:
    """Take the offer back."""
    return close_all(device, (need(device, what, MatterKind.OFFER),), MatterStatus.WITHDRAWN)


# --- re-key -------------------------------------------------------------------------------------------------


def approve_rekey(device: Device, what: RekeyApproved, _now_ms: int) -> Outcome:
    """The device has a new key: the old one is revoked, and whatever its holder began is void."""
    owner = owner_of(device)
    matter = need(device, what, MatterKind.REKEY, what.kid)
    key = device.key(what.kid)
    if key is None or key.state is not KeyState.CANDIDATE:
        raise IllegalTransitionError(device.state, what)
    void = (*device.all_open(MatterKind.CLONE), *device.all_open(MatterKind.SECOND_HAND))
    device, effects = close_all(device, void, MatterStatus.VOID)
    device, ended = closed(device, matter, MatterStatus.DONE)
    states = {what.kid: KeyState.BOUND, owner.kid: KeyState.REVOKED}
    after = replace(
        device,
        keys=tuple(replace(one, state=states.get(one.kid, one.state)) for one in device.keys),
        owner=Owner(owner.company_id, what.kid, owner.epoch, stored_ms=owner.stored_ms),
    )
    return after, (
        *effects,
        ended,
        Rekey(owner.epoch, what.kid),
        Notify(Notice.REKEYED, owner.company_id),
    )


def dismiss_rekey(device: Device, what: RekeyDismissed, _now_ms: int) -> Outcome:
    """The key stays a stranger, however often it announces."""
    matter = need(device, what, MatterKind.REKEY, what.kid)
    device, ended = closed(device, matter, MatterStatus.DISMISSED)
    return device, (ended, Notify(Notice.REKEY_DISMISSED, owner_of(device).company_id))


# --- dispute ------------------------------------------------------------------------------------------------


def dismiss_dispute(device: Device, what: DisputeDismissed, _now_ms: int) -> Outcome:
    """Not theirs: what the claimant began is refused, and their further claims open nothing."""
    matter = need(device, what, MatterKind.DISPUTE, str(what.company_id))
    device, ended = closed(device, matter, MatterStatus.DISMISSED)
    asked = tuple(one for one in device.all_open(MatterKind.SECOND_HAND) if one.company_id == what.company_id)
    device, effects = close_all(device, asked, MatterStatus.DISMISSED)
    return device, (ended, *effects, Notify(Notice.DISPUTE_DISMISSED, what.company_id))


def withdraw_dispute(device: Device, what: DisputeWithdrawn, _now_ms: int) -> Outcome:
    """The claimant gives up."""
    matter = need(device, what, MatterKind.DISPUTE, str(what.company_id))
    device, ended = closed(device, matter, MatterStatus.WITHDRAWN)
    asked = tuple(one for one in device.all_open(MatterKind.SECOND_HAND) if one.company_id == what.company_id)
    device, effects = close_all(device, asked, MatterStatus.VOID)
    return device, (ended, *effects, Notify(Notice.DISPUTE_WITHDRAWN, owner_of(device).company_id))


def grant_dispute(device: Device, what: DisputeGranted, now_ms: int) -> Outcome:
    """An operator gives the device to the claimant."""
    matter = need(device, what, MatterKind.DISPUTE, str(what.company_id))
    to = (what.company_id, matter.account_id)
    return move_ownership(device, to, Ending.DISPUTE_GRANTED, now_ms, matter)


# --- second-hand --------------------------------------------------------------------------------------------


def ask_second_hand(device: Device, what: SecondHandAsked, now_ms: int) -> Outcome:
    """A claimant in dispute has the device, with a new key, and nobody hears the bound one."""
    need(device, what, MatterKind.DISPUTE, str(what.company_id))
    key = device.key(what.kid)
    known = device.remembered(MatterKind.SECOND_HAND) is not None
    if known or owner_of(device).connected or key is None or not _may_take_over(key, now_ms):
        raise IllegalTransitionError(device.state, what)
    matter = Matter(
        kind=MatterKind.SECOND_HAND,
        opened_ms=now_ms,
        due_ms=now_ms + SECOND_HAND_MS,
        company_id=what.company_id,
        account_id=what.account_id,
        kid=what.kid,
        ref=what.claim_id,
    )
    return raise_matter(device, matter, Notice.SECOND_HAND_ASKED, now_ms)


def _may_take_over(key: Key, now_ms: int) -> bool:
    live = now_ms - key.announced_ms <= LIVE_MS
    return key.state is KeyState.CANDIDATE and key.smartconnect and live


def object_second_hand(device: Device, what: Objected, _now_ms: int) -> Outcome:
    """The owner is there: the answer holds for this ownership."""
    return close_all(device, (need(device, what, MatterKind.SECOND_HAND),), MatterStatus.DISMISSED)


def finish_second_hand(device: Device, matter: Matter, now_ms: int) -> Outcome:
    """Nobody objected: free, and the claimant's new key gets it as soon as it announces."""
    device, effects = end_ownership(device, Ending.SECOND_HAND, matter)
    if matter.kid is None or matter.ref is None or matter.company_id is None or matter.account_id is None:
        return device, effects
    claim = Pending(
        matter.ref, matter.company_id, matter.account_id, now_ms, now_ms + SECOND_HAND_CLAIM_MS, matter.kid
    )
    told = Notify(Notice.SECOND_HAND_DONE, matter.company_id)
    device, settled = settle(replace(device, pending=(claim,)), now_ms)
    return device, (*effects, AddClaim(claim), SetPick(claim.claim_id, matter.kid), told, *settled)
