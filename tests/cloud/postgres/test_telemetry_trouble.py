"""Batches into a real PostgreSQL that is killed, cut off or locked: nothing lost, nothing twice."""

import os
import random
import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from cloud.core.batch import DAY_MS
from cloud.core.upload import Fence
from cloud.postgres import telemetry
from cloud.postgres.telemetry import Batch, ConnectionTroubleError, FencedError, Store, TooSlowError
from protocol import faults
from tests.support.ingest import (
    NOTHING,
    NOW_MS,
    ONE,
    TWO,
    UNMOVED,
    counts,
    event,
    everything,
    make_batch,
    own_devices,
    positions,
    rejected,
    run,
    sample,
    stored,
)


@pytest.mark.usefixtures("owned")
def test_a_statement_past_its_time_is_told_from_a_lost_connection(store: Store) -> None:
    store.connect()
    connection = store._connection
    assert connection is not None
    connection.execute("SET statement_timeout = 1")
    with pytest.raises(TooSlowError):
        store._run(lambda cursor: cursor.execute("SELECT pg_sleep(5)"))
    connection.execute("RESET statement_timeout")
    assert deliver(store, ONE, [sample(1)]) == 1


# --- lost connections ---------------------------------------------------------------------------------------


def deliver(store: Store, device: int, rows: Sequence[dict[str, float]]) -> int:
    """Store these rows as a writer does, asking for the position after every trouble; how many were new."""
    while True:
        try:
            store.connect()
            found = store.positions([device])[device]
            fence = Fence(found.session_no, found.epoch, found.stream, found.seq)
            batch = make_batch(store, {device: rows}, {device: fence})
            store.write(batch)
        except (ConnectionTroubleError, FencedError):
            continue
        return sum((1, int(row["seq"])) > (found.stream, found.seq) for row in rows)


def wait_for_a_waiter(dsn: str) -> None:
    """Until somebody waits for a lock."""
    deadline = time.monotonic() + 10
    while not run(dsn, "SELECT 1 FROM pg_locks WHERE NOT granted"):
        assert time.monotonic() < deadline


def kill_backend(store: Store, dsn: str) -> Callable[[str], None]:
    connection = store._connection
    assert connection is not None
    pid = connection.info.backend_pid

    def kill(_name: str) -> None:
        run(dsn, "SELECT pg_terminate_backend(%s, 5000)", pid)

    return kill


@pytest.mark.parametrize("point", ["gateway.fence", "gateway.commit.before"])
def test_a_connection_killed_before_the_commit_leaves_nothing(store: Store, owned: str, point: str) -> None:
    faults.arm(point, 1, kill_backend(store, owned))
    with pytest.raises(ConnectionTroubleError):
        store.write(everything(store))
    assert counts(owned) == NOTHING
    assert positions(owned) == UNMOVED
    store.connect()
    store.write(everything(store))
    assert counts(owned) == (3, 1, 1)


def test_a_connection_killed_after_the_commit_loses_nothing(store: Store, owned: str) -> None:
    faults.arm("gateway.commit.after", 1, kill_backend(store, owned))
    store.write(everything(store))
    with pytest.raises(ConnectionTroubleError):
        store.positions([ONE])
    store.connect()
    assert store.positions([ONE, TWO, 99]).keys() == {ONE, TWO}
    assert counts(owned) == (3, 1, 1)


@pytest.mark.parametrize(
    "lock",
    ["UPDATE latest SET seen_ms = 1", "LOCK TABLE telemetry", "LOCK TABLE event", "LOCK TABLE rejected"],
)
def test_a_connection_killed_while_it_waits_leaves_nothing(store: Store, owned: str, lock: str) -> None:
    """Within each statement of the transaction."""
    kill = kill_backend(store, owned)
    with psycopg.connect(owned) as holder, ThreadPoolExecutor(1) as pool:
        holder.execute(lock)
        written = pool.submit(store.write, everything(store))
        wait_for_a_waiter(owned)
        kill("")
        with pytest.raises(ConnectionTroubleError):
            written.result(20)
    assert counts(owned) == NOTHING
    with pytest.raises(ConnectionTroubleError):
        store.write(everything(store))
    store.connect()
    store.write(everything(store))
    assert counts(owned) == (3, 1, 1)


