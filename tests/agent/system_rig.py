"""Servers of a building system in this process, with their loops and real links on the loopback."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, Self, cast

from agent.background import Background
from agent.clock import SystemClock
from agent.config import Settings
from agent.system.certificate import make_certificate
from agent.system.server import Server
from agent.system.store import link_key_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path
    from types import TracebackType

    from agent.time_service import TimeService
    from protocol.messages import Installation
    from protocol.system import UpsUnder

WAIT_S: Final = 10.0
HOST: Final = "127.0.0.1"


async def until(what: str, holds: Callable[[], object]) -> None:
    """Look again and again until it holds; AssertionError names what did not come."""
    try:
        async with asyncio.timeout(WAIT_S):
            while not holds():
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"not within {WAIT_S:g} s: {what}") from None


class Rig:
    """One server, whose loops run from `start` to `stop`; what it knows lies in its folder."""

    def __init__(
        self,
        folder: Path,
        installation: Installation,
        *,
        online: bool = False,
        time: TimeService | None = None,
        ups: tuple[UpsUnder, ...] = (),
        proxy: str | None = None,
    ) -> None:
        self.folder = folder
        self._installation = installation
        self._online = online
        self._time = time
        self._ups = ups
        self._proxy = proxy
        self._executor = ThreadPoolExecutor(1)
        self._tasks: list[asyncio.Task[None]] = []
        self._port = 0
        self.server = self._made()

    def _made(self) -> Server:
        settings = Settings(
            installation=self.folder / "installation.json",
            state_dir=self.folder / "state",
            link_host=HOST,
            link_port=self._port,
            system_online=self._online,
            proxy=self._proxy,
        )
        return Server(
            settings,
            self._installation,
            SystemClock(),
            Background(self._executor),
            version="1.9",
            ups=lambda _: self._ups,
        )

    async def start(self) -> None:
        """Run its loops; a server that ran before is one that was switched off and on."""
        self.server = self._made()
        loops = self.server.loops(cast("TimeService", self._time))
        self._tasks = [asyncio.create_task(work(), name=name) for name, work in loops]

    async def stop(self) -> None:
        """Switch it off; what a loop died of comes to light here."""
        self._port = self.server.listener.port
        for task in self._tasks:
            task.cancel()
        ends = await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        for end in ends:
            if isinstance(end, Exception):
                raise end

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
        self._executor.shutdown()

    async def do(self, what: str, **more: object) -> dict[str, Any]:
        """Give an order."""
        return await self.server.obey({"do": what, **more})

    async def shown(self) -> dict[str, Any]:
        """What it shows."""
        return await self.do("show")

    async def listening(self) -> int:
        """Its port, once it listens."""
        server = self.server
        own = make_certificate(link_key_of(server.store.database))
        await until("listens", lambda: server.listener.certificate == own)
        return self.server.listener.port

    async def attach_to(self, enterprise: Rig) -> None:
        """Attach it, and wait for the link."""
        port = await enterprise.listening()
        code = (await enterprise.do("invite"))["attach_code"]
        await self.do("attach", host=HOST, port=port, code=code)
        await self.linked()

    async def linked(self) -> None:
        """Wait until something was passed on over its link."""
        await until("the link is up", lambda: self.server.caller.state == "connected")


@contextlib.asynccontextmanager
async def building(folder: Path, installation: Installation) -> AsyncIterator[tuple[Rig, Rig]]:
    """An Enterprise Server and a stand-alone server, each with a database."""
    async with (
        Rig(folder / "es", installation) as es,
        Rig(folder / "one", installation) as one,
    ):
        await es.do("create", kind="enterprise_server", name="es")
        await one.do("create", kind="standalone", name="one")
        yield es, one
