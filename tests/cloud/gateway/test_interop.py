"""Other people's MQTT clients at the gateway: what they send arrives, what they must not do is refused."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud.core.authz import Actor
from protocol.mqtt import V5, V311
from tests.support.interop import (
    ESSENTIAL,
    FURTHER,
    VERSIONS,
    Claimed,
    Refusal,
    claim_device,
    make_owner,
    wait_for_refusal,
)
from tests.support.mqtt_clients import LIBRARIES, Action, Filter, Seen, drive_paho
from tests.support.parts import CloudParts, running_parts

each_version = pytest.mark.parametrize("version", VERSIONS, ids=VERSIONS.values())
each_library = pytest.mark.parametrize("library", LIBRARIES)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudParts]:
    with running_parts(tmp_path_factory.mktemp("interop") / "cloud", ("postgres", "gateway")) as parts:
        yield parts


@pytest.fixture(scope="module")
def owner(cloud: CloudParts) -> Actor:
    return make_owner(cloud)


@pytest.fixture
def device(cloud: CloudParts, owner: Actor) -> Claimed:
    return claim_device(cloud, owner)


@pytest.fixture
def gateway_log(cloud: CloudParts) -> Path:
    return cloud.parts["gateway"].log


def judge(device: Claimed, log: Path, library: str, version: int, refusal: Refusal) -> None:
    """Try it, look at the answer and the log, and publish something good afterwards."""
    start = log.stat().st_size
    actions = refusal.actions(device)
    told = refusal.told[version]
    stays = told.connect == 0 and told.ended is None
    if stays:
        actions.append(device.telemetry())
        told = Seen(told.connect, [*told.acks, 0], told.granted, None)
    assert LIBRARIES[library](refusal.login(device), version, actions) == told
    wait_for_refusal(log, start, refusal.logged[version])
    assert device.stored() == device.accepted


@each_version
@each_library
def test_telemetry_in_both_formats_is_stored_as_it_was_sent(
    device: Claimed, library: str, version: int
) -> None:
    actions: list[Action] = [
        Filter(f"d/{device.kid}/control"),
        device.telemetry(),
        device.telemetry(as_json=True),
        device.telemetry(),
    ]
    seen = LIBRARIES[library](device.login(), version, actions)
    assert seen == Seen(connect=0, acks=[0, 0, 0], granted=[0])
    assert device.stored() == device.accepted
    assert len(device.accepted) == 6


@each_version
@each_library
@pytest.mark.parametrize("refusal", ESSENTIAL, ids=lambda refusal: refusal.name)
def test_every_client_is_refused(
    device: Claimed, gateway_log: Path, library: str, version: int, refusal: Refusal
) -> None:
    judge(device, gateway_log, library, version, refusal)


@each_version
@pytest.mark.parametrize("refusal", FURTHER, ids=lambda refusal: refusal.name)
def test_what_else_is_refused(device: Claimed, gateway_log: Path, version: int, refusal: Refusal) -> None:
    judge(device, gateway_log, "paho", version, refusal)


@pytest.mark.parametrize(("version", "code"), [(V311, 0), (V5, 0x10)])
def test_telemetry_of_an_earlier_ownership_is_acknowledged_and_dropped(
    device: Claimed, version: int, code: int
) -> None:
    actions = [device.refused(topic=device.topic(epoch_step=-1)), device.telemetry()]
    assert drive_paho(device.login(), version, actions) == Seen(connect=0, acks=[code, 0])
    assert device.stored() == device.accepted
