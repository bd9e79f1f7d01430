"""The control socket of a running agent: orders from another process of the same user, such as `status`.

One JSON object a line in, one out. The socket lies in the agent's private state directory (0700), so whoever
can open it could read the keys as well. It is reached through /proc/self/fd, because the path of a Unix
socket may have 107 bytes only.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from typing import TYPE_CHECKING, Any, Final

from agent.errors import AgentError, StateError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

SOCKET: Final = "control.sock"
MAX_REQUEST_BYTES: Final = 4096
MAX_REPLY_BYTES: Final = 1 << 20
REQUEST_TIMEOUT_S: Final = 5.0
ANSWER_TIMEOUT_S: Final = 30.0  # enabling writes a register and reads it back, on a slow and busy line


class ControlServer:
    """Answers requests by calling ``handle``; an AgentError of it is the answer's ``error``."""

    def __init__(
        self, state_dir: Path, handle: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
    ) -> None:
        self._state_dir = state_dir
        self._handle = handle
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen. The caller holds the lock of the state directory, so a socket that lies there is stale."""
        (self._state_dir / SOCKET).unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            with _short_path(self._state_dir) as path:
                self._server = await asyncio.start_unix_server(self._serve, path, limit=MAX_REQUEST_BYTES)
        finally:
            os.umask(before)

    async def stop(self) -> None:
        """Close, and take the socket away."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
        (self._state_dir / SOCKET).unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                line = await reader.readuntil(b"\n")
            writer.write(json.dumps(await self._reply(line)).encode() + b"\n")
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                await writer.drain()
        writer.close()

    async def _reply(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            if not isinstance(request, dict):
                return {"error": "a request is an object"}
            return await self._handle(request)
        except (ValueError, RecursionError):
            return {"error": "that is no request"}
        except AgentError as error:
            return {"error": str(error)}


def ask(state_dir: Path, request: dict[str, Any]) -> dict[str, Any] | None:
    """The running agent's answer; None if none runs. StateError if it does not answer, or says no."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(ANSWER_TIMEOUT_S)
        try:
            with _short_path(state_dir) as path:
                line.connect(path)
        except OSError:
            return None
        try:
            line.sendall(json.dumps(request).encode() + b"\n")
            with line.makefile("rb") as replies:
                reply = json.loads(replies.readline(MAX_REPLY_BYTES))
        except (OSError, ValueError) as error:
            raise StateError(f"the running agent does not answer: {error}") from error
    if "error" in reply:
        raise StateError(str(reply["error"]))
    answer: dict[str, Any] = reply
    return answer


@contextlib.contextmanager
def _short_path(state_dir: Path) -> Iterator[str]:
    handle = os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{handle}/{SOCKET}"
    finally:
        os.close(handle)
