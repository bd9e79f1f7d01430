"""Delete My Account: what will happen, and doing it.

``foresee(kit, session)`` → Outlook for the page *Account Deletion Request*: which companies close with the
account, how many devices and systems they have, which go on without the person, and which other companies of
the person could take those over. ``blocked_by`` names companies whose only owner this is while others are
members there: RefusedError last_owner until somebody else is made owner.

``delete(kit, session, fresh=…, hand_to=…, now_ms)``: devices of companies that close are released, or
handed to the company ``hand_to`` (one of ``takers``), and so are slots of registered systems, which become
free without one; then nothing personal stays and every log-in ends. It
cannot be undone. Companies are shut first, so that nothing comes to them while their devices move one by one,
and the account goes last. Where it cannot be finished, the companies go on with what is left, and it may be
repeated; after a crash they stay shut until then, or for an hour (:mod:`cloud.postgres.leftovers`).
RefusedError fresh_needed, last_owner, not_found (no such taker).
"""

from dataclasses import dataclass

from cloud.core.authz import Action, Actor, Role
from cloud.core.language import speaking
from cloud.core.refusal import RefusalCode, RefusedError
from cloud.postgres import accounts, closing, companies, outbox, profiles, systems
from cloud.postgres.accounts import Session
from cloud.postgres.acting import Reason, crossing
from cloud.postgres.transaction import Connection, in_transaction
from cloud.services import letters, owning, system_closing
from cloud.services.kit import Kit


@dataclass(frozen=True, slots=True)
class Part:
    """One company of the person."""

    company_id: int
    name: str
    devices: int
    systems: int
    """Registrations of which it holds a slot."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What deleting the account does to companies."""

    closing: tuple[Part, ...]
    staying: tuple[Part, ...]
    blocked_by: tuple[Part, ...]
    takers: tuple[Part, ...]


@crossing(Reason.MEMBERSHIP)
async def foresee(kit: Kit, session: Session) -> Outlook:
    """What will happen; nothing does yet."""
    async with kit.pool.connection() as connection, connection.transaction():
        return await _foresee(connection, session.account_id)


@crossing(Reason.MEMBERSHIP)
async def delete(kit: Kit, session: Session, *, fresh: bool, hand_to: int | None = None, now_ms: int) -> None:
    """Delete the account."""
    if not fresh:
        raise RefusedError(RefusalCode.FRESH_NEEDED)
    account_id = session.account_id
    shut: set[int] = set()

    async def begin(connection: Connection) -> Outlook:
        await closing.hold_invitations(connection, account_id)
        outlook = await _foresee(connection, account_id)
        _must_be_possible(outlook, hand_to)
        for part in outlook.closing:
            await profiles.end_invitations(connection, part.company_id, now_ms)
            await closing.shut(connection, part.company_id, now_ms)
        return outlook

    async def end(connection: Connection) -> bool:
        """False where there is more to close by now."""
        await closing.hold_invitations(connection, account_id)
        outlook = await _foresee(connection, account_id)
        await companies.lock_account(connection, account_id)
        if await profiles.is_erased(connection, account_id):
            return True  # the commit before was answered by a lost connection
        _must_be_possible(outlook, hand_to)
        for part in outlook.closing:
            left = any(await closing.left_over(connection, part.company_id)) or part.systems
            if part.company_id not in shut or left:
                return False
        await _erase(connection, kit, account_id, outlook, hand_to, now_ms)
        return True

    try:
        erased = False
        while not erased:
            for part in (await in_transaction(kit.pool, begin)).closing:
                shut.add(part.company_id)
                taker = None if hand_to is None else account_id
                await owning.close_company(
                    kit.pool, part.company_id, now_ms, hand_to_company_id=hand_to, account_id=taker
                )
                await system_closing.close_company(
                    kit, part.company_id, now_ms, hand_to=hand_to, account_id=taker
                )
            erased = await in_transaction(kit.pool, end)
    except BaseException:  # the account stays, and so do its companies
        await in_transaction(kit.pool, lambda connection: closing.reopen(connection, account_id))
        raise


async def _erase(
    connection: Connection, kit: Kit, account_id: int, outlook: Outlook, hand_to: int | None, now_ms: int
) -> None:
    email = await accounts.email_of(connection, account_id)
    language = await accounts.language_of(connection, account_id)
    await profiles.erase(connection, account_id, now_ms)
    for part in outlook.closing:
        await profiles.close_company(connection, part.company_id, now_ms)
    await companies.hint(connection, account_id)
    await accounts.record(
        connection,
        "account_deleted",
        now_ms=now_ms,
        account_id=account_id,
        detail={"closed": [part.company_id for part in outlook.closing], "handed_to": hand_to},
    )
    with speaking(language):
        letter = letters.account_deleted(kit, email, now_ms)
    await outbox.put(connection, letter)


def _must_be_possible(outlook: Outlook, hand_to: int | None) -> None:
    if outlook.blocked_by:
        raise RefusedError(RefusalCode.LAST_OWNER)
    if hand_to is not None and hand_to not in {part.company_id for part in outlook.takers}:
        raise RefusedError(RefusalCode.NOT_FOUND, field="hand_to")


async def _foresee(connection: Connection, account_id: int) -> Outlook:
    closing: list[Part] = []
    staying: list[Part] = []
    blocked_by: list[Part] = []
    takers: list[Part] = []
    for company_id, name, role in sorted(await companies.companies_of(connection, account_id)):
        await companies.lock(connection, company_id)
        people = await companies.members(connection, company_id)
        devices = await profiles.count_devices(connection, company_id)
        part = Part(company_id, name, devices, len(await systems.numbers_of(connection, company_id)))
        if all(member.account_id != account_id for member in people):
            continue  # removed a moment ago
        owners = [member.account_id for member in people if member.role is Role.OWNER]
        if len(people) == 1:
            closing.append(part)
            continue
        (blocked_by if owners == [account_id] else staying).append(part)
        if Actor(account_id, company_id, role).may(Action.CLAIM):
            takers.append(part)
    return Outlook(tuple(closing), tuple(staying), tuple(blocked_by), tuple(takers))
