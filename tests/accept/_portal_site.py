"""Where ``portal-attack`` happens: a portal process of its own, its database, and attackers with browsers."""

import contextlib
import itertools
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, LiteralString

import aiohttp
import psycopg
from psycopg import sql
from yarl import URL

from cloud.core.authz import Actor, Role
from cloud.postgres.pool import make_pool
from cloud.services.accounts import create_account
from cloud.services.passwords import Passwords
from tests.accept import CheckError
from tests.support.claiming import TestDevice
from tests.support.parts import CloudParts
from tests.support.portal import PASSWORD, Owned, Visitor, claim, now_ms

TABLES: Final = (
    "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
    " AND NOT relispartition ORDER BY 1"
)
_REQUESTS: Final = re.compile(
    r'^smartconnect_portal_requests_total{method="\w+",route="([^"]*)",status="(\d+)"} (\S+)$', re.MULTILINE
)


@dataclass
class Site:
    """The portal under attack."""

    parts: CloudParts
    _addresses: Iterator[int] = field(default_factory=lambda: itertools.count(2))

    @property
    def url(self) -> str:
        """Where it answers."""
        return self.parts.portal_url

    @contextlib.asynccontextmanager
    async def browser(self, *, cookie: tuple[str, str] | None = None) -> AsyncIterator[Visitor]:
        """A browser at an address of its own, so that no attack waits for what another one was slowed by."""
        number = next(self._addresses)
        connector = aiohttp.TCPConnector(local_addr=(f"127.0.{number // 250 + 1}.{number % 250 + 1}", 0))
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(
            connector=connector, cookie_jar=jar, timeout=aiohttp.ClientTimeout(total=60)
        ) as http:
            if cookie is not None:
                jar.update_cookies(dict([cookie]), response_url=URL(self.url))
            yield Visitor(http, self.url)

    async def accounts(self, count: int, word: str) -> list[str]:
        """So many new accounts; their e-mail addresses. ``word`` keeps them apart."""
        emails = [f"{word}{number}@example.org" for number in range(count)]
        with Passwords() as passwords:
            async with make_pool(self.parts.dsn, name="accounts", max_size=2) as pool:
                for email in emails:
                    await create_account(
                        pool,
                        passwords,
                        email=email,
                        password=PASSWORD,
                        first_name="Ada",
                        last_name="North",
                        now_ms=now_ms(),
                    )
        return emails

    async def device_of(self, email: str) -> Owned:
        """A device of somebody, on mains, with one outlet group."""
        ((account_id, company_id),) = self.rows(
            "SELECT account_id, company_id FROM membership JOIN account USING (account_id) WHERE email = %s",
            [email],
        )
        async with make_pool(self.parts.dsn, name="devices", max_size=2) as pool:
            device = TestDevice()
            await device.announce(pool, now_ms())
            view = await claim(pool, Actor(account_id, company_id, Role.OWNER), device)
            if view.epoch is None:
                raise CheckError(f"the claim is {view.state}")
            owned = Owned(pool, device, view.epoch)
            await owned.show(mog_outlet_status=1)
        return owned

    def rows(self, statement: LiteralString, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """What the database says."""
        with psycopg.connect(self.parts.dsn, autocommit=True) as connection:
            return connection.execute(statement, values).fetchall()

    def change(self, statement: LiteralString, values: Sequence[object] = ()) -> int:
        """Change the database behind the portal's back; how many rows."""
        with psycopg.connect(self.parts.dsn, autocommit=True) as connection:
            return connection.execute(statement, values).rowcount

    def tables_with(self, secret: str, *, besides: Sequence[str] = ()) -> list[str]:
        """The tables in which a text stands anywhere, in plain or in hexadecimal."""
        needles = [f"%{secret}%", f"%{secret.encode().hex()}%"]
        found = []
        with psycopg.connect(self.parts.dsn, autocommit=True) as connection:
            for (name,) in connection.execute(TABLES).fetchall():
                statement = sql.SQL("SELECT 1 FROM {} t WHERE t::text LIKE ANY(%s) LIMIT 1").format(
                    sql.Identifier(name)
                )
                if name not in besides and connection.execute(statement, [needles]).fetchone():
                    found.append(name)
        return found

    def mailed(self, to: str, kind: str, pattern: str) -> str:
        """What a pattern's group holds in the newest mail of a kind to somebody."""
        rows = self.rows(
            "SELECT text FROM mail WHERE to_address = %s AND kind = %s ORDER BY mail_id DESC LIMIT 1",
            [to, kind],
        )
        found = re.search(pattern, rows[0][0]) if rows else None
        if found is None:
            raise CheckError(f"no mail {kind} to {to}")
        return found[1]

    async def statuses(self) -> dict[tuple[str, int], int]:
        """(route, status) → how many requests the portal itself has counted."""
        async with aiohttp.ClientSession() as http, http.get(f"{self.url}/metrics") as response:
            text = await response.text()
        counted: dict[tuple[str, int], int] = {}
        for route, status, number in _REQUESTS.findall(text):
            key = (route, int(status))
            counted[key] = counted.get(key, 0) + int(float(number))
        return counted
