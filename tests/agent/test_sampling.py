"""Readings, edges with hysteresis, contact, and when to report."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.sampling import (
    CONDITIONS,
    LOST_AFTER_MS,
    Contact,
    Edge,
    Inventory,
    Reading,
    Watcher,
    answered,
    contact_after,
    inventory_of,
    is_due,
    missed,
    reading_of,
    resumed,
    running_tests,
    watch,
)
from protocol.codec import pack_sample
from protocol.messages import EventKind
from protocol.registers import Family
from tests.golden.register_images import CAPTURES, IMAGES
from tests.support.samples import unpack_sample

INVENTORY = next(image for image in CAPTURES if image.start == 516)
STATUS = next(image for image in CAPTURES if image.start == 0)
DYNAMIC = next(image for image in CAPTURES if image.start == 128)
word = st.integers(0, 0xFFFF)


def reading(mono_ms: int, **values: Any) -> Reading:
    """A reading in which everything is well, except for these values."""
    calm: dict[str, Any] = {
        "ups_status": frozenset({"online"}),
        "simple_signaling_status": frozenset(),
        "power_system_error": frozenset(),
        "battery_system_error": frozenset(),
        "battery_lifetime_status": frozenset({"ok"}),
        "battery_test_status": frozenset(),
        "runtime_calibration_status": frozenset(),
        "mog_outlet_status": frozenset({"on"}),
        "status_change_cause": "acceptable_input",
        "state_of_charge": 100.0,
        "runtime_remaining": 3600,
        "input_voltage": 230.0,
        "output_real_power_pct": 30.0,
        "output_apparent_power_pct": 35.0,
    }
    return Reading(mono_ms, {**calm, **values}, {})


def bits(*names: str) -> frozenset[str]:
    return frozenset(names)


def kinds(watcher: Watcher, *readings: Reading) -> tuple[Watcher, list[EventKind]]:
    found: list[EventKind] = []
    for one in readings:
        watcher, edges = watch(watcher, one, ("mog",))
        found += [edge.kind for edge in edges]
    return watcher, found


def test_the_inventory_of_a_real_unit() -> None:
    inventory = inventory_of(INVENTORY.words)
    assert inventory == Inventory(
        model="Smart-UPS 1500",
        sku="SMT1500RM2UC",
        serial=inventory.serial,
        firmware="UPS 04.1",
        rated_real_power_w=1000,
        rated_apparent_power_va=1440,
        groups=("mog", "sog0"),
        family=Family.SMT,
        battery_facts={"battery_install_date": "2021-01-14"},
    )


def test_a_reading_of_a_real_unit_becomes_its_sample() -> None:
    words = (*DYNAMIC.words, *(0xFFFF for _ in range(44 - len(DYNAMIC.words))))
    seen = reading_of(1234, STATUS.words, words, inventory_of(INVENTORY.words))
    sample = unpack_sample(pack_sample({**seen.sample, "ts": 1234}))
    assert sample["state_of_charge"] == 100.0
    assert sample["output_voltage"] == 120.875
    assert sample["ups_status"] == 0x2002
    assert sample["output_energy"] == 3311644
    assert sample["bypass_voltage"] != sample["bypass_voltage"]  # not available is NaN
    assert not seen.on_battery


@given(st.lists(word, min_size=27, max_size=27), st.lists(word, min_size=44, max_size=44))
def test_any_words_become_a_sample(status: list[int], dynamic: list[int]) -> None:
    for image in IMAGES:
        if (image.start, len(image.words)) == (516, 80):
            seen = reading_of(1, status, dynamic, inventory_of(image.words))
            pack_sample({**seen.sample, "ts": 1})
            watch(Watcher(), seen, ("mog", "sog0"))


def test_on_battery_and_back_at_once() -> None:
    watcher, found = kinds(
        Watcher(), reading(0), reading(1000, ups_status=bits("on_battery")), reading(2000), reading(3000)
    )
    assert found == [EventKind.ON_BATTERY, EventKind.MAINS_BACK]
    assert watcher.active == frozenset()


def test_the_end_of_an_outage_says_how_long_it_was() -> None:
    watcher, _ = watch(Watcher(), reading(1000, ups_status=bits("on_battery")), ())
    _, (edge,) = watch(watcher, reading(61_500), ())
    assert edge.values["lasted_s"] == 60.5
    assert edge.values["input_voltage"] == 230.0


def test_a_self_test_is_no_outage() -> None:
    assert kinds(Watcher(), reading(0, ups_status=bits("on_battery", "test_in_progress")))[1] == []


def test_mains_that_fail_in_a_self_test_are_an_outage() -> None:
    failed = reading(0, ups_status=bits("on_battery", "test_in_progress", "input_bad"))
    assert kinds(Watcher(), failed)[1] == [EventKind.ON_BATTERY]


def test_an_output_that_goes_off_in_an_outage_does_not_bring_the_mains_back() -> None:
    """Battery empty, or outlets switched off: only the mains themselves end it."""
    failed, dead = (
        bits("on_battery", "input_bad"),
        bits("output_off", "input_bad"),
    )
    watcher, found = kinds(Watcher(), reading(0, ups_status=failed), reading(1000, ups_status=dead))
    assert found == [EventKind.ON_BATTERY]
    assert kinds(watcher, reading(2000, ups_status=bits("output_off")))[1] == [EventKind.MAINS_BACK]


@pytest.mark.parametrize("volts", [195.0, 205.0, 255.0])
@pytest.mark.parametrize("regulation", ["boost", "trim"])
def test_a_brown_out_that_the_regulator_levels_is_no_event(volts: float, regulation: str) -> None:
    regulated = reading(0, input_voltage=volts, input_status=bits("acceptable", regulation))
    assert kinds(Watcher(), reading(0), regulated, reading(9_000))[1] == []


def test_an_outage_that_outlives_the_agent_is_not_told_again() -> None:
    watcher = Watcher(active=bits("on_battery"))
    assert kinds(watcher, reading(0, ups_status=bits("on_battery")))[1] == []
    _, (edge,) = watch(watcher, reading(5), ())
    assert edge.kind is EventKind.MAINS_BACK
    assert "lasted_s" not in edge.values  # nobody knows


@pytest.mark.parametrize(
    "low",
    [
        {"state_of_charge": 19.0},
        {"runtime_remaining": 90},
        {"simple_signaling_status": bits("shutdown_imminent")},
    ],
)
def test_low_battery_on_battery_only_and_with_hysteresis(low: dict[str, Any]) -> None:
    on_battery = {"ups_status": bits("on_battery")}
    assert kinds(Watcher(), reading(0, **low))[1] == []
    watcher, found = kinds(Watcher(), reading(0, **on_battery, **low))
    assert found == [EventKind.ON_BATTERY, EventKind.LOW_BATTERY]
    watcher, found = kinds(watcher, reading(1000, state_of_charge=22.0), reading(2000, runtime_remaining=150))
    assert found == [EventKind.MAINS_BACK]  # neither is charged enough
    watcher, found = kinds(watcher, reading(3000), reading(7999))
    assert found == []
    assert kinds(watcher, reading(8000))[1] == [EventKind.LOW_BATTERY_CLEARED]


def test_a_signalled_shutdown_is_one_low_battery_however_full_the_battery_is() -> None:
    signalled = {"ups_status": bits("on_battery"), "simple_signaling_status": bits("shutdown_imminent")}
    minute = (reading(second * 1000, **signalled) for second in range(60))
    watcher, found = kinds(Watcher(), *minute)
    assert found == [EventKind.ON_BATTERY, EventKind.LOW_BATTERY]
    _, found = kinds(watcher, *(reading(60_000 + second * 1000) for second in range(6)))
    assert found == [EventKind.MAINS_BACK, EventKind.LOW_BATTERY_CLEARED]


def test_a_flicker_of_the_replace_battery_bit_is_no_event() -> None:
    bad = {"battery_system_error": bits("needs_replacement")}
    _, found = kinds(Watcher(), reading(0, **bad), reading(2000, **bad), reading(2500), reading(3000, **bad))
    assert found == []
    watcher, found = kinds(Watcher(), reading(0, **bad), reading(3000, **bad))
    assert found == [EventKind.REPLACE_BATTERY]
    _, found = kinds(watcher, reading(4000), reading(63_999), reading(64_000))
    assert found == [EventKind.REPLACE_BATTERY_CLEARED]


def test_overload_begins_and_ends_apart() -> None:
    watcher, found = kinds(Watcher(), reading(0, output_real_power_pct=105.0))
    assert found == []
    watcher, found = kinds(watcher, reading(1, output_apparent_power_pct=105.1))
    assert found == [EventKind.OVERLOAD]
    watcher, found = kinds(
        watcher, reading(2, output_real_power_pct=101.0), reading(9000, output_real_power_pct=101.0)
    )
    assert found == []
    assert kinds(watcher, reading(9001), reading(12_001))[1] == [EventKind.OVERLOAD_CLEARED]


def test_a_result_of_a_self_test_is_told_once_and_not_at_the_first_look() -> None:
    passed = {"battery_test_status": bits("passed", "source_protocol")}
    watcher, found = kinds(Watcher(), reading(0, **passed), reading(1, **passed))
    assert found == []
    failed = reading(2, battery_test_status=bits("failed", "source_internal", "why_battery_low"))
    watcher, edges = watch(watcher, failed, ())
    assert [(e.kind, e.values) for e in edges] == [
        (EventKind.SELF_TEST, {"result": "failed", "source": "internal", "why": "battery_low"})
    ]
    pending = reading(3, battery_test_status=bits("in_progress"))
    assert kinds(watcher, pending, reading(4, **passed))[1] == [EventKind.SELF_TEST]


def test_a_test_that_outlives_the_agent_tells_its_result_once() -> None:
    begun = reading(0, battery_test_status=bits("in_progress"), runtime_calibration_status=bits("passed"))
    watcher, found = kinds(Watcher(), begun)
    assert found == []
    assert running_tests(watcher) == {"battery_test_status"}
    passed = reading(1, battery_test_status=bits("passed"), runtime_calibration_status=bits("passed"))
    watcher, found = kinds(resumed(running_tests(watcher), []), begun, passed, passed)
    assert found == [EventKind.SELF_TEST]
    assert running_tests(watcher) == frozenset()
    told = resumed(["battery_test_status"], [EventKind.SELF_TEST])
    assert kinds(told, passed)[1] == []


def test_an_outlet_group_that_switches() -> None:
    watcher, _ = watch(Watcher(), reading(0), ("mog",))
    _, edges = watch(watcher, reading(1, mog_outlet_status=bits("off")), ("mog",))
    assert [(e.kind, e.values) for e in edges] == [(EventKind.OUTLET_GROUP, {"group": "mog", "on": False})]


@given(
    st.lists(
        st.tuples(
            st.integers(1, 70_000),
            st.frozensets(st.sampled_from(["on_battery", "bypass", "overload", "fault", "test_in_progress"])),
            st.sampled_from([5.0, 22.0, 90.0]),
            st.sampled_from([50.0, 102.0, 110.0]),
        ),
        max_size=40,
    )
)
def test_edges_of_a_condition_alternate(life: list[tuple[int, frozenset[str], float, float]]) -> None:
    """Whatever happens, nothing ends that did not begin, and nothing begins twice."""
    watcher, now_ms, open_conditions = Watcher(), 0, set[str]()
    raised = {condition.raised: condition.name for condition in CONDITIONS}
    cleared = {condition.cleared: condition.name for condition in CONDITIONS}
    for step_ms, status, charge, load in life:
        now_ms += step_ms
        seen = reading(now_ms, ups_status=status, state_of_charge=charge, output_real_power_pct=load)
        watcher, edges = watch(watcher, seen, ())
        for edge in edges:
            if edge.kind in raised:
                assert raised[edge.kind] not in open_conditions
                open_conditions.add(raised[edge.kind])
            else:
                open_conditions.remove(cleared[edge.kind])
        assert watcher.active == open_conditions


STATUS_BITS = ["online", "on_battery", "input_bad", "test_in_progress", "bypass", "overload", "fault"]


@given(
    st.frozensets(st.sampled_from(STATUS_BITS)),
    st.frozensets(st.sampled_from(["shutdown_imminent", "power_failure"])),
    st.frozensets(st.sampled_from(["needs_replacement"])),
    st.frozensets(st.sampled_from(["output_overload"])),
    st.tuples(st.none() | st.floats(0, 100), st.none() | st.floats(0, 4000), st.none() | st.floats(0, 200)),
)
def test_no_condition_begins_and_ends_at_once(
    status: frozenset[str],
    signalled: frozenset[str],
    battery: frozenset[str],
    power: frozenset[str],
    numbers: tuple[float | None, float | None, float | None],
) -> None:
    """Else it would be told again and again while nothing changes."""
    charge, runtime, load = numbers
    seen = reading(
        0,
        ups_status=status,
        simple_signaling_status=signalled,
        battery_system_error=battery,
        power_system_error=power,
        state_of_charge=charge,
        runtime_remaining=runtime,
        output_real_power_pct=load,
    )
    assert [one.name for one in CONDITIONS if one.begins(seen) and one.ends(seen)] == []


def test_contact_that_was_lost_before_a_restart_is_told_as_restored() -> None:
    lost, restored = EventKind.COMMUNICATION_LOST, EventKind.COMMUNICATION_RESTORED
    for active, events, still in (
        (["communication_lost"], [], True),
        (["communication_lost"], [restored], False),
        ([], [lost, EventKind.ON_BATTERY], True),
        (["on_battery"], [lost, restored], False),
    ):
        contact = contact_after(active, events)
        assert contact == Contact(lost=still)
        assert missed(contact, 0, "silent")[1] == ()
        assert [edge.kind for edge in answered(contact, 1)[1]] == [restored] * still
        assert resumed(active, events).active <= {"on_battery"}


def test_lost_contact_is_told_once_after_a_while() -> None:
    contact = Contact()
    told: list[Edge] = []
    for at_ms in (0, 1000, 2000, LOST_AFTER_MS - 1, LOST_AFTER_MS, LOST_AFTER_MS + 1000):
        contact, edges = missed(contact, at_ms, "r" * 900)
        told += edges
    assert [(edge.mono_ms, edge.kind) for edge in told] == [(LOST_AFTER_MS, EventKind.COMMUNICATION_LOST)]
    assert len(str(told[0].values["reason"])) == 200
    contact, restored = answered(contact, 9_000)
    assert [(edge.kind, edge.values) for edge in restored] == [
        (EventKind.COMMUNICATION_RESTORED, {"lasted_s": 9.0})
    ]
    assert answered(contact, 10_000) == (Contact(), ())


def test_one_missed_answer_is_nothing() -> None:
    contact, edges = missed(Contact(), 0, "noise")
    assert edges == ()
    assert answered(contact, LOST_AFTER_MS * 3) == (Contact(), ())


@pytest.mark.parametrize(
    ("waiting", "since_ms", "on_battery", "edge", "due"),
    [
        (0, 10**9, True, True, False),
        (1, 59_999, False, False, False),
        (1, 60_000, False, False, True),
        (1, 0, True, False, True),
        (1, 0, False, True, True),
    ],
)
def test_when_to_report(waiting: int, since_ms: int, on_battery: bool, edge: bool, due: bool) -> None:
    assert is_due(waiting, 100, 100 + since_ms, 60_000, on_battery=on_battery, edge=edge) is due
