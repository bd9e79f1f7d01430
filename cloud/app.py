"""The cloud's commands: what each process does from start to end. The only module that wires all parts.

Exit status: 0 stopped as asked, 1 broken, 2 the settings or the database do not allow to start.
"""

import asyncio
import contextlib
import dataclasses
import errno
import importlib
import inspect
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog

from cloud import logs
from cloud.config import ConfigError, Settings
from cloud.embedded import EmbeddedPostgres, forget_stale_dsn, part_dsn_path
from cloud.postgres.migrate import MigrationError, migrate
from cloud.postgres.partitions import ensure_days
from cloud.postgres.roles import Part
from cloud.postgres.safety import DatabaseUnavailableError, UnsafeDatabaseError, check_safety
from cloud.postgres_binaries import EmbeddedPostgresError
from cloud.provision import ProvisionError, provision
from cloud.supervisor import EXIT_CONFIGURATION, Child, Supervisor, handle_signals, has_terminal, own_command
from protocol import faults

DATABASE_TIMEOUT_S: Final = 90.0
PREDECESSOR_S: Final = 10.0  # every process of ours stops within this, also one whose parent was killed
CHILDREN: Final = ("gateway", "portal", "jobs")
MODULES: Final = {
    Part.GATEWAY: "cloud.gateway.endpoint",
    Part.PORTAL: "cloud.web.app",
    Part.JOBS: "cloud.jobs.app",
}
FAULT_VARIABLE: Final = "SMARTCONNECT_FAULT"
REFUSALS: Final = (
    ConfigError,
    DatabaseUnavailableError,
    EmbeddedPostgresError,
    MigrationError,
    ProvisionError,
    UnsafeDatabaseError,
)

log = structlog.get_logger()


def run_postgres(settings: Settings) -> int:
    """Run the private PostgreSQL in the foreground until SIGTERM or SIGINT, or until it ends by itself."""
    server = EmbeddedPostgres(settings.state_dir)
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: asked.append(received))
    began = time.monotonic()
    server.start(PREDECESSOR_S)
    log.info(
        "ready",
        dsn_file=str(server.dsn_path),
        pid=server.pid,
        start_ms=round((time.monotonic() - began) * 1000),
    )
    try:
        while not asked:
            code = server.wait(0.2)
            if code is not None:
                log.error("PostgreSQL ended", status=code, log_file=str(settings.state_dir / "pg.log"))
                return 1
        return 0
    finally:
        server.stop()


def run_migrate(settings: Settings) -> int:
    """Check the database, bring it to the newest schema, and make the partitions of the coming days."""
    check_safety(settings.dsn)
    applied = migrate(settings.dsn)
    log.info("the database is up to date", applied=applied, days_made=ensure_days(settings.dsn))
    return 0


def run_part(part: Part, settings: Settings) -> int:
    """Run the gateway, the portal or the jobs: its module's ``run(settings)``, maybe a coroutine function."""
    provision(settings)
    arm_fault(os.environ.get(FAULT_VARIABLE, ""))
    found = dataclasses.replace(settings, database_url=database_of(part, settings))
    outcome = importlib.import_module(MODULES[part]).run(found)
    if inspect.iscoroutine(outcome):
        outcome = asyncio.run(outcome)
    return int(outcome or 0)


def database_of(part: Part, settings: Settings) -> str:
    """Connection string of this part's own role, or, where no role was named, the one for all."""
    own: str | None = getattr(settings, f"{part}_database_url")
    if own is not None:
        return own
    for_all = _find_database(settings)
    if settings.database_url is not None:
        return for_all
    try:
        return part_dsn_path(settings.state_dir, part).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        raise ConfigError(
            "the private PostgreSQL was started by an older version: stop it and start it again"
        ) from None


def _find_database(settings: Settings) -> str:
    """Connection string; waits for a private PostgreSQL that is there but does not run at this moment.

    It may have been killed together with us, and comes back; that is no reason to give up for good.
    """
    deadline = time.monotonic() + DATABASE_TIMEOUT_S
    told = False
    while time.monotonic() < deadline and (settings.state_dir / "pg" / "PG_VERSION").exists():
        with contextlib.suppress(ConfigError):
            return settings.dsn
        if not told:
            log.warning("the private PostgreSQL does not run; waiting for it")
            told = True
        time.sleep(0.05)
    return settings.dsn


def run_serve(settings: Settings, forwarded: Sequence[str]) -> int:
    """Run everything: private PostgreSQL when none is configured, migrations, gateway, portal, jobs."""
    return asyncio.run(_serve(settings, forwarded))


async def _serve(settings: Settings, forwarded: Sequence[str]) -> int:
    provision(settings)
    supervisor = Supervisor(prefix=has_terminal())
    handle_signals(supervisor.stop)
    human = settings.log_format == "human" or (settings.log_format == "auto" and has_terminal())
    options = [*forwarded, "--log-format", "human" if human else "json"]
    try:
        if settings.database_url is None:
            forget_stale_dsn(settings.state_dir)
            supervisor.start([Child("postgres", own_command("postgres", *options))])
        if await supervisor.until_ready(lambda: _database_answers(settings), DATABASE_TIMEOUT_S):
            await asyncio.to_thread(run_migrate, settings)
            supervisor.start([Child(name, own_command(name, *options)) for name in CHILDREN])
            log.info("started", portal=settings.portal_url, state_dir=str(settings.state_dir))
            await supervisor.wait_stopping()
        elif not supervisor.stopping:
            raise ConfigError(f"the database does not answer within {DATABASE_TIMEOUT_S:.0f} s")
    finally:
        await supervisor.stop_all()
    log.info("stopped")
    return supervisor.exit_code


async def _database_answers(settings: Settings) -> bool:
    try:
        await asyncio.to_thread(check_safety, settings.dsn)
    except (ConfigError, DatabaseUnavailableError):  # no private PostgreSQL yet, or one that is starting
        return False
    return True


def arm_fault(spec: str) -> None:
    """Arm the fault point ``name:n[:kill | :hold:PATH]`` for its n-th passing; tests alone set it.

    ``kill`` (the default) is SIGKILL to this process; ``hold`` makes PATH and waits until somebody removes
    it.
    """
    if not spec:
        return
    name, _, rest = spec.partition(":")
    passing, _, action = rest.partition(":")
    kind, _, path = action.partition(":")
    faults.arm(name, int(passing or 1), (lambda _: _hold(Path(path))) if kind == "hold" else _kill)
    log.warning("a fault point is armed", spec=spec)


def _kill(_name: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _hold(path: Path) -> None:
    path.touch()
    while path.exists():
        time.sleep(0.001)


def guarded(command: str, settings: Settings, forwarded: Sequence[str] = ()) -> int:
    """Run one command with its log set up; what cannot start says why in one line."""
    logs.configure(command, level=settings.log_level, form=settings.log_format)
    try:
        match command:
            case "serve":
                return run_serve(settings, forwarded)
            case "postgres":
                return run_postgres(settings)
            case "migrate":
                return run_migrate(settings)
            case "gateway" | "portal" | "jobs":
                return run_part(Part(command), settings)
    except REFUSALS as error:
        log.error("cannot start", reason=str(error))  # noqa: TRY400 - a wrong setting, not a fault to trace
        return EXIT_CONFIGURATION
    except OSError as error:
        if error.errno not in {errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES}:
            raise
        log.error("cannot listen", reason=str(error))  # noqa: TRY400 - as above
        return EXIT_CONFIGURATION
    raise ValueError(f"no command {command!r}")
