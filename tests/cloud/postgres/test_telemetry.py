"""Batches into a real PostgreSQL: all or nothing, and once, whatever devices send."""

import time
from contextlib import suppress

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloud.core.batch import DAY_MS, build_table, sift
from cloud.core.upload import Fence
from cloud.postgres.telemetry import (
    Batch,
    DuplicateRowsError,
    EventRow,
    FencedError,
    NoPartitionError,
    Store,
)
from protocol.codec import MAX_EVENT_MS, decode_event, encode
from protocol.errors import DecodeError
from protocol.messages import Event, EventKind
from tests.support import ingest
from tests.support.ingest import (
    BEGUN,
    NOTHING,
    NOW_MS,
    ONE,
    TWO,
    UNMOVED,
    counts,
    event,
    everything,
    make_batch,
    positions,
    rejected,
    run,
    sample,
    stored,
    upload,
)

# --- what a batch does --------------------------------------------------------------------------------------


def test_a_batch_moves_rows_positions_and_shown_values_together(store: Store, owned: str) -> None:
    store.write(everything(store))
    assert stored(owned) == [(ONE, 1, 1), (ONE, 1, 2), (TWO, 1, 1)]
    assert positions(owned) == [(ONE, 1, 2), (TWO, 1, 1)]
    assert counts(owned) == (3, 1, 1)
    shown = run(owned, "SELECT ts_ms, input_voltage, seen_ms, connected FROM latest ORDER BY device_id")
    assert shown == [(NOW_MS, sample(2)["input_voltage"], NOW_MS, True), (NOW_MS, 14.0, NOW_MS, True)]
    assert run(owned, "SELECT received_ms, kind, detail FROM event") == [(NOW_MS, "on_battery", {"v": 1})]


def test_a_late_sample_is_stored_and_shows_nothing(store: Store, owned: str) -> None:
    store.write(make_batch(store, {ONE: [sample(1, NOW_MS, ups_status=5)]}))
    old = make_batch(store, {ONE: [sample(2, NOW_MS - 1, ups_status=6)]}, {ONE: Fence(1, 1, 1, 1)})
    store.write(old)
    assert run(owned, "SELECT seq, ts_ms, ups_status FROM latest WHERE device_id = 1") == [(2, NOW_MS, 5)]
    assert len(stored(owned)) == 2


def test_what_is_older_than_the_ownership_is_stored_and_shows_nothing(store: Store, owned: str) -> None:
    run(owned, "UPDATE latest SET shown_from_ms = %s", NOW_MS)
    store.write(make_batch(store, {ONE: [sample(1, NOW_MS - 1, ups_status=5)]}))
    assert run(owned, "SELECT seq, ts_ms, ups_status FROM latest WHERE device_id = 1") == [(1, 0, 0)]
    store.write(make_batch(store, {ONE: [sample(2, NOW_MS, ups_status=6)]}, {ONE: Fence(1, 1, 1, 1)}))
    assert run(owned, "SELECT seq, ts_ms, ups_status FROM latest WHERE device_id = 1") == [(2, NOW_MS, 6)]
    assert len(stored(owned)) == 2


def test_what_is_stored_after_a_session_has_gone_does_not_bring_it_back(store: Store, owned: str) -> None:
    store.write(make_batch(store, {ONE: [sample(1)]}))
    run(owned, "UPDATE latest SET connected = false")
    store.write(make_batch(store, {ONE: [sample(2)]}, {ONE: Fence(1, 1, 1, 1)}))
    assert run(owned, "SELECT connected FROM latest WHERE device_id = 1") == [(False,)]


def test_the_connection_is_bounded_on_the_server(store: Store) -> None:
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    found = store._run(
        lambda cursor: cursor.execute(
            "SELECT name, setting::int FROM pg_settings WHERE name = ANY (%s)", [list(names)]
        ).fetchall()
    )
    assert dict(found).keys() == set(names)
    assert all(0 < value <= 30_000 for _name, value in found)


# --- the fence ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE latest SET session_no = 2 WHERE device_id = 2",
        "UPDATE latest SET epoch = 2 WHERE device_id = 2",
        "UPDATE latest SET stream = 1 WHERE device_id = 2",
        "UPDATE latest SET seq = 1 WHERE device_id = 2",
        "UPDATE latest SET revoked = true WHERE device_id = 2",
        "DELETE FROM latest WHERE device_id = 2",
    ],
)
def test_where_one_device_is_fenced_nothing_of_the_batch_is_written(
    store: Store, owned: str, change: str
) -> None:
    batch = everything(store)
    run(owned, change)
    before = positions(owned)
    with pytest.raises(FencedError):
        store.write(batch)
    assert counts(owned) == NOTHING
    assert positions(owned) == before
    store.write(make_batch(store, {ONE: [sample(1)]}))  # the other goes on, over the same connection
    assert stored(owned) == [(ONE, 1, 1)]


def test_one_device_in_two_sessions_is_fenced(store: Store, owned: str) -> None:
    once = make_batch(store, {ONE: [sample(1)]})
    table = build_table(
        sift([upload([ingest.protobuf([sample(1)])])] * 2, [0, 1], [BEGUN, BEGUN], NOW_MS),
        [BEGUN, BEGUN],
        [ONE, ONE],
        [None, None],
        NOW_MS,
        store.days,
    )
    with pytest.raises(FencedError):
        store.write(Batch(NOW_MS, [ONE, ONE], table.fence, table.copies))
    assert stored(owned) == []
    store.write(once)


# --- days ---------------------------------------------------------------------------------------------------


