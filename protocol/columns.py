"""Telemetry payloads → numpy columns. The only part of protocol that needs numpy; never reached by the agent.

Joined ``Batch`` messages are a valid Batch, and a sample with all points in order has a constant layout, so
thousands of payloads decode as one view: check the tag bytes, then read the values where they stand. Whatever
does not fit the layout goes through the ordinary protobuf parser, and JSON through msgspec; all three give
the same rows. A payload that is wrong costs its own time, not that of the payloads beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError as ProtobufDecodeError
from google.protobuf.message import Message
from numpy.typing import NDArray

from protocol.codec import BATCH_HEADER, ENTRY_BYTES, MAX_TELEMETRY_BYTES, OFFSETS, TAGS
from protocol.errors import DecodeError, ErrorCode
from protocol.points import POINTS, Point, Wire

MAX_SAMPLES = 4096
"""Samples in one payload, at most."""

Rows = NDArray[np.void]
"""Structured array, one row a sample; fields are the points, by name."""

_NUMPY = {Wire.FIXED64: "<u8", Wire.FIXED32: "<u4", Wire.FLOAT: "<f4", Wire.DOUBLE: "<f8"}

ROW = np.dtype([(point.name, _NUMPY[point.wire]) for point in POINTS])
"""One sample, packed."""

ENTRY = np.dtype(
    {
        "names": [point.name for point in POINTS],
        "formats": [_NUMPY[point.wire] for point in POINTS],
        "offsets": [len(BATCH_HEADER) + OFFSETS[point.name] for point in POINTS],
        "itemsize": ENTRY_BYTES,
    }
)
"""The same fields where they stand in one entry of a Batch (header, tags and values)."""


def _fixed_bytes() -> tuple[NDArray[np.intp], NDArray[np.uint8]]:
    """Positions within an entry that never change, and what stands there."""
    positions = list(range(len(BATCH_HEADER)))
    values = list(BATCH_HEADER)
    for tag, point in zip(TAGS, POINTS, strict=True):
        start = len(BATCH_HEADER) + OFFSETS[point.name] - len(tag)
        positions += range(start, start + len(tag))
        values += tag
    return np.array(positions, np.intp), np.array(values, np.uint8)


_FIXED_AT, _FIXED = _fixed_bytes()


def fits_layout(entries: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which rows of a (n, ENTRY_BYTES) byte matrix are samples in the constant layout. Shape (n,)."""
    fits: NDArray[np.bool_] = (entries[:, _FIXED_AT] == _FIXED).all(axis=1)
    return fits


def view_rows(joined: bytes | bytearray | memoryview) -> Rows | None:
    """Joined payloads as rows without a copy, or None where any entry is not in the constant layout."""
    if len(joined) % ENTRY_BYTES:
        return None
    entries = np.frombuffer(joined, np.uint8).reshape(-1, ENTRY_BYTES)
    if not fits_layout(entries).all():
        return None
    return np.frombuffer(joined, ENTRY)


@dataclass(frozen=True, slots=True)
class Decoded:
    """Rows of many payloads. ``counts[i]`` rows belong to payload i; 0 where ``errors`` has it."""

    rows: Rows
    counts: NDArray[np.int64]
    errors: dict[int, DecodeError]


def decode_payloads(payloads: Sequence[bytes]) -> Decoded:
    """Rows of protobuf payloads, in order. A payload that is not a Batch is reported, never raised."""
    view = view_rows(b"".join(payloads))
    sizes = np.fromiter(map(len, payloads), np.int64, len(payloads))
    if view is not None and not (sizes % ENTRY_BYTES).any() and sizes.max(initial=0) <= MAX_TELEMETRY_BYTES:
        counts = sizes // ENTRY_BYTES
        if counts.all() and out_of_range(view) is None:
            return Decoded(view, counts, {})
    return _decode_apart(payloads, sizes)


