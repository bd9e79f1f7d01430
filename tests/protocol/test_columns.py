"""Telemetry payloads: the fast view, the protobuf parser and JSON give the same rows."""

import contextlib
import json
import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from google.protobuf import descriptor_pb2
from grpc_tools import protoc  # type: ignore[import-untyped]  # ships no types
from hypothesis import given
from hypothesis import strategies as st

import protocol
from protocol import columns, points
from protocol.codec import ENTRY_BYTES, MAX_TELEMETRY_BYTES, pack_batch, pack_sample
from protocol.errors import DecodeError, ErrorCode
from protocol.points import POINTS, Wire
from tests.support.samples import with_seq

PROTO = Path(protocol.__file__).parent / "telemetry.proto"


def _value(point: points.Point) -> st.SearchStrategy[float]:
    if point.wire in {Wire.FIXED32, Wire.FIXED64}:
        return st.integers(int(point.low), int(point.high))
    width: Literal[32, 64] = 32 if point.wire is Wire.FLOAT else 64
    low, high = float(np.float32(point.low)), float(np.float32(point.high))
    return st.one_of(st.just(math.nan), st.floats(low, min(high, point.high), width=width))


samples = st.fixed_dictionaries({point.name: _value(point) for point in POINTS})


def _same(left: columns.Rows, right: columns.Rows) -> bool:
    return all(
        np.array_equal(left[p.name], right[p.name], equal_nan=p.wire in {"float", "double"}) for p in POINTS
    )


def proto_source() -> str:
    """Text of ``telemetry.proto`` as the table of points wants it."""
    lines = [
        "// Telemetry of one device: d/{kid}/telemetry/{epoch}/{stream} and d/{kid}/now.",
        "// Every field is fixed-width with explicit presence: a sample with all fields, in this order,",
        "// has a constant layout, and joined batches are a valid batch. Numbers are appended, never reused.",
        'syntax = "proto3";',
        "",
        "package smartconnect.v1;",
        "",
        "message Sample {",
    ]
    for point in POINTS:
        unit = f" [{point.unit}]" if point.unit else ""
        lines.append(f"  optional {point.wire} {point.name} = {point.number};  // {point.meaning}{unit}")
    lines += ["}", "", "message Batch {", "  repeated Sample samples = 1;", "}", ""]
    return "\n".join(lines)


def test_published_proto_is_the_table() -> None:
    assert PROTO.read_text() == proto_source()


def test_protoc_reads_the_published_proto_as_our_descriptor(tmp_path: Path) -> None:
    out = tmp_path / "set"
    assert protoc.main(["protoc", f"-I{PROTO.parent}", f"--descriptor_set_out={out}", PROTO.name]) == 0
    compiled = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file[0]
    ours = columns.file_descriptor()
    for message in (*compiled.message_type, *ours.message_type):
        for field in message.field:
            field.ClearField("json_name")
    assert compiled == ours


@given(st.lists(samples, min_size=1, max_size=5))
def test_fast_view_equals_protobuf_parser(values: list[dict[str, float]]) -> None:
    payload = pack_batch(pack_sample(value) for value in values)
    view = columns.view_rows(payload)
    assert view is not None
    assert _same(view, columns._parse_batch(payload))


@given(st.lists(samples, min_size=1, max_size=3))
def test_protobuf_runtime_writes_the_constant_layout(values: list[dict[str, float]]) -> None:
    batch = columns.Batch()
    for value in values:
        sample = batch.samples.add()
        for name, number in value.items():
            setattr(sample, name, number)
    packed = pack_batch(pack_sample(value) for value in values)
    ours, theirs = columns.decode_batch(packed), columns.decode_batch(batch.SerializeToString())
    assert len(packed) == len(batch.SerializeToString())
    assert _same(ours, theirs)