def test_a_day_without_partition_fails_the_batch_and_goes_to_the_late_table(store: Store, owned: str) -> None:
    long_ago = 10 * DAY_MS
    rows = {ONE: [sample(1, long_ago), sample(2)]}
    with pytest.raises(NoPartitionError):
        store.write(make_batch(store, rows, days=store.days | {10}))
    assert counts(owned) == NOTHING
    assert positions(owned) == UNMOVED
    store.write(make_batch(store, rows))
    assert run(owned, "SELECT seq FROM telemetry_late") == [(1,)]
    assert run(owned, "SELECT seq FROM telemetry") == [(2,)]


def test_a_partition_that_is_detached_meanwhile_is_noticed(store: Store, owned: str) -> None:
    day = time.strftime("%Y%m%d", time.gmtime(NOW_MS / 1000))
    batch = make_batch(store, {ONE: [sample(1)]})
    run(owned, f"ALTER TABLE telemetry DETACH PARTITION telemetry_{day}")
    with pytest.raises(NoPartitionError):
        store.write(batch)
    store.look_for_days()
    assert NOW_MS // DAY_MS not in store.days
    store.write(make_batch(store, {ONE: [sample(1)]}))
    assert run(owned, "SELECT seq FROM telemetry_late") == [(1,)]


def test_the_days_are_those_that_have_a_partition(store: Store, owned: str) -> None:
    today = NOW_MS // DAY_MS
    assert {today - 1, today, today + 7} <= store.days
    run(owned, "SELECT ensure_telemetry_days('1970-01-11', 1)")
    assert 10 not in store.days
    store.look_for_days()
    assert 10 in store.days


# --- rows that are there already ----------------------------------------------------------------------------


@pytest.mark.parametrize("ts_ms", [NOW_MS, 10 * DAY_MS], ids=["of a known day", "late"])
def test_rows_above_the_position_are_an_alarm_and_are_not_doubled(
    store: Store, owned: str, ts_ms: int
) -> None:
    """A restored backup of ``latest``: the rows are ahead of the position."""
    store.write(make_batch(store, {ONE: [sample(1, ts_ms), sample(2, ts_ms)]}))
    run(owned, "UPDATE latest SET stream = 0, seq = 0")
    again = make_batch(
        store, {ONE: [sample(seq, ts_ms) for seq in (1, 2, 3)], TWO: [sample(1)]}, events=[event()]
    )
    with pytest.raises(DuplicateRowsError):
        store.write(again)
    assert counts(owned) == (2, 0, 0)
    store.write(again, staged=True)
    assert stored(owned) == [(ONE, 1, 1), (ONE, 1, 2), (ONE, 1, 3), (TWO, 1, 1)]
    assert positions(owned) == [(ONE, 1, 3), (TWO, 1, 1)]
    with pytest.raises(NoPartitionError):
        store.write(
            make_batch(store, {TWO: [sample(2, 5 * DAY_MS)]}, {TWO: Fence(1, 1, 1, 1)}, days=frozenset({5})),
            staged=True,
        )


# --- what devices send --------------------------------------------------------------------------------------

texts = st.text(st.characters(codec="utf-8"), max_size=20)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**40), 10**40),
    st.floats(allow_nan=False, allow_infinity=False),
    texts,
)
events = st.builds(
    Event,
    stream=st.integers(1, 2**63 - 1),
    seq=st.integers(1, 2**63 - 1),
    ts_ms=st.one_of(st.integers(0, MAX_EVENT_MS), st.integers(-(2**60), 2**60)),
    kind=st.sampled_from(EventKind),
    values=st.dictionaries(texts, scalars, max_size=4),
    time_uncertain=st.booleans(),
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sent=events)
def test_every_event_that_is_accepted_can_be_stored(store: Store, owned: str, sent: Event) -> None:
    """A device must not be able to send what no batch with it can be stored."""
    with suppress(DecodeError):
        found = decode_event(encode(sent))
        row = EventRow(
            ONE,
            found.stream,
            found.seq,
            1,
            found.ts_ms,
            NOW_MS,
            found.time_uncertain,
            found.kind,
            found.values,
        )
        run(owned, "DELETE FROM event")
        store.write(Batch(NOW_MS, events=[row, row]))
        kept = run(owned, "SELECT stream, seq, (extract(epoch FROM ts) * 1000)::bigint, kind, ts FROM event")
        assert [one[:4] for one in kept] == [(found.stream, found.seq, found.ts_ms, found.kind.value)]


def test_a_refused_message_is_kept_capped_whatever_is_in_it(store: Store, owned: str) -> None:
    rows = [
        rejected(topic="a\0b", reason="\ud800" * 400, payload=b"\0" * 5000),
        rejected(device_id=TWO, payload=b""),
    ]
    store.write(Batch(NOW_MS, rejected=rows))
    kept = run(
        owned, "SELECT device_id, topic, length(reason), length(payload), size_bytes FROM rejected ORDER BY 1"
    )
    assert kept == [(ONE, "a\N{REPLACEMENT CHARACTER}b", 300, 1024, 5000), (TWO, "telemetry/1/1", 3, 0, 0)]


def test_events_tell_the_pages_of_their_devices(store: Store, owned: str) -> None:
    with psycopg.connect(owned, autocommit=True) as page:
        page.execute("LISTEN device")
        store.write(Batch(NOW_MS, events=[event(1), event(2), event(1, device_id=TWO)]))
        told = [notice.payload for notice in page.notifies(timeout=10, stop_after=2)]
    assert sorted(told) == ["1", "2"]
