"""Records of the spool as they look on disk: consecutive samples, events, and marks that an event is done."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from protocol.codec import decode as decode_json
from protocol.codec import encode
from protocol.errors import DecodeError
from protocol.messages import EventKind, Scalar  # noqa: TC001  the JSON decoder looks them up

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_RECORD_BYTES = 1 << 20  # larger than any batch; a longer length field is damage


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A place in the spool: ordinal of the stream, then seq."""

    ordinal: int
    seq: int


NOWHERE = Place(0, 0)
_END = 2**63


def end_of(ordinal: int) -> Place:
    """After everything of a stream."""
    return Place(ordinal, _END)


@dataclass(frozen=True, slots=True)
class Samples:
    """Consecutive samples of one stream, packed, with monotonic ms where the wire has unix ms."""

    ordinal: int
    first_seq: int
    boot: int
    samples: tuple[bytes, ...]

    @property
    def last_seq(self) -> int:
        """Seq of the last sample."""
        return self.first_seq + len(self.samples) - 1

    @property
    def last(self) -> Place:
        """Place of the last sample."""
        return Place(self.ordinal, self.last_seq)

    def after(self, place: Place) -> Samples | None:
        """What lies after a place; None if nothing does."""
        if self.last <= place:
            return None
        skip = place.seq - self.first_seq + 1 if place.ordinal == self.ordinal else 0
        if skip <= 0:
            return self
        return replace(self, first_seq=self.first_seq + skip, samples=self.samples[skip:])


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One event as it waits on disk. ``number`` names it here; (stream, seq) is its key in the cloud."""

    number: int
    epoch: int
    stream: int
    seq: int
    boot: int
    mono_ms: int
    kind: EventKind
    values: dict[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EventDone:
    """An event was acknowledged."""

    number: int


Record = Samples | StoredEvent | EventDone

_FRAME = struct.Struct(">II")  # length of the body, checksum of the body
_SAMPLES = struct.Struct(">BQQIH")  # type, ordinal, first seq, boot, count
_DONE = struct.Struct(">BQ")
_LENGTH = struct.Struct(">H")
_TYPE_SAMPLES, _TYPE_EVENT, _TYPE_DONE = 1, 2, 3


def checksum(body: bytes) -> int:
    """CRC-32 of a record or a ledger."""
    return zlib.crc32(body, 0x5C1)  # seeded: a stretch of zeros is never a record


def encode_record(record: Record) -> bytes:
    """A record with its frame."""
    match record:
        case Samples():
            head = (_TYPE_SAMPLES, record.ordinal, record.first_seq, record.boot, len(record.samples))
            parts = [_SAMPLES.pack(*head)]
            for sample in record.samples:
                parts += (_LENGTH.pack(len(sample)), sample)
            body = b"".join(parts)
        case StoredEvent():
            body = bytes([_TYPE_EVENT]) + encode(record)
        case EventDone():
            body = _DONE.pack(_TYPE_DONE, record.number)
    return _FRAME.pack(len(body), checksum(body)) + body


def decode_records(data: bytes) -> Iterator[tuple[int, Record]]:
    """(offset after it, record) for each sound record from the start; stops at the first that is not."""
    at = 0
    while len(data) - at >= _FRAME.size:
        length, crc = _FRAME.unpack_from(data, at)
        at += _FRAME.size
        body = data[at : at + length]
        if not 0 < length <= MAX_RECORD_BYTES or len(body) < length or checksum(body) != crc:
            return
        record = _decode_body(body)
        if record is None:
            return
        at += length
        yield at, record


def _decode_body(body: bytes) -> Record | None:
    try:
        match body[0]:
            case 1:
                return _decode_samples(body)
            case 2:
                return decode_json(body[1:], StoredEvent, MAX_RECORD_BYTES)
            case 3:
                return EventDone(_DONE.unpack(body)[1])
            case _:
                return None
    except (struct.error, DecodeError):
        return None


def _decode_samples(body: bytes) -> Samples | None:
    _, ordinal, first_seq, boot, count = _SAMPLES.unpack_from(body)
    at, samples = _SAMPLES.size, []
    for _ in range(count):
        (length,) = _LENGTH.unpack_from(body, at)
        at += _LENGTH.size
        samples.append(body[at : at + length])
        at += length
    return Samples(ordinal, first_seq, boot, tuple(samples)) if at == len(body) and samples else None
