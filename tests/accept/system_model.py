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
from cloud.postgres import accounts, systems
from cloud.postgres.admin import create_database
from cloud.postgres.migrate import migrate
from cloud.services import system_editing, system_looking, system_slots
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
        once: one holder a slot, one offer of it, one new System ID, one code a request, one wish a company,
        no chain of leads""",
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
            await _race_requests(scene, holder)
            await _race_offers(scene, holder)


async def _seen(scene: Scene) -> str:
    """A request to associate, of a server that was seen before: no pace holds it back."""
    server = scene.server()
    async with scene.kit.pool.connection() as connection:
        await systems.prove(connection, server.id, NOW)
    return server.request(Operation.ASSOCIATE)


async def _race_requests(scene: Scene, person: Actor) -> None:
    """One request brought so many times gets one code; one System ID typed so many times waits once."""
    server = scene.server()
    text = server.request(Operation.REGISTER)
    done = await all_of(*(scene.register(person, text) for _ in range(RACERS)))
    codes = {one.code if isinstance(one, Outcome) else one for one in done}
    expect(len(codes) == 1, f"one request was answered with {codes}")
    typed = scene.server()
    done = await all_of(*(scene.register(person, typed.id) for _ in range(RACERS)))
    names = {one.intent_id if isinstance(one, Outcome) else one for one in done}
    expect(len(names) == 1, f"one company waits for one server {len(names)} times")
    state = await typed.ask(scene.kit, NOW)
    expect(len(state.waiting) == 1, f"the server sees {len(state.waiting)} who wait")
    await typed.ask(scene.kit, NOW, decline=state.waiting[0].name)


async def _race_offers(scene: Scene, person: Actor) -> None:
    """One slot is offered to one; who takes it races with who has the server's own link."""
    kit, server = scene.kit, scene.server()
    number = await scene.registered(person, server)
    done = await all_of(
        *(
            system_slots.offer(
                kit, person, number, Slot.END_USER, f"guest{guest}@example.org", NOW, fresh=True
            )
            for guest in range(RACERS)
        )
    )
    made = [one for one in done if not isinstance(one, RefusalCode)]
    expect(len(made) == 1, f"one slot was offered {len(made)} times")
    expect(done.count(RefusalCode.ALREADY_INVITED) == RACERS - 1, f"the others were answered {set(done)}")
    (opened,) = (await scene.see(person, number)).offers
    await system_slots.withdraw(kit.pool, person, number, opened.offer_id, NOW)
    guests = [one for one in (scene.ada, scene.bob, scene.eve) if one != person]
    email = await _email_of(scene, guests[0])
    token = await system_slots.offer(kit, person, number, Slot.END_USER, email, NOW, fresh=True)
    request = server.request(Operation.REGISTER)
    half = RACERS // 2
    done = await all_of(
        *(system_slots.take_offer(kit, guests[0], token, NOW, fresh=True) for _ in range(half)),
        *(scene.register(guests[1], request, Slot.END_USER) for _ in range(half)),
    )
    taken, registered = done[:half], done[half:]
    won = [all(one == number for one in taken), all(isinstance(one, Outcome) for one in registered)]
    expect(won.count(True) == 1, f"taken: {set(taken)}; registered: {registered[:2]}")
    lost = set(registered) if won[0] else set(taken)
    allowed = {RefusalCode.SYSTEM_TAKEN, RefusalCode.SLOT_TAKEN, RefusalCode.LINK_INVALID}
    expect(lost <= allowed, f"who came second was answered {lost}")


async def _email_of(scene: Scene, person: Actor) -> str:
    async with scene.kit.pool.connection() as connection:
        return await accounts.email_of(connection, person.account_id)


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
            " UNION ALL SELECT 'offer', number::text, slot FROM registration_offer WHERE state = 'open'"
            " GROUP BY number, slot HAVING count(*) > 1"
            " UNION ALL SELECT 'waits', system_id, company_id::text FROM system_intent"
            " WHERE state = 'waiting' GROUP BY system_id, company_id HAVING count(*) > 1"
            " UNION ALL SELECT 'code', number::text, system_id FROM system_request"
            " GROUP BY number, system_id, nonce HAVING count(*) > 1"
            " UNION ALL SELECT 'chain', a.number::text, '' FROM registration a JOIN registration b"
            " ON b.number = a.lead_number WHERE b.lead_number IS NOT NULL"
        ).fetchall()
