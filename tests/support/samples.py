"""Packed samples, read and changed in place by the offsets of their layout."""

import struct
from typing import Final

from protocol.codec import OFFSETS, SAMPLE_BYTES, TAGS
from protocol.points import POINTS, Wire

_LETTER: Final = {Wire.FIXED64: "Q", Wire.DOUBLE: "d", Wire.FIXED32: "I", Wire.FLOAT: "f"}
_U64: Final = struct.Struct("<Q")


def unpack_sample(sample: bytes) -> dict[str, float]:
    """Values of a packed sample by name; AssertionError where the layout is another."""
    assert len(sample) == SAMPLE_BYTES
    values: dict[str, float] = {}
    for tag, point in zip(TAGS, POINTS, strict=True):
        at = OFFSETS[point.name]
        assert sample[at - len(tag) : at] == tag
        (values[point.name],) = struct.unpack_from(f"<{_LETTER[point.wire]}", sample, at)
    return values


def with_seq(sample: bytes, seq: int) -> bytes:
    """The same sample at another place in its stream."""
    at = OFFSETS["seq"]
    return sample[:at] + _U64.pack(seq) + sample[at + _U64.size :]


def sample_ts(sample: bytes) -> int:
    """``ts`` of a packed sample, unix ms."""
    return int(_U64.unpack_from(sample, OFFSETS["ts"])[0])


def sample_seq(sample: bytes) -> int:
    """``seq`` of a packed sample."""
    return int(_U64.unpack_from(sample, OFFSETS["seq"])[0])
