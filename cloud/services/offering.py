"""Transfer: an owner offers a device for seven days, another company takes it or not.

An offer to an e-mail address is answered through a link whose secret is stored as a hash only, by an account
of just this address; one to a company by its members, by the name of the offer.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Final

from cloud.core.account import Email, fold_email
from cloud.core.authz import Action, Actor
from cloud.core.claim_id import RANDOM_BITS, device_id_of_claim, make_claim_id
from cloud.core.device import Device, MatterKind
from cloud.core.inputs import OfferDeclined, Offered, OfferTaken, OfferWithdrawn
from cloud.postgres import claims, owners
from cloud.postgres.acting import Reason, crossing
from cloud.postgres.owners import OfferRow
from cloud.postgres.pool import Pool
from cloud.postgres.transaction import Connection, in_transaction
from cloud.services import mail_pace
from cloud.services.acting import (
    TRANSFER,
    OwningCode,
    OwningError,
    decide_and_carry,
    foreign,
    must_be_open,
    need_fresh,
    own,
)
from cloud.services.carrying import By

SECRET_BYTES: Final = 24


@dataclass(frozen=True, slots=True)
class Offer:
    """An offer just made. ``token`` is its link's secret; only this answer and the mail hold it."""

    offer_id: str
    token: str
    due_ms: int


@crossing(Reason.OWNERSHIP)
async def offer(
    pool: Pool,
    actor: Actor,
    device_id: int,
    now_ms: int,
    *,
    fresh: bool,
    to_email: str = "",
    to_company_id: int | None = None,
) -> Offer:
    """Offer the device for seven days, to a company or by a link to an e-mail address.

    AccountError; RefusedError too_fast where this address was sent many offers.
    """
    actor.must(Action.TRANSFER)
    need_fresh(fresh)
    email = Email.parse(to_email) if to_company_id is None else None
    offer_id = make_claim_id(device_id, secrets.randbits(RANDOM_BITS))
    secret = secrets.token_urlsafe(SECRET_BYTES)
    address = email.value if email else None
    what = Offered(offer_id, actor.account_id, to_company_id, address, _hash(secret))
    token = f"{offer_id}.{secret}"

    async def work(connection: Connection) -> Device:
        if not await claims.lock_known(connection, device_id):
            raise OwningError(OwningCode.UNKNOWN_DEVICE)
        device = await decide_and_carry(
            connection, device_id, what, now_ms, lambda known: not foreign(known, actor), By.of(actor), token
        )
        if email is not None:
            await mail_pace.count_offer(connection, email.folded, now_ms)
        return device

    after = await in_transaction(pool, work, before_commit=TRANSFER.before, after_commit=TRANSFER.after)
    made = after.open(MatterKind.OFFER)
    return Offer(offer_id, token, made.due_ms if made and made.due_ms else now_ms)


async def withdraw_offer(pool: Pool, actor: Actor, device_id: int, now_ms: int) -> Device:
    """Take the offer back."""
    actor.must(Action.TRANSFER)
    return await own(pool, actor, device_id, OfferWithdrawn(), now_ms, TRANSFER)


@crossing(Reason.OWNERSHIP)
async def see_offer(pool: Pool, actor: Actor, token: str, now_ms: int) -> OfferRow:
    """The offer behind a link (or, for one made to the company, behind its name)."""
    device_id = device_of(token)

    async def work(connection: Connection) -> OfferRow:
        return await _check_offer(connection, actor, device_id, token, now_ms)

    return await in_transaction(pool, work)


@crossing(Reason.OWNERSHIP)
async def list_offers(pool: Pool, actor: Actor, now_ms: int) -> list[OfferRow]:
    """The open offers that were made to the actor's company by name."""
    actor.must(Action.SEE)

    async def work(connection: Connection) -> list[OfferRow]:
        return await owners.offers_to(connection, actor.company_id, now_ms)

    return await in_transaction(pool, work)


async def accept_offer(pool: Pool, actor: Actor, token: str, now_ms: int, *, fresh: bool) -> Device:
    """Take the device over for the actor's company. Repeating it after a success is harmless."""
    actor.must(Action.TRANSFER)
    need_fresh(fresh)
    what = OfferTaken(actor.company_id, actor.account_id)
    return await _answer_offer(pool, actor, token, what, now_ms)


async def decline_offer(pool: Pool, actor: Actor, token: str, now_ms: int) -> Device:
    """Do not take it."""
    actor.must(Action.TRANSFER)
    return await _answer_offer(pool, actor, token, OfferDeclined(), now_ms)


# --- offers -------------------------------------------------------------------------------------------------


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def device_of(token: str) -> int:
    """The device an offer of this name or link is for. OwningError (unknown_offer)."""
    device_id = device_id_of_claim(token.partition(".")[0])
    if device_id is None:
        raise OwningError(OwningCode.UNKNOWN_OFFER)
    return device_id


async def _check_offer(
    connection: Connection, actor: Actor, device_id: int, token: str, now_ms: int
) -> OfferRow:
    """The offer, if the actor may answer it: by its secret and address, or as the company it is made to."""
    offer_id, _, secret = token.partition(".")
    found = await owners.find_offer(connection, device_id, offer_id)
    if found is None or found.due_ms <= now_ms:
        raise OwningError(OwningCode.UNKNOWN_OFFER)
    if found.company_id is not None:
        if found.company_id != actor.company_id:
            raise OwningError(OwningCode.UNKNOWN_OFFER)
        return found
    if found.secret_hash is None or not hmac.compare_digest(found.secret_hash, _hash(secret)):
        raise OwningError(OwningCode.UNKNOWN_OFFER)
    mine = await owners.email_of(connection, actor.account_id)
    if found.to_email is None or fold_email(found.to_email) != mine:
        raise OwningError(OwningCode.OFFER_FOR_ANOTHER)
    return found


@crossing(Reason.OWNERSHIP)
async def _answer_offer(
    pool: Pool, actor: Actor, token: str, what: OfferTaken | OfferDeclined, now_ms: int
) -> Device:
    device_id = device_of(token)
    offer_id = token.partition(".")[0]

    async def work(connection: Connection) -> Device:
        if not await claims.lock_known(connection, device_id):
            raise OwningError(OwningCode.UNKNOWN_OFFER)
        device = await claims.load(connection, device_id)
        if isinstance(what, OfferTaken) and not foreign(device, actor):
            if await owners.took_offer(connection, device_id, offer_id):
                return device  # a repeated request: the first one has succeeded
            raise OwningError(OwningCode.OWN_DEVICE)
        if isinstance(what, OfferTaken):
            await must_be_open(connection, actor)
        await _check_offer(connection, actor, device_id, token, now_ms)
        return await decide_and_carry(connection, device_id, what, now_ms, None, By.of(actor))

    return await in_transaction(pool, work, before_commit=TRANSFER.before, after_commit=TRANSFER.after)
