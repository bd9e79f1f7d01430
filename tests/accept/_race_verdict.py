"""What the database says after a race, by the views that are there for checks from outside."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import psycopg

from tests.accept import expect
from tests.accept._race_device import PACE_S, STREAMING, Heard

Yours = tuple[int, int, int]
"""Device, company and epoch of an answer "yours"."""

OVERLAPS: Final = """
    SELECT a.device_id, a.epoch, b.epoch FROM v_ownership a JOIN v_ownership b USING (device_id)
     WHERE a.epoch < b.epoch AND (a.until_ms IS NULL OR a.until_ms > b.from_ms)
"""
BACKWARDS: Final = "SELECT device_id, epoch FROM v_ownership WHERE until_ms < from_ms"
NOT_ONE_LIVE: Final = """
    SELECT device_id, count(*) FILTER (WHERE until_ms IS NULL) FROM v_ownership GROUP BY device_id
    HAVING count(*) FILTER (WHERE until_ms IS NULL) <> 1
"""
BOUND_UNLIKE_OWNED: Final = """
    SELECT o.device_id, o.epoch, a.company_id
      FROM (SELECT * FROM v_audit WHERE kind = 'bound') a
      FULL JOIN v_ownership o ON o.device_id = a.device_id AND o.epoch = a.epoch
       AND o.company_id = a.company_id AND o.account_id = a.account_id AND o.kid = a.kid
     WHERE o.epoch IS NULL OR a.epoch IS NULL
"""
RELEASED_UNLIKE_ENDED: Final = """
    SELECT o.device_id, o.epoch, a.company_id
      FROM (SELECT * FROM v_audit WHERE kind = 'released') a
      FULL JOIN (SELECT * FROM v_ownership WHERE until_ms IS NOT NULL) o
        ON o.device_id = a.device_id AND o.epoch = a.epoch AND o.company_id = a.company_id
     WHERE o.epoch IS NULL OR a.epoch IS NULL
"""
BOUND_UNCLAIMED: Final = """
    SELECT b.device_id, b.epoch FROM v_audit b WHERE b.kind = 'bound' AND NOT EXISTS (
        SELECT 1 FROM v_audit c WHERE c.kind = 'claimed' AND c.device_id = b.device_id
           AND c.company_id = b.company_id AND c.account_id = b.account_id)
"""
OF_NO_EPOCH: Final = """
    SELECT t.device_id, t.epoch, count(*) FROM v_telemetry t LEFT JOIN v_ownership o USING (device_id, epoch)
     WHERE o.device_id IS NULL GROUP BY 1, 2
"""
OUT_OF_TIME: Final = """
    SELECT t.device_id, t.epoch, (extract(epoch FROM t.ts) * 1000)::bigint - o.from_ms,
           (extract(epoch FROM t.ts) * 1000)::bigint - o.until_ms
      FROM v_telemetry t JOIN v_ownership o USING (device_id, epoch)
     WHERE (extract(epoch FROM t.ts) * 1000)::bigint < o.from_ms
        OR (extract(epoch FROM t.ts) * 1000)::bigint > o.until_ms
"""
OWNED_MS: Final = """
    SELECT count(*), coalesce(sum(greatest(least(until_ms, %(now)s) - from_ms, 0)), 0)::bigint
      FROM v_ownership WHERE device_id = %(device)s
"""
LEAST_SHARE: Final = 0.5
"""Of the samples that an owned device sends by its pace, so many are acknowledged at least."""
SETTLE_MS: Final = 10_000
"""An ownership's samples may begin so late: its device hears in 2 s, or when the database is back."""
FAULTS: Final = {
    "devices without exactly one live owner": NOT_ONE_LIVE,
    "overlapping intervals": OVERLAPS,
    "intervals that end before they begin": BACKWARDS,
    "owners without their audit row, or the other way round": BOUND_UNLIKE_OWNED,
    "ended ownerships without their audit row, or the other way round": RELEASED_UNLIKE_ENDED,
    "owners who never claimed": BOUND_UNCLAIMED,
    "samples of no ownership": OF_NO_EPOCH,
    "samples outside their epoch's time": OUT_OF_TIME,
}


