"""From a wish to the register and back, with the agent killed at its fault points."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from cloud.core.settings import ChangeState, SettingState
from cloud.postgres.pool import make_pool
from cloud.provision import load_signer
from cloud.services import settings
from protocol.messages import KeyUse
from tests.agent.house import House, built_house, wait_for
from tests.support.portal import now_ms

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cloud.core.authz import Actor
    from cloud.services.settings import SettingsView
    from tests.support.parts import CloudParts


class Owner:
    """Who owns the UPS of a house."""

    def __init__(self, house: House, actor: Actor) -> None:
        self._house = house
        self._actor = actor
        self._signer = load_signer(house.cloud.state_dir, KeyUse.COMMAND)

    def want(self, **wanted: object) -> None:
        """Change settings, as the portal does."""
        self._ask(lambda pool: settings.save(pool, self._signer, self._actor, self._id, wanted, now_ms()))

    def see(self) -> SettingsView:
        """The settings, as the portal shows them."""
        return self._ask(lambda pool: settings.look(pool, self._actor, self._id))

    def state(self, name: str) -> tuple[SettingState, object]:
        """How one stands, and its value."""
        try:
            view = self.see().of(name)
        except KeyError:
            return SettingState.UNKNOWN, None
        return view.state, view.value

    @property
    def _id(self) -> int:
        return self._house.label.device_id

    def _ask(self, work: Callable[[Any], Any]) -> SettingsView:
        async def asked() -> SettingsView:
            async with make_pool(self._house.cloud.dsn, name="owner", max_size=1) as pool:
                view: SettingsView = await work(pool)
                return view

        return asyncio.run(asked())


def changes_told(house: House) -> list[tuple[object, object, object]]:
    """(setting, value, by) of the events, by time."""
    found = house.rows(
        "SELECT detail->>'setting', detail->>'after', detail->>'by' FROM event"
        " WHERE device_id = %s AND kind = 'setting_changed' ORDER BY ts, seq"
    )
    return [(row[0], row[1], row[2]) for row in found]


def test_a_wish_reaches_the_register_once_whenever_the_agent_dies(tmp_path: Path, cloud: CloudParts) -> None:
    with built_house(tmp_path, cloud=cloud) as house:
        house.start_cloud()
        house.agent.start()
        owner = Owner(house, house.claim())
        wait_for("owned", lambda: house.latest("epoch"))
        wait_for("told", lambda: owner.state("transfer_low") == (SettingState.IN_FORCE, 207))
        days = (
            "SELECT reported->>'battery_install_date', reported->>'battery_replace_by' FROM device_setting"
            " WHERE device_id = %s"
        )
        wait_for("days of the battery", lambda: house.rows(days) == [("2024-05-17", "2029-05-17")])
        owner.want(transfer_low=196, mog_name="Servers")
        wait_for("in force", lambda: owner.state("transfer_low") == (SettingState.IN_FORCE, 196))
        house.order("panel", "transfer_low", "190")
        wait_for("noticed", lambda: owner.state("transfer_low") == (SettingState.CHANGED_AT_DEVICE, 190))
        for volts, point in enumerate(("agent.settings.written:1", "agent.settings.remember:2"), 200):
            house.agent.stop()
            house.agent.start(fault=f"{point}:kill")
            owner.want(transfer_low=volts)
            wait_for(f"dead at {point}", lambda: not house.agent.alive)
            house.agent.start()
            wait_for("in force", lambda at=volts: owner.state("transfer_low") == (SettingState.IN_FORCE, at))  # type: ignore[misc]  # a lambda with a default has no type
            assert house.order("state")["rows"]["transfer_low"] == volts
        history = [
            (one.value, one.origin, one.state) for one in owner.see().changes if one.name == "transfer_low"
        ]
        assert history == [
            (201, "portal", ChangeState.IN_FORCE),
            (200, "portal", ChangeState.REPLACED),
            (190, "device", ChangeState.REPLACED),
            (196, "portal", ChangeState.REPLACED),
        ]
        told = changes_told(house)
        assert ("transfer_low", "190", "front panel") in told
        assert ("mog_name", "Servers", "portal") in told
        assert [after for name, after, by in told if name == "transfer_low" and by == "front panel"] == [
            "190"
        ]