@given(samples)
def test_json_gives_the_same_rows(value: dict[str, float]) -> None:
    finite = {name: number for name, number in value.items() if not math.isnan(number)}
    assert _same(
        columns.decode_json(json.dumps(finite).encode()),
        columns.decode_batch(pack_batch([pack_sample(value)])),
    )


@given(st.binary(max_size=400))
def test_random_bytes_never_crash(payload: bytes) -> None:
    for decode in (columns.decode_batch, columns.decode_json):
        with contextlib.suppress(DecodeError):
            decode(payload)


def test_missing_fields_take_the_slow_path_and_become_not_available() -> None:
    batch = columns.Batch()
    batch.samples.add(ts=5, seq=6, input_voltage=230.5)
    rows = columns.decode_batch(batch.SerializeToString())
    assert (rows["ts"][0], rows["seq"][0], rows["input_voltage"][0]) == (5, 6, 230.5)
    assert math.isnan(rows["output_voltage"][0])
    assert rows["ups_status"][0] == 0


def test_unknown_fields_of_a_newer_device_are_ignored() -> None:
    newer = pack_sample({"ts": 5, "seq": 6}) + b"\xfd\x07" + b"\x01\x02\x03\x04"  # field 127, fixed32
    payload = b"\x0a\x99\x01" + newer
    assert len(newer) == 0x99
    assert columns.decode_batch(payload)["seq"].tolist() == [6]


def test_many_payloads_with_bad_ones_among_them() -> None:
    one = pack_sample({"ts": 1000, "seq": 1})
    good, two = pack_batch([one]), pack_batch([with_seq(one, 2), with_seq(one, 3)])
    impossible = pack_batch([pack_sample({"ts": 1, "seq": 9, "state_of_charge": 1e9})])
    decoded = columns.decode_payloads([good, b"\xff\xff", two, b"", impossible])
    assert decoded.rows["seq"].tolist() == [1, 2, 3]
    assert decoded.counts.tolist() == [1, 0, 2, 0, 0]
    assert {i: error.code for i, error in decoded.errors.items()} == {
        1: ErrorCode.MALFORMED,
        3: ErrorCode.MALFORMED,
        4: ErrorCode.OUT_OF_RANGE,
    }


def test_payloads_that_only_fit_when_joined_are_still_judged_one_by_one() -> None:
    payload = pack_batch([pack_sample({"ts": 1, "seq": 1})])
    decoded = columns.decode_payloads([payload[:100], payload[100:]])
    assert set(decoded.errors) == {0, 1}


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"{}", ErrorCode.MALFORMED),
        (b"[]", ErrorCode.MALFORMED),
        (b'{"ts": "5"}', ErrorCode.MALFORMED),
        (b'{"ts": -5}', ErrorCode.OUT_OF_RANGE),
        (b'{"ts": 5, "input_voltage": 1e6}', ErrorCode.OUT_OF_RANGE),
        (b'{"ts": 5, "ups_status": 4294967296}', ErrorCode.OUT_OF_RANGE),
        (b" " * (MAX_TELEMETRY_BYTES + 1), ErrorCode.TOO_LARGE),
    ],
)
def test_json_errors(payload: bytes, code: ErrorCode) -> None:
    with pytest.raises(DecodeError) as caught:
        columns.decode_json(payload)
    assert caught.value.code is code


def test_many_json_payloads_with_bad_ones_among_them() -> None:
    good, two = b'{"ts": 1, "seq": 1}', b'[{"ts": 1, "seq": 2}, {"ts": 1, "seq": 3}]'
    decoded = columns.decode_json_payloads([good, b"{", two, b"[]"])
    assert decoded.rows["seq"].tolist() == [1, 2, 3]
    assert decoded.counts.tolist() == [1, 0, 2, 0]
    assert set(decoded.errors) == {1, 3}
    assert columns.decode_json_payloads([good, two]).counts.tolist() == [1, 2]


def test_infinity_is_no_measurement() -> None:
    with pytest.raises(DecodeError):
        columns.decode_batch(pack_batch([pack_sample({"ts": 1, "input_voltage": math.inf})]))


