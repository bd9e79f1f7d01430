"""Warranties that end: told once before and once after, to both ends and the server."""

import datetime as dt

import pytest

from cloud.core.system import Slot
from cloud.core.system_data import Part
from cloud.postgres import outbox
from cloud.services import system_editing, system_slots, system_warranty
from cloud.services.kit import Kit
from tests.support.system_scene import DAY, FORM, NOW, Scene, make_scene
from tests.support.systems import TestServer

TODAY = dt.datetime.fromtimestamp(NOW / 1000, dt.UTC).date()


@pytest.fixture
async def scene(kit: Kit) -> Scene:
    return await make_scene(kit)


async def until(scene: Scene, number: int, days: int) -> None:
    """The warranty's last day is so many days from today."""
    form = {"warranty_end": (TODAY + dt.timedelta(days=days)).isoformat()}
    await system_editing.save(scene.kit, scene.ada, number, frozenset({Part.WARRANTY}), form, NOW)


async def subjects(scene: Scene, name: str) -> list[str]:
    """What somebody was told of warranties, oldest first."""
    letters = await outbox.newest(scene.kit.pool, to_address=f"{name}@example.org")
    found = [letter.subject.partition(": ")[2] for letter in reversed(letters)]
    return [subject for subject in found if "warranty" in subject]


async def notices(scene: Scene, server: TestServer) -> list[str]:
    """What the server is told."""
    return [one.code for one in (await server.ask(scene.kit, NOW)).notices if "warranty" in one.code]


async def test_a_warranty_that_ends_is_told_before_and_after_once_each(scene: Scene) -> None:
    kit, server = scene.kit, scene.server()
    number = await scene.registered(scene.ada, server)
    await scene.register(scene.bob, await server.link(kit, NOW), Slot.END_USER)
    parts = frozenset({Part.DATA, Part.CONTACTS})
    await system_editing.save(kit, scene.bob, number, parts, FORM, NOW)
    await until(scene, number, 31)
    assert await system_warranty.tell_due(kit, NOW) == 0
    assert await system_warranty.tell_due(kit, NOW + DAY) == 1
    assert await system_warranty.tell_due(kit, NOW + 2 * DAY) == 0
    for name in ("ada", "bob"):
        assert await subjects(scene, name) == ["a warranty ends soon"]
    assert await system_warranty.tell_due(kit, NOW + 31 * DAY) == 0  # its last day is a day of warranty
    assert await system_warranty.tell_due(kit, NOW + 32 * DAY) == 1
    assert await system_warranty.tell_due(kit, NOW + 33 * DAY) == 0
    for name in ("ada", "bob"):
        assert await subjects(scene, name) == ["a warranty ends soon", "a warranty has ended"]
    assert await notices(scene, server) == ["warranty_ends", "warranty_ended"]
    kinds = [line.kind for line in (await scene.see(scene.bob, number)).history]
    assert kinds.count("warranty_ends") == kinds.count("warranty_ended") == 1
    await until(scene, number, 40)  # prolonged, it is told anew
    assert await system_warranty.tell_due(kit, NOW + 33 * DAY) == 1
    assert await subjects(scene, "eve") == []


async def test_what_is_over_or_was_over_long_ago_is_no_news(scene: Scene) -> None:
    kit = scene.kit
    old, gone = [await scene.registered(scene.ada, scene.server()) for _ in range(2)]
    await until(scene, old, -31)
    await until(scene, gone, 3)
    await system_slots.end(kit, scene.ada, gone, NOW, fresh=True)
    assert await system_warranty.tell_due(kit, NOW) == 0
    await until(scene, old, -30)
    assert await system_warranty.tell_due(kit, NOW) == 1
    assert await subjects(scene, "ada") == ["a warranty has ended"]
