"""Claiming: the device's announcement and a person's claim meet, in either order, and one company wins.

Each half is one transaction of one device: lock its row, load its facts, let :mod:`cloud.core.claim`
decide, carry the effects out. Whichever half commits second finds the first, so a device is bound in the
portal's transaction or in the gateway's. All of it may be repeated.

An unknown Product ID, a wrong Product Key and a device that has not been seen yet are one path with one
answer: a claim that waits for its device.
"""

import secrets
from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from typing import Final

from cloud.core.authz import Action, Actor
from cloud.core.claim import decide
from cloud.core.claim_id import RANDOM_BITS, device_id_of_claim, make_claim_id
from cloud.core.device import ClaimState, Device, Refusal
from cloud.core.effects import AddClaim, AlreadyYours, Effect, IgnoreKey, Refuse
from cloud.core.inputs import Announced, Cancelled, Claimed, Expired, IllegalTransitionError, Picked
from cloud.core.manifest import ManifestMode, admits, without_strangers
from cloud.postgres import claims, manifest
from cloud.postgres.acting import Reason, crossing
from cloud.postgres.pool import Pool
from cloud.postgres.transaction import Connection, in_transaction
from cloud.services.acting import must_be_open
from cloud.services.carrying import By, carry_out, refuse_at_once
from cloud.services.claim_view import ClaimView, view_of, view_of_owned
from protocol.codec import MAX_ANNOUNCEMENT_BYTES
from protocol.identity import ProductId, device_id_of, kid_of
from protocol.messages import Announcement, Request

PENDING_MS: Final = 7 * 86_400_000
"""A claim waits this long for its device unless the caller says otherwise."""
KEEP_CANDIDATE_MS: Final = 86_400_000
"""Announcements are kept for 24 h: docs/claiming.md."""
EXPIRE_AT_ONCE: Final = 500


Along = Callable[[Connection, ClaimView], Awaitable[None]]
"""What else is done in the transaction of a claim, once that is answered."""


class Noted(StrEnum):
    """What became of an announcement."""

    RECORDED = "recorded"
    BOUND = "bound"
    SUPERSEDED = "superseded"
    """The key has logged in anew on another connection: this one may not announce any more."""
    REVOKED = "revoked"
    NOT_LISTED = "not_listed"
    """The manifest of this installation does not have it."""


class UnknownClaimError(Exception):
    """No claim of this name in this company."""


class UnknownKeyError(Exception):
    """The picked key does not announce for this device."""


class _SupersededError(Exception):
    """Rolls an announcement back: nothing of it may stay."""


# --- the device's half --------------------------------------------------------------------------------------


async def announced(
    pool: Pool,
    *,
    kid: str,
    announcement: Announcement,
    sealed: bytes,
    iat_ms: int,
    now_ms: int,
    mode: ManifestMode = ManifestMode.NONE,
) -> Noted:
    """Take note of an announcement whose signatures, session nonce and kid the gateway has verified.

    ``iat_ms`` is the log-in of the session it came through, ``sealed`` the payload as received. A claim that
    waited for just this is bound in the same transaction. Raises DatabaseUnavailableError and
    DeviceMismatchError.
    """
    if kid_of(announcement.device_pub) != kid or len(sealed) > MAX_ANNOUNCEMENT_BYTES:
        raise ValueError("the caller checks key and size of an announcement")
    device_id = device_id_of(ProductId.parse(announcement.product_id), announcement.label_pub)

    async def work(connection: Connection) -> Noted:
        listed = None if mode is ManifestMode.NONE else await manifest.find(connection, device_id)
        if not admits(mode, listed, announcement.device_pub) and not await manifest.is_owned(
            connection, device_id
        ):
            return Noted.NOT_LISTED
        await claims.lock(connection, device_id, announcement.product_id, announcement.label_pub, now_ms)
        device = without_strangers(await claims.load(connection, device_id), mode, listed)
        asks = announcement.request is Request.RELEASE
        after, effects = decide(device, Announced(kid, announcement.smartconnect, asks), now_ms)
        if any(isinstance(effect, IgnoreKey) for effect in effects):
            await carry_out(connection, device_id, device, effects, now_ms)  # what was due at this moment
            return Noted.REVOKED
        stored = await claims.record_key(
            connection,
            device_id,
            kid=kid,
            device_pub=announcement.device_pub,
            login_ms=iat_ms,
            smartconnect=announcement.smartconnect,
            request=announcement.request.value,
            announcement=sealed,
            now_ms=now_ms,
        )
        if not stored:
            raise _SupersededError
        await carry_out(connection, device_id, device, effects, now_ms, announcement=announcement)
        return Noted.BOUND if after.owner is not None and after.owner.kid == kid else Noted.RECORDED

    try:
        return await in_transaction(
            pool, work, before_commit="gateway.announce.before", after_commit="gateway.announce.after"
        )
    except _SupersededError:
        return Noted.SUPERSEDED


