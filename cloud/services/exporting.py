"""Export: what a company's devices reported in its own time, and what is stored about a person.

``samples`` and ``events`` give a device's rows, one of the company's times after the other and each oldest
first, a page at a time, for as long as ``may_go_on`` says so; ``tenures`` says what there is. Who has owned a
device before has the export of that time, for the rows are theirs; everything of another owner's time does
not exist for them. UnknownDeviceError.

Of a device that changes hands during its export the pages simply end where the company's time does.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cloud.core.authz import Action, Actor
from cloud.postgres import exports
from cloud.postgres.acting import Reason, crossing
from cloud.postgres.exports import Mark, Part, Tenure
from cloud.postgres.pool import Pool
from cloud.services.kit import Kit
from cloud.services.naming import UnknownDeviceError
from protocol.system_code import Operation, written_number

PAGE_ROWS: Final = 1000
"""About 400 kB of text: what one export holds in memory."""
MAX_MS: Final = 253_402_300_799_999  # the year 9999: what PostgreSQL, CSV readers and Python all know
_BEGINNING: Final[Mark] = (0, -1, -1)

Row = tuple[Any, ...]
MayGoOn = Callable[[], Awaitable[bool]]


class RightsLostError(Exception):
    """Whoever reads has lost the right to during the export; what was given is not all of it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows: of a device in these ownerships, from ``from_ms`` up to, but without, ``to_ms``."""

    device_id: int
    epochs: Sequence[int]
    from_ms: int = 0
    to_ms: int = MAX_MS


async def tenures(pool: Pool, actor: Actor, device_id: int) -> tuple[str, list[Tenure]]:
    """The device's Product ID and the times in which it was the company's. UnknownDeviceError."""
    actor.must(Action.SEE)
    product_id, found = await exports.tenures(pool, actor.company_id, device_id)
    if not found:
        raise UnknownDeviceError
    return product_id, found


async def samples(
    pool: Pool, actor: Actor, wanted: Wanted, may_go_on: MayGoOn
) -> AsyncIterator[Sequence[Row]]:
    """Pages of samples, values in the order of ``exports.SAMPLE_COLUMNS``. RightsLostError."""
    async for page in _pages(exports.samples, pool, actor, wanted, may_go_on):
        yield page


async def events(
    pool: Pool, actor: Actor, wanted: Wanted, may_go_on: MayGoOn
) -> AsyncIterator[Sequence[Row]]:
    """Pages of events, values in the order of ``exports.EVENT_COLUMNS``. RightsLostError."""
    async for page in _pages(exports.events, pool, actor, wanted, may_go_on):
        yield page


async def _pages(
    read: Callable[..., Awaitable[list[tuple[Mark, Row]]]],
    pool: Pool,
    actor: Actor,
    wanted: Wanted,
    may_go_on: MayGoOn,
) -> AsyncIterator[Sequence[Row]]:
    for epoch in wanted.epochs:
        part = Part(actor.company_id, wanted.device_id, epoch, wanted.from_ms, wanted.to_ms)
        found: list[tuple[Mark, Row]] = []
        while True:
            found = await read(pool, part, after=found[-1][0] if found else _BEGINNING, limit=PAGE_ROWS)
            if (
                not await may_go_on()
            ):  # after the reading, so that no page leaves that was read without rights
                raise RightsLostError
            if found:
                yield [row for _mark, row in found]
            if len(found) < PAGE_ROWS:
                break


@crossing(Reason.MEMBERSHIP)
async def about_person(kit: Kit, account_id: int) -> dict[str, Any]:
    """All that is stored about a person, as one consistent look: see :func:`exports.person`."""
    async with kit.pool.connection() as connection, connection.transaction():
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        found = await exports.person(connection, account_id)
    _write_numbers(found)
    account = found.pop("account")
    return {"account": account[0] if account else None, **found}


def _write_numbers(found: dict[str, list[dict[str, Any]]]) -> None:
    """Systems by the numbers that people read, and what was asked by its name."""
    for kind in ("systems", "system_changes", "system_offers", "awaited_systems"):
        for row in found[kind]:
            if row["number"] is not None:
                row["number"] = written_number(row["number"])
            if "operation" in row:
                row["operation"] = Operation(row["operation"]).name.lower()
            if row.get("kind") == "lead":
                row |= {name: written_number(int(row[name])) for name in ("before", "after") if row[name]}
