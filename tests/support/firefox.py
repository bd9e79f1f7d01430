"""Drives a real Firefox over WebDriver BiDi (https://w3c.github.io/webdriver-bidi/), which it speaks itself.

Playwright needs a Firefox of its own making; this needs only Debian's. Just enough to log in and look.
"""

import asyncio
import contextlib
import itertools
import json
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import aiohttp

START_TIMEOUT_S = 60.0


def find_firefox() -> str | None:
    """Path of a Firefox: ``$FIREFOX``, then ``firefox-esr`` and ``firefox`` on the PATH."""
    return os.environ.get("FIREFOX") or shutil.which("firefox-esr") or shutil.which("firefox")


class FirefoxError(Exception):
    """Firefox did not start, or answered a command with an error."""


class Page:
    """One tab."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self._context = ""

    async def open(self) -> Self:
        await self._call("session.new", capabilities={"alwaysMatch": {"acceptInsecureCerts": True}})
        tree = await self._call("browsingContext.getTree")
        self._context = tree["contexts"][0]["context"]
        return self

    async def goto(self, url: str) -> None:
        """Navigate, and wait until the page has loaded."""
        await self._call("browsingContext.navigate", context=self._context, url=url, wait="complete")

    async def evaluate(self, expression: str) -> Any:
        """Value of a JavaScript expression (a primitive); promises are awaited."""
        found = await self._call(
            "script.evaluate",
            expression=expression,
            target={"context": self._context},
            awaitPromise=True,
        )
        if found["type"] != "success":
            raise FirefoxError(found.get("exceptionDetails", {}).get("text", "script failed"))
        return found["result"].get("value")

    async def type(self, selector: str, text: str) -> None:
        """Focus an element and type into it with real key events."""
        await self.evaluate(f"document.querySelector({selector!r}).focus()")
        keys = [{"type": kind, "value": key} for key in text for kind in ("keyDown", "keyUp")]
        await self._call(
            "input.performActions",
            context=self._context,
            actions=[{"type": "key", "id": "keyboard", "actions": keys}],
        )

    async def screenshot(self) -> str:
        """The visible part as PNG in base64."""
        found = await self._call("browsingContext.captureScreenshot", context=self._context)
        return str(found["data"])

    async def wait_for(self, expression: str, timeout_s: float = 10.0) -> None:
        """Wait until a JavaScript expression is true; TimeoutError otherwise. Survives navigation."""
        async with asyncio.timeout(timeout_s):
            while True:
                with contextlib.suppress(FirefoxError):
                    if await self.evaluate(f"Boolean({expression})"):
                        return
                await asyncio.sleep(0.05)

    async def _call(self, method: str, **params: Any) -> Any:
        number = next(self._ids)
        await self._socket.send_json({"id": number, "method": method, "params": params})
        async for message in self._socket:
            answer = message.json()
            if answer.get("id") == number:
                if answer["type"] == "error":
                    raise FirefoxError(f"{method}: {answer['error']}: {answer['message']}")
                return answer["result"]
        raise FirefoxError(f"{method}: Firefox went away")


@contextlib.asynccontextmanager
async def firefox() -> AsyncIterator[Page]:
    """A headless Firefox with an empty profile; it is gone, with its children, on exit."""
    program = find_firefox()
    if program is None:
        raise FirefoxError("no Firefox here: install firefox-esr, or set FIREFOX")
    with tempfile.TemporaryDirectory(prefix="firefox-") as home:
        process = await asyncio.create_subprocess_exec(
            program,
            "--headless",
            "--no-remote",
            "--profile",
            home,
            "--remote-debugging-port",
            "0",
            env={**os.environ, "HOME": home, "MOZ_HEADLESS": "1"},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                address = await _address(process, Path(home))
            async with aiohttp.ClientSession() as session, session.ws_connect(f"{address}/session") as socket:
                yield await Page(socket).open()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            _remove_quietly(Path(home))


async def _address(process: asyncio.subprocess.Process, home: Path) -> str:
    """Where Firefox listens; it writes so into its profile."""
    written = home / "WebDriverBiDiServer.json"
    while process.returncode is None:
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
            found = json.loads(written.read_text())
            return f"ws://{found['ws_host']}:{found['ws_port']}"
        await asyncio.sleep(0.05)
    raise FirefoxError("Firefox ended before it listened")


def _remove_quietly(home: Path) -> None:
    """Files that a dying child was still writing must not fail the caller."""
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(exist_ok=True)
