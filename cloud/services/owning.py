"""The life of an owned device as people change it: release, re-key, dispute, second-hand, theft.

Each act is one transaction of one device: lock its row, load its facts, let the core decide, carry the
effects out. Refusals are OwningError with a stable ``code``. A device that is not the actor's company's is
unknown to it. ``fresh``: a second factor (or the password again) was shown within the last five minutes.
Transfer is in :mod:`cloud.services.offering`.
"""

import functools
import secrets
from collections.abc import Awaitable, Callable
from typing import Final

from cloud.core.authz import Action, Actor
from cloud.core.claim import decide, is_due
from cloud.core.claim_id import RANDOM_BITS, make_claim_id
from cloud.core.device import Device, MatterKind, State
from cloud.core.effects import Ending
from cloud.core.inputs import (
    CloneCleared,
    CloneSuspected,
    DisputeDismissed,
    DisputeGranted,
    DisputeWithdrawn,
    Expired,
    IllegalTransitionError,
    Objected,
    OwnerLeft,
    RekeyApproved,
    RekeyDismissed,
    ReleaseAsked,
    ReleaseCancelled,
    SecondHandAsked,
    StolenLifted,
    StolenMarked,
)
from cloud.postgres import claims, closing, owners
from cloud.postgres.acting import Reason, crossing
from cloud.postgres.owners import OpenRow
from cloud.postgres.pool import Pool
from cloud.postgres.transaction import Connection, in_transaction
from cloud.services.acting import (
    OTHER,
    REKEY,
    RELEASE,
    OwningCode,
    OwningError,
    act,
    foreign,
    need_fresh,
    own,
)
from cloud.services.carrying import By, carry_out

MAX_TAKEOVERS: Final = 3
"""More sessions of one key that end each other within ten minutes are two holders of it."""
AT_ONCE: Final = 200


# --- the owner ----------------------------------------------------------------------------------------------


async def release(pool: Pool, actor: Actor, device_id: int, now_ms: int, *, fresh: bool) -> Device:
    """Give the device up. The answer still has an owner while it drains (``open(RELEASE)`` says until when).

    All of these raise NotAllowedError, OwningError and DatabaseUnavailableError.
    """
    actor.must(Action.RELEASE)
    need_fresh(fresh)

    async def done(connection: Connection, device: Device) -> bool:
        return device.owner is None and await _released_last(connection, actor, device_id)

    return await own(pool, actor, device_id, ReleaseAsked(), now_ms, RELEASE, done=done)


@crossing(Reason.OWNERSHIP)
async def has_released(pool: Pool, actor: Actor, device_id: int) -> bool:
    """Whether the last ownership that ended was the actor's company's, and ended by its release."""
    return await in_transaction(pool, lambda connection: _released_last(connection, actor, device_id))


async def _released_last(connection: Connection, actor: Actor, device_id: int) -> bool:
    return await owners.last_owner(connection, device_id) == (actor.company_id, Ending.RELEASED)


async def cancel_release(pool: Pool, actor: Actor, device_id: int, now_ms: int) -> Device:
    """Keep the device after all."""
    actor.must(Action.RELEASE)
    return await own(pool, actor, device_id, ReleaseCancelled(), now_ms)


async def approve_rekey(
    pool: Pool, actor: Actor, device_id: int, kid: str, now_ms: int, *, fresh: bool
) -> Device:
    """From now on the device goes on with this key; the old one is revoked."""
    actor.must(Action.REKEY)
    need_fresh(fresh)

    async def done(_connection: Connection, device: Device) -> bool:
        owner = device.owner
        return owner is not None and (owner.company_id, owner.kid) == (actor.company_id, kid)

    return await own(pool, actor, device_id, RekeyApproved(kid), now_ms, REKEY, done=done)


async def dismiss_rekey(pool: Pool, actor: Actor, device_id: int, kid: str, now_ms: int) -> Device:
    """We do not know this key."""
    actor.must(Action.REKEY)
    return await own(pool, actor, device_id, RekeyDismissed(kid), now_ms, REKEY)


