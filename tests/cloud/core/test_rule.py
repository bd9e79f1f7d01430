"""Rules sample by sample, and as columns against a plain reference."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.core.batch import pg_array
from cloud.core.rule import (
    OK,
    STATE_BITS,
    SUBJECTS,
    TRANSITIONS,
    Condition,
    Edge,
    Facts,
    Phase,
    Reading,
    Side,
    State,
    reading_of,
    step,
)
from cloud.core.rule_columns import Pair, Samples, Watched, decode_samples, judge, last_positions
from protocol.points import BY_NAME
from tests.support.rule_reference import PlainRule, PlainSample, edges_of, judged_samples

LOAD = Condition(
    subject="output_real_power_pct",
    side=Side.ABOVE,
    threshold=80,
    hysteresis=5,
    hold_ms=300_000,
    clear_ms=60_000,
)
MINUTE = 60_000


def run(condition: Condition, values: Sequence[float], every_ms: int = MINUTE) -> tuple[State, list[Edge]]:
    """Samples at an even pace from 0 on."""
    state, edges = OK, []
    for number, value in enumerate(values):
        state, edge = step(condition, state, (number - 1) * every_ms, number * every_ms, value)
        if edge:
            edges.append(edge)
    return state, edges


def test_every_phase_and_reading_has_an_outcome() -> None:
    assert set(TRANSITIONS) == {(phase, reading) for phase in Phase for reading in Reading}


def test_subjects_are_points_with_states_as_bits() -> None:
    assert all(set(subject.points) <= set(BY_NAME) for subject in SUBJECTS.values())
    assert {name for name, subject in SUBJECTS.items() if subject.is_state} == set(STATE_BITS)


@pytest.mark.parametrize(
    ("side", "value", "reading"),
    [
        (Side.ABOVE, 80.1, Reading.OVER),
        (Side.ABOVE, 80, Reading.BETWEEN),
        (Side.ABOVE, 75.1, Reading.BETWEEN),
        (Side.ABOVE, 75, Reading.BACK),
        (Side.ABOVE, math.nan, Reading.BETWEEN),
        (Side.BELOW, 79.9, Reading.OVER),
        (Side.BELOW, 80, Reading.BETWEEN),
        (Side.BELOW, 85, Reading.BACK),
        (Side.BELOW, math.nan, Reading.BETWEEN),
    ],
)
def test_a_value_is_over_back_or_between(side: Side, value: float, reading: Reading) -> None:
    assert reading_of(replace(LOAD, side=side), value) is reading


def test_load_above_80_for_five_minutes_is_raised_by_the_sample_that_completes_them() -> None:
    state, edges = run(LOAD, [50, 90, 90, 90, 90, 90])
    assert (state, edges) == (State(Phase.RISING, MINUTE), [])
    state, edges = run(LOAD, [50, 90, 90, 90, 90, 90, 90])
    assert state == State(Phase.RAISED, 0, 6 * MINUTE)
    assert edges == [Edge(True, 6 * MINUTE, MINUTE, 6 * MINUTE, 90)]


def test_a_dip_into_the_band_breaks_the_hold_and_does_not_clear() -> None:
    assert run(LOAD, [90, 90, 90, 78, 90, 90])[1] == []
    state, edges = run(LOAD, [90] * 6 + [78] * 20)
    assert (state.phase, len(edges)) == (Phase.RAISED, 1)


def test_it_clears_when_the_value_was_back_long_enough() -> None:
    state, edges = run(LOAD, [90] * 6 + [70, 90, 70, 70])
    assert state == OK
    assert [(edge.raised, edge.ts_ms) for edge in edges] == [(True, 5 * MINUTE), (False, 9 * MINUTE)]
    assert (edges[1].since_ms, edges[1].raised_ms) == (8 * MINUTE, 5 * MINUTE)


def test_without_holds_a_sample_is_enough() -> None:
    quick = replace(LOAD, hold_ms=0, clear_ms=0)
    assert [edge.raised for edge in run(quick, [90, 70, 90])[1]] == [True, False, True]


def test_a_silence_breaks_holds_and_changes_nothing_else() -> None:
    rising = State(Phase.RISING, 0)
    assert step(LOAD, rising, 0, 300_000, 90) == (State(Phase.RISING, 300_000), None)
    falling = State(Phase.FALLING, 0, 1)
    assert step(LOAD, falling, 0, 300_000, 10) == (State(Phase.FALLING, 300_000, 1), None)
    assert step(LOAD, falling, 0, 300_000, 78) == (State(Phase.RAISED, 0, 1), None)
    raised = State(Phase.RAISED, 0, 1)
    assert step(LOAD, raised, 0, 10**9, 90) == (raised, None)
    assert step(LOAD, OK, 0, 10**9, 10) == (OK, None)


# --- columns ------------------------------------------------------------------------------------------------

VALUES = st.sampled_from([10.0, 74.0, 75.0, 78.0, 80.0, 81.0, 95.0, math.nan])
SAMPLES = st.lists(
    st.tuples(
        st.integers(-3, 5), VALUES, st.sampled_from([0, 0, 0, 0, 1, 2, 4]), st.sampled_from([7, 7, 7, 6])
    ),
    max_size=40,
)
CONDITIONS = st.builds(
    Condition,
    subject=st.just("output_real_power_pct"),
    side=st.sampled_from(Side),
    threshold=st.sampled_from([78.0, 80.0]),
    hysteresis=st.sampled_from([0.0, 5.0]),
    hold_ms=st.sampled_from([0, 2, 6]),
    clear_ms=st.sampled_from([0, 3]),
    gap_ms=st.sampled_from([2, 4]),
    from_ms=st.sampled_from([0, 0, 105]),
)


def plain(condition: Condition) -> PlainRule:
    """The same rule for the reference."""
    return PlainRule(
        condition.side.value,
        condition.threshold,
        condition.hysteresis,
        condition.hold_ms,
        condition.clear_ms,
        condition.gap_ms,
        condition.from_ms,
    )


def samples_of(drawn: list[tuple[int, float, int, int]]) -> list[PlainSample]:
    """Steps in time, values, flags and epochs as rows in the order of their position."""
    found, ts_ms = [], 100
    for seq, (step_ms, value, flags, epoch) in enumerate(drawn, 1):
        ts_ms += step_ms
        found.append(PlainSample(1, seq, ts_ms, epoch, flags, value))
    return found


def columns(rows: list[tuple[int, PlainSample]]) -> Samples:
    """Rows as PostgreSQL gives them."""
    start = 946_684_800_000
    ints = {
        "place": [place for place, _ in rows],
        "stream": [one.stream for _, one in rows],
        "seq": [one.seq for _, one in rows],
        "ts": [(one.ts_ms - start) * 1000 for _, one in rows],
        "epoch": [one.epoch for _, one in rows],
    }
    data = {name: pg_array(">i8", np.array(values, np.int64)) for name, values in ints.items()}
    data["flags"] = pg_array(">i4", np.array([one.flags for _, one in rows], np.int32))
    loads = np.array([one.value for _, one in rows], np.float32)
    return decode_samples({**data, "output_real_power_pct": pg_array(">f4", loads)})


@given(
    st.lists(SAMPLES, min_size=1, max_size=4),
    st.lists(CONDITIONS, min_size=1, max_size=3),
    st.lists(st.integers(1, 39), max_size=3),
)
def test_columns_agree_with_the_plain_reference_however_they_are_cut(
    drawn: list[list[tuple[int, float, int, int]]], conditions: list[Condition], cuts: list[int]
) -> None:
    devices = [samples_of(one) for one in drawn]
    watched = [Watched(7, 90, Facts()) for _ in devices]
    keys = [(place, rule) for place in range(len(devices)) for rule in range(len(conditions))]
    states = dict.fromkeys(keys, OK)
    seen: dict[tuple[int, int], list[tuple[str, int]]] = {key: [] for key in keys}
    bounds = sorted({0, *cuts, 40})
    for begin, end in itertools.pairwise(bounds):
        rows = [(place, one) for place, device in enumerate(devices) for one in device[begin:end]]
        if not rows:
            continue
        pairs = [Pair(place, conditions[rule], states[place, rule]) for place, rule in keys]
        outcome = judge(columns(rows), watched, pairs)
        watched = [replace(one, ts_ms=ts_ms) for one, ts_ms in zip(watched, outcome.ts_ms, strict=True)]
        for change in outcome.changes:
            states[keys[change.pair]] = change.state
            found = seen[keys[change.pair]]
            found += [("raised" if edge.raised else "cleared", edge.ts_ms) for edge in change.edges]
    for (place, rule), edges in seen.items():
        assert edges == edges_of(plain(conditions[rule]), judged_samples(devices[place], 7, 90))


def derived(subject: str, facts: Facts, **points: float) -> list[bool]:
    """Whether one sample raises a rule above 1 of this subject."""
    says = Condition(subject=subject, side=Side.ABOVE, threshold=0.5 if SUBJECTS[subject].is_state else 1.0)
    one = np.array([0], np.int64)
    values = {name: np.array([value]) for name, value in points.items()}
    rows = Samples(one, one, one, np.array([400 * 86_400_000]), one, one, values)
    outcome = judge(rows, [Watched(0, 0, facts)], [Pair(0, says, OK)])
    return [edge.raised for change in outcome.changes for edge in change.edges]


def test_derived_values() -> None:
    assert derived("on_battery", Facts(), ups_status=STATE_BITS["on_battery"] | 1) == [True]
    assert derived("on_battery", Facts(), ups_status=2) == []
    assert derived("load_w", Facts(rated_real_power_w=1000), output_real_power_pct=50) == [True]
    assert derived("load_w", Facts(), output_real_power_pct=50) == []  # the rating is not known
    assert derived("battery_age_days", Facts(battery_installed_ms=86_400_000)) == [True]
    assert derived("battery_age_days", Facts()) == []


def test_where_the_rows_of_each_device_end() -> None:
    rows = [(0, PlainSample(1, 5, 100, 7, 0, 1.0)), (0, PlainSample(2, 1, 101, 7, 0, 1.0))]
    rows.append((3, PlainSample(4, 9, 100, 7, 0, 1.0)))
    assert last_positions(columns(rows)) == {0: (2, 2, 1), 3: (1, 4, 9)}
