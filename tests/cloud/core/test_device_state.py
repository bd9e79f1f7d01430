"""The one state a device is shown in."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest

from cloud.core.device_state import FACES, QUIET_MS, STALE, Condition, DeviceView, Tone, condition_of
from protocol.points import VALUES, Wire
from protocol.register_codes import BITFIELDS

NOW = 1_800_000_000_000
STATUS = {name: 1 << bit for bit, name in BITFIELDS["ups_status"].items()}
BATTERY_ERRORS = {name: 1 << bit for bit, name in BITFIELDS["battery_system_error"].items()}


def view(
    *,
    values: Mapping[str, float | None] = MappingProxyType({}),
    bits: Mapping[str, int] = MappingProxyType({}),
    **changes: Any,
) -> DeviceView:
    """A healthy device with these changes."""
    known: dict[str, float | None] = {point.name: None for point in VALUES if point.wire is not Wire.FIXED32}
    known["runtime_remaining"] = 2400.0
    fields_of_bits = {point.name: 0 for point in VALUES if point.wire is Wire.FIXED32}
    fields_of_bits["ups_status"] = STATUS["online"]
    fields: dict[str, Any] = {
        "device_id": 1,
        "product_id": "ABCDEFGHJKLM",
        "model": "Smart-UPS 1500",
        "sku": "SMT1500IC",
        "serial": "AS1234567890",
        "firmware": "UPS 04.1",
        "rated_real_power_w": 1000,
        "rated_apparent_power_va": 1500,
        "version": 1,
        "company_id": 1,
        "epoch": 1,
        "kid": "k" * 27,
        "from_ms": NOW - 86_400_000,
        "name": "",
        "description": "",
        "time_zone": "UTC",
        "ts_ms": NOW - 1000,
        "seen_ms": NOW - 500,
        "connected": True,
        "smartconnect": True,
        "revoked": False,
        "watch_until_ms": 0,
        "on_battery_since_ms": None,
        "contact_lost": False,
    }
    return DeviceView(values={**known, **values}, bits={**fields_of_bits, **bits}, **(fields | changes))


ON_BATTERY = {"ups_status": STATUS["on_battery"]}


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, Condition.ON_MAINS),
        ({"bits": ON_BATTERY}, Condition.ON_BATTERY),
        ({"bits": ON_BATTERY, "values": {"runtime_remaining": 119.0}}, Condition.LOW_BATTERY),
        ({"bits": ON_BATTERY, "values": {"runtime_remaining": None}}, Condition.ON_BATTERY),
        ({"values": {"runtime_remaining": 100.0}}, Condition.ON_MAINS),
        ({"bits": {"ups_status": STATUS["bypass"]}}, Condition.BYPASS),
        ({"bits": {"ups_status": STATUS["output_off"]}}, Condition.OUTPUT_OFF),
        ({"bits": {"ups_status": STATUS["fault"]}}, Condition.FAULT),
        ({"bits": {"ups_status": STATUS["fault_state"]}}, Condition.FAULT),
        ({"bits": {"ups_status": STATUS["overload"] | STATUS["on_battery"]}}, Condition.OVERLOAD),
        (
            {"bits": {"ups_status": STATUS["test_in_progress"] | STATUS["on_battery"]}},
            Condition.SELF_TEST,
        ),
        (
            {"bits": {"ups_status": STATUS["test_in_progress"] | STATUS["input_bad"] | STATUS["on_battery"]}},
            Condition.ON_BATTERY,
        ),
        ({"bits": {"battery_system_error": BATTERY_ERRORS["needs_replacement"]}}, Condition.REPLACE_BATTERY),
        ({"bits": {"battery_system_error": BATTERY_ERRORS["disconnected"]}}, Condition.REPLACE_BATTERY),
        ({"bits": ON_BATTERY, "connected": False}, Condition.OFFLINE),
        ({"bits": ON_BATTERY, "seen_ms": NOW - QUIET_MS - 1}, Condition.OFFLINE),
        ({"bits": ON_BATTERY, "ts_ms": NOW - QUIET_MS - 1}, Condition.SILENT),
        ({"bits": ON_BATTERY, "contact_lost": True}, Condition.SILENT),
        ({"bits": ON_BATTERY, "smartconnect": False}, Condition.SMARTCONNECT_OFF),
        ({"from_ms": NOW - 1, "ts_ms": 0, "seen_ms": 0, "connected": False}, Condition.STARTING),
        ({"from_ms": NOW - 1, "ts_ms": 0}, Condition.STARTING),
        ({"from_ms": NOW - 1, "ts_ms": 0, "connected": False}, Condition.OFFLINE),
        ({"ts_ms": 0, "seen_ms": 0, "connected": False}, Condition.OFFLINE),
        ({"ts_ms": 0}, Condition.SILENT),
    ],
)
def test_condition(changes: dict[str, Any], wanted: Condition) -> None:
    assert condition_of(view(**changes), NOW) is wanted


def test_stale_is_never_shown_as_an_outage() -> None:
    for condition in STALE:
        assert FACES[condition].tone is Tone.CALM
        assert "battery" not in FACES[condition].word.lower()


def test_every_condition_has_a_face_of_its_own() -> None:
    assert set(FACES) == set(Condition)
    assert len({face.word for face in FACES.values()}) == len(FACES)


def test_load_in_watts_needs_a_rating_and_a_reading() -> None:
    assert view(values={"output_real_power_pct": 38.0}).load_w == 380.0
    assert view(values={"output_real_power_pct": 38.0}, rated_real_power_w=0).load_w is None
    assert view().load_w is None


def test_title_is_the_owners_name_then_the_model() -> None:
    assert view(name="Rack 3").title == "Rack 3"
    assert view().title == "Smart-UPS 1500"
    assert view(model="").title == "UPS ABCDEFGHJKLM"
