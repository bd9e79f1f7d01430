"""The checker itself: it must find each loss and each duplicate that is planted."""

import datetime as dt
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from protocol.points import POINTS
from tests.faults.checker import Row, Verdict, judge, read_rows
from tests.faults.trace import Trace, TraceError, read_lines, read_traces

DEVICE = 7
STREAM = 1_800_000_000_000


def lines(count: int, *, acked: int, stream: int = STREAM) -> list[str]:
    """The trace of so many samples, a second apart."""
    spooled = [f"spooled {stream} {seq} {stream + 1000 * seq}\n" for seq in range(1, count + 1)]
    return [*spooled, f"acked {stream} {acked}\n"]


def rows(count: int, *, stream: int = STREAM) -> list[Row]:
    """The same samples as the database should hold them."""
    return [(DEVICE, stream, seq, stream + 1000 * seq) for seq in range(1, count + 1)]


def verdict(trace: list[str], stored: list[Row]) -> Verdict:
    return judge({DEVICE: read_lines(trace)}, stored)


def test_all_is_well() -> None:
    found = verdict(lines(9, acked=9), rows(9))
    assert found.complaints(drained=True) == []
    assert (found.devices, found.spooled, found.acked, found.rows, found.untraced) == (1, 9, 9, 9, 0)


@pytest.mark.parametrize("drained", [False, True])
def test_an_acknowledged_sample_that_is_not_stored(*, drained: bool) -> None:
    found = verdict(lines(9, acked=9), [row for row in rows(9) if row[2] != 9])
    assert found.lost_acked == [(DEVICE, (STREAM, 9))]
    assert "1 acknowledged samples are not in the table" in found.complaints(drained=drained)[0]


def test_a_sample_that_was_trimmed_without_an_acknowledgement() -> None:
    """The agent forgot what nobody had acknowledged: seen once everything that waits has drained."""
    found = verdict(lines(9, acked=4), rows(4))
    assert found.complaints(drained=False) == []
    assert found.lost_waiting == [(DEVICE, (STREAM, seq)) for seq in range(5, 10)]
    assert "5 sent samples are not in the table" in found.complaints(drained=True)[0]


def test_the_same_place_twice_at_different_times() -> None:
    """The table's key holds ts too, so the table itself does not refuse this."""
    found = verdict(lines(9, acked=9), [*rows(9), (DEVICE, STREAM, 3, STREAM + 3001)])
    assert found.twice_by_place == [(DEVICE, (STREAM, 3))]
    assert found.complaints(drained=False)


def test_the_same_time_twice_at_different_places() -> None:
    trace = [*lines(2, acked=2), *lines(1, acked=1, stream=STREAM + 60_000)]
    stored = [*rows(2), (DEVICE, STREAM + 60_000, 1, STREAM + 1000)]
    found = verdict(trace, stored)
    assert found.twice_by_time == [(DEVICE, STREAM + 1000)]
    assert found.complaints(drained=False)


def test_the_very_same_row_twice() -> None:
    found = verdict(lines(3, acked=3), [*rows(3), rows(3)[0]])
    assert len(found.complaints(drained=False)) == 2


def test_a_gap_nobody_names() -> None:
    """Not even spooled by the trace, but numbers jump: the spool lost it."""
    trace = [
        line
        for line in lines(9, acked=9)
        if not line.startswith((f"spooled {STREAM} 1 ", f"spooled {STREAM} 5"))
    ]
    found = verdict(trace, [row for row in rows(9) if row[2] not in {1, 5}])
    assert [(gap.first, gap.last) for gap in found.unexplained] == [(1, 1), (5, 5)]
    assert "2 gaps have no reason" in found.complaints(drained=True)[0]


def test_a_gap_with_a_reason() -> None:
    found = verdict(
        [*lines(9, acked=9), f"dropped {STREAM} 2 4\n"], [row for row in rows(9) if not 2 <= row[2] <= 4]
    )
    assert found.complaints(drained=True) == []
    assert [str(gap) for gap in found.gaps] == [f"device 7 stream {STREAM} seq 2–4: the spool was full"]


