"""The simulated hour."""

import json

from protocol.columns import decode_json
from protocol.points import BY_NAME
from simulators.core.nameplate import Nameplate
from simulators.core.smart_ups import SmartUps
from simulators.demo.history import OUTAGE_FROM_S, OUTAGE_UNTIL_S, SPAN_S, STEP_S, simulate


def test_it_is_an_hour_with_one_power_failure() -> None:
    history = simulate(SmartUps(Nameplate()))
    assert len(history.samples) == SPAN_S // STEP_S
    dark = [sample for sample in history.samples if sample["input_voltage"] < 10]
    assert len(dark) == (OUTAGE_UNTIL_S - OUTAGE_FROM_S) // STEP_S
    assert [event["kind"] for event in history.events] == ["on_battery", "mains_back"]
    assert history.samples[-1]["age_ms"] == 0
    assert history.samples[-1]["state_of_charge"] > 95, "a live UPS goes on from here"


def test_every_value_is_a_point_within_its_range() -> None:
    for sample in simulate(SmartUps(Nameplate())).samples:
        values = {name: value for name, value in sample.items() if name != "age_ms"}
        assert set(values) <= set(BY_NAME)
        for name, value in values.items():
            assert BY_NAME[name].low <= value <= BY_NAME[name].high


def test_the_gateway_would_take_it() -> None:
    sample = simulate(SmartUps(Nameplate())).samples[100]
    payload = {"ts": 1_795_000_000_000, "seq": 1, **{k: v for k, v in sample.items() if k != "age_ms"}}
    rows = decode_json(json.dumps(payload).encode())
    assert rows["input_voltage"][0] > 200
