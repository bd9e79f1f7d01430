"""Systems registered online, offline and by typing; new System IDs; races."""

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from cloud.core.refusal import RefusalCode, RefusedError
from cloud.core.system import Slot
from cloud.services import system_editing, system_looking, system_registering
from cloud.services.kit import Kit
from cloud.services.system_registering import Outcome
from protocol.system import Stand
from protocol.system_code import CodeRefusal, CodeRefusedError, Operation, Registered, day_of
from tests.support.kit import refusal_of
from tests.support.system_scene import DAY, NOW, Scene, all_of, make_scene
from tests.support.systems import TestCloudKeys, TestServer


@pytest.fixture
async def scene(kit: Kit) -> Scene:
    return await make_scene(kit)


async def test_the_link_of_register_now_registers_once(scene: Scene) -> None:
    server = scene.server()
    state = await server.ask(scene.kit, NOW, register=True)
    assert (state.stand, state.next_s) == (Stand.UNREGISTERED, 2)
    number = await scene.registered(scene.ada, server)
    told = await server.ask(scene.kit, NOW)
    assert (told.stand, told.version > state.version) == (Stand.PENDING, True)
    assert told.registration is not None
    assert told.notices[-1].code == "registered"
    again = await server.ask(scene.kit, NOW + 1)
    assert again.version == told.version
    assert await refusal_of(scene.register(scene.eve, state.link)) is RefusalCode.LINK_INVALID
    old = await server.link(scene.kit, NOW)
    late = scene.register(scene.bob, old, Slot.END_USER, NOW + 15 * 60_000)
    assert await refusal_of(late) is RefusalCode.LINK_INVALID
    fresh = await server.link(scene.kit, NOW)
    taken = scene.register(scene.eve, fresh, Slot.INTEGRATOR)
    assert await refusal_of(taken) is RefusalCode.SYSTEM_TAKEN
    joined = await scene.register(scene.bob, await server.link(scene.kit, NOW), Slot.END_USER)
    assert joined.number == number
    assert await refusal_of(scene.see(scene.eve, number)) is RefusalCode.NOT_FOUND


async def test_a_typed_system_id_holds_nothing_until_the_server_says_yes(scene: Scene) -> None:
    server = scene.server()
    first = await scene.register(scene.eve, server.system_id.written)
    second = await scene.register(scene.ada, server.id, Slot.END_USER, NOW + 1)
    assert (first.number, second.number) == (None, None)
    state = await server.ask(scene.kit, NOW)
    assert state.stand is Stand.UNREGISTERED
    assert [(one.name, one.slot) for one in state.waiting] == [
        (first.intent_id, "integrator"),
        (second.intent_id, "end_user"),
    ]
    declined = await server.ask(scene.kit, NOW, decline=first.intent_id)
    assert [one.name for one in declined.waiting] == [second.intent_id]
    done = await server.ask(scene.kit, NOW, accept=second.intent_id)
    assert (done.stand, done.waiting) == (Stand.PENDING, ())
    overview = await system_looking.overview(scene.kit.pool, scene.ada, NOW)
    assert [one.slots for one in overview.systems] == [["end_user"]]
    seen = await system_registering.find_intent(scene.kit.pool, scene.eve, server.id, first.intent_id, NOW)
    assert seen.state == "declined"
    foreign = system_registering.find_intent(scene.kit.pool, scene.eve, server.id, second.intent_id, NOW)
    assert await refusal_of(foreign) is RefusalCode.NOT_FOUND
    holder = await scene.register(scene.ada, server.id)
    assert holder.number == overview.systems[0].number


async def test_what_waits_ends_by_itself_or_by_its_company(scene: Scene) -> None:
    server = scene.server()
    late = await scene.register(scene.ada, server.id)
    state = await server.ask(scene.kit, NOW + 7 * DAY, accept=late.intent_id)
    assert (state.stand, state.waiting) == (Stand.UNREGISTERED, ())
    pool = scene.kit.pool
    seen = await system_registering.find_intent(pool, scene.ada, server.id, late.intent_id, NOW + 7 * DAY)
    assert seen.state == "expired"
    again = await scene.register(scene.ada, server.id, now=NOW + 8 * DAY)
    await system_registering.cancel_intent(pool, scene.ada, server.id, again.intent_id, NOW + 8 * DAY)
    assert (await server.ask(scene.kit, NOW + 8 * DAY, accept=again.intent_id)).stand is Stand.UNREGISTERED
    for _ in range(20):
        await scene.register(scene.eve, scene.server().id)
    crowd = scene.register(scene.eve, scene.server().id)
    assert await refusal_of(crowd) is RefusalCode.TOO_MANY_OPEN


async def test_an_offline_system_is_registered_by_request_and_code(scene: Scene) -> None:
    server = scene.server()
    request = server.request(Operation.REGISTER)
    done = await scene.register(scene.ada, request.lower())
    assert done.number is not None
    assert (await scene.register(scene.ada, request)).code == done.code  # the same question, the same answer
    said = server.enter(done.code.replace("-", " ").lower(), NOW)
    assert said == Registered(Operation.REGISTER, done.number, day_of(NOW) + 7)
    with pytest.raises(CodeRefusedError) as caught:
        server.enter(done.code, NOW)
    assert caught.value.refusal is CodeRefusal.NO_OPEN_REQUEST
    detail = await scene.see(scene.ada, done.number)
    assert detail.code is not None
    assert (detail.code.code, detail.server and detail.server.seen_ms) == (done.code, 0)
    assert (await scene.see(scene.ada, done.number, NOW + 8 * DAY)).code is None
    renewed = await scene.register(scene.ada, request, now=NOW + 8 * DAY)
    assert renewed.code != done.code


