"""Puts the parts together: one process, many UPSs, each with a poller, a talker and a spool of its own."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import structlog

from agent import faultswitch, trace
from agent.background import Background
from agent.clock import SystemClock
from agent.control import ControlServer
from agent.core.backoff import Backoff
from agent.core.enrollment import Reset
from agent.device import Device
from agent.disk import OsDisk
from agent.errors import ConfigError, LockedError, StateError
from agent.identity import Identity, Label
from agent.keys import device_key, load_label, private_directory, read_product_key
from agent.memory import give_back_large_blocks
from agent.modbus import Lines
from agent.poller import Poller
from agent.proxy import Way
from agent.spool_file import LEDGER_NAME, SpoolFile
from agent.state import StateFile
from agent.system.part import SystemPart, has_database
from agent.talker import Talker
from agent.time_service import TimeService
from agent.uplink import tls_context
from protocol.codec import decode
from protocol.errors import DecodeError, IdentityError, SignatureError
from protocol.identity import ProductId
from protocol.messages import Installation
from protocol.signing import open_key_set
from protocol.system import MAX_UPS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping
    from pathlib import Path

    from agent.config import Settings, UpsSettings
    from protocol.system import SystemId, UpsUnder

LOCK: Final = "lock"
LOCK_WAIT_S: Final = 3.0  # `status` and `enable` hold it for a moment, an agent for its life
LOCK_PAUSE_S: Final = 0.05
MAX_INSTALLATION_BYTES: Final = 65_536
MIB: Final = 1024 * 1024
DISK_THREADS: Final = 4  # an fsync waits for the disk, not for the processor
STOPPED: Final = "the agent does not run"
CONNECTS_AT_ONCE: Final = 16  # TLS handshakes under way; more only take longer each
_log = structlog.get_logger(__name__)


def load_installation(path: Path) -> Installation:
    """The file that names the cloud; ConfigError says what is wrong with it."""
    try:
        return decode(path.read_bytes(), Installation, MAX_INSTALLATION_BYTES)
    except OSError as error:
        raise ConfigError(f"installation {path}: {error.strerror}") from error
    except DecodeError as error:
        raise ConfigError(f"installation {path}: {error}") from error


@contextlib.contextmanager
def locked(state_dir: Path, *, wait_s: float = 0.0) -> Iterator[None]:
    """Be the only agent on this state directory; LockedError if another one still runs after a while."""
    private_directory(state_dir)
    handle = os.open(state_dir / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        deadline_s = time.monotonic() + wait_s
        while not _try_lock(handle):
            if time.monotonic() >= deadline_s:
                raise LockedError(f"another agent runs on {state_dir}")
            time.sleep(LOCK_PAUSE_S)
        yield
    finally:
        os.close(handle)


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Agent:
    """All UPSs of one process. The caller holds the lock of the state directory."""

    def __init__(self, settings: Settings, environment: Mapping[str, str]) -> None:
        self.settings = settings
        self.installation = load_installation(settings.installation)
        self.lines = Lines()
        self._executor = ThreadPoolExecutor(DISK_THREADS, thread_name_prefix="disk")
        self._environment = environment
        self._clock = SystemClock()
        self.devices = [self._device(ups) for ups in settings.ups]
        self.pollers = [self._poller(device) for device in self.devices]
        self.system = SystemPart(settings, self.installation, self._clock, self._executor, self._under)

    def _device(self, ups: UpsSettings) -> Device:
        disk = OsDisk(private_directory(self.settings.state_dir / ups.name))
        try:
            state = StateFile(disk)
            key = device_key(disk, may_make=not state.exists and LEDGER_NAME not in disk.names())
            kept = load_label(disk)
            spool = SpoolFile(
                disk,
                self._clock,
                max_bytes=self.settings.spool_max_mb * MIB,
                trace=trace.opened(self._environment, ups.name),
            )
        except OSError as error:
            raise StateError(f"{ups.name}: {error}") from error
        label = None if kept is None else Label(*kept)
        background = Background(self._executor)
        device = Device(
            ups,
            Identity(key, label),
            clock=self._clock,
            disk=disk,
            state=state,
            spool=spool,
            background=background,
        )
        if state.value.key_set:
            try:
                device.key_set = open_key_set(state.value.key_set, self.installation.root_pub)
            except (DecodeError, SignatureError) as error:  # another cloud now: it will send its own
                _log.warning("the kept key set is not used", ups=ups.name, reason=str(error))
        return device

    def _under(self, system_id: SystemId) -> tuple[UpsUnder, ...]:
        """What the UPSs say of the server they are under."""
        words = (device.identity.under(system_id) for device in self.devices)
        return tuple(word for word in words if word is not None)[:MAX_UPS]

    def _poller(self, device: Device) -> Poller:
        ups = device.settings
        link = self.lines.link(ups.modbus, ups.unit, ups.baud_rate)
        poller = Poller(link, self._clock, device, name=ups.name, interval_s=ups.poll_interval_s)
        device.poller = poller
        device.commander.link = link
        device.keeper.link = link
        return poller

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop; then what was collected is made durable and every line is closed."""
        tls = tls_context(self.installation.ca_pem)
        gate = asyncio.Semaphore(CONNECTS_AT_ONCE)
        time_service = TimeService(self.installation, self._clock, Way.of(self.settings))
        control = ControlServer(self.settings.state_dir, self._answer)
        tasks: list[asyncio.Task[None]] = []

        def spawn(name: str, work: Callable[[], Awaitable[None]]) -> None:
            tasks.append(asyncio.create_task(kept_running(name, work), name=name))

        try:
            for device in self.devices:
                await configured_label(device)
            await control.start()
            for device, poller in zip(self.devices, self.pollers, strict=True):
                talker = Talker(device, self.installation, tls, gate, time_service)
                loops = (
                    ("poller", poller.run),
                    ("talker", talker.run),
                    ("commander", device.commander.run),
                    ("settings", device.keeper.run),
                )
                for what, work in loops:
                    spawn(f"{what} of {device.settings.name}", work)
            self.system.begin(time_service, spawn)
            _log.info(
                "running",
                upss=len(self.devices),
                gateway=f"{self.installation.gateway_host}:{self.installation.gateway_port}",
            )
            await stop.wait()
            _log.info("stopping")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await control.stop()
            await self.close()

    async def close(self) -> None:
        """Make durable what was collected, and close every line."""
        await asyncio.gather(*(device.report() for device in self.devices))
        await self.lines.close()
        self._executor.shutdown()

    async def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        match request:
            case {"order": "status"}:
                return {"upss": [await describe(device) for device in self.devices]}
            case {"order": "enable", "ups": str(name)}:
                return {"enabled": await enable(self.devices, name)}
            case {"order": "reset", "ups": str(name), "on": bool(on)}:
                return {"reset": await reset(self.devices, name, on=on)}
            case {"order": "system"}:
                return await self.system.obey(request)
            case _:
                return {"error": "orders are status, enable, reset and system"}


