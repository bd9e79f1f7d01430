"""A company with devices at sites, events as a gateway writes them, and a clock that tests move."""

import itertools
import secrets
from dataclasses import dataclass, field

from psycopg.types.json import Jsonb

from cloud.core.authz import Actor
from cloud.postgres.outbox import Letter
from cloud.postgres.transaction import Connection
from cloud.services import noticing
from cloud.services.notice_letters import Desk
from tests.support.claiming import NOW, random_product_id

MINUTE = 60_000
HOUR = 60 * MINUTE
_numbers = itertools.count(1)


@dataclass
class Ups:
    """An owned device, as rows alone."""

    device_id: int
    epoch: int
    name: str


@dataclass
class Building:
    """Devices of one company, and the jobs process' work on them by a clock of its own."""

    desk: Desk
    actor: Actor
    now_ms: int = NOW
    devices: list[Ups] = field(default_factory=list)

    async def site(self, name: str) -> int:
        """A new site; its number."""
        async with self.desk.pool.connection() as connection:
            found = await connection.execute(
                "INSERT INTO site (company_id, name, created_ms) VALUES (%s, %s, %s) RETURNING site_id",
                [self.actor.company_id, name, self.now_ms],
            )
            return int((await found.fetchall())[0][0])

    async def add(self, count: int = 1, site_id: int | None = None) -> list[Ups]:
        """So many new devices."""
        async with self.desk.pool.connection() as connection, connection.transaction():
            made = [await self._own(connection, site_id) for _ in range(count)]
        self.devices += made
        return made

    async def _own(self, connection: Connection, site_id: int | None) -> Ups:
        ups = Ups(secrets.randbelow(1 << 62), NOW - HOUR, f"Rack {next(_numbers)}")
        await connection.execute(
            "INSERT INTO device (device_id, product_id, label_pub, last_epoch, model, created_ms)"
            " VALUES (%s, %s, %s, %s, 'Smart-UPS 1500', %s)",
            [ups.device_id, random_product_id().value, secrets.token_bytes(32), ups.epoch, NOW],
        )
        await connection.execute(
            "INSERT INTO ownership (device_id, epoch, company_id, account_id, kid, from_ms, name, site_id)"
            " VALUES (%s, %s, %s, %s, 'kid', %s, %s, %s)",
            [
                *(ups.device_id, ups.epoch, self.actor.company_id, self.actor.account_id, NOW - HOUR),
                *(ups.name, site_id),
            ],
        )
        await connection.execute(
            "INSERT INTO latest (device_id, kid, epoch, session_no) VALUES (%s, 'kid', %s, 1)",
            [ups.device_id, ups.epoch],
        )
        return ups

    async def event(self, ups: Ups, kind: str, *, ago_ms: int = 0, **detail: object) -> None:
        """An event of a device arrives now."""
        await self.events([ups], kind, ago_ms=ago_ms, **detail)

    async def events(self, many: list[Ups], kind: str, *, ago_ms: int = 0, **detail: object) -> None:
        """The same event of many devices arrives now, in one transaction."""
        async with self.desk.pool.connection() as connection, connection.cursor() as cursor:
            await cursor.executemany(
                "INSERT INTO event (device_id, stream, seq, epoch, ts, received_ms, time_uncertain, kind,"
                " detail) VALUES (%s, 2, %s, %s, to_timestamp(%s / 1000.0), %s, false, %s, %s)",
                [
                    (
                        *(ups.device_id, next(_numbers), ups.epoch, self.now_ms - ago_ms, self.now_ms),
                        *(kind, Jsonb(detail)),
                    )
                    for ups in many
                ],
            )

    async def work(self, for_ms: int = 0) -> None:
        """Let time go on, and the jobs process do what is due meanwhile."""
        end_ms = self.now_ms + for_ms
        while True:
            while await noticing.take_in(self.desk, self.now_ms):
                pass
            while await noticing.decide_one(self.desk, self.now_ms):
                pass
            look_ms = await self._next_look()
            if look_ms is None or look_ms > end_ms:
                break
            self.now_ms = max(self.now_ms, look_ms)
        self.now_ms = end_ms

    async def _next_look(self) -> int | None:
        async with self.desk.pool.connection() as connection:
            found = await connection.execute("SELECT min(look_ms) FROM notice_company")
            row = await found.fetchone()
            return None if row is None else row[0]

    async def mails(self, to_address: str | None = None) -> list[Letter]:
        """What lies in the outbox about alarms, oldest first."""
        async with self.desk.pool.connection() as connection:
            found = await connection.execute(
                "SELECT mail_id, to_address, subject, text, html, kind, created_ms, sent_ms, error FROM mail"
                " WHERE kind = 'notice' AND (%(to)s::text IS NULL OR to_address = %(to)s) ORDER BY mail_id",
                {"to": to_address},
            )
            return [Letter(*row) for row in await found.fetchall()]

    async def run(self, statement: str, *arguments: object) -> list[tuple[object, ...]]:
        """Any statement; its rows."""
        async with self.desk.pool.connection() as connection:
            found = await connection.execute(statement.encode(), list(arguments))
            return [] if found.description is None else await found.fetchall()
