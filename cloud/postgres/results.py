"""Results of commands, written in the transaction of the batch that brought them: stored before acknowledged.

The writer's fence has locked the device's row in ``latest`` and agreed on its epoch. A result that comes
again changes nothing; one of a command that is not there (any more) is taken and forgotten.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from cloud.core.command import State
from protocol.messages import CommandResult

WRITE_RESULT: Final = (
    "UPDATE command SET state = %s, ended_ms = %s, reported_ms = %s, due_ms = NULL, code = %s, detail = %s"
    " WHERE device_id = %s AND command_id = %s::uuid AND epoch = %s AND counter = %s"
    " AND (reported_ms IS NULL OR state = %s)"
)
"""The last line is :func:`cloud.core.command.takes_result`."""


@dataclass(frozen=True, slots=True)
class ResultRow:
    """What a device says became of a command."""

    device_id: int
    result: CommandResult
    received_ms: int


def write_results(cursor: psycopg.Cursor[Any], rows: Sequence[ResultRow]) -> None:
    """Store them, in one order for all writers, and hint that pages have something to show."""
    cursor.executemany(
        WRITE_RESULT,
        [
            (
                State(row.result.state).value,
                row.received_ms,
                row.result.ts_ms,
                row.result.code,
                row.result.detail,
                row.device_id,
                row.result.command_id,
                row.result.epoch,
                row.result.counter,
                State.UNKNOWN.value,
            )
            for row in sorted(rows, key=lambda row: (row.device_id, row.result.counter))
        ],
    )
    devices = sorted({str(row.device_id) for row in rows})
    cursor.execute("SELECT pg_notify('device', hint) FROM unnest(%s::text[]) AS hint", [devices])
