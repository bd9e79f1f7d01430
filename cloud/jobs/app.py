"""The jobs process: parts by name beside each other until told to stop.

Any number of jobs processes may run: what must be done once is taken from queue tables by a lease. A part
that breaks ends the process with status 1, and ``serve`` starts it again.
"""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any

import structlog
from prometheus_client import start_http_server

from cloud import background, catalogs
from cloud.config import ConfigError, Settings
from cloud.jobs import calendar, commands, notices, presence, rollups, rules, schedules
from cloud.jobs import settings as settings_part
from cloud.jobs.metrics import Metrics
from cloud.postgres.pool import Pool, make_pool
from cloud.provision import ProvisionError, Signer, load_signer
from cloud.services.notice_letters import Office
from cloud.services.vault import Vault, VaultError
from protocol.messages import KeyUse

log = structlog.get_logger()


def parts(settings: Settings, pool: Pool, metrics: Metrics) -> dict[str, Coroutine[Any, Any, None]]:
    """Everything that runs in this process, by name; each part is a module of its own."""
    signer = load_command_key(settings)
    desk = Office(pool, load_vault(settings), settings.brand, settings.portal_url)
    return {
        "calendar": calendar.run(pool, metrics),
        "commands": commands.run(pool, metrics),
        "schedules": schedules.run(pool, signer, metrics),
        "presence": presence.run(pool, metrics, settings.offline_after_s),
        "settings": settings_part.run(pool, signer, metrics),
        "rules": rules.run(pool, metrics),
        "rollups": rollups.run(pool, metrics),
        "notices": notices.run(desk, metrics),
        "courier": notices.carry(desk, metrics, private=settings.notify_private),
        "notice_log": notices.forget(desk, metrics),
    }


def load_vault(settings: Settings) -> Vault:
    """The key that seals secrets and signs links. ConfigError."""
    try:
        return Vault.load(settings.secrets_key_path)
    except VaultError as error:
        raise ConfigError(str(error)) from error


def load_command_key(settings: Settings) -> Signer:
    """The key that signs what devices are to do. ConfigError."""
    try:
        return load_signer(settings.state_dir, KeyUse.COMMAND)
    except (ProvisionError, OSError) as error:
        raise ConfigError(str(error)) from error


async def run(settings: Settings) -> int:
    """Work until SIGTERM or SIGINT (status 0), or until a part breaks (status 1)."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    metrics = Metrics()
    catalogs.load()
    async with make_pool(settings.dsn, name="jobs", max_size=settings.pool_size) as pool:
        if settings.jobs_metrics_port:
            start_http_server(settings.jobs_metrics_port, "127.0.0.1", metrics.registry)
        working = parts(settings, pool, metrics)
        log.info("ready", parts=sorted(working))
        try:
            async with background.running(working):
                await stop.wait()
        except ExceptionGroup:
            log.exception("the jobs cannot go on")
            return 1
    log.info("stopped")
    return 0
