"""Three companies, the cloud's keys and servers, for tests of registered systems."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass

from cloud.core.authz import Actor, Role
from cloud.core.refusal import RefusedError
from cloud.core.system import Slot
from cloud.services import system_looking, system_registering
from cloud.services.kit import Kit
from cloud.services.system_registering import Outcome, Proof, read_proof
from protocol.system import System
from tests.support.kit import add_person
from tests.support.system_world import CONTACTS, SITE
from tests.support.systems import TestCloudKeys, TestServer

NOW = 1_800_000_000_000
DAY = 86_400_000
FORM = {**SITE, **CONTACTS, "site_name": "North"}


@dataclass
class Scene:
    """Three companies and the cloud's keys."""

    kit: Kit
    keys: TestCloudKeys
    ada: Actor
    bob: Actor
    eve: Actor

    def server(self, kind: System = System.STANDALONE) -> TestServer:
        return TestServer(self.keys, kind)

    def proof(self, text: str) -> Proof:
        return read_proof(self.keys.private, text)

    async def register(self, who: Actor, text: str, slot: Slot = Slot.INTEGRATOR, now: int = NOW) -> Outcome:
        proof = self.proof(text)
        return await system_registering.register(self.kit, self.keys.private, who, proof, slot, now)

    async def registered(self, who: Actor, server: TestServer, slot: Slot = Slot.INTEGRATOR) -> int:
        """The number of a registration made by the server's own link."""
        done = await self.register(who, await server.link(self.kit, NOW), slot)
        assert done.number is not None
        return done.number

    async def associate(self, who: Actor, text: str, number: int, replaces: str, now: int = NOW) -> Outcome:
        proof = self.proof(text)
        return await system_registering.associate(
            self.kit, self.keys.private, who, proof, number, replaces, now
        )

    async def see(self, who: Actor, number: int, now: int = NOW) -> system_looking.Detail:
        return await system_looking.find(self.kit.pool, who, number, now)


async def make_scene(kit: Kit, at: str = "") -> Scene:
    """Ada, Bob and Eve, each with a company, and one key of the cloud; ``at``: others of them."""
    host = f"{at}.example.org" if at else "example.org"
    people = [await add_person(kit, f"{name}@{host}", NOW) for name in ("ada", "bob", "eve")]
    ada, bob, eve = (Actor(one.account_id, one.company_id, Role.OWNER) for one in people)
    return Scene(kit, TestCloudKeys.make(), ada, bob, eve)


async def all_of(*work: Awaitable[object]) -> list[object]:
    """Results, and refusals as their codes."""
    found = await asyncio.gather(*work, return_exceptions=True)
    return [one.code if isinstance(one, RefusedError) else one for one in found]
