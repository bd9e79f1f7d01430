"""Servers and the real portal on a real database: registered, attached, replaced, led, offline."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from agent.clock import SystemClock
from agent.system.part import DATABASE, FOLDER
from agent.time_service import TimeService
from cloud.core.system import Slot
from cloud.core.system_data import Part
from cloud.provision import load_installation
from cloud.services import system_editing, system_registering
from cloud.web.state import SYSTEM_KEYS
from protocol.system import Source, Stand
from protocol.system_code import written_number
from tests.agent.system_rig import Rig, until
from tests.support.portal import Portal, now_ms, running_portal
from tests.support.system_world import MAIN_BUILDING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from cloud.core.authz import Actor
    from cloud.services.system_registering import Outcome


class Site:
    """A portal, somebody who registers there, and servers that ask it."""

    def __init__(self, portal: Portal, folder: Path, owner: Actor) -> None:
        self.portal = portal
        self.folder = folder
        self.owner = owner
        self.installation = load_installation(portal.settings.state_dir)
        self.time = TimeService(self.installation, SystemClock())

    def rig(self, name: str, *, online: bool = True) -> Rig:
        """A server that is not switched on yet."""
        return Rig(self.folder / name, self.installation, online=online, time=self.time)

    async def register(self, proof: str, slot: Slot = Slot.END_USER) -> Outcome:
        """What the *Register Page* does."""
        keys = self.portal.app[SYSTEM_KEYS].private
        found = system_registering.read_proof(keys, proof)
        return await system_registering.register(self.portal.kit, keys, self.owner, found, slot, now_ms())

    async def associate(self, proof: str, number: int, replaces: str) -> Outcome:
        """What the *System Association Page* does."""
        keys = self.portal.app[SYSTEM_KEYS].private
        found = system_registering.read_proof(keys, proof)
        return await system_registering.associate(
            self.portal.kit, keys, self.owner, found, number, replaces, now_ms()
        )

    async def confirm(self, number: int) -> None:
        """Data and both consents."""
        kit = self.portal.kit
        await system_editing.save(
            kit, self.owner, number, frozenset({Part.DATA, Part.CONTACTS}), MAIN_BUILDING, now_ms()
        )
        await system_editing.consent(
            kit, self.owner, number, information=True, personal=True, share_ups=False, now_ms=now_ms()
        )


@pytest.fixture
async def site(database: str, tmp_path: Path) -> AsyncIterator[Site]:
    async with running_portal(database, tmp_path / "state") as portal:
        owner = await portal.add_person("owner@example.org", company="Example Hospital")
        yield Site(portal, tmp_path, owner)


def stand(rig: Rig) -> Stand | None:
    heard = rig.server.store.database.heard
    return None if heard is None else heard.state.stand


def source(rig: Rig) -> Source | None:
    heard = rig.server.store.database.heard
    return None if heard is None else heard.state.source


async def heard(what: str, rig: Rig, holds: Callable[[], bool]) -> None:
    """Have it ask the portal again and again until it has heard this."""
    online = rig.server.online
    assert online is not None
    for _ in range(100):
        if holds():
            return
        await online.exchange()
        await asyncio.sleep(0.02)
    raise AssertionError(f"not heard: {what}")


async def test_a_whole_life_with_a_network(site: Site) -> None:
    async with site.rig("es") as es, site.rig("one") as one:
        await es.do("create", kind="enterprise_server", name="es")
        await one.do("create", kind="standalone", name="one")
        old_id = (await es.shown())["system_id"]
        link = (await es.do("register"))["link_to_portal"]
        number = cast("int", (await site.register(link)).number)
        await heard("pending or so", es, lambda: stand(es) is Stand.PENDING)
        await site.confirm(number)
        await heard("confirmed", es, lambda: stand(es) is Stand.REGISTERED)
        shown = await es.shown()
        assert shown["registration"]["number"] == written_number(number)
        assert shown["registration"]["fields"]["site_name"] == "Main building"
        assert [one["code"] for one in shown["notices"]] == ["registered"]

        await one.attach_to(es)
        await heard("attached", one, lambda: source(one) is Source.ATTACHED)
        shown = await one.shown()
        assert (shown["from"], shown["from_id"]) == ("Enterprise Server", old_id)
        assert shown["registration"]["fields"]["site_name"] == "Main building"

        backup = (site.folder / "es" / "state" / FOLDER / DATABASE).read_bytes()
        await es.do("delete")
        await until("told", lambda: one.server.store.database.lead is None)
        assert (await one.shown())["registration"] is None
        link = (await es.do("register"))["link_to_portal"]
        assert (await site.associate(link, number, old_id)).number == number
        await heard("pending or so", es, lambda: stand(es) is Stand.REGISTERED)
        assert (await es.shown())["registration"]["number"] == written_number(number)
    await a_backup_of_the_old_one_finds_itself_retired(site, backup)


async def a_backup_of_the_old_one_finds_itself_retired(site: Site, backup: bytes) -> None:
    """Somebody puts the database back that was deleted: its System ID stays retired."""
    folder = site.folder / "again" / "state" / FOLDER
    folder.mkdir(mode=0o700, parents=True)
    file = folder / DATABASE
    file.touch(0o600)
    file.write_bytes(backup)
    async with site.rig("again") as again:
        await heard("retired", again, lambda: stand(again) is Stand.RETIRED)
        shown = await again.shown()
        assert (shown["stand"], shown["registration"]) == ("retired", None)
        assert "retired" in [one["code"] for one in shown["notices"]]


async def test_a_whole_life_without_a_network(site: Site) -> None:
    async with site.rig("es", online=False) as es:
        await es.do("create", kind="enterprise_server", name="es")
        old_id = (await es.shown())["system_id"]
        request = (await es.do("request", operation="register", new=False))["link_to_portal"]
        outcome = await site.register(request)
        shown = await es.do("enter", code=outcome.code)
        number = cast("int", outcome.number)
        assert (shown["from"], shown["registration"]["number"]) == (
            "registration code",
            written_number(number),
        )
        await es.do("delete")
        request = (await es.do("request", operation="associate", new=False))["request"]
        outcome = await site.associate(request, number, old_id)
        shown = await es.do("enter", code=outcome.code)
        assert shown["registration"]["number"] == written_number(number)


async def test_who_typed_the_id_waits_for_the_server_s_yes(site: Site) -> None:
    async with site.rig("one") as one:
        await one.do("create", kind="standalone", name="one")
        outcome = await site.register((await one.shown())["written"])
        assert outcome.number is None
        await one.do("register")
        waiting = (await one.shown())["waiting"]
        assert [line["company"] for line in waiting] == ["Example Hospital"]
        await one.do("accept", who=waiting[0]["name"])
        assert stand(one) is Stand.PENDING
        assert (await one.shown())["waiting"] == []


async def test_a_shadow_shows_its_lead_s_and_its_own_again(site: Site) -> None:
    async with site.rig("one") as one, site.rig("two") as two:
        numbers = []
        for rig, name in ((one, "one"), (two, "two")):
            await rig.do("create", kind="standalone", name=name)
            link = (await rig.do("register"))["link_to_portal"]
            numbers.append(cast("int", (await site.register(link)).number))
            await site.confirm(numbers[-1])
        await system_editing.follow(site.portal.kit, site.owner, numbers[1], numbers[0], now_ms())
        await heard("follows", two, lambda: source(two) is Source.LEAD)
        shown = await two.shown()
        assert (shown["from"], shown["from_id"]) == ("lead", (await one.shown())["system_id"])
        assert shown["registration"]["number"] == written_number(numbers[0])
        assert shown["own"]["number"] == written_number(numbers[1])
        await system_editing.stand_alone(site.portal.kit, site.owner, numbers[1], now_ms())
        await heard("alone", two, lambda: source(two) is Source.OWN)
        assert (await two.shown())["registration"]["number"] == written_number(numbers[1])
