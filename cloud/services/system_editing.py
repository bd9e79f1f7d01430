"""What is registered of a system, the end-user's consents, and whom it follows.

RefusedError: not_found for who holds no slot, field_invalid with every field that is wrong, other_slot for
what only the other slot may write. Every field that changes leaves a line in the history.
"""

from collections.abc import Mapping

from cloud.core import system as rules
from cloud.core import system_data
from cloud.core.authz import Action, Actor
from cloud.core.refusal import RefusalCode, RefusedError
from cloud.core.system import Slot, System
from cloud.core.system_data import Part
from cloud.postgres import accounts, outbox, systems
from cloud.postgres.acting import Reason, crossing
from cloud.postgres.systems import Who
from cloud.postgres.transaction import Connection, in_transaction
from cloud.services import system_letters, system_telling
from cloud.services.kit import Kit
from cloud.services.system_slots import held


@crossing(Reason.SYSTEM)
async def save(
    kit: Kit, actor: Actor, number: int, parts: frozenset[Part], form: Mapping[str, str], now_ms: int
) -> dict[str, tuple[str, str]]:
    """Write all fields of these parts; what has changed (field → before, after).

    Whoever saves gets a mail with what is registered now, to check it.
    """
    actor.must(Action.NAME)

    async def work(connection: Connection) -> dict[str, tuple[str, str]]:
        system = await held(connection, actor, number)
        slots = system.slots_of(actor.company_id)
        if not parts <= system_data.writable(system, slots):
            raise RefusedError(RefusalCode.OTHER_SLOT)
        values = system_data.parse(form, parts)
        before = await systems.fields(connection, number)
        changed = system_data.changes(before, values)
        if not changed:
            return changed
        by_end_user = Slot.END_USER in slots and bool({Part.DATA, Part.CONTACTS} & parts)
        who = Who(actor.company_id, actor.account_id)
        await systems.set_fields(connection, number, changed, who, now_ms, end_user=by_end_user)
        to = await accounts.email_of(connection, actor.account_id)
        mail = system_letters.data_confirmation(
            kit, to, number, {**before, **values}, now_ms, actor.account_id
        )
        await outbox.put(connection, mail)
        await system_telling.tell_written(connection, kit, system, list(changed), who, now_ms)
        return changed

    return await in_transaction(
        kit.pool, work, before_commit="systems.change.before", after_commit="systems.change.after"
    )


@crossing(Reason.SYSTEM)
async def consent(
    kit: Kit, actor: Actor, number: int, *, information: bool, personal: bool, share_ups: bool, now_ms: int
) -> System:
    """The end-user's two consents, and whether the integrator sees the UPSs."""
    actor.must(Action.COMPANY)

    async def work(connection: Connection) -> System:
        before = await held(connection, actor, number)
        after = rules.consent(
            before,
            actor.company_id,
            information=information,
            personal=personal,
            share_ups=share_ups,
            now_ms=now_ms,
        )
        who = Who(actor.company_id, actor.account_id)
        await system_telling.store(connection, kit, before, after, who, now_ms)
        if after.confirmed and not before.confirmed:
            await system_telling.tell_confirmed(connection, kit, after, actor.company_id, now_ms)
        return after

    return await in_transaction(
        kit.pool, work, before_commit="systems.change.before", after_commit="systems.change.after"
    )


@crossing(Reason.SYSTEM)
async def follow(kit: Kit, actor: Actor, number: int, lead: int, now_ms: int) -> System:
    """Show the lead's registration from now on; the company holds a slot of both."""
    actor.must(Action.NAME)

    async def work(connection: Connection) -> System:
        found = await systems.lock_registrations(connection, [number, lead])
        if number not in found or lead not in found:
            raise RefusedError(RefusalCode.NOT_FOUND)
        after = rules.follow(found[number], found[lead], actor.company_id)
        who = Who(actor.company_id, actor.account_id)
        await system_telling.store(connection, kit, found[number], after, who, now_ms)
        return after

    return await in_transaction(
        kit.pool, work, before_commit="systems.change.before", after_commit="systems.change.after"
    )


@crossing(Reason.SYSTEM)
async def stand_alone(kit: Kit, actor: Actor, number: int, now_ms: int) -> System:
    """Show the own registration again."""
    actor.must(Action.NAME)

    async def work(connection: Connection) -> System:
        before = await held(connection, actor, number)
        after = rules.stand_alone(before, actor.company_id)
        who = Who(actor.company_id, actor.account_id)
        await system_telling.store(connection, kit, before, after, who, now_ms)
        return after

    return await in_transaction(
        kit.pool, work, before_commit="systems.change.before", after_commit="systems.change.after"
    )
