"""Signs open wishes anew for devices that have got another key: a re-key is a transaction of its own."""

from typing import Final

from cloud.jobs.beat import keep
from cloud.jobs.metrics import Metrics
from cloud.postgres.pool import Pool
from cloud.postgres.settings import sealed_for_others
from cloud.provision import Signer
from cloud.services.settings import reseal

PERIOD_S: Final = 2.0


async def run(pool: Pool, signer: Signer, metrics: Metrics, period_s: float = PERIOD_S) -> None:
    """Until cancelled."""

    async def sign() -> int:
        return sum([await reseal(pool, signer, device_id) for device_id in await sealed_for_others(pool)])

    await keep("settings", period_s, sign, metrics)
