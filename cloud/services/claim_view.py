"""What people see of a claim: one value, computed from the stored claim, the device's facts and the clock."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cloud.core.device import ClaimState, Device, Waiting, live_keys, why_waiting
from cloud.postgres.claims import ClaimRow
from protocol.identity import ProductId, fingerprint_of


class ViewState(StrEnum):
    """What the page of a claim shows. Append only: programs read it too."""

    WAITING_FOR_DEVICE = "waiting_for_device"
    SMARTCONNECT_OFF = "smartconnect_off"
    SEVERAL_KEYS = "several_keys"
    WON = "won"
    REFUSED = "refused"
    EXPIRED = "expired"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether nothing more will come of this claim."""
        return self in {ViewState.WON, ViewState.REFUSED, ViewState.EXPIRED, ViewState.CANCELLED}


ALREADY_YOURS: Final = "already_yours"
"""Reason of a won view: the device was the company's before this request."""


@dataclass(frozen=True, slots=True)
class KeyView:
    """A device key that announces, as a claimant who must pick one sees it."""

    kid: str
    fingerprint: str
    smartconnect: bool
    announced_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimView:
    """A claim as its company may see it; the words are the portal's. ``keys`` only while it waits.

    ``claim_id`` is None where the company owns the device without a claim of its own. ``reason``:
    ``owned_elsewhere`` (refused), ``already_yours`` (won), else empty.
    """

    claim_id: str | None
    device_id: int
    product_id: str
    state: ViewState
    reason: str = ""
    keys: tuple[KeyView, ...] = ()
    picked_kid: str | None = None
    created_ms: int
    expires_ms: int
    decided_ms: int | None = None
    epoch: int | None = None


_DECIDED: Final = {
    ClaimState.WON: ViewState.WON,
    ClaimState.REFUSED: ViewState.REFUSED,
    ClaimState.EXPIRED: ViewState.EXPIRED,
    ClaimState.CANCELLED: ViewState.CANCELLED,
}
_WAITING: Final = {
    Waiting.FOR_DEVICE: ViewState.WAITING_FOR_DEVICE,
    Waiting.SMARTCONNECT_OFF: ViewState.SMARTCONNECT_OFF,
    Waiting.SEVERAL_KEYS: ViewState.SEVERAL_KEYS,
}


def view_of(row: ClaimRow, device: Device, now_ms: int) -> ClaimView:
    """The view of a stored claim, the device's facts being these."""
    keys: tuple[KeyView, ...] = ()
    if row.state is not ClaimState.PENDING:
        state = _DECIDED[row.state]
    elif row.expires_ms <= now_ms:
        state = ViewState.EXPIRED
    else:
        state = _WAITING[why_waiting(device, row.pending(), now_ms)]
        keys = tuple(
            KeyView(key.kid, fingerprint_of(key.kid), key.smartconnect, key.announced_ms)
            for key in live_keys(device, now_ms)
        )
    return ClaimView(
        claim_id=row.claim_id,
        device_id=row.device_id,
        product_id=row.product_id,
        state=state,
        reason=row.reason,
        keys=keys,
        picked_kid=row.picked_kid,
        created_ms=row.created_ms,
        expires_ms=row.expires_ms,
        decided_ms=row.decided_ms,
        epoch=_epoch(device, row.company_id) if state is ViewState.WON else None,
    )


def _epoch(device: Device, company_id: int) -> int | None:
    return device.owner.epoch if device.owner and device.owner.company_id == company_id else None


def view_of_owned(
    won: ClaimRow | None, device: Device, device_id: int, product_id: ProductId, now_ms: int
) -> ClaimView:
    """The answer to a claim on a device that the company owns already; ``won`` is how it came to it."""
    return ClaimView(
        claim_id=won.claim_id if won else None,
        device_id=device_id,
        product_id=product_id.value,
        state=ViewState.WON,
        reason=ALREADY_YOURS,
        created_ms=won.created_ms if won else now_ms,
        expires_ms=won.expires_ms if won else now_ms,
        decided_ms=won.decided_ms if won else now_ms,
        epoch=device.owner.epoch if device.owner else None,
    )