# --- the person's half --------------------------------------------------------------------------------------


@crossing(Reason.OWNERSHIP)
async def submit(
    pool: Pool,
    actor: Actor,
    product_id: ProductId,
    label_pub: bytes,
    now_ms: int,
    *,
    pending_ms: int = PENDING_MS,
    mode: ManifestMode = ManifestMode.NONE,
    along: Along | None = None,
) -> ClaimView:
    """Claim the device of these codes for the actor's company; where that stands is the answer.

    The same company gets its waiting claim again, however often it asks. ``along`` is done in the same
    transaction, perhaps several times. Raises NotAllowedError, DatabaseUnavailableError, DeviceMismatchError.
    """
    actor.must(Action.CLAIM)
    device_id = device_id_of(product_id, label_pub)
    # Made before the first attempt, so that a repeated one finds what an earlier one may have committed.
    claim_id = make_claim_id(device_id, secrets.randbits(RANDOM_BITS))
    what = Claimed(claim_id, actor.company_id, actor.account_id, now_ms + pending_ms)

    async def work(connection: Connection) -> ClaimView:
        view = await half(connection)
        if along is not None:
            await along(connection, view)
        return view

    async def half(connection: Connection) -> ClaimView:
        await claims.lock(connection, device_id, product_id.value, label_pub, now_ms)
        await must_be_open(connection, actor)
        device = await claims.load(connection, device_id)
        if mode is not ManifestMode.NONE:
            device = without_strangers(device, mode, await manifest.find(connection, device_id))
        after, effects = decide(device, what, now_ms)
        for effect in effects:
            if isinstance(effect, Refuse) and device.owner is not None:
                await refuse_at_once(connection, device_id, what, effect.reason, now_ms)
        await carry_out(connection, device_id, device, effects, now_ms, by=By.of(actor))
        if any(isinstance(effect, AlreadyYours) for effect in effects):
            won = await claims.find_claim(connection, actor.company_id, device_id, state=ClaimState.WON)
            if won is not None and won.claim_id == claim_id:
                return view_of(won, after, now_ms)
            return view_of_owned(won, after, device_id, product_id, now_ms)
        # By name and state, not by age: a clock may go back, and much may happen in a millisecond.
        name, state = _answering(device, effects, what)
        row = await claims.find_claim(connection, actor.company_id, device_id, name, state=state)
        if row is None:
            raise AssertionError("a claim that was submitted is stored")
        return view_of(row, after, now_ms)

    return await in_transaction(
        pool, work, before_commit="claim.submit.before", after_commit="claim.submit.after"
    )


def _answering(
    device: Device, effects: Sequence[Effect], what: Claimed
) -> tuple[str | None, ClaimState | None]:
    """Name or state of the claim that answers this request: the new one, the waiting one, or the refusal."""
    for effect in effects:
        if isinstance(effect, AddClaim) and effect.claim.company_id == what.company_id:
            return effect.claim.claim_id, None
    if Refuse(what.claim_id, Refusal.OWNED_ELSEWHERE) in effects:
        return None, ClaimState.REFUSED
    ours = [one.claim_id for one in device.pending if one.company_id == what.company_id]
    return (ours[0] if ours else None), None