async def kept_running(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Run a loop for ever. One that breaks is logged and started again, and takes no other UPS with it."""
    loop, backoff = asyncio.get_running_loop(), Backoff()
    while True:
        began_s = loop.time()
        try:
            await work()
        except Exception:  # noqa: BLE001  the outermost loop of this UPS
            _log.exception("failed, and is started again", task=name)
        if loop.time() - began_s > backoff.max_s:
            backoff = backoff.succeeded()
        backoff = backoff.failed()
        await asyncio.sleep(backoff.delay_s(random.random()))  # noqa: S311  jitter, no secret


async def configured_label(device: Device) -> None:
    """Derive the label key of codes that stand in the settings, unless that was done before."""
    ups = device.settings
    if ups.product_id is None:
        return
    try:
        product_id = ProductId.parse(ups.product_id)
    except IdentityError as error:
        raise ConfigError(f"{ups.name}: product_id: {error}") from error
    known = device.identity.label
    if known is not None and known.product_id == product_id:
        return
    if ups.product_key_file is None:
        raise ConfigError(f"{ups.name}: product_id needs a product_key_file")
    await device.set_label(product_id, read_product_key(ups.product_key_file))


async def describe(device: Device) -> dict[str, Any]:
    """What `status` shows of a UPS; no secret in it."""
    label = device.identity.label
    return {
        "name": device.settings.name,
        "modbus": f"{device.settings.modbus} unit {device.settings.unit}",
        "ups": device.link_state,
        "model": device.inventory.model,
        "product_id": "" if label is None else label.product_id.value,
        "fingerprint": device.identity.fingerprint,
        "smartconnect": device.enrollment.smartconnect,
        "owned": device.enrollment.owned,
        "reset": device.enrollment.release,
        "cloud": device.uplink_state,
        "samples_waiting": await device.background.run(device.spool.depth),
        "events_waiting": device.spool.events,
        "samples_dropped": device.spool.ledger.dropped_samples,
        "outlet_control": device.settings.allow_outlet_control,
        "commands": device.commander.figures(),
    }


async def enable(devices: list[Device], name: str) -> list[str]:
    """Switch SmartConnect on at one UPS, or at all for ""; the names. ConfigError or LinkError."""
    chosen = [device for device in devices if name in {"", device.settings.name}]
    if not chosen:
        raise ConfigError(f"there is no UPS {name!r}")
    for device in chosen:
        await device.enable()
    return [device.settings.name for device in chosen]


async def reset(devices: list[Device], name: str, *, on: bool) -> str:
    """Ask that the ownership of this UPS end, or take that back; its name. ConfigError or StateError."""
    for device in devices:
        if device.settings.name == name:
            await device.step(Reset(on))
            return name
    raise ConfigError(f"there is no UPS {name!r}")


# --- the commands ------------------------------------------------------------------------------------------


def run(settings: Settings, environment: Mapping[str, str]) -> None:
    """The command `run`: until SIGTERM or Ctrl-C."""
    if not settings.ups and not has_database(settings.state_dir):
        raise ConfigError("there is no [[ups]] table and no system, so there is nothing to do")
    faultswitch.arm(environment)
    give_back_large_blocks()
    with locked(settings.state_dir, wait_s=LOCK_WAIT_S):
        asyncio.run(_run(settings, environment))


async def _run(settings: Settings, environment: Mapping[str, str]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await Agent(settings, environment).run(stop)


def status_offline(settings: Settings) -> dict[str, Any]:
    """The command `status` while no agent runs: what is on disk."""
    with locked(settings.state_dir):
        return asyncio.run(_status_offline(settings))


async def _status_offline(settings: Settings) -> dict[str, Any]:
    agent = Agent(settings, {})
    try:
        for device in agent.devices:
            await configured_label(device)
            device.uplink_state = STOPPED
        return {"upss": [await describe(device) for device in agent.devices]}
    finally:
        await agent.close()


def system_offline(settings: Settings, order: dict[str, Any]) -> dict[str, Any]:
    """An order for the server of a building system while no agent runs."""
    with locked(settings.state_dir):
        return asyncio.run(_system_offline(settings, order))


async def _system_offline(settings: Settings, order: dict[str, Any]) -> dict[str, Any]:
    installation = load_installation(settings.installation)
    with ThreadPoolExecutor(1) as executor:
        part = SystemPart(settings, installation, SystemClock(), executor, lambda _: ())
        answer = await part.obey(order)
    return {**answer, "cloud": STOPPED, "link": {"state": STOPPED}, "stopped": True}


def enable_offline(settings: Settings, name: str) -> list[str]:
    """The command `enable` while no agent runs: reads each UPS once, and writes to it."""
    with locked(settings.state_dir):
        return asyncio.run(_enable_offline(settings, name))


def reset_offline(settings: Settings, name: str, *, on: bool) -> str:
    """The command `reset` while no agent runs: it is told to the cloud once one does."""
    with locked(settings.state_dir):
        return asyncio.run(_reset_offline(settings, name, on=on))


async def _reset_offline(settings: Settings, name: str, *, on: bool) -> str:
    agent = Agent(settings, {})
    try:
        return await reset(agent.devices, name, on=on)
    finally:
        await agent.close()


async def _enable_offline(settings: Settings, name: str) -> list[str]:
    agent = Agent(settings, {})
    try:
        for device, poller in zip(agent.devices, agent.pollers, strict=True):
            if name in {"", device.settings.name}:
                await poller.poll()
        return await enable(agent.devices, name)
    finally:
        await agent.close()
