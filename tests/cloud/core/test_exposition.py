"""A company's devices as Prometheus metrics: what a reader of another make takes from them."""

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from cloud.core.device_state import QUIET_MS, DeviceView
from cloud.core.exposition import FAMILIES, INFO, Exposition, Told
from tests.cloud.core.test_device_state import NOW, view

ALWAYS = {"smartconnect_ups_up", "smartconnect_ups_last_seen_timestamp_seconds", INFO}


def scraped(*views: DeviceView, site: str = "", at_ms: int = NOW) -> dict[str, list[Sample]]:
    """What a scrape gives, by name of the series."""
    exposition = Exposition()
    for one in views:
        exposition.add(Told.of(one, site, at_ms))
    text = "".join(exposition.parts())
    found: dict[str, list[Sample]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample)
    return found


def value(found: dict[str, list[Sample]], name: str) -> float:
    """The one value of a series."""
    (sample,) = found[name]
    return float(sample.value)


def test_values_are_in_base_units() -> None:
    shown = view(
        values={
            "state_of_charge": 98.0,
            "runtime_remaining": 2460.0,
            "output_real_power_pct": 38.0,
            "battery_temperature": 24.5,
            "output_energy": 2.0,
        }
    )
    found = scraped(shown)
    assert value(found, "smartconnect_ups_up") == 1
    assert value(found, "smartconnect_ups_battery_charge_ratio") == pytest.approx(0.98)
    assert value(found, "smartconnect_ups_runtime_seconds") == 2460
    assert value(found, "smartconnect_ups_load_ratio") == pytest.approx(0.38)
    assert value(found, "smartconnect_ups_battery_temperature_celsius") == 24.5
    assert value(found, "smartconnect_ups_output_energy_joules_total") == 7200
    assert value(found, "smartconnect_devices") == 1


def test_a_silent_device_tells_none_of_its_old_values() -> None:
    found = scraped(view(values={"state_of_charge": 98.0}), at_ms=NOW + QUIET_MS + 60_000)
    assert value(found, "smartconnect_ups_up") == 0
    assert set(found) == ALWAYS | {"smartconnect_devices"}


def test_what_a_device_does_not_say_is_missing() -> None:
    found = scraped(view())
    assert "smartconnect_ups_battery_charge_ratio" not in found
    assert value(found, "smartconnect_ups_up") == 1


def test_labels_are_the_same_whatever_they_hold() -> None:
    name = 'Rack "7"\\\n=1'
    found = scraped(view(name=name), site="Cellar\\")
    for samples in found.values():
        for sample in samples:
            if sample.name != "smartconnect_devices":
                assert sample.labels["name"] == name
                assert sample.labels["site"] == "Cellar\\"
                assert len(sample.labels["product_id"]) == 12


def test_two_devices_of_one_product_id_are_two_series() -> None:
    first, second = view(device_id=1), view(device_id=2)
    samples = scraped(first, second)["smartconnect_ups_up"]
    assert [sample.labels.get("device_id") for sample in samples] == [None, "2"]


def test_the_number_of_series_is_bounded() -> None:
    found = scraped(*(view(device_id=number, product_id=f"AAAAAAAAA{number:03d}") for number in range(50)))
    count = sum(len(samples) for samples in found.values())
    assert count <= 50 * (len(FAMILIES) + 1) + 1
    assert not scraped()["smartconnect_devices"][0].value