def test_stored_but_not_noted_is_no_fault() -> None:
    """A kill between the fsync and the note."""
    found = verdict(lines(8, acked=8), rows(9))
    assert found.complaints(drained=True) == []
    assert found.untraced == 1


def test_rows_of_a_device_that_never_wrote_a_trace_count() -> None:
    assert judge({}, [*rows(2), *rows(2)]).complaints(drained=False)


def test_a_silent_device_is_seen_in_the_figures() -> None:
    assert judge({DEVICE: Trace(), 8: Trace()}, []).figures().startswith("2 devices, 0 samples sent")


# --- traces -------------------------------------------------------------------------------------------------


def test_renumbering_moves_what_waits() -> None:
    trace = read_lines(
        ["spooled 10 1 1000\n", "spooled 10 2 2000\n", "renumbered 10 30\n", "spooled 30 3 3000\n"]
    )
    assert trace.spooled == {(30, 1): 1000, (30, 2): 2000, (30, 3): 3000}
    assert trace.renumbered == 2
    trace.feed("acked 30 2")
    assert trace.open() == {(30, 3)}


def test_a_published_stream_is_never_renumbered() -> None:
    with pytest.raises(TraceError, match="after the cloud knew it"):
        read_lines(["spooled 10 1 1000\n", "acked 10 1\n", "renumbered 10 30\n"])


def test_one_place_is_used_once() -> None:
    with pytest.raises(TraceError, match="two samples"):
        read_lines(["spooled 10 1 1000\n", "spooled 10 1 2000\n"])


def test_lines_that_a_kill_cut(tmp_path: Path) -> None:
    (tmp_path / "agent").mkdir()
    text = "spooled 10 1 1000\nspooled 10 2 20spooled 20 1 3000\nacked 20 1\nspooled 20 2 30"
    (tmp_path / "agent" / "ups1.trace").write_text(text)
    assert read_traces(tmp_path)["ups1"].spooled == {(10, 1): 1000, (20, 1): 3000}


def test_what_an_agent_wrote_outlives_its_death(tmp_path: Path) -> None:
    """A line is there once the call returned, for a process that is killed as for one that ends."""
    code = (
        "import os, signal; from agent import trace;"
        f"write = trace.opened({{trace.VARIABLE: {str(tmp_path)!r}}}, 'ups1');"
        "[write(f'spooled 10 {seq} {seq}000') for seq in range(1, 1001)];"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert len(read_traces(tmp_path)["ups1"].spooled) == 1000


def test_rubbish_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ups1.trace").write_text("stored 1 2\n")
    with pytest.raises(TraceError, match=r"ups1\.trace"):
        read_traces(tmp_path)


# --- the database -------------------------------------------------------------------------------------------


def test_reads_today_and_late_rows(database: str) -> None:
    """Both tables behind the view, only the devices asked for, times to the millisecond."""
    now = dt.datetime.now(dt.UTC).replace(microsecond=123_000)
    old = now - dt.timedelta(days=400)
    points = [point.name for point in POINTS if point.name not in {"ts", "seq"}]
    names = ", ".join(["device_id", "ts", "stream", "seq", "epoch", *points])
    values = ", ".join(["%s", "%s", "5", "%s", "1", *("0" for _ in points)])
    with psycopg.connect(database) as connection:
        for device_id, table, ts, seq in (
            (7, "telemetry", now, 1),
            (7, "telemetry_late", old, 2),
            (8, "telemetry", now, 3),
        ):
            connection.execute(f"INSERT INTO {table} ({names}) VALUES ({values})", [device_id, ts, seq])
    assert sorted(read_rows(database, [7])) == [
        (7, 5, 1, int(now.timestamp() * 1000)),
        (7, 5, 2, int(old.timestamp() * 1000)),
    ]
