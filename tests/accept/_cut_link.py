"""A link that can be cut: bytes go through it to the gateway until somebody cuts it."""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any, Final, Self

START_TIMEOUT_S: Final = 10.0
CHUNK: Final = 65_536


class CutLinks:
    """Some links to one port, each with a port of its own; they run in a thread until the block ends."""

    def __init__(self, to_port: int, count: int) -> None:
        self._to_port = to_port
        self._count = count
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="links", daemon=True)
        self._servers: list[asyncio.Server] = []
        self._open: list[set[asyncio.StreamWriter]] = [set() for _ in range(count)]
        self._is_cut = [False] * count
        self.ports: list[int] = []
        self.cuts = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(START_TIMEOUT_S)
        self._loop.close()

    def cut(self, link: int) -> None:
        """End all connections of a link, in the middle of whatever goes on, and take no new ones."""
        self.cuts += not self._is_cut[link]
        self._run(self._cut(link))

    def mend(self, link: int) -> None:
        """Let it carry again."""
        self._is_cut[link] = False

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(START_TIMEOUT_S)

    async def _listen(self) -> None:
        for link in range(self._count):

            async def serve(
                reader: asyncio.StreamReader, writer: asyncio.StreamWriter, link: int = link
            ) -> None:
                await self._carry(link, reader, writer)

            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            self._servers.append(server)
            self.ports.append(server.sockets[0].getsockname()[1])

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        for link in range(self._count):
            await self._cut(link)
        carrying = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*carrying, return_exceptions=True)
        for _ in range(3):  # an aborted connection gives its socket back in a later turn of the loop
            await asyncio.sleep(0)

    async def _cut(self, link: int) -> None:
        self._is_cut[link] = True
        for writer in self._open[link]:
            writer.transport.abort()

    async def _carry(self, link: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut[link]:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to_port)
        except OSError:  # the gateway is down
            writer.transport.abort()
            return
        both = {writer, far_writer}
        self._open[link] |= both
        if self._is_cut[link]:
            await self._cut(link)
        try:
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        finally:
            self._open[link] -= both


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until one side ends; then both do."""
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()
