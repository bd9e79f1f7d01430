"""A UPS with its agent, gateway, portal and PostgreSQL as processes, and two people with a browser each."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from cloud.core.authz import Actor, Role
from cloud.postgres.pool import make_pool
from cloud.services import offering
from protocol.codec import encode
from tests.accept import expect, wait_until
from tests.agent.house import House
from tests.faults.processes import Parts
from tests.support.person import Answer, Person, make_accounts

WAIT_S = 40.0


@dataclass
class SettingsSite:
    """One house with a portal. ``took_s``: how long both ends took to agree, by what had happened."""

    house: House
    people: list[Person]
    emails: list[str]
    took_s: dict[str, float] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """The device in the portal."""
        return f"/devices/{self.house.label.device_id}"

    # --- the three places where a setting can be looked at --------------------------------------------------

    def registers(self) -> dict[str, Any]:
        """What stands in the simulated UPS; a choice as its word."""
        rows = self.house.order("state")["rows"]
        return {name: "+".join(value) if isinstance(value, list) else value for name, value in rows.items()}

    def ledger(self) -> dict[str, Any]:
        """What the agent knows."""
        path = self.house.folder / "state" / "ups" / "settings.json"
        return dict(json.loads(path.read_bytes())) if path.exists() else {}

    async def settings(self, person: int = 0) -> dict[str, dict[str, Any]]:
        """What the portal's API says."""
        answer = await self.people[person].ask("GET", f"/api/v1{self.path}/settings")
        expect(answer.status == 200, f"the settings cannot be read: {answer.status}")
        return {one["name"]: one for one in answer.body["settings"]}

    async def page(self, person: int = 0) -> str:
        """The page of the settings."""
        shown = await self.people[person].open(f"{self.path}/settings")
        expect(shown.status == 200, f"the page cannot be read: {shown.status}")
        return shown.text

    # --- what people do -------------------------------------------------------------------------------------

    async def want(self, person: int = 0, **values: object) -> Answer:
        """Change settings in the portal."""
        answer = await self.people[person].ask("PATCH", f"/api/v1{self.path}/settings", {"settings": values})
        expect(answer.status == 200, f"{values} were not taken: {answer.status} {answer.body}")
        return answer

    def panel(self, name: str, value: object) -> None:
        """Change a setting at the front panel."""
        self.house.order("panel", name, str(value))

    def noticed(self, name: str) -> bool:
        """Whether the agent has seen the front panel's present value."""
        return bool(self.ledger().get("seen", {}).get(name) == self.registers()[name])

    def connected(self) -> bool:
        """Whether a session of the device is open."""
        return bool(self.house.latest("connected"))

    async def agree(self, what: str, wanted: Mapping[str, object], person: int = 0) -> float:
        """Wait until UPS, agent and portal say this; seconds since the device was connected."""
        await asyncio.to_thread(wait_until, f"connected ({what})", self.connected, WAIT_S)
        began = time.monotonic()
        missing: object = None
        while time.monotonic() - began < WAIT_S:
            missing = await self._missing(wanted, person)
            if not missing:
                self.took_s[what] = time.monotonic() - began
                return self.took_s[what]
            await asyncio.sleep(0.02)
        expect(False, f"{what}: the ends do not agree on {missing}")
        return 0.0

    async def _missing(self, wanted: Mapping[str, object], person: int) -> object:
        said = await self.settings(person)
        waiting = [name for name, one in said.items() if one["state"] == "pending"]
        in_portal = {name: said.get(name, {}).get("value") for name in wanted}
        rows = self.registers()
        in_ups = {name: rows[name] for name in wanted if name in rows}
        wrong = {
            name: (in_portal[name], in_ups.get(name, value))
            for name, value in wanted.items()
            if in_portal[name] != value or in_ups.get(name, value) != value
        }
        return wrong or waiting

    async def hand_over(self) -> None:
        """The first person's company gives the device to the second's."""
        giver, taker = self._actor(self.emails[0]), self._actor(self.emails[1])
        now_ms = time.time_ns() // 1_000_000
        async with make_pool(self.house.cloud.dsn, name="transfer", max_size=2) as pool:
            made = await offering.offer(
                pool, giver, self.house.label.device_id, now_ms, fresh=True, to_company_id=taker.company_id
            )
            await offering.accept_offer(pool, taker, made.offer_id, now_ms, fresh=True)

    def _actor(self, email: str) -> Actor:
        with psycopg.connect(self.house.cloud.dsn) as connection:
            row = connection.execute(
                "SELECT account_id, company_id FROM account JOIN membership USING (account_id)"
                " WHERE email = %s",
                [email],
            ).fetchone()
        expect(row, f"nobody has the address {email}")
        assert row is not None
        return Actor(row[0], row[1], Role.OWNER)


@contextlib.asynccontextmanager
async def settings_site(folder: Path, *, rtu: bool) -> AsyncIterator[SettingsSite]:
    """Everything runs, and the first person owns the UPS; all of it ends with the block."""
    with Parts(folder / "logs") as processes:
        house = House(folder, processes, rtu=rtu)
        house.cloud.start_all()
        (folder / "installation.json").write_bytes(encode(house.cloud.installation))
        emails = await make_accounts(house.cloud.dsn, 2, time.time_ns() // 1_000_000)
        async with contextlib.AsyncExitStack() as stack:
            people = [
                await stack.enter_async_context(Person(house.cloud.portal_url, email)) for email in emails
            ]
            site = SettingsSite(house, people, emails)
            house.agent.start()
            answer = await people[0].claim(house.label.product_id, house.label.product_key)
            expect(answer.status in {200, 202}, f"the claim was refused: {answer.body}")
            await asyncio.to_thread(wait_until, "the UPS is owned", lambda: house.latest("epoch"), WAIT_S)
            yield site
