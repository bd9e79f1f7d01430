"""Seeding gives real owners."""

from protocol.identity import ProductKey
from tests.faults.seed import Label, announce_all, claim_labels, count_owned, make_labels
from tests.support.claiming import TestDevice


def test_claims_wait_for_their_devices(database: str) -> None:
    labels = make_labels(3)
    actors = claim_labels(database, labels, owners=2)
    assert len({actor.company_id for actor in actors}) == 2
    assert count_owned(database, [label.device_id for label in labels]) == 0


def test_announced_devices_are_owned(database: str) -> None:
    devices = [TestDevice() for _ in range(20)]
    nobody = ProductKey.parse("0" * 14)
    claim_labels(database, [Label(device.product_id, nobody, device.label_pub) for device in devices])
    announce_all(database, devices)
    assert count_owned(database, [device.device_id for device in devices]) == 20
