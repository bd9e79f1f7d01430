"""Reports of settings, stored in a writer's transaction: under the fence, before the PUBACK."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from cloud.core.settings import hear, of_epoch
from cloud.postgres.settings import LOCK, MAKE, STORE, shadow_of, statements_of, values_of
from protocol.messages import Reported


@dataclass(frozen=True, slots=True)
class ReportRow:
    """One report of a device, of its present ownership."""

    device_id: int
    report: Reported


def store_reports(cursor: psycopg.Cursor[Any], rows: Sequence[ReportRow], now_ms: int) -> None:
    """Let each device's shadow hear its reports, in order; devices in the order in which others lock them."""
    heard = []
    for row in sorted(rows, key=lambda row: (row.device_id, row.report.revision)):
        device_id, report = row.device_id, row.report
        cursor.execute(MAKE, [device_id])
        found = cursor.execute(LOCK, [device_id]).fetchone()
        if found is None:
            raise AssertionError("a row that was just made is there")
        shadow = of_epoch(shadow_of(found), report.epoch)
        after, notes = hear(shadow, report, now_ms)
        if after is shadow:
            continue
        cursor.execute(STORE, values_of(device_id, after, None, None))
        for statement, arguments in statements_of(device_id, report.epoch, notes, now_ms):
            cursor.execute(statement, arguments)
        heard.append(str(device_id))
    if heard:
        cursor.execute("SELECT pg_notify('device', hint) FROM unnest(%s::text[]) AS hint", [heard])