@pytest.mark.parametrize("lock", ["LOCK TABLE telemetry", "LOCK TABLE event"])
def test_a_statement_that_may_not_wait_longer_leaves_a_connection_that_works(
    owned: str, monkeypatch: pytest.MonkeyPatch, lock: str
) -> None:
    monkeypatch.setitem(telemetry._OPTIONS, "lock_timeout", 50)
    store = Store(owned, "test")
    store.connect()
    with psycopg.connect(owned) as holder:
        holder.execute(lock)
        with pytest.raises(ConnectionTroubleError, match="lock timeout"):
            store.write(everything(store))
        assert store.positions([ONE])[ONE].seq == 0
    store.write(everything(store))
    assert counts(owned) == (3, 1, 1)
    store.close()


def test_a_connection_that_dies_unnoticed_is_trouble_at_the_next_batch(store: Store, owned: str) -> None:
    kill_backend(store, owned)("")
    with pytest.raises(ConnectionTroubleError):
        store.write(everything(store))
    assert counts(owned) == NOTHING


def test_a_commit_whose_answer_is_lost_is_found_and_not_repeated(store: Store, owned: str) -> None:
    """The COMMIT is sent, its answer never arrives: the batch is stored, and its sender does not know."""

    def stop_listening(_name: str) -> None:
        connection = store._connection
        assert connection is not None
        with socket.socket(fileno=os.dup(connection.fileno())) as line:
            line.shutdown(socket.SHUT_RD)

    faults.arm("gateway.commit.before", 1, stop_listening)
    rows = [sample(1), sample(2)]
    with pytest.raises(ConnectionTroubleError):
        store.write(make_batch(store, {ONE: rows}, events=[event()]))
    assert deliver(store, ONE, rows) == 0
    store.write(Batch(NOW_MS, events=[event()]))
    assert stored(owned) == [(ONE, 1, 1), (ONE, 1, 2)]
    assert counts(owned) == (2, 1, 0)


def test_a_store_that_is_not_connected_says_so(owned: str) -> None:
    store = Store(owned, "test")
    with pytest.raises(ConnectionTroubleError):
        store.positions([ONE])
    store.connect()
    store.close()
    with pytest.raises(ConnectionTroubleError):
        store.write(Batch(NOW_MS))


def test_a_database_that_is_not_there_is_trouble(empty_database: str) -> None:
    for dsn in ("host=127.0.0.1 port=1 user=nobody", empty_database):  # nobody listens; no table yet
        store = Store(dsn, "test")
        with pytest.raises(ConnectionTroubleError):
            store.connect()
        assert store._connection is None


@pytest.mark.parametrize(
    ("spoil", "mend"),
    [
        ("ALTER TABLE latest RENAME efficiency TO old", "ALTER TABLE latest RENAME old TO efficiency"),
        ("ALTER TABLE telemetry RENAME TO old", "ALTER TABLE old RENAME TO telemetry"),
        ("ALTER TABLE event RENAME TO old", "ALTER TABLE old RENAME TO event"),
        ("ALTER TABLE rejected RENAME payload TO old", "ALTER TABLE rejected RENAME old TO payload"),
    ],
)
def test_a_schema_that_is_not_ours_condemns_no_message(
    store: Store, owned: str, spoil: str, mend: str
) -> None:
    """An upgrade under way, a right taken away: the batch waits, it is not refused."""
    store.write(make_batch(store, {ONE: [sample(1)]}))
    batch = make_batch(
        store,
        {ONE: [sample(2)], TWO: [sample(1)]},
        {ONE: Fence(1, 1, 1, 1)},
        events=[event()],
        rejected=[rejected()],
    )
    run(owned, spoil)
    with pytest.raises(ConnectionTroubleError):
        store.write(batch)
    run(owned, mend)
    store.connect()
    store.write(batch)
    assert counts(owned) == (3, 1, 1)