def _decode_apart(payloads: Sequence[bytes], sizes: NDArray[np.int64]) -> Decoded:
    """The same where not all of them are samples in the constant layout, with values that can be."""
    fitting = (sizes % ENTRY_BYTES == 0) & (sizes > 0) & (sizes <= MAX_TELEMETRY_BYTES)
    which = np.flatnonzero(fitting)
    joined = b"".join([payloads[i] for i in which.tolist()])
    view = np.frombuffer(joined, ENTRY)
    entries = np.frombuffer(joined, np.uint8).reshape(-1, ENTRY_BYTES)
    counts = np.zeros(len(payloads), np.int64)
    counts[which] = sizes[which] // ENTRY_BYTES
    fine = _every(fits_layout(entries) & in_range(view), counts[which])
    parts, places = [view[np.repeat(fine, counts[which])].astype(ROW)], [which[fine]]
    counts[which[~fine]] = 0
    errors: dict[int, DecodeError] = {}
    for i in np.flatnonzero(counts == 0).tolist():
        try:
            parts.append(decode_batch(payloads[i]).astype(ROW))
        except DecodeError as error:
            errors[i] = error
        else:
            counts[i] = len(parts[-1])
            places.append(np.array([i]))
    payload_of = np.concatenate(places)
    of_row = np.repeat(payload_of, counts[payload_of])
    return Decoded(np.concatenate(parts)[np.argsort(of_row, kind="stable")], counts, errors)


def decode_json_payloads(payloads: Sequence[bytes]) -> Decoded:
    """The same for JSON payloads (a sample, or an array of samples, with the same field names)."""
    found: list[list[tuple[Any, ...]]] = []
    errors: dict[int, DecodeError] = {}
    for i, payload in enumerate(payloads):
        try:
            found.append(_parse_json(payload))
        except DecodeError as error:
            found.append([])
            errors[i] = error
    rows = _rows_of_each(found, 0, errors)
    counts = np.array([0 if i in errors else len(samples) for i, samples in enumerate(found)], np.int64)
    wrong = ~_every(in_range(rows), counts) | (counts == 0) | (counts > MAX_SAMPLES)
    starts = np.cumsum(counts) - counts
    for i in np.flatnonzero(wrong).tolist():
        if i not in errors:
            try:
                _checked(rows[starts[i] : starts[i] + counts[i]])
            except DecodeError as error:
                errors[i] = error
    keep = np.repeat(~wrong, counts)
    counts[wrong] = 0
    return Decoded(rows if keep.all() else rows[keep], counts, errors)


def _rows_of_each(found: list[list[tuple[Any, ...]]], first: int, errors: dict[int, DecodeError]) -> Rows:
    """Rows of all payloads but those with a value that fits no field, which are halved down to and noted."""
    try:
        return _rows_of([sample for samples in found for sample in samples])
    except DecodeError as error:
        if len(found) == 1:
            errors[first] = error
            return np.zeros(0, ROW)
    middle = len(found) // 2
    halves = (
        _rows_of_each(found[:middle], first, errors),
        _rows_of_each(found[middle:], first + middle, errors),
    )
    return np.concatenate(halves)