async def object_second_hand(pool: Pool, actor: Actor, device_id: int, now_ms: int) -> Device:
    """We are not gone."""
    actor.must(Action.JUDGE)
    return await own(pool, actor, device_id, Objected(), now_ms)


async def dismiss_dispute(pool: Pool, actor: Actor, device_id: int, company_id: int, now_ms: int) -> Device:
    """Not theirs."""
    actor.must(Action.JUDGE)
    return await own(pool, actor, device_id, DisputeDismissed(company_id), now_ms)


async def mark_stolen(pool: Pool, actor: Actor, device_id: int, now_ms: int) -> Device:
    """Nothing may move the device until the mark is lifted. Needs no factor: haste must be possible."""
    actor.must(Action.JUDGE)
    return await own(pool, actor, device_id, StolenMarked(), now_ms)


async def lift_stolen(pool: Pool, actor: Actor, device_id: int, now_ms: int, *, fresh: bool) -> Device:
    """The device is back."""
    actor.must(Action.JUDGE)
    need_fresh(fresh)
    return await own(pool, actor, device_id, StolenLifted(), now_ms)


async def clear_clone(pool: Pool, actor: Actor, device_id: int, now_ms: int, *, fresh: bool) -> Device:
    """There is no clone."""
    actor.must(Action.JUDGE)
    need_fresh(fresh)
    return await own(pool, actor, device_id, CloneCleared(), now_ms)


@crossing(Reason.OWNERSHIP)
async def look(pool: Pool, actor: Actor, device_id: int, now_ms: int) -> Device:
    """The device's facts, after whatever was due has happened: what an open page polls."""
    actor.must(Action.SEE)

    async def work(connection: Connection) -> Device:
        device = await claims.load(connection, device_id)
        if foreign(device, actor):
            raise OwningError(OwningCode.UNKNOWN_DEVICE)
        return device

    device = await in_transaction(pool, work)
    if is_due(device, now_ms):
        await pass_time(pool, device_id, now_ms)
        device = await in_transaction(pool, work)
    return device


# --- the other side -----------------------------------------------------------------------------------------


@crossing(Reason.OWNERSHIP)
async def look_as_claimant(pool: Pool, actor: Actor, device_id: int) -> Device:
    """The facts of a device that the actor's company disputes."""
    actor.must(Action.CLAIM)

    async def work(connection: Connection) -> Device:
        device = await claims.load(connection, device_id)
        if not _disputes(actor)(device):
            raise OwningError(OwningCode.UNKNOWN_DEVICE)
        return device

    return await in_transaction(pool, work)


async def withdraw_dispute(pool: Pool, actor: Actor, device_id: int, now_ms: int) -> Device:
    """The claimant gives up."""
    actor.must(Action.CLAIM)
    what = DisputeWithdrawn(actor.company_id)
    return await act(pool, device_id, what, now_ms, OTHER, _disputes(actor), By.of(actor))


async def ask_second_hand(pool: Pool, actor: Actor, device_id: int, kid: str, now_ms: int) -> Device:
    """The claimant has the device, with this new key, and its owner is gone: theirs in 14 days."""
    actor.must(Action.CLAIM)
    claim_id = make_claim_id(device_id, secrets.randbits(RANDOM_BITS))
    what = SecondHandAsked(actor.company_id, actor.account_id, kid, claim_id)
    return await act(pool, device_id, what, now_ms, OTHER, _disputes(actor), By.of(actor), taker=actor)


def _disputes(actor: Actor) -> Callable[[Device], bool]:
    return lambda device: device.open(MatterKind.DISPUTE, str(actor.company_id)) is not None


# --- operator, gateway, time --------------------------------------------------------------------------------


async def decide_dispute(
    pool: Pool, device_id: int, company_id: int, now_ms: int, *, for_claimant: bool, operator: str
) -> Device:
    """An operator's decision; the caller has checked that it is one. ``operator``: whose, for the audit."""
    what = DisputeGranted(company_id) if for_claimant else DisputeDismissed(company_id)
    return await act(pool, device_id, what, now_ms, OTHER, by=By(operator=operator))


