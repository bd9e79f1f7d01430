"""Slots of a registration: inviting to the free one, handing one's own over, giving it up, deleting it all.

An offer goes to an e-mail address; its link holds a secret that is stored as a hash only, and works for an
account of just this address. Giving away, leaving and deleting need a fresh second factor, as releases and
transfers of devices do. RefusedError: not_found for who holds no slot, else as :mod:`cloud.core.system` says.
"""

import hmac
import re
import uuid
from dataclasses import replace
from typing import Final

from cloud.core import system as rules
from cloud.core.account import Email, fold_email
from cloud.core.authz import Action, Actor
from cloud.core.language import gettext, speaking, spoken
from cloud.core.refusal import RefusalCode, RefusedError
from cloud.core.system import OFFER_LIFE_MS, OfferKind, Slot, System
from cloud.postgres import companies, outbox, owners, system_offers, systems
from cloud.postgres.acting import Reason, crossing
from cloud.postgres.pool import Pool
from cloud.postgres.system_offers import OfferRow
from cloud.postgres.systems import Who
from cloud.postgres.transaction import Connection, in_transaction
from cloud.services import mail_pace, system_letters, system_telling
from cloud.services.kit import Kit, hash_of, new_token
from cloud.services.system_registering import must_be_open
from protocol.system_code import read_number, written_number

_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def need_fresh(fresh: bool) -> None:
    """RefusedError fresh_needed unless the person has just confirmed to be it."""
    if not fresh:
        raise RefusedError(RefusalCode.FRESH_NEEDED)


async def held(connection: Connection, actor: Actor, number: int) -> System:
    """A registration of the actor's company, locked, its server, too. RefusedError not_found."""
    seen = (await systems.load_registrations(connection, [number])).get(number)
    if seen is None:
        raise RefusedError(RefusalCode.NOT_FOUND)
    await systems.lock_servers(connection, [seen.system_id])
    found = (await systems.lock_registrations(connection, [number]))[number]
    rules.must_hold(found, actor.company_id)
    return found


# --- offering -----------------------------------------------------------------------------------------------


@crossing(Reason.SYSTEM)
async def offer(
    kit: Kit, actor: Actor, number: int, slot: Slot, to_email: str, now_ms: int, *, fresh: bool
) -> str:
    """Invite somebody to the free slot, or hand one's own over; the link's token, as the mail holds it."""
    actor.must(Action.TRANSFER)
    email = Email.parse(to_email)
    secret, offer_id = new_token(), str(uuid.uuid4())
    token = f"{written_number(number)}.{offer_id}.{secret}"

    async def work(connection: Connection) -> None:
        system = await held(connection, actor, number)
        kind = rules.may_offer(system, actor.company_id, slot)
        if kind is OfferKind.HAND_OVER:
            need_fresh(fresh)
        await mail_pace.count_offer(connection, email.folded, now_ms)
        row = OfferRow(
            number=number,
            offer_id=offer_id,
            slot=slot.value,
            kind=kind.value,
            company_id=actor.company_id,
            company=await companies.name_of(connection, actor.company_id),
            to_email=email.value,
            secret_hash=hash_of(secret),
            state="open",
            created_ms=now_ms,
            expires_ms=now_ms + OFFER_LIFE_MS,
            site_name=(await systems.fields(connection, number)).get("site_name", ""),
        )
        if not await system_offers.insert(connection, row, actor.account_id):
            if await system_offers.find(connection, number, offer_id) is not None:
                return  # the commit before was answered by a lost connection
            text = gettext("This slot is offered to somebody already. Withdraw that offer first.")
            raise RefusedError(RefusalCode.ALREADY_INVITED, text=text)
        who = Who(actor.company_id, actor.account_id)
        await systems.record(connection, number, "offered", who, now_ms, field=slot.value)
        known = await owners.language_of(connection, email.folded)
        with speaking(known or spoken()):
            mail = system_letters.offer(
                kit, email.value, token, slot, kind, row.company, row.site_name, now_ms
            )
        await outbox.put(connection, mail)

    await in_transaction(kit.pool, work)
    return token


@crossing(Reason.SYSTEM)
async def withdraw(pool: Pool, actor: Actor, number: int, offer_id: str, now_ms: int) -> None:
    """Take an offer back; either holder may."""
    actor.must(Action.TRANSFER)

    async def work(connection: Connection) -> None:
        await held(connection, actor, number)
        if not _UUID.fullmatch(offer_id):
            raise RefusedError(RefusalCode.NOT_FOUND)
        if not await system_offers.close(connection, number, offer_id, "withdrawn", now_ms):
            raise RefusedError(RefusalCode.NOT_FOUND)
        who = Who(actor.company_id, actor.account_id)
        await systems.record(connection, number, "withdrawn", who, now_ms)

    await in_transaction(pool, work)


# --- answering ----------------------------------------------------------------------------------------------