def test_a_store_that_could_not_read_the_days_looks_again(
    owned: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the days every row would be a late one."""
    monkeypatch.setitem(telemetry._OPTIONS, "lock_timeout", 50)
    store = Store(owned, "test")
    with psycopg.connect(owned) as holder:
        holder.execute("LOCK TABLE pg_inherits IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(ConnectionTroubleError):
            store.connect()
    store.connect()
    assert NOW_MS // DAY_MS in store.days
    store.close()


# --- locks --------------------------------------------------------------------------------------------------


def test_a_row_that_somebody_holds_is_trouble_not_an_endless_wait(
    owned: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(telemetry._OPTIONS, "lock_timeout", 50)
    store = Store(owned, "test")
    store.connect()
    with psycopg.connect(owned) as holder:
        holder.execute("UPDATE latest SET seen_ms = 1 WHERE device_id = 1")
        with pytest.raises(ConnectionTroubleError, match="lock timeout"):
            store.write(everything(store))
    store.write(everything(store))
    assert counts(owned) == (3, 1, 1)
    store.close()


def test_a_deadlock_is_trouble_and_the_batch_may_be_repeated(store: Store, owned: str) -> None:
    with psycopg.connect(owned) as other, ThreadPoolExecutor(1) as pool:
        other.execute("SET deadlock_timeout = '60s'")  # so that the store is the one who notices
        other.execute("UPDATE latest SET seen_ms = 1 WHERE device_id = 2")
        written = pool.submit(store.write, everything(store))
        wait_for_a_waiter(owned)
        other.execute("UPDATE latest SET seen_ms = 1 WHERE device_id = 1")
        with pytest.raises(ConnectionTroubleError, match="deadlock"):
            written.result(20)
    store.write(everything(store))
    assert counts(owned) == (3, 1, 1)


def test_rows_are_locked_in_the_order_of_their_devices(database: str) -> None:
    """However they lie in the table: so whoever locks several waits for the other, and never both."""
    devices = list(range(1, 301))
    own_devices(database, random.Random(1).sample(devices, len(devices)))
    run(database, "ANALYZE latest")
    store = Store(database, "test")
    store.connect()
    with psycopg.connect(database) as holder, ThreadPoolExecutor(1) as pool:
        holder.execute("UPDATE latest SET seen_ms = 1 WHERE device_id = 150")
        written = pool.submit(store.write, make_batch(store, {device: [sample(1)] for device in devices}))
        wait_for_a_waiter(database)
        free = run(database, "SELECT device_id FROM latest ORDER BY device_id FOR UPDATE SKIP LOCKED")
        assert [device for (device,) in free] == list(range(151, 301))
        holder.rollback()
        written.result(20)
    store.close()


def test_writers_that_meet_on_the_same_devices_store_every_row_once(database: str) -> None:
    """Two writers on overlapping devices, each fenced by the other again and again, without a deadlock."""
    devices = list(range(100, 400))
    random.Random(1).shuffle(devices)  # rows lie in the table in no order
    own_devices(database, devices)
    run(database, "ANALYZE latest")
    troubles: list[str] = []
    start = threading.Barrier(2)

    def write(number: int) -> None:
        pick = random.Random(number)
        store = Store(database, f"test {number}")
        store.connect()
        start.wait(10)
        for _ in range(15):
            chosen = sorted(pick.sample(devices, 200))
            while True:
                held = {
                    device: Fence(at.session_no, at.epoch, at.stream, at.seq)
                    for device, at in store.positions(chosen).items()
                }
                rows = {device: [sample(held[device].seq + 1)] for device in chosen}
                try:
                    store.write(make_batch(store, rows, held))
                except FencedError:
                    continue
                except ConnectionTroubleError as error:
                    troubles.append(str(error))
                    store.connect()
                    continue
                break
        store.close()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, (1, 2)))
    assert troubles == []
    found = run(database, "SELECT device_id, count(*), max(seq) FROM telemetry GROUP BY device_id")
    assert sum(count for _device, count, _seq in found) == 2 * 15 * 200
    assert all(count == seq for _device, count, seq in found)