def _every(fine: NDArray[np.bool_], counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether all of each run of rows are fine; true for a run of none."""
    bad = np.concatenate([[0], np.cumsum(~fine)])
    ends = np.cumsum(counts)
    every: NDArray[np.bool_] = bad[ends] == bad[ends - counts]
    return every


def decode_batch(payload: bytes) -> Rows:
    """Rows of one protobuf Batch. DecodeError: too_large, malformed, out_of_range."""
    if len(payload) > MAX_TELEMETRY_BYTES:
        raise DecodeError(ErrorCode.TOO_LARGE, f"{len(payload)} bytes; at most {MAX_TELEMETRY_BYTES}.")
    rows = view_rows(payload)
    if rows is None:
        rows = _parse_batch(payload)
    return _checked(rows)


def decode_json(payload: bytes) -> Rows:
    """Rows of one JSON payload. DecodeError: too_large, malformed, out_of_range."""
    return _checked(_rows_of(_parse_json(payload)))


def _checked(rows: Rows) -> Rows:
    if not len(rows):
        raise DecodeError(ErrorCode.MALFORMED, "A telemetry payload has at least one sample.")
    if len(rows) > MAX_SAMPLES:
        raise DecodeError(ErrorCode.TOO_LARGE, f"{len(rows)} samples; at most {MAX_SAMPLES}.")
    name = out_of_range(rows)
    if name is not None:
        raise DecodeError(ErrorCode.OUT_OF_RANGE, f"{name} has a value that cannot be.")
    return rows


def out_of_range(rows: Rows) -> str | None:
    """Name of the first point with a value outside its range (points.py), if any; NaN is in range."""
    if in_range(rows).all():
        return None
    return next(point.name for point in POINTS if not in_range(rows, (point,)).all())


@np.errstate(invalid="ignore")
def in_range(rows: Rows, points: Sequence[Point] = POINTS) -> NDArray[np.bool_]:
    """Which rows have all their values within their ranges. Shape (n,).

    By comparing every value: a signalling NaN would hide the others from a maximum.
    """
    outside = np.zeros(len(rows), np.bool_)
    for point in points:
        column = rows[point.name]
        outside |= column > point.high
        if point.low != 0 or column.dtype.kind == "f":
            outside |= column < point.low
    return ~outside


# --- protobuf, the ordinary way -----------------------------------------------------------------------------

_TYPE = {
    Wire.FIXED64: descriptor_pb2.FieldDescriptorProto.TYPE_FIXED64,
    Wire.FIXED32: descriptor_pb2.FieldDescriptorProto.TYPE_FIXED32,
    Wire.FLOAT: descriptor_pb2.FieldDescriptorProto.TYPE_FLOAT,
    Wire.DOUBLE: descriptor_pb2.FieldDescriptorProto.TYPE_DOUBLE,
}


def file_descriptor() -> descriptor_pb2.FileDescriptorProto:
    """What protoc makes of telemetry.proto, built from the table of points."""
    file = descriptor_pb2.FileDescriptorProto(
        name="telemetry.proto", package="smartconnect.v1", syntax="proto3"
    )
    sample = file.message_type.add(name="Sample")
    for index, point in enumerate(POINTS):
        sample.field.add(
            name=point.name,
            number=point.number,
            label=descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL,
            type=_TYPE[point.wire],
            oneof_index=index,
            proto3_optional=True,
        )
        sample.oneof_decl.add(name=f"_{point.name}")
    file.message_type.add(name="Batch").field.add(
        name="samples",
        number=1,
        label=descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED,
        type=descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE,
        type_name=".smartconnect.v1.Sample",
    )
    return file


def _batch_class() -> type[Message]:
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file_descriptor().SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("smartconnect.v1.Batch"))


Batch: Any = _batch_class()
"""The protobuf class of a payload; ``Batch.samples`` holds the samples."""

_NAN = float("nan")
_ABSENT: tuple[float, ...] = tuple(_NAN if p.wire in {Wire.FLOAT, Wire.DOUBLE} else 0 for p in POINTS)


def _parse_batch(payload: bytes) -> Rows:
    batch = Batch()
    try:
        batch.ParseFromString(payload)
    except (ProtobufDecodeError, ValueError) as error:
        raise DecodeError(ErrorCode.MALFORMED, "Not a protobuf Batch of samples.") from error
    names = tuple(zip((point.name for point in POINTS), _ABSENT, strict=True))
    found: list[tuple[float, ...]] = []
    for sample in batch.samples:
        if not sample.HasField("ts"):
            raise DecodeError(ErrorCode.MALFORMED, "A sample has no ts.")
        found.append(
            tuple(getattr(sample, name) if sample.HasField(name) else absent for name, absent in names)
        )
    return _rows_of(found)


def _rows_of(samples: list[tuple[Any, ...]]) -> Rows:
    try:
        with np.errstate(over="ignore"):  # a float too large becomes infinite, which is out of range
            return np.array(samples, ROW)
    except (OverflowError, ValueError, TypeError) as error:
        raise DecodeError(ErrorCode.OUT_OF_RANGE, f"A value does not fit its field: {error}") from error


# --- JSON ---------------------------------------------------------------------------------------------------


def _json_sample() -> type[msgspec.Struct]:
    fields: list[Any] = []
    for point, absent in zip(POINTS, _ABSENT, strict=True):
        kind: Any = float if point.wire in {Wire.FLOAT, Wire.DOUBLE} else int
        fields.append((point.name, kind) if point.name == "ts" else (point.name, kind, absent))
    return msgspec.defstruct("Sample", fields, gc=False)


_JsonSample: Any = _json_sample()
_JSON: msgspec.json.Decoder[Any] = msgspec.json.Decoder(_JsonSample | list[_JsonSample])


def _parse_json(payload: bytes) -> list[tuple[Any, ...]]:
    """Values of the samples of one JSON payload, in the order of the points."""
    if len(payload) > MAX_TELEMETRY_BYTES:
        raise DecodeError(ErrorCode.TOO_LARGE, f"{len(payload)} bytes; at most {MAX_TELEMETRY_BYTES}.")
    try:
        found = _JSON.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(ErrorCode.MALFORMED, f"Not telemetry in JSON: {error}") from error
    if isinstance(found, list):
        return [msgspec.structs.astuple(sample) for sample in found]
    return [msgspec.structs.astuple(found)]