async def test_a_request_is_for_its_operation_and_its_registration_alone(scene: Scene) -> None:
    server = scene.server()
    number = await scene.registered(scene.ada, server)
    server.delete_database()
    old = (await scene.see(scene.ada, number)).system.system_id
    wrong = scene.associate(scene.ada, server.request(Operation.REGISTER), number, old)
    assert await refusal_of(wrong) is RefusalCode.FIELD_INVALID
    request = server.request(Operation.ASSOCIATE)
    assert await refusal_of(scene.register(scene.ada, request)) is RefusalCode.FIELD_INVALID
    done = await scene.associate(scene.ada, request, number, old)
    assert server.enter(done.code, NOW).operation is Operation.ASSOCIATE
    other = await scene.registered(scene.ada, scene.server())
    again = scene.associate(scene.ada, request, other, server.id)
    assert await refusal_of(again) is RefusalCode.SYSTEM_TAKEN


@pytest.mark.parametrize(
    "text", ["", "nonsense", "x" * 700, "1" * 43, "AAAAAA-" * 18, "a.b", "x#" + "0" * 108]
)
async def test_what_is_no_proof_says_so_at_its_field(scene: Scene, text: str) -> None:
    with pytest.raises(RefusedError) as caught:
        scene.proof(text)
    assert (caught.value.code, caught.value.field) == (RefusalCode.FIELD_INVALID, "system_id")


async def test_requests_under_old_keys_are_answered_and_under_unknown_ones_refused(scene: Scene) -> None:
    server = scene.server()
    request = server.request(Operation.REGISTER)
    scene.keys = TestCloudKeys({**scene.keys.private, 2: X25519PrivateKey.generate()})
    done = await scene.register(scene.ada, request)
    assert done.number is not None
    assert server.enter(done.code, NOW).registration == done.number
    stranger = TestServer(TestCloudKeys.make(9)).request(Operation.REGISTER)
    with pytest.raises(RefusedError, match="a key that this portal does not have"):
        scene.proof(stranger)
    with pytest.raises(RefusedError, match="not made by the server"):
        scene.proof(TestServer(TestCloudKeys.make(1)).request(Operation.REGISTER))


async def test_a_new_system_id_retires_the_old_one_for_good(scene: Scene) -> None:
    server = scene.server()
    number = await scene.registered(scene.ada, server)
    old_key, old_id = server.key, server.system_id
    server.delete_database()
    typed = await scene.associate(scene.ada, server.id, number, old_id.value)
    state = await server.ask(scene.kit, NOW)
    assert (state.waiting[0].operation, state.waiting[0].number != "") == (2, True)
    done = await server.ask(scene.kit, NOW, accept=typed.intent_id)
    assert done.stand is Stand.PENDING
    new_id = server.id
    server.key, server.system_id = old_key, old_id
    gone = await server.ask(scene.kit, NOW)
    assert (gone.stand, gone.registration, gone.notices[-1].code) == (Stand.RETIRED, None, "retired")
    back = scene.register(scene.ada, await server.link(scene.kit, NOW))
    assert await refusal_of(back) is RefusalCode.SYSTEM_RETIRED
    assert await refusal_of(scene.register(scene.ada, old_id.value)) is RefusalCode.SYSTEM_RETIRED
    again = scene.associate(scene.ada, await server.link(scene.kit, NOW), number, new_id)
    assert await refusal_of(again) is RefusalCode.SYSTEM_RETIRED


async def test_of_two_new_system_ids_at_once_one_wins(scene: Scene) -> None:
    server = scene.server()
    number = await scene.registered(scene.ada, server)
    old = server.id
    rivals = [scene.server() for _ in range(8)]
    requests = [rival.request(Operation.ASSOCIATE) for rival in rivals]
    done = await all_of(*(scene.associate(scene.ada, text, number, old) for text in requests))
    assert done.count(RefusalCode.SUPERSEDED) == 7
    winner = next(rival for rival, one in zip(rivals, done, strict=True) if isinstance(one, Outcome))
    assert (await scene.see(scene.ada, number)).system.system_id == winner.id


async def test_thirty_two_at_once_make_one_registration_with_one_holder_a_slot(scene: Scene) -> None:
    server = scene.server()
    request = server.request(Operation.REGISTER)
    people = [scene.ada, scene.bob, scene.eve, scene.ada] * 8
    slots = [Slot.INTEGRATOR, Slot.END_USER] * 16
    done = await all_of(
        *(scene.register(who, request, slot) for who, slot in zip(people, slots, strict=True))
    )
    numbers = {one.number for one in done if isinstance(one, Outcome)}
    assert len(numbers) == 1
    assert set(done) - {one for one in done if isinstance(one, Outcome)} <= {RefusalCode.SYSTEM_TAKEN}
    async with scene.kit.pool.connection() as connection:
        cursor = await connection.execute(
            "SELECT slot, count(*) FROM registration_slot WHERE until_ms IS NULL GROUP BY slot ORDER BY slot"
        )
        assert await cursor.fetchall() == [("end_user", 1), ("integrator", 1)]


async def test_no_chain_of_leads_however_many_try_at_once(scene: Scene) -> None:
    numbers = [await scene.registered(scene.ada, scene.server()) for _ in range(4)]
    pairs = [(one, other) for one in numbers for other in numbers if one != other]
    await all_of(*(system_editing.follow(scene.kit, scene.ada, one, other, NOW) for one, other in pairs))
    found = {number: (await scene.see(scene.ada, number)).system for number in numbers}
    assert any(one.lead is not None for one in found.values())
    assert all(one.lead is None or found[one.lead].lead is None for one in found.values())
