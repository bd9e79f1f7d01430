"""Reads a stream of server-sent events as a browser would."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp

from tests.support.portal import Visitor


@dataclass(frozen=True, slots=True)
class Message:
    """One message; ``event`` is empty for those that htmx swaps in."""

    event: str
    data: str


class Stream:
    """An open stream."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def next(self, timeout_s: float = 5.0) -> Message | None:
        """The next message, None at the end of the stream. TimeoutError."""
        event, data = "", []
        async with asyncio.timeout(timeout_s):
            async for raw in self._response.content:
                line = raw.decode().rstrip("\n")
                if line.startswith("event: "):
                    event = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    data.append(line.removeprefix("data: "))
                elif not line and (event or data):
                    return Message(event, "\n".join(data))
        return None

    async def until(self, text: str, *, event: str | None = None, timeout_s: float = 5.0) -> Message:
        """The first message that holds ``text``. TimeoutError; AssertionError when the stream ends before."""
        async with asyncio.timeout(timeout_s):
            while True:
                message = await self.next(timeout_s)
                if message is None:
                    raise AssertionError(f"the stream ended before {text!r}")
                if text in message.data and (event is None or message.event == event):
                    return message

    async def until_event(self, event: str, timeout_s: float = 5.0) -> Message:
        """The first message of this name."""
        return await self.until("", event=event, timeout_s=timeout_s)


@contextlib.asynccontextmanager
async def open_stream(browser: Visitor, path: str) -> AsyncIterator[Stream]:
    """The stream at ``path``, closed at the block's end."""
    headers = {"Accept": "text/html, text/event-stream", "HX-Request": "true"}
    async with browser.http.get(browser.url + path, headers=headers) as response:
        if response.status != 200 or response.content_type != "text/event-stream":
            raise AssertionError(f"{path}: {response.status} {response.content_type}")
        yield Stream(response)
