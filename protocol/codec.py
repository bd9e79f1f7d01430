"""Bytes ↔ messages, with limits before parsing. No numpy, no protobuf: this half runs on a small card.

JSON messages go through msgspec, which checks every type. Samples are packed with ``struct`` in the constant
layout of :mod:`protocol.points`; the result is an ordinary protobuf ``Batch`` (telemetry.proto).
"""

import re
import struct
from collections.abc import Iterable, Mapping
from typing import TypeVar

import msgspec

from protocol.errors import DecodeError, ErrorCode
from protocol.messages import CommandResult, Event
from protocol.points import POINTS, Wire

MAX_ANNOUNCEMENT_BYTES = 2048
MAX_EVENT_BYTES = 8192
MAX_CONTROL_BYTES = 16384
MAX_TELEMETRY_BYTES = 262_144
MAX_EVENT_VALUES = 64
MAX_EVENT_MS = 4_102_444_800_000  # 2100-01-01, as for samples
MAX_RESULT_BYTES = 4096
MAX_RESULT_CODE = 64
MAX_RESULT_DETAIL = 500
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

T = TypeVar("T")


def encode(message: object) -> bytes:
    """JSON of a message of :mod:`protocol.messages`."""
    return msgspec.json.encode(message)


def decode(payload: bytes, kind: type[T], max_bytes: int) -> T:
    """Message of this kind from JSON; DecodeError (too_large, malformed) otherwise."""
    if len(payload) > max_bytes:
        raise DecodeError(ErrorCode.TOO_LARGE, f"{len(payload)} bytes; at most {max_bytes} are accepted.")
    try:
        return msgspec.json.decode(payload, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(ErrorCode.MALFORMED, f"Not a {kind.__name__}: {error}") from error


def decode_event(payload: bytes) -> Event:
    """Event from JSON; DecodeError (too_large, malformed, out_of_range) otherwise."""
    event = decode(payload, Event, MAX_EVENT_BYTES)
    if not (0 < event.stream < 2**63 and 0 < event.seq < 2**63 and 0 <= event.ts_ms <= MAX_EVENT_MS):
        raise DecodeError(ErrorCode.OUT_OF_RANGE, "stream, seq or ts_ms of an event is out of range.")
    if len(event.values) > MAX_EVENT_VALUES:
        raise DecodeError(ErrorCode.OUT_OF_RANGE, "An event has too many values.")
    if any("\0" in text for pair in event.values.items() for text in pair if isinstance(text, str)):
        raise DecodeError(ErrorCode.OUT_OF_RANGE, "A text of an event has a NUL, which cannot be stored.")
    return event


def decode_result(payload: bytes) -> CommandResult:
    """CommandResult from JSON; DecodeError (too_large, malformed, out_of_range) otherwise."""
    result = decode(payload, CommandResult, MAX_RESULT_BYTES)
    if not (0 < result.epoch < 2**63 and 0 < result.counter < 2**63 and 0 <= result.ts_ms <= MAX_EVENT_MS):
        raise DecodeError(ErrorCode.OUT_OF_RANGE, "epoch, counter or ts_ms of a result is out of range.")
    if len(result.code) > MAX_RESULT_CODE or len(result.detail) > MAX_RESULT_DETAIL:
        raise DecodeError(ErrorCode.OUT_OF_RANGE, "A text of a result is too long.")
    if "\0" in result.code or "\0" in result.detail:
        raise DecodeError(ErrorCode.OUT_OF_RANGE, "A text of a result has a NUL, which cannot be stored.")
    if not _UUID.fullmatch(result.command_id):
        raise DecodeError(ErrorCode.OUT_OF_RANGE, "A result names no command.")
    return result


# --- the constant layout of a sample -----------------------------------------------------------------------

_WIRE_TYPE = {
    Wire.FIXED64: 1,
    Wire.DOUBLE: 1,
    Wire.FIXED32: 5,
    Wire.FLOAT: 5,
}  # protobuf encoding, wire types
_STRUCT = {Wire.FIXED64: "Q", Wire.DOUBLE: "d", Wire.FIXED32: "I", Wire.FLOAT: "f"}
_NAN = float("nan")


def varint(number: int) -> bytes:
    """Base-128 varint (protobuf encoding)."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


TAGS: tuple[bytes, ...] = tuple(varint(p.number << 3 | _WIRE_TYPE[p.wire]) for p in POINTS)
"""The tag bytes before each point of a sample, in order."""

_FORMAT = "<" + "".join(f"{len(tag)}s{_STRUCT[point.wire]}" for tag, point in zip(TAGS, POINTS, strict=True))
_SAMPLE = struct.Struct(_FORMAT)

SAMPLE_BYTES = _SAMPLE.size
"""Length of a sample with all points."""
BATCH_HEADER = b"\x0a" + varint(SAMPLE_BYTES)
"""What stands before each such sample in a Batch: tag of ``samples`` and the length."""
ENTRY_BYTES = len(BATCH_HEADER) + SAMPLE_BYTES
"""Length of one entry of a Batch: header and sample."""

OFFSETS: dict[str, int] = {}
"""Offset of each point's value within a sample."""
_at = 0
for _tag, _point in zip(TAGS, POINTS, strict=True):
    OFFSETS[_point.name] = _at + len(_tag)
    _at += len(_tag) + struct.calcsize("<" + _STRUCT[_point.wire])

_DEFAULTS: tuple[tuple[str, bool], ...] = tuple((p.name, p.wire in {Wire.FLOAT, Wire.DOUBLE}) for p in POINTS)


def pack_sample(values: Mapping[str, float | None]) -> bytes:
    """One sample of ``SAMPLE_BYTES``; a missing or None float becomes NaN, a missing integer 0.

    Raises DecodeError (out_of_range) where a value does not fit its field.
    """
    parts: list[bytes | float] = []
    for tag, (name, is_float) in zip(TAGS, _DEFAULTS, strict=True):
        value = values.get(name)
        parts.append(tag)
        if is_float:
            parts.append(_NAN if value is None else float(value))
        else:
            parts.append(0 if value is None else int(value))
    try:
        return _SAMPLE.pack(*parts)
    except (struct.error, OverflowError) as error:
        raise DecodeError(ErrorCode.OUT_OF_RANGE, f"A value does not fit its field: {error}") from error


def pack_batch(samples: Iterable[bytes]) -> bytes:
    """A protobuf Batch of packed samples."""
    return b"".join([part for sample in samples for part in (BATCH_HEADER, sample)])
