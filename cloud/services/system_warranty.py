"""Warranties of registered systems: holders and servers are told a month before the last day, and after it.

Once for each, and again where the date was changed; the history of the registration has it, and so says what
was told. A warranty that had ended long before anybody wrote it down is no news.
"""

import datetime as dt
import functools
from typing import Final

from cloud.postgres import system_warranty, systems
from cloud.postgres.system_warranty import Due
from cloud.postgres.systems import Who
from cloud.postgres.transaction import Connection, in_transaction
from cloud.services import system_telling
from cloud.services.kit import Kit

BEFORE_DAYS: Final = 30
NEWS_DAYS: Final = 30
AT_ONCE: Final = 200


async def tell_due(kit: Kit, now_ms: int) -> int:
    """Tell what is due at this moment (days by UTC), so many at once; how many registrations were told of."""
    today = dt.datetime.fromtimestamp(now_ms / 1000, dt.UTC).date()
    past, soon = (today + dt.timedelta(days=days) for days in (-NEWS_DAYS, BEFORE_DAYS))
    find = functools.partial(
        system_warranty.due, past=past.isoformat(), today=today.isoformat(), soon=soon.isoformat()
    )

    async def look(connection: Connection) -> list[Due]:
        return await find(connection, limit=AT_ONCE)

    async def tell(connection: Connection, number: int) -> int:
        system = (await systems.lock_registrations(connection, [number]))[number]
        found = await find(connection, limit=1, number=number)
        for one in found:
            await systems.record(connection, number, one.kind, Who(), now_ms, after=one.warranty_end)
            await systems.add_notice(connection, one.system_id, one.kind, now_ms)
            ended = one.kind == "warranty_ended"
            await system_telling.tell_warranty(connection, kit, system, one.warranty_end, now_ms, ended=ended)
        return len(found)

    told = 0
    for one in await in_transaction(kit.pool, look):
        told += await in_transaction(kit.pool, functools.partial(tell, number=one.number))
    return told
