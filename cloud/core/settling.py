"""Who gets a device that has no owner: the rule that claims and announcements have in common."""

from dataclasses import replace

from cloud.core.device import (
    Device,
    Key,
    KeyState,
    Owner,
    Pending,
    Refusal,
    bindable_key,
    why_waiting,
)
from cloud.core.effects import Bind, Outcome, Refuse, Wait
from cloud.core.inputs import Announced
from cloud.core.ownership import next_epoch


def settle(device: Device, now_ms: int) -> Outcome:
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


def recorded(device: Device, what: Announced, now_ms: int) -> tuple[Device, Key | None]:
    """The device with this announcement, and the key as it was before."""
    before = device.key(what.kid)
    state = KeyState.CANDIDATE if before is None else before.state
    after = Key(what.kid, state, now_ms, what.smartconnect)
    if before is None:
        return replace(device, keys=(*device.keys, after)), None
    return replace(device, keys=tuple(after if key is before else key for key in device.keys)), before