async def pick(pool: Pool, actor: Actor, claim_id: str, kid: str, now_ms: int) -> ClaimView:
    """Of several keys that announce, this is the claimant's. UnknownClaimError, UnknownKeyError."""
    return await _change(pool, actor, claim_id, Picked(claim_id, kid), now_ms)


async def cancel(pool: Pool, actor: Actor, claim_id: str, now_ms: int) -> ClaimView:
    """Stop waiting. A claim that was decided meanwhile stays as it is. UnknownClaimError."""
    return await _change(pool, actor, claim_id, Cancelled(claim_id), now_ms)


@crossing(Reason.OWNERSHIP)
async def _change(
    pool: Pool, actor: Actor, claim_id: str, what: Picked | Cancelled, now_ms: int
) -> ClaimView:
    actor.must(Action.CLAIM)
    device_id = device_id_of_claim(claim_id)
    if device_id is None:
        raise UnknownClaimError(claim_id)

    async def work(connection: Connection) -> ClaimView:
        if not await claims.lock_known(connection, device_id):
            raise UnknownClaimError(claim_id)
        await must_be_open(connection, actor)
        device = await claims.load(connection, device_id)
        row = await claims.find_claim(connection, actor.company_id, device_id, claim_id)
        if row is None:
            raise UnknownClaimError(claim_id)
        if row.state is not ClaimState.PENDING or row.expires_ms <= now_ms:
            return view_of(row, device, now_ms)
        try:
            after, effects = decide(device, what, now_ms)
        except IllegalTransitionError as error:
            raise UnknownKeyError(claim_id) from error
        await carry_out(connection, device_id, device, effects, now_ms, by=By.of(actor))
        changed = await claims.find_claim(connection, actor.company_id, device_id, claim_id)
        return view_of(changed or row, after, now_ms)

    return await in_transaction(
        pool, work, before_commit="claim.submit.before", after_commit="claim.submit.after"
    )


@crossing(Reason.OWNERSHIP)
async def view(
    pool: Pool, actor: Actor, *, claim_id: str | None = None, device_id: int | None = None, now_ms: int
) -> ClaimView:
    """A claim of the actor's company: the one of this name, or its newest one on a device.

    UnknownClaimError where the company has none, whatever others have.
    """
    actor.must(Action.SEE)
    on_device = device_id if claim_id is None else device_id_of_claim(claim_id)
    if on_device is None:
        raise UnknownClaimError(claim_id)

    async def work(connection: Connection) -> ClaimView:
        row = await claims.find_claim(connection, actor.company_id, on_device, claim_id)
        if row is None:
            raise UnknownClaimError(claim_id)
        return view_of(row, await claims.load(connection, on_device), now_ms)

    return await in_transaction(pool, work)


# --- time passes --------------------------------------------------------------------------------------------


async def expire(pool: Pool, now_ms: int) -> int:
    """End the claims whose time is over and forget announcements nobody renewed for a day; how many.

    Housekeeping only: no decision and no view waits for it. Devices are taken one by one.
    """
    before_ms = now_ms - KEEP_CANDIDATE_MS

    async def find(connection: Connection) -> list[int]:
        over = await claims.overdue(connection, now_ms, EXPIRE_AT_ONCE)
        return sorted({*over, *await claims.silent(connection, before_ms, EXPIRE_AT_ONCE)})

    count = 0
    for device_id in await in_transaction(pool, find):

        async def work(connection: Connection, device_id: int = device_id) -> int:
            if not await claims.lock_known(connection, device_id):
                return 0
            device = await claims.load(connection, device_id)
            effects: tuple[Effect, ...] = ()
            if device.pending or device.owner is not None:
                _, effects = decide(device, Expired(), now_ms)
            await carry_out(connection, device_id, device, effects, now_ms)
            return len(effects) + await claims.forget_keys(connection, device_id, before_ms)

        count += await in_transaction(pool, work)
    return count
