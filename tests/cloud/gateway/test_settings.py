"""Wanted settings to the device, and its reports back, through a real gateway and database."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from cloud.core.settings import SettingState
from cloud.provision import Signer, load_signer
from cloud.services import settings
from cloud.services.settings import SettingsView
from protocol import topics
from protocol.codec import encode
from protocol.errors import Reason
from protocol.messages import Desired, KeyUse, Reported
from protocol.mqtt import V5, V311, PubAck
from tests.cloud.gateway.conftest import Site
from tests.support.portal import now_ms
from tests.support.raw_mqtt import RawDevice


@dataclass
class Owned:
    """A connected device that somebody owns."""

    site: Site
    signer: Signer
    device: RawDevice
    epoch: int

    async def want(self, **wanted: object) -> SettingsView:
        """Its owner changes settings."""
        device_id = self.device.identity.device_id
        return await settings.save(
            self.site.pool, self.signer, self.site.actors[0], device_id, wanted, now_ms()
        )

    async def seen(self) -> SettingsView:
        """What its owner sees."""
        return await settings.look(self.site.pool, self.site.actors[0], self.device.identity.device_id)

    async def desired(self) -> Desired:
        """What the device is told next, hellos left out."""
        while True:
            message = await self.device.control()
            if isinstance(message, Desired):
                return message

    def said(self, **changes: object) -> Reported:
        """A report."""
        report = Reported(
            epoch=self.epoch, base_version=0, revision=now_ms(), settings={"report_interval_s": 60}
        )
        return replace(report, **changes)  # type: ignore[arg-type]  # its fields

    async def report(self, payload: bytes) -> PubAck:
        """Publish it; the PUBACK."""
        await self.device.send(self.device.publish(topics.reported(self.device.identity.kid), payload))
        return await self.device.wait(PubAck)


@pytest.fixture
async def owned(site: Site, tmp_path: Path) -> Owned:
    """With MQTT 5."""
    device, epoch = await site.owned(V5)
    return Owned(site, load_signer(tmp_path / "state", KeyUse.COMMAND), device, epoch)


async def test_what_is_wanted_is_told_at_once_and_again_in_each_session_until_it_is_considered(
    owned: Owned,
) -> None:
    view = await owned.want(report_interval_s=5)
    desired = await owned.desired()
    assert (desired.version, desired.settings) == (view.version, {"report_interval_s": 5})
    hello = await owned.device.greet()
    assert (hello.settings_version, hello.settings_revision) == (view.version, 0)
    assert (await owned.desired()).version == view.version
    said = owned.said(base_version=view.version, settings={"report_interval_s": 5})
    assert (await owned.report(encode(said))).reason == Reason.SUCCESS
    assert (await owned.seen()).of("report_interval_s").state is SettingState.IN_FORCE
    hello = await owned.device.greet()
    assert hello.settings_revision == said.revision
    later = await owned.want(report_interval_s=6)
    assert (await owned.desired()).version == later.version, "only what is open is told"


async def test_a_report_counts_once_and_never_late(owned: Owned) -> None:
    first = owned.said(settings={"report_interval_s": 5})
    second = replace(first, revision=first.revision + 1, settings={"report_interval_s": 6})
    for said in (second, first, second):
        assert (await owned.report(encode(said))).reason == Reason.SUCCESS
    seen = await owned.seen()
    assert seen.of("report_interval_s").value == 6
    assert len(seen.changes) == 0


async def test_reports_of_other_ownerships_and_nonsense_change_nothing(owned: Owned) -> None:
    old = owned.said(epoch=owned.epoch - 1, settings={"report_interval_s": 5})
    assert (await owned.report(encode(old))).reason == Reason.NO_MATCHING_SUBSCRIBERS
    ahead = owned.said(epoch=owned.epoch + 1, settings={"report_interval_s": 5})
    assert (await owned.report(encode(ahead))).reason == Reason.NOT_AUTHORIZED
    for payload in (b"", b"{}", b"\xff" * 50, encode(owned.said(revision=-1)), b"[" * 9000):
        assert (await owned.report(payload)).reason == Reason.PAYLOAD_FORMAT_INVALID
    assert (await owned.seen()).of("report_interval_s").state is SettingState.UNKNOWN
    rows = await owned.site.rows("SELECT count(*) FROM rejected")
    assert rows == [(5,)]


async def test_a_device_without_owner_tells_nobody(site: Site) -> None:
    device = site.device(V5)
    await device.greet()
    said = Reported(epoch=1, base_version=0, revision=1, settings={"report_interval_s": 5})
    await device.send(device.publish(topics.reported(device.identity.kid), encode(said)))
    assert (await device.wait(PubAck)).reason == Reason.NO_MATCHING_SUBSCRIBERS
    assert await site.rows("SELECT count(*) FROM device_setting") == [(0,)]


async def test_mqtt_3_1_1_reports_too(site: Site, tmp_path: Path) -> None:
    device, epoch = await site.owned(V311)
    owned = Owned(site, load_signer(tmp_path / "state", KeyUse.COMMAND), device, epoch)
    await owned.report(encode(owned.said(settings={"report_interval_s": 5})))
    assert (await owned.seen()).of("report_interval_s").value == 5
