"""A company that closes gives up its places at registered systems, or hands them to another company.

One registration a transaction, in the order of locks of the others. The company is shut first
(:mod:`cloud.postgres.closing`), so that no place comes to it meanwhile; may be repeated.
"""

import functools

from cloud.core import system as rules
from cloud.core.system import OfferKind
from cloud.postgres import system_reports, systems
from cloud.postgres.systems import Who
from cloud.postgres.transaction import Connection, in_transaction
from cloud.services import system_telling
from cloud.services.kit import Kit


async def close_company(
    kit: Kit, company_id: int, now_ms: int, *, hand_to: int | None, account_id: int | None
) -> int:
    """How many registrations it had a slot of. ``hand_to``: the company that takes the slots over, whose
    member ``account_id`` is; without, they become free, and what nobody else holds ends.
    """
    numbers = await in_transaction(kit.pool, lambda connection: systems.numbers_of(connection, company_id))
    for number in numbers:
        work = functools.partial(
            _give_up, kit=kit, company_id=company_id, number=number, who=Who(company_id, account_id)
        )
        await in_transaction(
            kit.pool,
            functools.partial(work, hand_to=hand_to, now_ms=now_ms),
            before_commit="systems.change.before",
            after_commit="systems.change.after",
        )
    await in_transaction(
        kit.pool, lambda connection: system_reports.cancel_intents(connection, company_id, now_ms)
    )
    return len(numbers)


async def _give_up(
    connection: Connection,
    *,
    kit: Kit,
    company_id: int,
    number: int,
    who: Who,
    hand_to: int | None,
    now_ms: int,
) -> None:
    seen = (await systems.load_registrations(connection, [number]))[number]
    await systems.lock_servers(connection, [seen.system_id])
    before = after = (await systems.lock_registrations(connection, [number]))[number]
    for slot in sorted(before.slots_of(company_id)):
        if hand_to is None:
            after = rules.leave(after, slot, company_id)
        else:
            after = rules.take(after, slot, OfferKind.HAND_OVER, company_id, hand_to)
    await system_telling.store(connection, kit, before, after, who, now_ms)
