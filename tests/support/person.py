"""A person with a browser's manners: logs in to a running portal and uses its API. One company each."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import aiohttp

from cloud.core.proof_of_work import solve
from cloud.postgres.pool import make_pool
from cloud.services.accounts import create_account
from cloud.services.passwords import Passwords
from protocol.identity import ProductId, ProductKey

PASSWORD = "Correct horse 7 battery"
FINAL = frozenset({"won", "refused", "expired", "cancelled"})
POLL_S = 0.01
_SHOWN_STATE = re.compile(r'data-state="(\w+)"')
_FORM_TOKEN = re.compile(r'name="form_token" value="([^"]+)"')


async def make_accounts(dsn: str, count: int, now_ms: int) -> list[str]:
    """Make so many accounts, each with a company of its own; their e-mail addresses."""
    emails = [f"person{number}@example.org" for number in range(count)]
    with Passwords() as passwords:
        async with make_pool(dsn, name="accounts", max_size=2) as pool:
            for number, email in enumerate(emails):
                await create_account(
                    pool,
                    passwords,
                    email=email,
                    password=PASSWORD,
                    first_name="Ada",
                    last_name=f"Number{number}",
                    company_name=f"Company {number}",
                    now_ms=now_ms,
                )
    return emails


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer of the API."""

    status: int
    body: dict[str, Any]
    retry_after_s: int = 0
    headers: dict[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Page:
    """A page a browser ended at."""

    status: int
    url: str
    text: str
    way: tuple[str, ...] = ()
    """The addresses that led there."""


@dataclass
class Person:
    """Somebody who is logged in between ``async with`` and its end."""

    portal_url: str
    email: str
    address: str | None = None
    """Where its connections come from; the system's choice if None."""
    _http: aiohttp.ClientSession = field(init=False)
    _form_token: str = ""

    async def __aenter__(self) -> Self:
        here = None if self.address is None else (self.address, 0)
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(local_addr=here),
            cookie_jar=aiohttp.CookieJar(unsafe=True),
            timeout=aiohttp.ClientTimeout(total=60),
        )
        form = {
            "form_token": await self._token("/login"),
            "email": self.email,
            "password": PASSWORD,
            "next": "/devices",
        }
        async with self._http.post(f"{self.portal_url}/login", data=form, allow_redirects=False) as response:
            if response.status != 303:
                raise RuntimeError(f"log-in of {self.email}: {response.status}")
        self._form_token = await self._token("/devices")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()

    async def claim(self, product_id: ProductId | str, product_key: ProductKey | str) -> Answer:
        """Claim by these codes; waits and works as told where too much is open or to be done."""
        codes = {
            "product_id": product_id.value if isinstance(product_id, ProductId) else product_id,
            "product_key": product_key.value if isinstance(product_key, ProductKey) else product_key,
        }
        while True:
            answer = await self.ask("POST", "/api/v1/claims", codes)
            if answer.status != 429:
                return answer
            if answer.body["code"] == "work_needed":
                codes["robot"] = await asyncio.to_thread(
                    solve, answer.body["challenge"], answer.body["bits"], answer.body["puzzles"]
                )
            else:
                codes.pop("robot", None)
                await asyncio.sleep(answer.retry_after_s)

    async def look(self, claim_id: str) -> Answer:
        """Where a claim stands."""
        return await self.ask("GET", f"/api/v1/claims/{claim_id}")

    async def until_final(self, claim_id: str, timeout_s: float = 20.0, pause_s: float = POLL_S) -> Answer:
        """Look at a claim until it is decided. TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while True:
                seen = await self.look(claim_id)
                if seen.body.get("state") in FINAL or seen.status != 200:
                    return seen
                await asyncio.sleep(pause_s)

    async def watch(self, claim_id: str, opened: asyncio.Event) -> str:
        """Keep the claim's page open, as a browser does, until it shows a decision: its state.

        ``opened`` is set once the page is live. RuntimeError where the stream ends without a decision.
        """
        async with self._http.get(f"{self.portal_url}/claims/{claim_id}/live") as stream:
            async for line in stream.content:
                found = _SHOWN_STATE.search(line.decode())
                if found is not None:
                    opened.set()
                    if found[1] in FINAL:
                        return found[1]
        raise RuntimeError(f"the page of claim {claim_id} ended ({stream.status})")

    async def send_photo(self, content: bytes) -> Page:
        """Send a photo of labels with the form of the scanner's page."""
        form = aiohttp.FormData()
        form.add_field("form_token", self._form_token)
        form.add_field("photo", content, filename="label.jpg", content_type="image/jpeg")
        async with self._http.post(f"{self.portal_url}/add/photo", data=form) as response:
            return await _page_of(response)

    async def submit_form(self, path: str, fields: dict[str, str]) -> Page:
        """Send a form as a browser does, and follow where that leads."""
        fields = {"form_token": self._form_token, **fields}
        async with self._http.post(f"{self.portal_url}{path}", data=fields) as response:
            return await _page_of(response)

    async def open(self, path: str) -> Page:
        """Open a page as a browser does, and follow where that leads."""
        async with self._http.get(f"{self.portal_url}{path}") as response:
            return await _page_of(response)

    async def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        """One request of the API; repeated once where the portal was restarted under a kept connection."""
        try:
            return await self.ask_once(method, path, body)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            return await self.ask_once(method, path, body)

    async def ask_once(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, key: str | None = None
    ) -> Answer:
        """One request of the API, perhaps with an Idempotency-Key."""
        headers = {"X-Form-Token": self._form_token, "Accept": "application/json"}
        if key is not None:
            headers["Idempotency-Key"] = key
        async with self._http.request(
            method, f"{self.portal_url}{path}", json=body, headers=headers
        ) as response:
            content = await response.json(content_type=None)
            retry_after_s = int(response.headers.get("Retry-After", "0"))
            return Answer(response.status, content, retry_after_s, dict(response.headers))

    async def _token(self, path: str) -> str:
        async with self._http.get(f"{self.portal_url}{path}") as response:
            found = _FORM_TOKEN.search(await response.text())
        if found is None:
            raise RuntimeError(f"{path} has no form token ({response.status})")
        return found[1]


async def _page_of(response: aiohttp.ClientResponse) -> Page:
    way = tuple(str(one.url) for one in response.history)
    return Page(response.status, str(response.url), await response.text(), way)
