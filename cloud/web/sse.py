"""Server-sent events: one stream a page, bounded in every direction.

A stream holds no queue: whoever feeds it keeps the newest state only, so a slow reader skips states and never
makes the server remember more. A reader that takes nothing for ``WRITE_TIMEOUT_S`` is cut; a
problem or a lost database ends the stream, too.
"""

import asyncio
from types import TracebackType
from typing import Final, Self

from aiohttp import web

from cloud.postgres.safety import UNAVAILABLE
from cloud.web.problems import Problem

WRITE_TIMEOUT_S: Final = 10.0
RETRY_MS: Final = 1000


class StreamClosedError(Exception):
    """The reader has gone, or takes nothing."""


class EventStream:
    """An open ``text/event-stream`` answer."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self.response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no"}
        )

    async def __aenter__(self) -> Self:
        await self.response.prepare(self._request)
        await self._write(f"retry: {RETRY_MS}\n\n")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        # The answer has begun, so nothing else can be said: the stream ends, and the page connects again.
        return isinstance(error, (StreamClosedError, Problem, *UNAVAILABLE))

    async def send(self, data: str, event: str | None = None) -> None:
        """Send one message. Lines of ``data`` may not hold a carriage return of their own."""
        head = f"event: {event}\n" if event else ""
        lines = "".join(f"data: {line}\n" for line in data.replace("\r", "").split("\n"))
        await self._write(f"{head}{lines}\n")

    async def beat(self) -> None:
        """A comment: keeps proxies from closing the connection, and notices a reader who has gone."""
        await self._write(": beat\n\n")

    async def _write(self, text: str) -> None:
        try:
            async with asyncio.timeout(WRITE_TIMEOUT_S):
                await self.response.write(text.encode())
        except (ConnectionError, TimeoutError) as error:
            raise StreamClosedError from error
