"""System IDs that were never seen before: the first are free, then they wait; who is known never does."""

import pytest

from cloud.core.refusal import RefusalCode, RefusedError
from cloud.postgres.transaction import in_transaction
from cloud.services import system_pace
from cloud.services.kit import Kit
from cloud.services.system_exchange import ExchangeCode, ExchangeError, exchange
from cloud.services.system_pace import NEW
from protocol.system import Stand, System, SystemState
from protocol.system_code import Operation
from tests.support.system_scene import NOW, Scene, make_scene
from tests.support.systems import TestServer

HERE = "192.0.2.7"
LONG = 60_000


@pytest.fixture
async def scene(kit: Kit) -> Scene:
    return await make_scene(kit)


async def spend(scene: Scene, subject: str, now: int) -> None:
    """Until nothing more is free there."""
    ids = [f"{number:043}" for number in range(NEW.free)]
    waiting, _ = await in_transaction(
        scene.kit.pool, lambda connection: system_pace.admit(connection, subject, ids, now)
    )
    assert len(waiting) <= 1


async def ask(
    scene: Scene, server: TestServer, now: int, address: str = HERE, attached: tuple[bytes, ...] = ()
) -> SystemState:
    """Report from an address."""
    sent = server.report(attached=attached)
    return server.read_state(await exchange(scene.kit, scene.keys.private, 1, sent, now, address=address))


async def too_many(scene: Scene, server: TestServer, now: int) -> int:
    """After how many seconds it may come again."""
    with pytest.raises(ExchangeError) as caught:
        await ask(scene, server, now)
    assert caught.value.code is ExchangeCode.TOO_MANY
    assert caught.value.after_s is not None
    return caught.value.after_s


async def test_new_servers_of_a_busy_network_wait_and_known_ones_do_not(scene: Scene) -> None:
    known = scene.server()
    await ask(scene, known, NOW)
    await spend(scene, HERE, NOW)
    servers = [scene.server() for _ in range(9)]
    assert await too_many(scene, servers[0], NOW) == 1
    assert (await ask(scene, known, NOW)).stand is Stand.UNREGISTERED
    assert (await ask(scene, servers[0], NOW, "192.0.2.8")).stand is Stand.UNREGISTERED
    now = NOW
    for server in servers[1:]:  # each waits for its turn, and nobody for longer than a minute
        pause_s = await too_many(scene, server, now)
        assert await too_many(scene, server, now + pause_s * 1000 - 1) == 1
        now += pause_s * 1000
        await ask(scene, server, now)
    assert pause_s == NEW.longest_ms // 1000
    await ask(scene, scene.server(), now + NEW.forget_ms)


async def test_attached_servers_are_left_out_until_their_turn(scene: Scene) -> None:
    enterprise, one, other = scene.server(System.ENTERPRISE_SERVER), scene.server(), scene.server()
    await ask(scene, enterprise, NOW)
    words = (one.attachment(enterprise), other.attachment(enterprise))
    await spend(scene, HERE, NOW)
    assert (await ask(scene, enterprise, NOW, attached=words)).attached == ()
    now = NOW + LONG
    assert len((await ask(scene, enterprise, now, attached=words)).attached) == 1
    assert set((await ask(scene, enterprise, now + LONG, attached=words)).attached) == {one.id, other.id}


async def test_so_do_requests_that_one_person_brings(scene: Scene) -> None:
    server = scene.server()
    request = server.request(Operation.REGISTER)
    await spend(scene, f"account {scene.ada.account_id}", NOW)
    with pytest.raises(RefusedError) as caught:
        await scene.register(scene.ada, request)
    assert (caught.value.code, caught.value.after_s) == (RefusalCode.TOO_FAST, 1)
    done = await scene.register(scene.ada, request, now=NOW + 1_000)
    again = await scene.register(scene.ada, request, now=NOW + 1_000)
    assert (done.number, done.code) == (again.number, again.code)
    assert (await scene.register(scene.bob, scene.server().request(Operation.REGISTER))).code
