"""Alarms from events."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from cloud.core.cloud_event import CloudEventKind
from cloud.core.notice import EDGES, Alarm, Edge, Occurrence, Topic, fold, occurrence
from protocol.messages import EventKind

RAISE = Occurrence(7, 1, 1, 1_000, 1_200, Topic.ON_BATTERY, Edge.RAISE)
CLEAR = Occurrence(7, 1, 2, 5_000, 5_100, Topic.ON_BATTERY, Edge.CLEAR)


def folded(*events: Occurrence) -> Alarm | None:
    """The alarm after these."""
    alarm = None
    for event in events:
        alarm = fold(alarm, event)
    return alarm


def test_an_alarm_lies_between_two_edges() -> None:
    standing = folded(RAISE)
    assert standing == Alarm(7, 1, 1, 1_000, 1_200)
    assert standing.standing
    over = folded(RAISE, CLEAR)
    assert over == Alarm(7, 1, 2, 1_000, 5_100, 5_000, 2)
    assert fold(None, CLEAR) is None, "nothing was told of what ends"


def test_the_same_edge_twice_and_an_older_event_change_nothing() -> None:
    standing = folded(RAISE)
    assert fold(standing, replace(RAISE, seq=9)) is standing
    over = folded(RAISE, CLEAR)
    assert fold(over, replace(CLEAR, seq=9)) is over
    assert fold(over, replace(RAISE, seq=1)) is over
    assert fold(over, replace(RAISE, epoch=6, seq=99)) is over, "of an earlier owner"


def test_another_owner_begins_afresh() -> None:
    alarm = fold(folded(RAISE, CLEAR), replace(RAISE, epoch=8))
    assert alarm is not None
    assert (alarm.epoch, alarm.changes) == (8, 1)
    assert fold(folded(RAISE), replace(CLEAR, epoch=8)) is None


def test_an_acknowledgement_ends_with_what_it_was_about() -> None:
    standing = folded(RAISE)
    assert standing is not None
    over = fold(replace(standing, acked_ms=2_000), CLEAR)
    assert over is not None
    assert over.acked_ms is None


def test_what_happens_once_is_over_at_once_and_counts_each_time() -> None:
    test = Occurrence(7, 1, 3, 1_000, 1_000, Topic.SELF_TEST, Edge.ONCE, detail="result passed")
    alarm = folded(test, replace(test, seq=4, at_ms=2_000))
    assert alarm is not None
    assert (alarm.ended_ms, alarm.changes, alarm.once, alarm.detail) == (2_000, 4, True, "result passed")


def test_a_clock_ahead_of_ours_counts_as_ours() -> None:
    found = occurrence(epoch=1, stream=1, seq=1, at_ms=9_000, received_ms=5_000, kind="on_battery")
    assert found is not None
    assert found.at_ms == 5_000
    assert occurrence(epoch=1, stream=1, seq=1, at_ms=1, received_ms=1, kind="new_kind") is None


def test_every_topic_can_be_told_of() -> None:
    assert {topic for topic, _ in EDGES.values()} == set(Topic)
    raised = {topic for topic, edge in EDGES.values() if edge is Edge.RAISE}
    assert raised == {topic for topic, edge in EDGES.values() if edge is Edge.CLEAR}
    known = {kind.value for kind in EventKind} | {kind.value for kind in CloudEventKind}
    assert set(EDGES) <= known


@given(st.lists(st.tuples(st.sampled_from([Edge.RAISE, Edge.CLEAR]), st.integers(0, 10_000)), max_size=30))
def test_any_run_of_edges_leaves_what_the_last_one_says(edges: list[tuple[Edge, int]]) -> None:
    alarm: Alarm | None = None
    standing, changes = False, 0
    for seq, (edge, at_ms) in enumerate(edges, 1):
        alarm = fold(alarm, Occurrence(1, 1, seq, at_ms, at_ms, Topic.OVERLOAD, edge))
        changes += standing != (edge is Edge.RAISE)
        standing = edge is Edge.RAISE
    assert (alarm is not None and alarm.standing) == standing
    assert (0 if alarm is None else alarm.changes) == changes
    if alarm is not None and alarm.ended_ms is not None:
        assert alarm.ended_ms >= alarm.began_ms
