"""The manifest's files: import, check and export, with a reason for each row."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from cloud.core.manifest import Entry, Row
from cloud.postgres import manifest
from cloud.postgres.pool import Pool
from cloud.postgres.transaction import Connection, in_transaction

AT_ONCE = 1000


class Outcome(StrEnum):
    """What importing a row does, or did."""

    NEW = "new"
    SAME = "same"
    OTHER_FACTORY_KEY = "other factory key"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Answer:
    """A row and what became of it."""

    line: int
    outcome: Outcome
    product_id: str = ""
    reason: str = ""


async def take_in(pool: Pool, rows: Sequence[Row], now_ms: int, *, dry_run: bool) -> list[Answer]:
    """Import the good rows and say of each one what became of it; ``dry_run`` writes nothing.

    Repeating it is harmless: a thousand rows a transaction, each listed once.
    """
    answers: list[Answer] = []
    for begin in range(0, len(rows), AT_ONCE):
        part = rows[begin : begin + AT_ONCE]

        async def work(connection: Connection, part: Sequence[Row] = part) -> list[Answer]:
            entries = [row.entry for row in part if row.entry is not None]
            known = await manifest.find_many(connection, [entry.device_id for entry in entries])
            found = [_judge(row, known) for row in part]
            refused = {answer.line for answer in found if answer.outcome is Outcome.REFUSED}
            if not dry_run:
                good = [row.entry for row in part if row.entry is not None and row.line not in refused]
                await manifest.put(connection, good, now_ms)
            return found

        answers += await in_transaction(pool, work)
    return answers


def _judge(row: Row, known: dict[int, Entry]) -> Answer:
    if row.entry is None:
        return Answer(row.line, Outcome.REFUSED, reason=row.reason)
    name, listed = row.entry.product_id.value, known.get(row.entry.device_id)
    if listed is None:
        return Answer(row.line, Outcome.NEW, name)
    if (listed.product_id, listed.label_pub) != (row.entry.product_id, row.entry.label_pub):
        return Answer(row.line, Outcome.REFUSED, name, "another device has the same number: tell the maker")
    if listed.factory_pub != row.entry.factory_pub:
        return Answer(row.line, Outcome.OTHER_FACTORY_KEY, name)
    return Answer(row.line, Outcome.SAME, name)


async def give_out(pool: Pool) -> list[Entry]:
    """Everything that is listed."""

    async def work(connection: Connection) -> list[Entry]:
        return [entry async for entry in manifest.everything(connection)]

    return await in_transaction(pool, work)
