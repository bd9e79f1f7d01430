"""A person in the race: keeps asking until told, whatever breaks meanwhile; some requests are cut."""

import asyncio
import json
import random
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from cloud.core.proof_of_work import solve
from tests.accept import expect
from tests.accept._race_device import RaceDevice
from tests.support.person import FINAL, PASSWORD, Answer, Person

LOST: Final = (aiohttp.ClientError, OSError, TimeoutError)
ANSWER_S: Final = 90.0
"""Whatever breaks, a person knows where they stand within this."""
PAUSE_S: Final = 0.2
LOOK_S: Final = 0.2
LONGEST_CUT_S: Final = 2.0
CLAIMS: Final = "/api/v1/claims"


@dataclass(slots=True)
class Tally:
    """What all of them have seen."""

    seen: Counter[str] = field(default_factory=Counter)
    """``sent`` claims, ``cut`` ones, ``lost`` connections, 503 and 429 by code."""
    latencies_s: list[float] = field(default_factory=list)
    """From a claim to its answer, of those that were neither cut nor sent again."""


@dataclass
class Racer(Person):
    """One account, with its company, at an address of its own."""

    tally: Tally = field(default_factory=Tally)
    chance: random.Random = field(default_factory=random.Random)
    company_id: int = 0

    async def race(self, device: RaceDevice, *, cut: bool) -> Answer:
        """Claim a device; the final answer to the codes: 200 (yours) or 409 (somebody else's)."""
        key = f'"{uuid.uuid4()}"' if cut and self.chance.random() < 0.5 else None
        async with asyncio.timeout(ANSWER_S):
            if cut:
                await self._claim_and_cut(device, key)
            answer = await self._codes(device, key, timed=not cut)
            if answer.status != 202:
                return answer
            device.awaited.set()
            seen = await self._until_final(answer.body["claim_id"])
            if seen.body["state"] == "won":
                return seen
            self.tally.seen["refused after waiting"] += 1
            expect(
                (seen.status, seen.body["state"], seen.body["reason"]) == (200, "refused", "owned_elsewhere"),
                f"a claim that waited ended as {seen}",
            )
            return await self._codes(device)

    async def release(self, device: RaceDevice) -> None:
        """Give a device up by its page."""
        fields = {"proof": PASSWORD, "sure": "on"}
        page = await self.submit_form(f"/devices/{device.device_id}/owner/release", fields)
        expect(page.status == 200, f"a release is answered {page.status}")

    async def sees(self, device: RaceDevice) -> bool:
        """Whether the device is in this person's list."""
        answer = await self._patiently("GET", f"/api/v1/devices/{device.device_id}")
        expect(answer.status in {200, 404}, f"a device is answered {answer.status}")
        return answer.status == 200

    # --- asking ---------------------------------------------------------------------------------------------

    async def _codes(self, device: RaceDevice, key: str | None = None, *, timed: bool = False) -> Answer:
        codes = {"product_id": device.product_id.value, "product_key": device.product_key.value}
        began, times = time.perf_counter(), list[float]()
        answer = await self._patiently("POST", CLAIMS, codes, key, times)
        expect(answer.status in {200, 202, 409}, f"a claim is answered {answer}")
        self.tally.seen["sent"] += len(times)
        if timed and len(times) == 1:
            self.tally.latencies_s.append(time.perf_counter() - began)
        if answer.headers.get("Idempotency-Replayed"):
            self.tally.seen["replayed"] += 1
        return answer

    async def _until_final(self, claim_id: str) -> Answer:
        while True:
            seen = await self._patiently("GET", f"{CLAIMS}/{claim_id}")
            expect(seen.status == 200, f"an own claim is answered {seen.status}")
            if seen.body["state"] in FINAL:
                return seen
            await asyncio.sleep(LOOK_S)

    async def _patiently(
        self,
        method: str,
        path: str,
        body: dict[str, str] | None = None,
        key: str | None = None,
        times: list[float] | None = None,
    ) -> Answer:
        """Ask until it is answered, over restarts of the portal and the database; ``times`` gets when."""
        seen = self.tally.seen
        body = None if body is None else dict(body)
        while True:
            if times is not None:
                times.append(time.monotonic())
            try:
                answer = await self._request(method, path, body, key)
            except LOST:
                seen["lost"] += 1
                await asyncio.sleep(PAUSE_S)
                continue
            code = str(answer.body.get("code", ""))
            if code == "work_needed" and body is not None:
                seen[code] += 1
                given = (answer.body["challenge"], answer.body["bits"], answer.body["puzzles"])
                body["robot"] = await asyncio.to_thread(solve, *given)
            elif answer.status in {429, 503} or code == "idempotency_key_in_use":
                seen[code] += 1
                await asyncio.sleep(max(PAUSE_S, min(answer.retry_after_s, 2)))
            else:
                return answer

    async def _request(self, method: str, path: str, body: dict[str, str] | None, key: str | None) -> Answer:
        headers = {"X-Form-Token": self._form_token, "Accept": "application/json"}
        if key is not None:
            headers["Idempotency-Key"] = key
        url = f"{self.portal_url}{path}"
        async with self._http.request(method, url, json=body, headers=headers) as response:
            content: dict[str, Any] = await response.json(content_type=None)
            retry_after_s = int(response.headers.get("Retry-After", "0"))
            return Answer(response.status, content, retry_after_s, dict(response.headers))

    # --- cutting --------------------------------------------------------------------------------------------

    async def _claim_and_cut(self, device: RaceDevice, key: str | None) -> None:
        """Send a whole claim, and close the connection soon after: before, while or after it is decided."""
        portal = urlsplit(self.portal_url)
        codes = {"product_id": device.product_id.value, "product_key": device.product_key.value}
        body = json.dumps(codes).encode()
        cookies = self._http.cookie_jar.filter_cookies(URL(self.portal_url))
        lines = [
            f"POST {CLAIMS} HTTP/1.1",
            f"Host: {portal.netloc}",
            f"X-Form-Token: {self._form_token}",
            f"Cookie: {'; '.join(f'{name}={cookie.value}' for name, cookie in cookies.items())}",
            "Accept: application/json",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            *([f"Idempotency-Key: {key}"] if key is not None else []),
        ]
        here = None if self.address is None else (self.address, 0)
        try:
            _, writer = await asyncio.open_connection(portal.hostname, portal.port, local_addr=here)
        except OSError:  # the portal is away: then there is nothing to cut
            self.tally.seen["lost"] += 1
            return
        try:
            writer.write("\r\n".join([*lines, "", ""]).encode() + body)
            await writer.drain()
            self.tally.seen["sent"] += 1
            self.tally.seen["cut"] += 1
            await asyncio.sleep(self.chance.uniform(0, LONGEST_CUT_S) ** 2 / LONGEST_CUT_S)
        except OSError:
            self.tally.seen["lost"] += 1
        finally:
            writer.transport.abort()
