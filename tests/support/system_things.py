"""A registered system of somebody's own, for the tests of what strangers and browsers see."""

from cloud.core.authz import Actor
from cloud.core.system import Slot
from cloud.core.system_data import Part
from cloud.services import system_editing, system_registering, system_slots
from cloud.services.system_registering import read_proof
from cloud.web.state import SYSTEM_KEYS
from protocol.system_code import Operation, written_number
from tests.support.portal import Portal, now_ms
from tests.support.system_world import CONTACTS, SITE
from tests.support.systems import TestCloudKeys, TestServer

SITE_NAME = "A wing of their own"


async def own_system(portal: Portal, owner: Actor) -> dict[str, str]:
    """A system with data, a shadow, an offered slot, a code, and a System ID that waits; by placeholder."""
    kit, keys = portal.kit, portal.app[SYSTEM_KEYS].private
    server, shadow, waiting = (TestServer(TestCloudKeys(keys)) for _ in range(3))
    at_ms = now_ms()
    numbers = []
    for one in (server, shadow):
        proof = read_proof(keys, one.request(Operation.REGISTER))
        done = await system_registering.register(kit, keys, owner, proof, Slot.INTEGRATOR, at_ms)
        numbers.append(done.number or 0)
    parts = frozenset({Part.DATA, Part.CONTACTS})
    form = {**SITE, **CONTACTS, "site_name": SITE_NAME}
    await system_editing.save(kit, owner, numbers[0], parts, form, at_ms)
    await system_editing.follow(kit, owner, numbers[1], numbers[0], at_ms)
    await server.ask(kit, at_ms)
    token = await system_slots.offer(
        kit, owner, numbers[0], Slot.END_USER, "tenant@example.org", at_ms, fresh=True
    )
    typed = read_proof(keys, waiting.id)
    intent = await system_registering.register(kit, keys, owner, typed, Slot.INTEGRATOR, at_ms)
    return {
        "number": written_number(numbers[0]),
        "shadow": written_number(numbers[1]),
        "system_id": waiting.id,
        "registered_id": server.id,
        "intent_id": intent.intent_id,
        "offer_id": token.split(".")[1],
        "link": token,
    }