async def clear_clone_as_operator(pool: Pool, device_id: int, now_ms: int, *, operator: str) -> Device:
    """An operator says that there is no clone; the caller has checked that it is one."""
    return await act(pool, device_id, CloneCleared(), now_ms, OTHER, by=By(operator=operator))


async def list_open(pool: Pool, kind: MatterKind) -> list[OpenRow]:
    """What is open of this kind on all devices, the oldest first: for operators."""

    async def find(connection: Connection) -> list[OpenRow]:
        return await owners.open_of_kind(connection, kind)

    return await in_transaction(pool, find)


async def note_takeover(pool: Pool, device_id: int, kid: str, now_ms: int) -> bool:
    """A live session of this key was ended by another log-in with it. Whether a clone is suspected now."""

    async def work(connection: Connection) -> bool:
        if not await claims.lock_known(connection, device_id):
            return False
        if await owners.note_takeover(connection, device_id, kid, now_ms) <= MAX_TAKEOVERS:
            return False
        device = await claims.load(connection, device_id)
        after, effects = decide(device, CloneSuspected(kid), now_ms)
        await carry_out(connection, device_id, device, effects, now_ms)
        return after.state is State.CLONE_SUSPECTED

    try:
        return await in_transaction(pool, work)
    except IllegalTransitionError:  # nobody owns it (any more): nothing to freeze
        return False


async def pass_time(pool: Pool, device_id: int, now_ms: int) -> bool:
    """Let happen what is due on this device; whether anything was."""

    async def work(connection: Connection) -> bool:
        if not await claims.lock_known(connection, device_id):
            return False
        device = await claims.load(connection, device_id)
        if not is_due(device, now_ms):
            return False
        _, effects = decide(device, Expired(), now_ms)
        await carry_out(connection, device_id, device, effects, now_ms)
        return True

    return await in_transaction(pool, work, before_commit=RELEASE.before, after_commit=RELEASE.after)


async def sweep(pool: Pool, now_ms: int) -> int:
    """Let happen what is due on any device; how many changed. Devices are taken one by one."""

    async def find(connection: Connection) -> list[int]:
        return await owners.due(connection, now_ms, AT_ONCE)

    return sum([await pass_time(pool, device_id, now_ms) for device_id in await in_transaction(pool, find)])


async def close_company(
    pool: Pool, company_id: int, now_ms: int, *, hand_to_company_id: int | None, account_id: int | None
) -> int:
    """Empty a company that is shut: its devices go to another one or to nobody, its claims and disputes end.

    How many devices there were. Looks again until there is nothing left, because what was under way when the
    company was shut may still give it a device. The caller has checked that ``account_id`` may take devices
    over for the other company. May be repeated.
    """
    by = By(company_id, account_id)

    def theirs(device: Device) -> bool:
        return device.owner is not None and device.owner.company_id == company_id

    async def end_claims(connection: Connection, device_id: int) -> None:
        if await claims.lock_known(connection, device_id):
            await closing.end_claims(connection, device_id, company_id, now_ms)
            await claims.tell(connection, device_id)

    left = OwnerLeft(hand_to_company_id, account_id)
    moved = 0
    while True:
        left_over = await in_transaction(pool, lambda connection: closing.left_over(connection, company_id))
        if not any(left_over):
            return moved
        for device_id in left_over.owned:
            await pass_time(pool, device_id, now_ms)
            moved += await _unless(
                OwningCode.UNKNOWN_DEVICE, act(pool, device_id, left, now_ms, OTHER, theirs, by)
            )
        for device_id in left_over.awaited:
            await in_transaction(pool, functools.partial(end_claims, device_id=device_id))
        for device_id in left_over.disputed:
            what = DisputeWithdrawn(company_id)
            await _unless(OwningCode.NOTHING_OPEN, act(pool, device_id, what, now_ms, OTHER, None, by))


async def _unless(code: OwningCode, act_: Awaitable[Device]) -> bool:
    """Whether it was done; False where time or a person came first, as this refusal says."""
    try:
        await act_
    except OwningError as error:
        if error.code is not code:
            raise
        return False
    return True
