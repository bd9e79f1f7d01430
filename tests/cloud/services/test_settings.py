"""Settings in one transaction: signing, racing, other keys, other owners, deaths around the commit."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cloud.config import Settings
from cloud.core.authz import Actor
from cloud.core.settings import ChangeState, SettingState
from cloud.postgres import settings as stored
from cloud.postgres.pool import Pool, make_pool
from cloud.provision import Signer, load_key_set, load_signer, provision
from cloud.services import naming, offering, owning, settings
from cloud.services.naming import UnknownDeviceError
from protocol import faults
from protocol.messages import Desired, KeySet, KeyUse
from protocol.signing import open_control
from tests.support.claiming import TestDevice, make_actors
from tests.support.portal import claim, now_ms


@dataclass
class Desk:
    """What a test needs: two people, a device of the first, and the keys."""

    pool: Pool
    signer: Signer
    key_set: KeySet
    people: list[Actor]
    device: TestDevice

    @property
    def device_id(self) -> int:
        return self.device.device_id

    async def save(self, person: int = 0, **wanted: object) -> settings.SettingsView:
        """Change settings as this person."""
        return await settings.save(
            self.pool, self.signer, self.people[person], self.device_id, wanted, now_ms()
        )

    async def sealed(self) -> Desired | None:
        """What the gateway would deliver to the bound key now."""
        found = await stored.find_sealed(self.pool, [self.device_id])
        if self.device_id not in found:
            return None
        version, sealed = found[self.device_id]
        desired = open_control(sealed, self.key_set, now_ms())
        assert isinstance(desired, Desired)
        assert desired.version == version
        return desired


@pytest.fixture
async def desk(database: str, tmp_path: Path) -> AsyncIterator[Desk]:
    """One device that the first of two people owns."""
    chosen = Settings(state_dir=tmp_path / "state")
    provision(chosen)
    people = make_actors(database, 2)
    async with make_pool(database, name="test", max_size=6) as pool:
        device = TestDevice()
        await device.announce(pool, now_ms())
        await claim(pool, people[0], device)
        signer = load_signer(chosen.state_dir, KeyUse.COMMAND)
        yield Desk(pool, signer, load_key_set(chosen.state_dir), people, device)
    faults.disarm()


async def test_wishes_of_several_people_travel_together_signed_for_the_bound_key(desk: Desk) -> None:
    first = await desk.save(report_interval_s=5)
    assert first.of("report_interval_s").state is SettingState.PENDING
    desired = await desk.sealed()
    assert desired is not None
    assert (desired.settings, desired.kid) == ({"report_interval_s": 5}, desk.device.kid)
    views = await asyncio.gather(*(desk.save(report_interval_s=seconds) for seconds in range(10, 20)))
    assert len({view.version for view in views}) == 10
    desired = await desk.sealed()
    assert desired is not None
    newest = max(views, key=lambda view: view.version)
    assert desired.version == newest.version
    assert desired.settings == {"report_interval_s": newest.of("report_interval_s").wanted}
    async with desk.pool.connection() as connection:
        changes = await stored.list_changes(connection, desk.device_id, newest.epoch)
    assert [one.state for one in changes if one.name == "report_interval_s"].count(ChangeState.PENDING) == 1


async def test_somebody_elses_device_does_not_exist(desk: Desk) -> None:
    with pytest.raises(UnknownDeviceError):
        await settings.look(desk.pool, desk.people[1], desk.device_id)
    with pytest.raises(UnknownDeviceError):
        await desk.save(1, name="mine")
    assert await desk.sealed() is None


async def test_a_transfer_clears_what_was_wanted_and_versions_go_on(desk: Desk) -> None:
    before = await desk.save(report_interval_s=5, name="Old", device_sensitivity_s=60, notifications=False)
    giver, taker = desk.people
    made = await offering.offer(
        desk.pool, giver, desk.device_id, now_ms(), fresh=True, to_company_id=taker.company_id
    )
    await offering.accept_offer(desk.pool, taker, made.offer_id, now_ms(), fresh=True)
    assert await desk.sealed() is None
    seen = await settings.look(desk.pool, taker, desk.device_id)
    assert seen.changes == ()
    assert seen.of("report_interval_s").state is SettingState.UNKNOWN
    assert [seen.of(name).value for name in ("name", "device_sensitivity_s", "notifications")] == [
        "",
        0,
        True,
    ]
    after = await desk.save(1, report_interval_s=7)
    assert after.version > before.version
    desired = await desk.sealed()
    assert desired is not None
    assert (desired.epoch, desired.settings) == (after.epoch, {"report_interval_s": 7})


async def test_open_wishes_are_signed_anew_for_a_new_key(desk: Desk) -> None:
    await desk.save(report_interval_s=5)
    new = TestDevice(desk.device.product_id, desk.device.label)
    await new.announce(desk.pool, now_ms())
    await owning.approve_rekey(desk.pool, desk.people[0], desk.device_id, new.kid, now_ms(), fresh=True)
    assert await desk.sealed() is None, "bytes for the former key would be refused"
    assert await stored.sealed_for_others(desk.pool) == [desk.device_id]
    assert await settings.reseal(desk.pool, desk.signer, desk.device_id)
    assert await stored.sealed_for_others(desk.pool) == []
    desired = await desk.sealed()
    assert desired is not None
    assert (desired.kid, desired.settings) == (new.kid, {"report_interval_s": 5})
    assert not await settings.reseal(desk.pool, desk.signer, desk.device_id)


async def test_notices_read_what_their_owner_wants(desk: Desk) -> None:
    async with desk.pool.connection() as connection:
        assert await stored.notice_settings(connection, desk.device_id) == stored.NoticeSettings(
            True, 0, "UTC"
        )
        await desk.save(device_sensitivity_s=60, notifications=False, time_zone="Europe/Paris")
        assert await stored.sensitivity_s(connection, desk.device_id) == 60
        found = await stored.notice_settings(connection, desk.device_id)
        assert found == stored.NoticeSettings(False, 60, "Europe/Paris")
        assert not (await stored.notice_settings(connection, 5)).notifications


async def test_a_name_given_elsewhere_is_in_the_history(desk: Desk) -> None:
    await naming.save_profile(
        desk.pool, desk.people[0], desk.device_id, name="Cellar", description="", now_ms=now_ms()
    )
    seen = await settings.look(desk.pool, desk.people[0], desk.device_id)
    assert [(one.name, one.value) for one in seen.changes] == [("name", "Cellar")]


async def test_the_history_is_bounded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "KEPT_CHANGES", 5)
    await desk.save(report_interval_s=5)
    for number in range(8):
        await desk.save(name=f"Rack {number}")
    seen = await settings.look(desk.pool, desk.people[0], desk.device_id)
    assert [one.value for one in seen.changes] == [
        *(f"Rack {number}" for number in range(7, 2, -1)),
        "Rack 2",
        5,
    ]


class DiedError(Exception):
    """What a fault point does here."""


@pytest.mark.parametrize(
    ("point", "is_stored"), [("settings.save.before", False), ("settings.save.after", True)]
)
async def test_a_death_around_the_commit_leaves_all_or_nothing(
    desk: Desk, point: str, *, is_stored: bool
) -> None:
    def die(name: str) -> None:
        raise DiedError(name)

    faults.arm(point, 1, die)
    with pytest.raises(DiedError):
        await desk.save(report_interval_s=5, name="Cellar")
    seen = await settings.look(desk.pool, desk.people[0], desk.device_id)
    assert (await desk.sealed() is not None) is is_stored
    assert (seen.of("name").value == "Cellar") is is_stored
    assert bool(seen.changes) is is_stored
    again = await desk.save(report_interval_s=5, name="Cellar")
    assert [one.state for one in again.changes].count(ChangeState.PENDING) == 1
