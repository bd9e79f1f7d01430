"""Acceptance ``system-model``: random lives of building systems, on PostgreSQL and by plain rules; races.

``SYSTEM_STEPS`` asks for more steps than the 2 000 of every run. A step is an act of a person or a server,
compared with the model field by field, past all of our code. Each round has a seed; ``SYSTEM_SEED`` names the
first one, and a difference tells the seed that replays it.
"""

import asyncio
import logging
import os
import secrets
import tempfile
from pathlib import Path
from typing import Final

import psycopg
import structlog

from cloud.core.authz import Actor
from cloud.core.refusal import RefusalCode
from cloud.core.system import Slot
from cloud.embedded import EmbeddedPostgres
from cloud.postgres import systems
from cloud.postgres.admin import create_database
from cloud.postgres.migrate import migrate
from cloud.services import system_editing, system_looking
from cloud.services.system_registering import Outcome
from protocol.system_code import Operation
from tests.accept import expect, passed, progress
from tests.support.kit import opened_kit
from tests.support.system_lives import live
from tests.support.system_scene import NOW, Scene, all_of, make_scene
from tests.support.system_world import SystemWorld

STEPS: Final = 2_000
LIVES: Final = 10
RACERS: Final = 32
ROUNDS: Final = 10
NEVER_DONE: Final = {
    "associate",
    "accept",
    "follow",
    "take",
    "leave",
    "end",
    "consent",
    "write",
    "enter_code",
}
"""Acts that must have succeeded at least once: a life that never gets there compares nothing."""


def main() -> int:
    """Run the check."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    wanted = int(os.environ.get("SYSTEM_STEPS", STEPS))
    first = int(os.environ.get("SYSTEM_SEED", secrets.randbelow(1_000_000_000)))
    with tempfile.TemporaryDirectory(prefix="sc-systems-") as name, EmbeddedPostgres(Path(name)) as server:
        for database in ("model", "races"):
            create_database(server.dsn("postgres"), database)
            migrate(server.dsn(database))
        progress(f"{wanted} steps, from seed {first}")
        world = SystemWorld(server.dsn("model"))
        try:
            tally, seconds = live(world, wanted, LIVES, first, progress)
        finally:
            world.close()
        missing = NEVER_DONE - {what for what, said in tally if said == "done"}
        expect(not missing, f"never done: {sorted(missing)}")
        progress(f"{ROUNDS} rounds of {RACERS} at once")
        asyncio.run(_race(server.dsn("races")))
        doubled = _doubled(server.dsn("races"))
        expect(not doubled, f"more than one where there is one at most: {doubled}")
    refused = sum(count for (_what, said), count in tally.items() if said not in {"done", "nothing"})
    return passed(
        "system-model",
        f"""{tally.total()} steps in {seconds:.0f} s, {len({what for what, _ in tally})} kinds,
        {refused} refused or told otherwise, from seed {first}, no difference; {ROUNDS} rounds of {RACERS} at
        once: one holder a slot, one new System ID, no chain of leads""",
    )


async def _race(dsn: str) -> None:
    async with opened_kit(dsn) as kit:
        scene = await make_scene(kit)
        people = [scene.ada, scene.bob, scene.eve]
        for _ in range(ROUNDS):
            server = scene.server()
            request = server.request(Operation.REGISTER)
            done = await all_of(
                *(scene.register(people[i % 3], request, list(Slot)[i % 2]) for i in range(RACERS))
            )
            outcomes = [one for one in done if isinstance(one, Outcome)]
            expect(len({one.number for one in outcomes}) == 1, f"registered as {outcomes}")
            rest = {one for one in done if not isinstance(one, Outcome)}
            expect(rest <= {RefusalCode.SYSTEM_TAKEN}, f"refused with {rest}")
            number = outcomes[0].number or 0
            (holder, *_others) = [one for one in people if await _holds(scene, one, number)]
            rivals = [await _seen(scene) for _ in range(RACERS)]
            done = await all_of(*(scene.associate(holder, text, number, server.id) for text in rivals))
            won = sum(isinstance(one, Outcome) for one in done)
            expect(won == 1, f"{won} new System IDs took the place of one")
            expect(done.count(RefusalCode.SUPERSEDED) == RACERS - 1, f"the others were answered {set(done)}")
            numbers = [await scene.registered(holder, scene.server()) for _ in range(6)]
            pairs = [(one, other) for one in numbers for other in numbers if one != other]
            await all_of(*(system_editing.follow(kit, holder, one, other, NOW) for one, other in pairs))


async def _seen(scene: Scene) -> str:
    """A request to associate, of a server that was seen before: no pace holds it back."""
    server = scene.server()
    async with scene.kit.pool.connection() as connection:
        await systems.prove(connection, server.id, NOW)
    return server.request(Operation.ASSOCIATE)


async def _holds(scene: Scene, one: Actor, number: int) -> bool:
    found = await system_looking.overview(scene.kit.pool, one, NOW)
    return any(listed.number == number for listed in found.systems)


def _doubled(dsn: str) -> list[tuple[object, ...]]:
    """What a unique index or a lock should have kept out, counted past all of our code."""
    with psycopg.connect(dsn) as connection:
        return connection.execute(
            "SELECT 'holder', number::text, slot FROM registration_slot WHERE until_ms IS NULL"
            " GROUP BY number, slot HAVING count(*) > 1"
            " UNION ALL SELECT 'server', number::text, '' FROM system_server WHERE number IS NOT NULL"
            " GROUP BY number HAVING count(*) > 1"
            " UNION ALL SELECT 'chain', a.number::text, '' FROM registration a JOIN registration b"
            " ON b.number = a.lead_number WHERE b.lead_number IS NOT NULL"
        ).fetchall()
