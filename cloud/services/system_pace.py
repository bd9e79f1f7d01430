"""How many System IDs that were never seen before come from one network, or are brought by one person.

Anybody can make a System ID, and each leaves a row for a month. The first hundred a day are free; after that
one is let in after a pause, which doubles up to a minute. Nothing is locked: a server that has to wait asks
again by itself, and one that was seen before never waits.
"""

from typing import Final

from cloud.core.account import Pace, delay_ms
from cloud.postgres import factors, systems
from cloud.postgres.transaction import Connection

SCOPE: Final = "system"
NEW: Final = Pace(free=100, first_ms=1_000, longest_ms=60_000, forget_ms=86_400_000)


async def admit(
    connection: Connection, subject: str, system_ids: list[str], now_ms: int
) -> tuple[frozenset[str], int]:
    """Those of these System IDs that have to wait (the first ones come first), and for how many ms.

    In the transaction that stores the others; the subject's count is held until it ends.
    """
    known = await systems.known(connection, system_ids)
    new = [one for one in system_ids if one not in known]
    if not new:
        return frozenset(), 0
    count, last_ms = await factors.lock_attempts(connection, SCOPE, subject, now_ms, NEW.forget_ms)
    # Nobody waits longer than the pause, also where a clock went back.
    pause_ms = delay_ms(NEW, count, last_ms, now_ms)
    wait_ms = min(max(last_ms + pause_ms - now_ms, 0), pause_ms)
    free = max(NEW.free - count, 0 if wait_ms else 1)
    admitted = new[:free]
    if admitted:
        await factors.set_attempts(connection, SCOPE, subject, count + len(admitted), now_ms)
    return frozenset(new[free:]), wait_ms or NEW.first_ms
