"""The server of an agent, loaded only where there is one: most agents read UPSs and nothing else."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import structlog

from agent.background import Background
from agent.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from concurrent.futures import Executor
    from pathlib import Path

    from agent.config import Settings
    from agent.core.ports import Clock
    from agent.system.server import Server
    from agent.time_service import TimeService
    from protocol.messages import Installation
    from protocol.system import SystemId, UpsUnder

FOLDER: Final = "_system"  # the name of a UPS never begins so
DATABASE: Final = "database.json"
_log = structlog.get_logger(__name__)


def has_database(state_dir: Path) -> bool:
    """Whether this agent is a server of a building system."""
    return (state_dir / FOLDER / DATABASE).exists()


class SystemPart:
    """Makes the server when it is first needed, and starts its loops once it has a database."""

    def __init__(
        self,
        settings: Settings,
        installation: Installation,
        clock: Clock,
        executor: Executor,
        ups: Callable[[SystemId], tuple[UpsUnder, ...]],
    ) -> None:
        self._settings = settings
        self._installation = installation
        self._clock = clock
        self._background = Background(executor)
        self._ups = ups
        self._server: Server | None = None
        self._start: Callable[[Server], None] | None = None

    def begin(self, time: TimeService, spawn: Callable[[str, Callable[[], Awaitable[None]]], None]) -> None:
        """From now on its loops run, as soon as there is a database."""

        def start(server: Server) -> None:
            for name, work in server.loops(time):
                spawn(f"system: {name}", work)

        self._start = start
        if has_database(self._settings.state_dir):
            try:
                self._run_loops()
            except StateError as error:  # the UPSs are looked after all the same
                _log.error("this server of a building system does not run", reason=str(error))

    def _run_loops(self) -> None:
        if self._start is not None:
            start, self._start = self._start, None
            start(self.server)

    async def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        """Do what a person orders. AgentError says why not."""
        answer = await self.server.obey(order)
        self._run_loops()
        return answer

    @property
    def server(self) -> Server:
        """The server, with or without a database. StateError where its file is damaged."""
        if self._server is None:
            from agent.system.server import Server  # noqa: PLC0415 - see above

            self._server = Server(
                self._settings,
                self._installation,
                self._clock,
                self._background,
                version=version("smartconnect"),
                ups=self._ups,
            )
        return self._server
