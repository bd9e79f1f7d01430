"""The real portal on a real PostgreSQL in this process, people who log in, devices that are fed by hand."""

import contextlib
import functools
import math
import os
import re
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiohttp import web
from psycopg import sql
from psycopg.types.json import Jsonb

from cloud.config import Settings
from cloud.core.authz import Actor, Role
from cloud.postgres.pool import Pool, make_pool
from cloud.postgres.roles import Part, login_dsn
from cloud.provision import provision
from cloud.services import claiming
from cloud.services.accounts import create_account
from cloud.services.claim_view import ClaimView, ViewState
from cloud.services.commanding import Commander
from cloud.services.kit import Kit
from cloud.services.passwords import Passwords
from cloud.web.app import make_app, server_tls
from cloud.web.state import COMMANDER, KIT
from protocol.points import VALUES, Wire
from protocol.signing import label_key
from tests.support.claiming import TestDevice
from tests.support.device import random_codes
from tests.support.stack import free_port

PASSWORD: Final = "Correct horse 7 battery"
ON_MAINS: Final = 1 << 1
ON_BATTERY: Final = 1 << 2
HEALTHY: Final[Mapping[str, float]] = {
    "ups_status": ON_MAINS,
    "input_voltage": 231.4,
    "output_voltage": 230.2,
    "output_frequency": 50.0,
    "output_current": 1.8,
    "output_real_power_pct": 38.0,
    "output_apparent_power_pct": 41.0,
    "state_of_charge": 100.0,
    "battery_voltage": 27.3,
    "battery_temperature": 24.5,
    "runtime_remaining": 2460.0,
    "efficiency": 95.0,
    "output_energy": 184_300.0,
}
"""A Smart-UPS on mains with nothing wrong."""


def now_ms() -> int:
    """The clock of this machine in unix ms."""
    return time.time_ns() // 1_000_000


@dataclass
class Portal:
    """A portal that listens on a port of its own."""

    url: str
    app: web.Application
    settings: Settings
    """Its own, but for the log-in at the database: that of the owner of all tables."""
    pool: Pool
    """Its database with all rights, to set scenes; the portal itself has a pool of its own role."""

    @property
    def kit(self) -> Kit:
        """The services' kit, to set scenes."""
        return replace(self.app[KIT], pool=self.pool)

    @property
    def commander(self) -> Commander:
        """Who signs commands, to set scenes."""
        return Commander(self.pool, self.app[COMMANDER].signer)

    async def add_person(self, email: str, *, first_name: str = "Ada", company: str = "") -> Actor:
        """An account with a company of its own; its password is ``PASSWORD``."""
        with Passwords() as passwords:
            identity = await create_account(
                self.pool,
                passwords,
                email=email,
                password=PASSWORD,
                first_name=first_name,
                last_name="North",
                company_name=company,
                now_ms=now_ms(),
            )
        return Actor(identity.account_id, identity.company_id, Role.OWNER)

    async def log_in(self, email: str) -> str:
        """Log in over HTTP; the value of the session's cookie."""
        async with visitor() as http:
            return await Visitor(http, self.url).log_in(email)

    async def own_device(self, actor: Actor, device: TestDevice | None = None) -> "Owned":
        """A device that has announced itself and was claimed."""
        device = device or TestDevice()
        await device.announce(self.pool, now_ms())
        view = await claim(self.pool, actor, device)
        if view.state is not ViewState.WON or view.epoch is None:
            raise AssertionError(f"the claim is {view.state}")
        return Owned(self.pool, device, view.epoch)

    async def find_owned(self, device: TestDevice) -> "Owned":
        """A device that was claimed by other means."""
        async with self.pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT epoch FROM ownership WHERE device_id = %s AND until_ms IS NULL", [device.device_id]
            )
            row = await cursor.fetchone()
        if row is None:
            raise AssertionError("nobody owns the device")
        return Owned(self.pool, device, row[0])


def labelled_device(model: str = "Smart-UPS 1500") -> tuple[TestDevice, str]:
    """A device whose label key comes from a Product Key, as for the form; the key is the second value."""
    product_id, product_key = random_codes()
    return TestDevice(product_id, label_key(product_id, product_key), model=model), product_key.value


async def claim(pool: Pool, actor: Actor, device: TestDevice) -> ClaimView:
    """Claim a device for somebody."""
    return await claiming.submit(pool, actor, device.product_id, device.label_pub, now_ms())


SMALL: Final[Mapping[str, Any]] = {"pool_size": 8}
"""Settings of a portal that few people use: each connection of its pool costs the start of a process."""


def _furnish(state_dir: Path) -> None:
    """Give a new state directory keys and certificates that were made once for all of this run."""
    if state_dir.exists():
        return
    for name, content in _furniture().items():
        path = state_dir / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(path, "xb", opener=functools.partial(os.open, mode=0o600)) as file:
            file.write(content)


