"""What an account can see of a device, everywhere at once: for the acceptance check ``privacy-cut``.

A tenure leaves marks in what its device reports and in what its owner writes. ``Owner.everything`` reads all
pages, answers and files that a device appears in; ``leaks`` looks for the marks of another tenure there.
"""

import asyncio
import contextlib
import csv
import io
import json
import re
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import aiohttp

from protocol import topics
from protocol.codec import encode, pack_batch, pack_sample
from protocol.messages import Event, EventKind
from tests.accept import expect
from tests.accept._claim_run import WAIT_S, threaded
from tests.support.device import WireDevice
from tests.support.person import Person
from tests.support.portal import HEALTHY, Visitor

RANGES: Final = (600, 3600, 86_400, 7 * 86_400, 30 * 86_400, 365 * 86_400, 0)
STREAM_HEADERS: Final = {"Accept": "text/html, text/event-stream", "HX-Request": "true"}


def now_ms() -> int:
    """Unix ms."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Marks:
    """What tells one owner's time from another's: a voltage no other reports, and words of its own."""

    volts: int
    note: str
    name: str

    def found_in(self, text: str) -> list[str]:
        """The marks that this text holds."""
        seen = [word for word in (self.note, self.name) if word in text]
        # A number of its own: no part of an id, a date, a time or another number.
        if re.search(rf"(?<![\w.-])(?<!\d:){self.volts}(\.\d+)?(?![\w:-])", text):
            seen.append(f"{self.volts} V")
        return seen


FIRST: Final = Marks(201, "noted-by-the-first", "Named by the first")
SECOND: Final = Marks(243, "noted-by-the-second", "Named by the second")


@dataclass
class Feed:
    """A device that reports in somebody's time."""

    device: WireDevice
    epoch: int
    marks: Marks
    stream: int
    seq: int = 0
    samples: int = 0

    async def sample(self, *times_ms: int) -> int:
        """One message of samples of these times; the reason code of its PUBACK."""
        packed = []
        for ts_ms in times_ms:
            self.seq += 1
            packed.append(
                pack_sample({**HEALTHY, "input_voltage": self.marks.volts, "ts": ts_ms, "seq": self.seq})
            )
        topic = topics.telemetry(self.device.kid, self.epoch, self.stream)
        reason = await threaded(self.device.publish, pack_batch(packed), topic)
        self.samples += len(packed) if reason == 0 else 0
        return reason

    async def now(self, ts_ms: int) -> int:
        """A snapshot."""
        values = {**HEALTHY, "input_voltage": self.marks.volts, "ts": ts_ms, "seq": 0}
        payload = pack_batch([pack_sample(values)])
        return await threaded(self.device.publish, payload, topics.now(self.device.kid))

    async def event(self, kind: EventKind, ts_ms: int) -> int:
        """An event; its seq is of no other."""
        self.seq += 1
        event = Event(
            stream=self.stream, seq=self.seq, ts_ms=ts_ms, kind=kind, values={"note": self.marks.note}
        )
        return await threaded(self.device.publish, encode(event), topics.event(self.device.kid, self.epoch))


@dataclass
class Heard:
    """What an open live page got, and when it ended."""

    text: str = ""
    ended_ms: int | None = None

    async def until(self, what: str, pattern: str) -> None:
        """Wait for it. CheckError."""
        deadline = time.monotonic() + WAIT_S
        while pattern not in self.text:
            expect(time.monotonic() < deadline, f"not within {WAIT_S:g} s on the live page: {what}")
            expect(self.ended_ms is None, f"the live page ended before it showed {what}")
            await asyncio.sleep(0.005)

    async def until_ended(self) -> int:
        """Unix ms of its end. CheckError."""
        deadline = time.monotonic() + WAIT_S
        while self.ended_ms is None:
            expect(time.monotonic() < deadline, f"a live page is still open after {WAIT_S:g} s")
            await asyncio.sleep(0.005)
        return self.ended_ms


class Owner:
    """One account: a program and a browser that are logged in, between ``async with`` and its end."""

    def __init__(self, portal_url: str, email: str) -> None:
        self.email = email
        self.person = Person(portal_url, email)
        self._url = portal_url
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.person)
        timeout = aiohttp.ClientTimeout(total=60)
        http = await self._stack.enter_async_context(
            aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True), timeout=timeout)
        )
        self.browser = Visitor(http, self._url)
        await self.browser.log_in(self.email)
        return self

    async def __aexit__(self, *reason: object) -> None:
        await self._stack.aclose()

    async def everything(self, device_id: int, claim_id: str = "") -> dict[str, tuple[int, str]]:
        """Status and text of all that this account may ask about a device."""
        page, api = f"/devices/{device_id}", f"/api/v1/devices/{device_id}"
        paths = ["/devices", page, f"{page}/owner", "/transfers", "/company", "/account/log-ins"]
        paths += [f"{page}?range_s={range_s}" for range_s in RANGES]
        paths += [f"{page}/table?range_s={range_s}" for range_s in RANGES]
        paths += ["/api/v1/devices", api, f"{api}/events", "/api/v1/account/data", f"{api}/tenures"]
        paths += [f"{api}/history?range_s={range_s}" for range_s in RANGES]
        paths += [f"{api}/{what}.{kind}" for what in ("samples", "events") for kind in ("csv", "json")]
        if claim_id:
            paths += [f"/claims/{claim_id}", f"/api/v1/claims/{claim_id}"]
        found: dict[str, tuple[int, str]] = {}
        for path in paths:
            answer = await self.browser.get(path)
            found[path] = (answer.status, answer.text)
        return found

    async def api(self, path: str) -> Any:
        """JSON of the API. CheckError unless it is there."""
        answer = await self.browser.get(path)
        expect(answer.status == 200, f"{self.email}: {path} gives {answer.status}")
        return json.loads(answer.text)

    async def exported(self, device_id: int, what: str) -> list[dict[str, str]]:
        """The rows of an export."""
        answer = await self.browser.get(f"/api/v1/devices/{device_id}/{what}.csv")
        expect(answer.status == 200, f"{self.email}: the export of {what} gives {answer.status}")
        return list(csv.DictReader(io.StringIO(answer.text)))

    @contextlib.asynccontextmanager
    async def watching(self, device_id: int) -> AsyncIterator[Heard]:
        """The live page of a device, open until the block ends."""
        heard, opened = Heard(), asyncio.Event()

        async def listen() -> None:
            url = f"{self._url}/devices/{device_id}/live"
            endless = aiohttp.ClientTimeout(total=None)
            async with self.browser.http.get(url, headers=STREAM_HEADERS, timeout=endless) as response:
                expect(response.status == 200, f"{self.email}: the live page gives {response.status}")
                opened.set()
                async for part in response.content.iter_any():
                    heard.text += part.decode()
            heard.ended_ms = now_ms()

        task = asyncio.create_task(listen())
        try:
            waiting = asyncio.create_task(opened.wait())
            await asyncio.wait({task, waiting}, timeout=WAIT_S, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if task.done():
                task.result()
            expect(opened.is_set(), f"{self.email}: the live page does not open")
            yield heard
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def leaks(seen: Mapping[str, tuple[int, str]], marks: Marks, *others: str) -> list[str]:
    """Where somebody else's marks or words are to be seen."""
    found = []
    for path, (_status, text) in seen.items():
        held = [*marks.found_in(text), *(word for word in others if word in text)]
        if held:
            found.append(f"{path}: {', '.join(held)}")
    return found
