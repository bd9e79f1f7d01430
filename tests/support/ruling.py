"""Rules in the database, and devices whose samples arrive as through a gateway."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from cloud.core.rule import Condition, Side
from cloud.core.upload import Fence
from cloud.postgres import rules
from cloud.postgres.pool import Pool
from cloud.postgres.rules import NewRule
from cloud.postgres.telemetry import Store
from cloud.services.rule_watch import RuleWatch
from tests.support.ingest import BEGUN, NOW_MS, make_batch, run, sample
from tests.support.portal import Owned, now_ms

MINUTE_MS: Final = 60_000
START_MS: Final = NOW_MS - 3_600_000
"""Of the samples: an hour ago, so that all of them lie before now."""
LOAD: Final = Condition(
    subject="output_real_power_pct",
    side=Side.ABOVE,
    threshold=80,
    hysteresis=5,
    hold_ms=2 * MINUTE_MS,
    clear_ms=MINUTE_MS,
    from_ms=START_MS,
)


class Feed:
    """What a device sends: loads in per cent, a minute apart, from START_MS on."""

    def __init__(self, store: Store, device_id: int, fence: Fence = BEGUN) -> None:
        self._store = store
        self._device_id = device_id
        self._fence = fence
        self.count = 0

    def send(self, loads: Sequence[float], **more: Any) -> None:
        """Store them, one transaction."""
        samples = []
        for load in loads:
            self.count += 1
            at_ms = START_MS + self.count * MINUTE_MS
            samples.append(sample(self.count, at_ms, output_real_power_pct=load, **more))
        self._store.write(make_batch(self._store, {self._device_id: samples}, {self._device_id: self._fence}))
        self._fence = replace(self._fence, stream=1, seq=self.count)


async def add_rule(pool: Pool, company_id: int, says: Condition = LOAD, **more: Any) -> int:
    """A rule of a company; its number."""
    fields = {"scope": "company", "scope_id": company_id, "epoch": 0, "name": "Load", **more}
    async with pool.connection() as connection:
        return await rules.insert(
            connection, NewRule(company_id=company_id, account_id=1, condition=says, **fields)
        )


def company_of(dsn: str, device_id: int) -> int:
    """Who owns it."""
    [(company_id,)] = run(
        dsn, "SELECT company_id FROM ownership WHERE device_id = %s AND until_ms IS NULL", device_id
    )
    return int(company_id)


def told(dsn: str) -> list[tuple[int, str, int]]:
    """(device, kind, minutes after START_MS) of what rules told."""
    rows = run(
        dsn,
        "SELECT device_id, kind, (extract(epoch FROM ts) * 1000)::bigint FROM event WHERE stream = 0"
        " AND kind LIKE 'rule%%' ORDER BY device_id, seq",
    )
    return [(device_id, kind, (ts_ms - START_MS) // MINUTE_MS) for device_id, kind, ts_ms in rows]


async def judge_now(pool: Pool, owned: Owned, samples: Sequence[Mapping[str, float]]) -> None:
    """Store these samples of a device, of now, and judge what is new."""
    await owned.add_samples([(now_ms(), values) for values in samples])
    async with pool.connection() as connection:
        await connection.execute(
            "UPDATE latest SET stream = 2, seq = %s WHERE device_id = %s", [owned.seq, owned.device_id]
        )
    await RuleWatch(pool, UUID(int=1), now_ms).round()
