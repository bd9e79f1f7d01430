"""Hands what waits for a device to its session: signed bytes that the gateway could not make.

Commands: marked as delivered, committed, then sent, once: what is lost on the way is not sent again, for
nobody knows whether the device has it (it ends as ``unknown``). QoS 0 and never retained: nothing is kept.

Wanted settings: once a version and session, until the device reports that it has considered them.
"""

import time
from collections.abc import Sequence

import structlog

from cloud.gateway.session import Session
from cloud.postgres import commands, settings
from cloud.postgres.pool import Pool
from protocol import faults

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


async def deliver_settings(pool: Pool, sessions: Sequence[Session]) -> None:
    """Tell these what is wanted of their devices. DatabaseUnavailableError."""
    found = await settings.find_sealed(pool, [session.device_id for session in sessions])
    for session in sessions:
        if not session.awaits_settings or session.device_id not in found:
            continue
        version, sealed = found[session.device_id]
        faults.reach("gateway.settings")
        session.settings_told = version
        session.say(sealed)
        log.info("settings delivered", device_id=session.device_id, version=version)