def test_entry_length_is_part_of_the_wire() -> None:
    assert ENTRY_BYTES == 150


def _one_by_one(payloads: list[bytes], decode: Callable[[bytes], columns.Rows]) -> columns.Decoded:
    parts, counts, errors = [np.zeros(0, columns.ROW)], [], {}
    for i, payload in enumerate(payloads):
        try:
            parts.append(decode(payload).astype(columns.ROW))
        except DecodeError as error:
            parts.append(np.zeros(0, columns.ROW))
            errors[i] = error
        counts.append(len(parts[-1]))
    return columns.Decoded(np.concatenate(parts), np.array(counts, np.int64), errors)


def _assert_same(ours: columns.Decoded, theirs: columns.Decoded) -> None:
    assert ours.counts.tolist() == theirs.counts.tolist()
    assert {i: (e.code, str(e)) for i, e in ours.errors.items()} == {
        i: (e.code, str(e)) for i, e in theirs.errors.items()
    }
    assert _same(ours.rows, theirs.rows)


def _sample(seq: int, **values: float) -> bytes:
    return pack_sample({"ts": 1000, "seq": seq, **values})


NAN = struct.pack("<f", math.nan)
SIGNALLING_NAN = struct.pack("<I", 0x7F800001)
protobuf_payloads = st.one_of(
    st.lists(st.integers(0, 9), min_size=1, max_size=3).map(lambda seqs: pack_batch(map(_sample, seqs))),
    st.sampled_from(
        [
            b"",
            b"\xff",
            bytes(ENTRY_BYTES),
            pack_batch([_sample(1), _sample(2, state_of_charge=1e9)]),
            pack_batch([_sample(1, input_voltage=math.inf)]),
            pack_batch([_sample(1, input_voltage=math.nan)]).replace(NAN, SIGNALLING_NAN),
            pack_batch([_sample(1)]) + pack_batch([_sample(2)])[:-1],
            columns.Batch(samples=[{"ts": 5, "seq": 6}]).SerializeToString(),
            columns.Batch(samples=[{"seq": 6}]).SerializeToString(),
        ]
    ),
)
json_payloads = st.sampled_from(
    [
        b'{"ts":1,"seq":2}',
        b'[{"ts":1,"seq":2},{"ts":2,"seq":3}]',
        b"[]",
        b"{",
        b"\xff",
        b'{"seq":2}',
        b'{"ts":-1}',
        b'{"ts":1,"flags":4294967296}',
        b'{"ts":1,"input_voltage":1e39}',
        b'[{"ts":1},{"ts":1,"seq":99999999999999999999999}]',
        b'[{"ts":1},{"ts":1,"state_of_charge":-1}]',
    ]
)


@given(st.lists(protobuf_payloads, max_size=8))
def test_payloads_together_decode_as_they_do_alone(payloads: list[bytes]) -> None:
    _assert_same(columns.decode_payloads(payloads), _one_by_one(payloads, columns.decode_batch))


@given(st.lists(json_payloads, max_size=8))
def test_json_payloads_together_decode_as_they_do_alone(payloads: list[bytes]) -> None:
    _assert_same(columns.decode_json_payloads(payloads), _one_by_one(payloads, columns.decode_json))


def test_a_signalling_nan_hides_no_other_value() -> None:
    """A maximum over a column that has one is NaN, which is above no bound."""
    hidden = pack_batch([_sample(1, output_voltage=math.nan)]).replace(NAN, SIGNALLING_NAN)
    impossible = pack_batch([_sample(2, output_voltage=math.inf)])
    for order in ([hidden, impossible], [impossible, hidden]):
        decoded = columns.decode_payloads(order)
        assert decoded.rows["seq"].tolist() == [1]
        assert [error.code for error in decoded.errors.values()] == [ErrorCode.OUT_OF_RANGE]
        with pytest.raises(DecodeError):
            columns.decode_batch(b"".join(order))
