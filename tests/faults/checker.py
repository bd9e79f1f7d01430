"""Compares what agents wrote down with what the database holds: nothing lost, nothing twice, gaps named.

The judgement is a function of the evidence; only `read_rows` asks a database, through the read-only view
``v_telemetry`` that is there for checks from outside.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import psycopg

from tests.faults.trace import Place, Trace

Row = tuple[int, int, int, int]
"""(device_id, stream, seq, ts_ms) of one stored sample."""
SHOWN: Final = 5
QUERY: Final = """
    SELECT device_id, stream, seq, (extract(epoch FROM ts) * 1000)::bigint
      FROM v_telemetry WHERE device_id = ANY (%s)
"""
_CHOOSE: Final = (
    "CREATE TEMP TABLE chosen ON COMMIT DROP AS SELECT * FROM telemetry WHERE seq <= ("
    "SELECT max(seq) / 2 FROM telemetry) ORDER BY device_id, stream, seq LIMIT 1"
)
DELETE_ONE: Final = (
    _CHOOSE,
    "DELETE FROM telemetry t USING chosen c WHERE t.device_id = c.device_id AND t.ts = c.ts",
)
DOUBLE_ONE: Final = (
    _CHOOSE,
    "UPDATE chosen SET ts = ts + interval '1 ms'",
    "INSERT INTO telemetry SELECT * FROM chosen",
)


@dataclass(frozen=True, slots=True)
class Gap:
    """Samples missing in the numbers of a stream."""

    device_id: int
    stream: int
    first: int
    last: int
    reason: str

    def __str__(self) -> str:
        return f"device {self.device_id} stream {self.stream} seq {self.first}–{self.last}: {self.reason}"


@dataclass(slots=True)
class Verdict:
    """What the comparison found, and the figures of it."""

    devices: int = 0
    spooled: int = 0
    acked: int = 0
    rows: int = 0
    untraced: int = 0
    """Stored, but the agent was killed before it could write it down: no fault."""
    lost_acked: list[tuple[int, Place]] = field(default_factory=list)
    lost_waiting: list[tuple[int, Place]] = field(default_factory=list)
    """Never acknowledged, and not stored: waiting before the drain, lost after it."""
    twice_by_place: list[tuple[int, Place]] = field(default_factory=list)
    twice_by_time: list[tuple[int, int]] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)

    @property
    def unexplained(self) -> list[Gap]:
        """The gaps that no agent gave a reason for."""
        return [gap for gap in self.gaps if not gap.reason]

    def complaints(self, *, drained: bool) -> list[str]:
        """What must not be, in words; empty when all is well. ``drained``: nothing may wait any more."""
        found: dict[str, Sequence[object]] = {
            "acknowledged samples are not in the table": self.lost_acked,
            "samples are in the table more than once": self.twice_by_place,
            "times of one device are in the table more than once": self.twice_by_time,
        }
        if drained:
            found["sent samples are not in the table after the drain"] = self.lost_waiting
            found["gaps have no reason"] = self.unexplained
        return [
            f"{len(places)} {what}: {', '.join(map(str, places[:SHOWN]))}"
            for what, places in found.items()
            if places
        ]

    def figures(self) -> str:
        """The figures for the last line of a check."""
        return (
            f"{self.devices} devices, {self.spooled} samples sent, {self.acked} acknowledged,"
            f" {self.rows} rows ({self.untraced} of them not in a trace),"
            f" {len(self.lost_acked)} acknowledged ones lost, {len(self.lost_waiting)} others not stored,"
            f" {len(self.twice_by_place) + len(self.twice_by_time)} twice, {len(self.gaps)} gaps"
        )


def judge(traces: Mapping[int, Trace], rows: Iterable[Row]) -> Verdict:
    """Compare the agents' evidence, by device_id, with the stored rows."""
    verdict = Verdict(devices=len(traces))
    stored: dict[int, Counter[Place]] = {device_id: Counter() for device_id in traces}
    times: dict[int, Counter[int]] = {device_id: Counter() for device_id in traces}
    for device_id, stream, seq, ts_ms in rows:
        verdict.rows += 1
        stored.setdefault(device_id, Counter())[stream, seq] += 1
        times.setdefault(device_id, Counter())[ts_ms] += 1
    for device_id, places in stored.items():
        _judge_device(verdict, device_id, traces.get(device_id, Trace()), places)
        verdict.twice_by_place += [(device_id, place) for place, count in places.items() if count > 1]
        verdict.twice_by_time += [
            (device_id, ts_ms) for ts_ms, count in times[device_id].items() if count > 1
        ]
    return verdict


def _judge_device(verdict: Verdict, device_id: int, trace: Trace, stored: Mapping[Place, int]) -> None:
    acked = trace.acknowledged()
    verdict.spooled += len(trace.spooled)
    verdict.acked += len(acked)
    verdict.untraced += len(stored.keys() - trace.spooled.keys())
    missing = trace.spooled.keys() - stored.keys() - trace.dropped
    verdict.lost_acked += [(device_id, place) for place in sorted(missing & acked)]
    verdict.lost_waiting += [(device_id, place) for place in sorted(missing - acked)]
    verdict.gaps += _gaps(device_id, trace, stored)


def _gaps(device_id: int, trace: Trace, stored: Mapping[Place, int]) -> Iterator[Gap]:
    """The holes in each stream below its last stored seq; a stream begins with seq 1."""
    for stream, places in itertools.groupby(sorted(stored), key=lambda place: place[0]):
        expected = 1
        for _, seq in places:
            if seq > expected:
                named = all((stream, hole) in trace.dropped for hole in range(expected, seq))
                yield Gap(device_id, stream, expected, seq - 1, "the spool was full" if named else "")
            expected = max(expected, seq + 1)


def read_rows(dsn: str, device_ids: Iterable[int]) -> list[Row]:
    """What the database holds of these devices."""
    with psycopg.connect(dsn, connect_timeout=5) as connection:
        return fetch_rows(connection, device_ids)


def fetch_rows(connection: psycopg.Connection, device_ids: Iterable[int]) -> list[Row]:
    """The same, as the transaction of this connection sees it."""
    return connection.execute(QUERY, [list(device_ids)]).fetchall()


def prove(dsn: str, traces: Mapping[int, Trace]) -> None:
    """Check the checker on this very evidence: it must see a row go missing, and one more appear.

    Both are planted in a transaction that is rolled back. AssertionError where one goes unseen.
    """
    with psycopg.connect(dsn, connect_timeout=5) as connection:
        for sabotage, complaint in (
            (DELETE_ONE, "1 acknowledged samples are not in the table"),
            (DOUBLE_ONE, "1 samples are in the table more than once"),
        ):
            for statement in sabotage:
                connection.execute(statement)
            seen = judge(traces, fetch_rows(connection, traces)).complaints(drained=True)
            connection.rollback()
            assert any(line.startswith(complaint) for line in seen), f"unseen: {complaint}; seen: {seen}"
