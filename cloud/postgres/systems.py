"""Servers and registrations in the database: locked, loaded, and what differs after a decision, stored.

Every function works in the caller's transaction. Order of locks: servers by System ID, registrations by
number, then companies. Whose registration is shown and what pages list is in
:mod:`cloud.postgres.system_views`.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from cloud.core.refusal import RefusalCode, RefusedError
from cloud.core.system import Server, Slot, System
from cloud.postgres.transaction import Connection

SERVER: Final = "SELECT system_id, number, retired_ms IS NOT NULL FROM system_server"
REGISTRATION: Final = (
    "SELECT r.number, r.system_id, r.lead_number, r.information_ms, r.personal_ms, r.end_user_edited,"
    " r.share_ups, r.ended_ms IS NOT NULL,"
    " (SELECT count(*) FROM registration f WHERE f.lead_number = r.number),"
    " (SELECT s.company_id FROM registration_slot s WHERE s.number = r.number AND s.slot = 'integrator'"
    " AND s.until_ms IS NULL),"
    " (SELECT s.company_id FROM registration_slot s WHERE s.number = r.number AND s.slot = 'end_user'"
    " AND s.until_ms IS NULL) FROM registration r WHERE r.number = ANY(%s)"
)


class NumberTakenError(Exception):
    """A registration of this number exists: draw another."""


@dataclass(frozen=True, slots=True)
class Who:
    """Who did something, for the history; None for a server itself."""

    company_id: int | None = None
    account_id: int | None = None


# --- loading ------------------------------------------------------------------------------------------------


async def prove(connection: Connection, system_id: str, now_ms: int) -> None:
    """A System ID has proven itself: from now on there is a row of it."""
    await connection.execute(
        "INSERT INTO system_server (system_id, first_ms) VALUES (%s, %s) ON CONFLICT DO NOTHING",
        (system_id, now_ms),
    )


async def known(connection: Connection, system_ids: Collection[str]) -> set[str]:
    """Those of these System IDs that have proven themselves before."""
    found = await connection.execute(
        "SELECT system_id FROM system_server WHERE system_id = ANY(%s)", (list(system_ids),)
    )
    return {row[0] for row in await found.fetchall()}


async def lock_servers(connection: Connection, system_ids: Collection[str]) -> dict[str, Server]:
    """Those of these servers that have proven themselves; nobody else changes them meanwhile."""
    found = await connection.execute(
        SERVER + " WHERE system_id = ANY(%s) ORDER BY system_id FOR NO KEY UPDATE", (sorted(set(system_ids)),)
    )
    return {row[0]: Server(*row) for row in await found.fetchall()}


async def find_server(connection: Connection, system_id: str) -> Server | None:
    """A server that has proven itself, not locked."""
    found = await connection.execute(SERVER + " WHERE system_id = %s", (system_id,))
    row = await found.fetchone()
    return None if row is None else Server(*row)


async def lock_registrations(connection: Connection, numbers: Collection[int]) -> dict[int, System]:
    """These registrations; nobody else changes them, nor lets anything follow them, meanwhile."""
    await connection.execute(
        "SELECT 1 FROM registration WHERE number = ANY(%s) ORDER BY number FOR NO KEY UPDATE",
        (sorted(set(numbers)),),
    )
    return await load_registrations(connection, numbers)


async def load_registrations(connection: Connection, numbers: Collection[int]) -> dict[int, System]:
    """These registrations, not locked."""
    found = await connection.execute(REGISTRATION, (list(numbers),))
    return {
        row[0]: System(
            number=row[0],
            system_id=row[1],
            holders={
                slot: company
                for slot, company in ((Slot.INTEGRATOR, row[9]), (Slot.END_USER, row[10]))
                if company is not None
            },
            lead=row[2],
            shadows=row[8],
            information_ms=row[3],
            personal_ms=row[4],
            end_user_edited=row[5],
            share_ups=row[6],
            ended=row[7],
        )
        for row in await found.fetchall()
    }


# --- storing ------------------------------------------------------------------------------------------------


async def insert(connection: Connection, system: System, who: Who, now_ms: int) -> None:
    """A new registration with its first holder. NumberTakenError."""
    done = await connection.execute(
        "INSERT INTO registration (number, system_id, created_ms, changed_ms) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT DO NOTHING",
        (system.number, system.system_id, now_ms, now_ms),
    )
    if not done.rowcount:
        raise NumberTakenError(system.number)
    await record(connection, system.number, "registered", who, now_ms, after=system.system_id)
    await _store_holders(connection, System(system.number, system.system_id), system, who, now_ms)
    await _bind(connection, system.system_id, system.number)


async def store(connection: Connection, before: System, after: System, who: Who, now_ms: int) -> None:
    """What a decision has changed of a registration that is locked, with the history of it.

    RefusedError slot_taken where the index says that another holder was faster.
    """
    if before == after:
        return
    if after.ended and not before.ended:
        await _end(connection, before, who, now_ms)
        return
    if before.system_id != after.system_id:
        await _replace(connection, before, after, who, now_ms)
    await _store_holders(connection, before, after, who, now_ms)
    changed = {
        "lead": (before.lead, after.lead),
        "consent_information": (before.information_ms is not None, after.information_ms is not None),
        "consent_personal": (before.personal_ms is not None, after.personal_ms is not None),
        "share_ups": (before.share_ups, after.share_ups),
    }
    await connection.execute(
        "UPDATE registration SET system_id = %s, lead_number = %s, information_ms = %s, personal_ms = %s,"
        " end_user_edited = %s, share_ups = %s, changed_ms = %s WHERE number = %s",
        (
            *(after.system_id, after.lead, after.information_ms, after.personal_ms),
            *(after.end_user_edited, after.share_ups, now_ms, after.number),
        ),
    )
    for name, (old, new) in changed.items():
        if old != new:
            await record(
                connection,
                after.number,
                name,
                who,
                now_ms,
                before=_text(old),
                after=_text(new),
            )


def _text(value: float | None) -> str:
    return "" if value is None or value is False else "yes" if value is True else str(value)


async def _replace(connection: Connection, before: System, after: System, who: Who, now_ms: int) -> None:
    """Another System ID: the old one retires for good."""
    await connection.execute(
        "UPDATE system_server SET number = NULL, retired_ms = %s, ticket_hash = NULL WHERE system_id = %s",
        (now_ms, before.system_id),
    )
    await _bind(connection, after.system_id, after.number)
    await add_notice(connection, before.system_id, "retired", now_ms)
    await add_notice(connection, after.system_id, "associated", now_ms)
    await record(
        connection,
        after.number,
        "system_id",
        who,
        now_ms,
        before=before.system_id,
        after=after.system_id,
    )


async def _bind(connection: Connection, system_id: str, number: int) -> None:
    """The server has this registration now. RefusedError system_taken, where the lock was not held."""
    done = await connection.execute(
        "UPDATE system_server SET number = %s, ticket_hash = NULL"
        " WHERE system_id = %s AND number IS NULL AND retired_ms IS NULL",
        (number, system_id),
    )
    if not done.rowcount:
        raise RefusedError(RefusalCode.SYSTEM_TAKEN)


async def _store_holders(
    connection: Connection, before: System, after: System, who: Who, now_ms: int
) -> None:
    for slot in Slot:
        old, new = before.holders.get(slot), after.holders.get(slot)
        if old == new:
            continue
        if old is not None:
            await connection.execute(
                "UPDATE registration_slot SET until_ms = greatest(%s, from_ms)"
                " WHERE number = %s AND slot = %s AND until_ms IS NULL",
                (now_ms, after.number, slot.value),
            )
        if new is not None:
            done = await connection.execute(
                "INSERT INTO registration_slot (number, slot, company_id, account_id, from_ms)"
                " VALUES (%s, %s, %s, %s, %s)"
                " ON CONFLICT (number, slot) WHERE until_ms IS NULL DO NOTHING",
                (after.number, slot.value, new, who.account_id, now_ms),
            )
            if not done.rowcount:
                raise RefusedError(RefusalCode.SLOT_TAKEN)
        await connection.execute(
            "UPDATE registration_offer SET state = 'void', to_email = '', closed_ms = %s"
            " WHERE number = %s AND slot = %s AND state = 'open'",
            (now_ms, after.number, slot.value),
        )
        await record(
            connection,
            after.number,
            slot.value,
            who,
            now_ms,
            before=await _company(connection, old),
            after=await _company(connection, new),
        )
    await connection.execute(
        "UPDATE registration_offer SET state = 'void', to_email = '', closed_ms = %s"
        " WHERE number = %s AND state = 'open' AND company_id <> ALL(%s)",
        (now_ms, after.number, list(after.holders.values())),
    )


async def _company(connection: Connection, company_id: int | None) -> str:
    found = await connection.execute("SELECT name FROM company WHERE company_id = %s", (company_id,))
    row = await found.fetchone()
    return "" if row is None else str(row[0])


async def _end(connection: Connection, before: System, who: Who, now_ms: int) -> None:
    """The registration is over; what followed it stands alone."""
    number = before.number
    await _store_holders(connection, before, System(number, before.system_id), who, now_ms)
    await connection.execute(
        "UPDATE registration SET ended_ms = %s, changed_ms = %s, lead_number = NULL, information_ms = NULL,"
        " personal_ms = NULL, share_ups = false WHERE number = %s",
        (now_ms, now_ms, number),
    )
    await connection.execute(
        "UPDATE system_server SET number = NULL, ticket_hash = NULL WHERE system_id = %s AND number = %s",
        (before.system_id, number),
    )
    await _forget(connection, number)
    await add_notice(connection, before.system_id, "ended", now_ms)
    await record(connection, number, "ended", who, now_ms)
    for shadow, system_id in await shadows_of(connection, number):
        await connection.execute("UPDATE registration SET lead_number = NULL WHERE number = %s", (shadow,))
        await record(connection, shadow, "lead", who, now_ms, before=str(number))
        await add_notice(connection, system_id, "lead_gone", now_ms)


async def _forget(connection: Connection, number: int) -> None:
    """Nobody can see it any more, so what was registered goes; who did what when stays."""
    await connection.execute("DELETE FROM registration_field WHERE number = %s", (number,))
    await connection.execute(
        "UPDATE registration_audit SET before = '', after = '' WHERE number = %s AND kind = 'field'",
        (number,),
    )


async def numbers_of(connection: Connection, company_id: int) -> list[int]:
    """Registrations of which the company holds a slot."""
    found = await connection.execute(
        "SELECT DISTINCT number FROM registration_slot WHERE company_id = %s AND until_ms IS NULL"
        " ORDER BY number",
        (company_id,),
    )
    return [row[0] for row in await found.fetchall()]


async def shadows_of(connection: Connection, number: int) -> list[tuple[int, str]]:
    """Numbers and System IDs of what follows this registration."""
    found = await connection.execute(
        "SELECT number, system_id FROM registration WHERE lead_number = %s ORDER BY number", (number,)
    )
    return [(row[0], row[1]) for row in await found.fetchall()]


# --- what is registered -------------------------------------------------------------------------------------


async def fields(connection: Connection, number: int) -> dict[str, str]:
    """What is registered, by field; empty ones are not there."""
    found = await connection.execute(
        "SELECT field, value FROM registration_field WHERE number = %s", (number,)
    )
    return {row[0]: row[1] for row in await found.fetchall()}


async def set_fields(
    connection: Connection,
    number: int,
    changed: dict[str, tuple[str, str]],
    who: Who,
    now_ms: int,
    *,
    end_user: bool,
) -> None:
    """Write what has changed (field → before, after), and its history. The registration is locked."""
    for name, (before, after) in changed.items():
        await connection.execute(
            "INSERT INTO registration_field (number, field, value) VALUES (%s, %s, %s)"
            " ON CONFLICT (number, field) DO UPDATE SET value = excluded.value",
            (number, name, after),
        )
        await record(connection, number, "field", who, now_ms, field=name, before=before, after=after)
    await connection.execute(
        "UPDATE registration SET changed_ms = %s, end_user_edited = end_user_edited OR %s WHERE number = %s",
        (now_ms, end_user, number),
    )


async def record(
    connection: Connection,
    number: int,
    kind: str,
    who: Who,
    now_ms: int,
    *,
    field: str = "",
    before: str = "",
    after: str = "",
) -> None:
    """One line of the history."""
    await connection.execute(
        "INSERT INTO registration_audit (number, ts_ms, kind, field, before, after, company_id, account_id)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        (number, now_ms, kind, field, before, after, who.company_id, who.account_id),
    )


async def add_notice(connection: Connection, system_id: str, code: str, now_ms: int) -> None:
    """Something that the server's people are told with its next state."""
    await connection.execute(
        "INSERT INTO system_notice (system_id, ts_ms, code) VALUES (%s, %s, %s)", (system_id, now_ms, code)
    )