class Raced(Protocol):
    """What is asked of a device: its names, and what it has learned."""

    @property
    def device_id(self) -> int:
        """The device."""

    @property
    def kid(self) -> str:
        """Its key."""

    @property
    def heard(self) -> Heard:
        """What it was told."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was looked at."""

    intervals: int
    samples: int
    acknowledged: int
    audited: int


def judge(dsn: str, devices: Sequence[Raced], impostors: Sequence[Raced], told: Sequence[Yours]) -> Verdict:
    """CheckError unless the tables hold what was promised. ``told``: every answer "yours"."""
    with psycopg.connect(dsn) as connection:

        def rows(statement: str, *values: Any) -> list[tuple[Any, ...]]:
            return connection.execute(statement.encode(), values).fetchall()

        for what, statement in FAULTS.items():
            found = rows(statement)
            expect(not found, f"{len(found)} {what}: {found[:5]}")
        owned = rows("SELECT device_id, company_id, epoch, until_ms, kid FROM v_ownership")
        kids = {device.device_id: device.kid for device in devices}
        live = {row[0] for row in owned if row[3] is None}
        expect(live == set(kids), f"{len(live)} devices are owned, {len(kids)} were raced for")
        for device_id, _, _, _, kid in owned:
            expect(kids.get(device_id) == kid, f"device {device_id} is owned with key {kid}")
        intervals = {row[:3] for row in owned}
        missing = set(told) - intervals
        expect(not missing, f"{len(missing)} answered yours have no row: {sorted(missing)[:5]}")
        untold = intervals - set(told)
        expect(not untold, f"{len(untold)} owners were never told: {sorted(untold)[:5]}")
        waiting = rows("SELECT 1 FROM v_pending WHERE device_id = ANY(%s)", list(kids))
        expect(not waiting, f"{len(waiting)} claims still wait")
        false = [impostor.device_id for impostor in impostors]
        stored = rows("SELECT 1 FROM v_telemetry WHERE device_id = ANY(%s)", false)
        expect(not stored, f"{len(stored)} samples of impostors")
        acknowledged = 0
        for device in devices:
            found = rows("SELECT epoch, stream, seq FROM v_telemetry WHERE device_id = %s", device.device_id)
            lost, strange = device.heard.acked - set(found), set(found) - device.heard.sent
            expect(not lost, f"{len(lost)} acknowledged samples are not stored: {sorted(lost)[:5]}")
            expect(not strange, f"{len(strange)} samples nobody sent so: {sorted(strange)[:5]}")
            expect(set(device.heard.epochs) <= {row[2] for row in owned}, "a hello named no ownership")
            acknowledged += len(device.heard.acked)
        samples = rows("SELECT count(*) FROM v_telemetry")[0][0]
        audited = rows("SELECT count(*) FROM v_audit WHERE device_id = ANY(%s)", list(kids))[0][0]
    return Verdict(len(intervals), samples, acknowledged, audited)


def judge_streams(dsn: str, devices: Sequence[Raced], ended_ms: int) -> float:
    """CheckError unless each device was acknowledged what the time it was owned asks for, until ``ended_ms``.

    The least share of all: of the samples an owned device sends by its pace.
    """
    least = 1.0
    with psycopg.connect(dsn) as connection:
        for device in devices:
            values = {"device": device.device_id, "now": ended_ms}
            intervals, owned_ms = connection.execute(OWNED_MS, values).fetchone() or (0, 0)
            acked = len(device.heard.acked)
            asked = LEAST_SHARE * (owned_ms - intervals * SETTLE_MS) / (PACE_S * 1000)
            expect(
                acked >= max(STREAMING, asked),
                f"a device was acknowledged {acked} samples in the {owned_ms / 1000:.1f} s it was owned",
            )
            least = min(least, acked * PACE_S * 1000 / max(owned_ms, 1))
    return least
