"""Hands the commands that wait for a device to its session: signed bytes that the gateway could not make.

Marked as delivered, committed, then sent, once: what is lost on the way is not sent again, for nobody knows
whether the device has it (it ends as ``unknown``). QoS 0 and never retained: nothing is kept for later.
"""

import time

import structlog

from cloud.gateway.session import Session
from cloud.postgres import commands
from cloud.postgres.pool import Pool

log = structlog.get_logger()


async def deliver(pool: Pool, session: Session) -> None:
    """Send what waits, if this session may have it. DatabaseUnavailableError."""
    now_ms = time.time_ns() // 1_000_000
    for parcel in await commands.take(pool, session.device_id, session.kid, session.login_ms, now_ms):
        session.say(parcel.sealed)
        log.info(
            "command delivered",
            device_id=session.device_id,
            command_id=parcel.command_id,
            kind=parcel.kind,
            late=session.closed or None,
        )