@crossing(Reason.SYSTEM)
async def see_offer(pool: Pool, actor: Actor, token: str, now_ms: int) -> OfferRow:
    """The offer behind a link. RefusedError link_invalid, other_address."""
    number, offer_id, secret = _parts(token)

    async def work(connection: Connection) -> OfferRow:
        return await _checked(connection, actor, number, offer_id, secret, now_ms)

    return await in_transaction(pool, work)


@crossing(Reason.SYSTEM)
async def take_offer(kit: Kit, actor: Actor, token: str, now_ms: int, *, fresh: bool) -> int:
    """Take the slot for the actor's company; the registration's number. Repeating it is harmless."""
    actor.must(Action.TRANSFER)
    need_fresh(fresh)
    number, offer_id, secret = _parts(token)

    async def work(connection: Connection) -> int:
        found = (await systems.lock_registrations(connection, [number])).get(number)
        if found is None:
            raise RefusedError(RefusalCode.LINK_INVALID)
        known = await system_offers.find(connection, number, offer_id)
        if known is not None and known.state == "taken" and _fits(known, secret):
            if Slot(known.slot) in found.slots_of(actor.company_id):
                return number  # a repeated request: the first one has succeeded
            raise RefusedError(RefusalCode.LINK_INVALID)
        row = await _checked(connection, actor, number, offer_id, secret, now_ms)
        await must_be_open(connection, actor)
        slot, kind = Slot(row.slot), OfferKind(row.kind)
        after = rules.take(found, slot, kind, row.company_id, actor.company_id)
        await system_offers.close(connection, number, offer_id, "taken", now_ms)
        who = Who(actor.company_id, actor.account_id)
        await system_telling.store(connection, kit, found, after, who, now_ms)
        return number

    return await in_transaction(
        kit.pool, work, before_commit="systems.change.before", after_commit="systems.change.after"
    )


@crossing(Reason.SYSTEM)
async def decline_offer(kit: Kit, actor: Actor, token: str, now_ms: int) -> None:
    """Do not take it."""
    actor.must(Action.TRANSFER)
    number, offer_id, secret = _parts(token)

    async def work(connection: Connection) -> None:
        await systems.lock_registrations(connection, [number])
        row = await _checked(connection, actor, number, offer_id, secret, now_ms)
        await system_offers.close(connection, number, offer_id, "declined", now_ms)
        await systems.record(connection, number, "declined", Who(actor.company_id, actor.account_id), now_ms)
        await system_telling.tell_declined(connection, kit, number, row.company_id, actor.company_id, now_ms)

    await in_transaction(kit.pool, work)


def _parts(token: str) -> tuple[int, str, str]:
    name, _, rest = token.strip().rpartition("#")[2].partition(".")
    offer_id, _, secret = rest.partition(".")
    number = read_number(name)
    if number is None or not _UUID.fullmatch(offer_id):
        raise RefusedError(RefusalCode.LINK_INVALID)
    return number, offer_id, secret


def _fits(row: OfferRow, secret: str) -> bool:
    return hmac.compare_digest(row.secret_hash, hash_of(secret))


async def _checked(
    connection: Connection, actor: Actor, number: int, offer_id: str, secret: str, now_ms: int
) -> OfferRow:
    row = await system_offers.find(connection, number, offer_id)
    if row is None or row.state != "open" or row.expires_ms <= now_ms or not _fits(row, secret):
        raise RefusedError(RefusalCode.LINK_INVALID)
    if fold_email(row.to_email) != await owners.email_of(connection, actor.account_id):
        text = gettext("This offer was made to another email address than that of your account.")
        raise RefusedError(RefusalCode.OTHER_ADDRESS, text=text)
    return replace(row, secret_hash=b"")


# --- giving up ----------------------------------------------------------------------------------------------


@crossing(Reason.SYSTEM)
async def leave(kit: Kit, actor: Actor, number: int, slot: Slot, now_ms: int, *, fresh: bool) -> None:
    """Give the slot up; with the last holder the registration ends."""
    actor.must(Action.RELEASE)
    need_fresh(fresh)

    async def work(connection: Connection) -> None:
        before = await held(connection, actor, number)
        after = rules.leave(before, slot, actor.company_id)
        who = Who(actor.company_id, actor.account_id)
        await system_telling.store(connection, kit, before, after, who, now_ms)

    await in_transaction(
        kit.pool, work, before_commit="systems.change.before", after_commit="systems.change.after"
    )


@crossing(Reason.SYSTEM)
async def end(kit: Kit, actor: Actor, number: int, now_ms: int, *, fresh: bool) -> None:
    """Delete the registration; its shadows are told, and stand alone."""
    actor.must(Action.RELEASE)
    need_fresh(fresh)

    async def work(connection: Connection) -> None:
        before = await held(connection, actor, number)
        after = rules.end(before, actor.company_id)
        who = Who(actor.company_id, actor.account_id)
        await system_telling.store(connection, kit, before, after, who, now_ms)

    await in_transaction(
        kit.pool, work, before_commit="systems.change.before", after_commit="systems.change.after"
    )