@functools.cache
def _furniture() -> Mapping[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        provision(Settings(state_dir=Path(folder)))
        files = [path for path in Path(folder).rglob("*") if path.is_file()]
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@contextlib.asynccontextmanager
async def running_portal(
    dsn: str, state_dir: Path, *, port: int | None = None, **settings: Any
) -> AsyncIterator[Portal]:
    """The portal of this database until the block ends."""
    port = port or free_port()
    chosen = Settings(state_dir=state_dir, database_url=dsn, portal_port=port, **{**SMALL, **settings})
    _furnish(state_dir)
    provision(chosen)
    app = make_app(replace(chosen, database_url=login_dsn(dsn, Part.PORTAL)))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=3.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port, ssl_context=server_tls(chosen)).start()
        url = f"{'https' if chosen.portal_tls else 'http'}://127.0.0.1:{port}"
        async with make_pool(dsn, name="scene", max_size=4) as pool:
            yield Portal(url, app, chosen, pool)
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def visitor() -> AsyncIterator[aiohttp.ClientSession]:
    """A browser without a page: cookies, and nothing is followed by itself."""
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar, timeout=aiohttp.ClientTimeout(total=20)) as http:
        yield http


@dataclass
class Answer:
    """What an HTTP request gave."""

    status: int
    text: str
    headers: Mapping[str, str]
    cookies: Mapping[str, str]

    @property
    def timeless(self) -> str:
        """The text without the moment at which it was made, which each page says on paper."""
        return re.sub(r"\d\d:\d\d:\d\d UTC", "", self.text)


class Visitor:
    """Asks like a person's browser, logged in or not."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self.http = http
        self.url = url
        self.form_token = ""

    async def get(self, path: str, **headers: str) -> Answer:
        """GET, redirects not followed."""
        return await self.ask("GET", path, headers=headers)

    async def post(self, path: str, form: Mapping[str, str], **headers: str) -> Answer:
        """POST of a form with its token."""
        return await self.ask("POST", path, data={"form_token": self.form_token, **form}, headers=headers)

    async def ask(self, method: str, path: str, **how: Any) -> Answer:
        """Any request."""
        async with self.http.request(method, self.url + path, allow_redirects=False, **how) as response:
            text = await response.text()
            cookies = {name: morsel.value for name, morsel in response.cookies.items()}
            marker = 'name="form_token" value="'
            if marker in text:
                self.form_token = text.split(marker, 1)[1].split('"', 1)[0]
            return Answer(response.status, text, response.headers, cookies)

    async def log_in(self, email: str, password: str = PASSWORD) -> str:
        """Through the log-in page; the new cookie's value."""
        await self.get("/login")
        answer = await self.post("/login", {"email": email, "password": password})
        if answer.status != 303:
            raise AssertionError(f"log-in of {email}: {answer.status}")
        await self.get("/add/codes")
        return next(iter(answer.cookies.values()))


@dataclass
class Owned:
    """A claimed device and the rows a gateway would write for it."""

    pool: Pool
    device: TestDevice
    epoch: int
    seq: int = 0

    @property
    def device_id(self) -> int:
        """Its number."""
        return self.device.device_id

    async def show(self, *, at_ms: int | None = None, hint: bool = True, **changes: Any) -> None:
        """New shown values in ``latest``: a healthy UPS with these changes; ``hint`` says so by NOTIFY."""
        at_ms = now_ms() if at_ms is None else at_ms
        values = {**HEALTHY, "ts_ms": at_ms, "seen_ms": at_ms, "connected": True, **changes}
        async with self.pool.connection() as connection:
            await connection.execute(
                sql.SQL("UPDATE latest SET {} WHERE device_id = %s").format(
                    sql.SQL(", ").join(
                        sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder()) for name in values
                    )
                ),
                [*values.values(), self.device_id],
            )
            if hint:
                await connection.execute("SELECT pg_notify('device', %s)", [str(self.device_id)])

    async def add_samples(self, samples: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        """Telemetry rows: time in unix ms, and what differs from a healthy UPS."""
        names = [point.name for point in VALUES]
        statement = sql.SQL(
            "INSERT INTO telemetry (device_id, ts, stream, seq, epoch, {}) VALUES"
            " (%s, to_timestamp(%s / 1000.0), 2, %s, %s, {})"
        ).format(
            sql.SQL(", ").join(map(sql.Identifier, names)),
            sql.SQL(", ").join(sql.Placeholder() * len(names)),
        )
        rows = []
        for ts_ms, changes in samples:
            self.seq += 1
            given = {**HEALTHY, **changes}
            values = [
                given.get(point.name, 0 if point.wire is Wire.FIXED32 else math.nan) for point in VALUES
            ]
            rows.append([self.device_id, ts_ms, self.seq, self.epoch, *values])
        async with self.pool.connection() as connection, connection.cursor() as cursor:
            await cursor.executemany(statement, rows)

    async def add_event(self, kind: str, *, at_ms: int | None = None, **detail: Any) -> None:
        """One event."""
        self.seq += 1
        at_ms = now_ms() if at_ms is None else at_ms
        async with self.pool.connection() as connection:
            await connection.execute(
                "INSERT INTO event (device_id, stream, seq, epoch, ts, received_ms, time_uncertain, kind,"
                " detail) VALUES (%s, 2, %s, %s, to_timestamp(%s / 1000.0), %s, false, %s, %s)",
                [self.device_id, self.seq, self.epoch, at_ms, now_ms(), kind, Jsonb(detail)],
            )
            await connection.execute("SELECT pg_notify('device', %s)", [str(self.device_id)])

    async def watched_until_ms(self) -> int:
        """The watch lease."""
        async with self.pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT watch_until_ms FROM latest WHERE device_id = %s", [self.device_id]
            )
            row = await cursor.fetchone()
        return int(row[0]) if row else 0
