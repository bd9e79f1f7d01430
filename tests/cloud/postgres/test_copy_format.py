"""The binary buffers that numpy builds, read by a real PostgreSQL."""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.adapt import Dumper
from psycopg.pq import Format

from cloud.core.batch import (
    COPY_COLUMNS,
    DAY_MS,
    FUTURE_MS,
    PG_TYPE,
    build_table,
    pg_array,
    sift,
)
from cloud.core.upload import Fence
from cloud.postgres import telemetry
from protocol.points import POINTS, Point, SampleFlag, Wire
from tests.support import ingest
from tests.support.ingest import NOW_MS, upload

on_a_database = settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
KIND: Final[dict[Wire, Any]] = {Wire.FLOAT: np.float32, Wire.DOUBLE: np.float64}
DEVICES: Final = (-5, 2**62)
EPOCHS: Final = (77, 88)
STREAMS: Final = (9, 10)
TODAY: Final = NOW_MS // DAY_MS
DAYS: Final = frozenset({TODAY - 1, TODAY, TODAY + 1})


def _value(point: Point) -> st.SearchStrategy[float]:
    if point.name == "ts":
        return st.one_of(st.integers(0, int(point.high)), st.integers(NOW_MS - DAY_MS, NOW_MS + DAY_MS))
    if point.wire not in KIND:
        return st.integers(int(point.low), int(point.high))
    top = float(np.nextafter(np.float32(point.high), np.float32(0)))
    low = float(point.low)
    numbers = st.floats(low, top, width=32) if point.wire is Wire.FLOAT else st.floats(low, top)
    return st.one_of(st.just(math.nan), numbers)


values = st.fixed_dictionaries({point.name: _value(point) for point in POINTS if point.name != "seq"})


@on_a_database
@given(sent=st.lists(st.tuples(st.integers(0, 1), values), min_size=1, max_size=12))
def test_what_is_copied_is_what_was_sent(database: str, sent: list[tuple[int, dict[str, Any]]]) -> None:
    """Every column of every row; rows of days without a partition are in the late table."""
    by_seq = {seq: (who, row | {"seq": seq}) for seq, (who, row) in enumerate(sent, start=1)}
    shares = sorted({who for who, _row in by_seq.values()})
    uploads = [
        upload([ingest.protobuf([row]) for who, row in by_seq.values() if who == share], STREAMS[share])
        for share in shares
    ]
    fences = [Fence(1, epoch, 0, 0) for epoch in EPOCHS]
    sifted = sift(uploads, shares, fences, NOW_MS)
    table = build_table(sifted, fences, DEVICES, [None, None], NOW_MS, DAYS)
    found: list[dict[str, Any]] = []
    with psycopg.connect(database) as connection:
        for late, buffer in table.copies.items():
            with connection.cursor().copy(telemetry.COPY[late]) as copy:
                copy.write(buffer)
        for late, name in enumerate(("telemetry", "telemetry_late")):
            found += [row | {"late": bool(late)} for row in _stored(connection, name)]
        connection.rollback()
    assert sorted(row["seq"] for row in found) == list(by_seq)
    for row in found:
        who, given_row = by_seq[row["seq"]]
        assert (row["device_id"], row["epoch"], row["stream"]) == (DEVICES[who], EPOCHS[who], STREAMS[who])
        assert row["late"] == (given_row["ts"] // DAY_MS not in DAYS)
        future = SampleFlag.FROM_FUTURE if given_row["ts"] > NOW_MS + FUTURE_MS else 0
        _assert_stored(row, given_row | {"flags": given_row["flags"] | future})


def _stored(connection: psycopg.Connection, table: str) -> list[dict[str, Any]]:
    names = [name for name, _kind in COPY_COLUMNS]
    wanted = ["(extract(epoch FROM ts) * 1000)::bigint" if name == "ts" else name for name in names]
    rows = connection.execute(f"SELECT {', '.join(wanted)} FROM {table}").fetchall()
    return [dict(zip(names, row, strict=True)) for row in rows]


def _assert_stored(stored: dict[str, Any], sent: dict[str, Any]) -> None:
    for point in POINTS:
        ours, theirs = stored[point.name], sent[point.name]
        if point.wire in KIND:
            kind = KIND[point.wire]
            assert np.array_equal(kind(ours), kind(theirs), equal_nan=True), point.name
        else:
            assert ours == theirs, point.name


@dataclass(frozen=True)
class Encoded:
    """A parameter in PostgreSQL's binary format."""

    data: bytes


class EncodedDumper(Dumper):
    format = Format.BINARY
    oid = 0  # the statement's cast says what it is

    def dump(self, obj: Encoded) -> bytes:
        return obj.data


ELEMENTS: Final[dict[str, st.SearchStrategy[float]]] = {
    ">i8": st.integers(-(2**63), 2**63 - 1),
    ">i4": st.integers(-(2**31), 2**31 - 1),
    ">f4": st.floats(width=32),
    ">f8": st.floats(),
}


@pytest.mark.parametrize("kind", sorted(PG_TYPE))
@on_a_database
@given(data=st.data())
def test_arrays_are_those_of_postgresql(database: str, kind: str, data: st.DataObject) -> None:
    sent = np.array(data.draw(st.lists(ELEMENTS[kind], max_size=20)), np.dtype(kind))
    kind_of = f"{PG_TYPE[kind]}[]"
    with psycopg.connect(database) as connection:
        connection.adapters.register_dumper(Encoded, EncodedDumper)
        found = connection.execute(
            f"SELECT %b::{kind_of} IS NOT DISTINCT FROM %s::{kind_of}, cardinality(%b::{kind_of})",
            [Encoded(pg_array(kind, sent)), sent.tolist(), Encoded(pg_array(kind, sent))],
        ).fetchone()
    assert found == (True, len(sent))
