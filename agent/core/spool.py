"""Store-and-forward policy: streams and their numbers, what counts as delivered, how records look on disk.

Theory of operation. A sample has a place (stream, seq) in its device's telemetry. On disk a record names its
stream by an *ordinal* that never changes; the *ledger*, a small file replaced atomically, says which number
each ordinal has on the wire. So a stream that was never published can get another number by one durable
write, without touching its records. Streams drain strictly in order of ordinal, hence the published ones are
always the oldest. What the cloud holds is a position (stream number, seq): it trims published streams only,
because a number that was never published can lie below the position by accident (a lost spool, a clock that
went back), and its samples are not in the cloud.

Everything here is a function of its arguments; `agent/spool_file.py` owns the files.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from protocol.codec import OFFSETS, encode
from protocol.codec import decode as decode_json
from protocol.errors import DecodeError
from protocol.messages import EventKind, Scalar  # noqa: TC001  the JSON decoder looks them up
from protocol.points import SampleFlag

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MAX_RECORD_BYTES = 1 << 20  # larger than any batch; a longer length field is damage
MAX_LEDGER_BYTES = 16 << 20  # a stream takes 60 bytes; a crash loop in a long outage makes many


# --- the ledger: numbers of streams, times of boots --------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream: its name on disk, its number on the wire, and whether any of it was ever published."""

    ordinal: int
    number: int
    epoch: int
    published: bool = False


@dataclass(frozen=True, slots=True)
class Boot:
    """One boot of the machine: what to add to its monotonic clock to get unix time.

    ``wall_offset_ms`` is what the machine's own clock said; ``offset_ms`` is settled once, and then final.
    """

    ordinal: int
    boot_id: str
    wall_offset_ms: int
    offset_ms: int | None = None
    uncertain: bool = False


@dataclass(frozen=True, slots=True)
class Ledger:
    """Everything of a spool that is not a record. ``epoch`` 0: no owner known."""

    version: int = 1
    generation: int = 1
    epoch: int = 0
    last_stream: int = 0
    next_ordinal: int = 1
    streams: tuple[Stream, ...] = ()
    boots: tuple[Boot, ...] = ()
    dropped_samples: int = 0
    dropped_events: int = 0
    damaged_records: int = 0

    def stream(self, ordinal: int) -> Stream | None:
        """The stream of this ordinal."""
        return next((stream for stream in self.streams if stream.ordinal == ordinal), None)

    def boot(self, ordinal: int) -> Boot | None:
        """The boot of this ordinal."""
        return next((boot for boot in self.boots if boot.ordinal == ordinal), None)

    def boot_named(self, boot_id: str) -> Boot | None:
        """The boot with this id of the operating system."""
        return next((boot for boot in self.boots if boot.boot_id == boot_id), None)


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A place in the spool: ordinal of the stream, then seq."""

    ordinal: int
    seq: int


@dataclass(frozen=True, slots=True)
class Position:
    """A place on the wire, as `hello` gives it: everything up to here is stored."""

    stream: int = 0
    seq: int = 0


NOWHERE = Place(0, 0)
_END = 2**63


def end_of(ordinal: int) -> Place:
    """After everything of a stream."""
    return Place(ordinal, _END)


def open_stream(ledger: Ledger, now_ms: int, floor: int = 0) -> tuple[Ledger, Stream]:
    """A new last stream, above every number ever used here and above ``floor`` (the cloud's)."""
    number = max(ledger.last_stream + 1, floor + 1, now_ms)
    stream = Stream(ledger.next_ordinal, number, ledger.epoch)
    grown = replace(
        ledger,
        last_stream=number,
        next_ordinal=stream.ordinal + 1,
        streams=(*ledger.streams, stream),
    )
    return grown, stream


def mark_published(ledger: Ledger, ordinal: int) -> Ledger:
    """The ledger that says this stream may be known to the cloud; to be durable before its first publish."""
    streams = tuple(replace(s, published=True) if s.ordinal == ordinal else s for s in ledger.streams)
    return replace(ledger, streams=streams)


def delivered(ledger: Ledger, position: Position) -> Place:
    """The last place a position covers: in published streams only, and in order of the spool."""
    place = NOWHERE
    for stream in ledger.streams:
        if not stream.published or stream.number > position.stream:
            break
        is_last = stream.number == position.stream
        place = Place(stream.ordinal, position.seq) if is_last else end_of(stream.ordinal)
    return place


def renumber(ledger: Ledger, position: Position) -> tuple[Ledger, tuple[tuple[int, int], ...]]:
    """Lift unpublished streams above the position, keeping their order: (ledger, (old, new) pairs)."""
    floor, last = position.stream, ledger.last_stream
    streams: list[Stream] = []
    lifted: list[tuple[int, int]] = []
    for stream in ledger.streams:
        kept = stream
        if not stream.published and stream.number <= floor:
            last = max(floor, last) + 1
            kept = replace(stream, number=last)
            lifted.append((stream.number, last))
        floor = max(floor, kept.number)
        streams.append(kept)
    return replace(ledger, streams=tuple(streams), last_stream=last), tuple(lifted)


def is_overtaken(stream: Stream, last_seq: int, position: Position) -> bool:
    """Whether the cloud is past what this stream holds, so that its next samples would count as known."""
    return (position.stream, position.seq) > (stream.number, last_seq)


def wiped(ledger: Ledger, epoch: int) -> Ledger:
    """The ledger of an emptied spool under another epoch; numbers still only grow."""
    return replace(ledger, generation=ledger.generation + 1, epoch=epoch, streams=())


def pruned(ledger: Ledger, oldest: int, boots_in_use: frozenset[int]) -> Ledger:
    """Forget streams before ordinal ``oldest`` and boots that no record names, but never the last boot."""
    streams = tuple(stream for stream in ledger.streams if stream.ordinal >= oldest)
    boots = tuple(boot for boot in ledger.boots[:-1] if boot.ordinal in boots_in_use) + ledger.boots[-1:]
    return replace(ledger, streams=streams, boots=boots)


def encode_ledger(ledger: Ledger) -> bytes:
    """The ledger as a checksummed file."""
    body = encode(ledger)
    return _crc(body).to_bytes(4, "big") + body


def decode_ledger(data: bytes) -> Ledger | None:
    """The ledger in a file; None when the file is damaged."""
    if len(data) <= 4 or int.from_bytes(data[:4], "big") != _crc(data[4:]):
        return None
    try:
        return decode_json(data[4:], Ledger, MAX_LEDGER_BYTES)
    except DecodeError:
        return None


# --- records -----------------------------------------------------------------------------------------------


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


def _crc(body: bytes) -> int:
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
    return _FRAME.pack(len(body), _crc(body)) + body


def decode_records(data: bytes) -> Iterator[tuple[int, Record]]:
    """(offset after it, record) for each sound record from the start; stops at the first that is not."""
    at = 0
    while len(data) - at >= _FRAME.size:
        length, checksum = _FRAME.unpack_from(data, at)
        at += _FRAME.size
        body = data[at : at + length]
        if not 0 < length <= MAX_RECORD_BYTES or len(body) < length or _crc(body) != checksum:
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


# --- from the spool to the wire ----------------------------------------------------------------------------

_U64, _U32 = struct.Struct("<Q"), struct.Struct("<I")
_TS, _SEQ, _FLAGS = OFFSETS["ts"], OFFSETS["seq"], OFFSETS["flags"]


def mono_of(sample: bytes) -> int:
    """Monotonic ms of a spooled sample."""
    return int(_U64.unpack_from(sample, _TS)[0])


def placed(sample: bytes, ts_ms: int, seq: int, *, uncertain: bool) -> bytes:
    """The sample as it is published: with unix time, seq, and a flag if the time is a guess."""
    out = bytearray(sample)
    _U64.pack_into(out, _TS, max(0, ts_ms))
    _U64.pack_into(out, _SEQ, seq)
    if uncertain:
        flags = _U32.unpack_from(out, _FLAGS)[0]
        _U32.pack_into(out, _FLAGS, flags | SampleFlag.TIME_UNCERTAIN)
    return bytes(out)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What goes into one publish: samples of one stream, in order."""

    ordinal: int
    stream: int
    epoch: int
    first_seq: int
    samples: tuple[bytes, ...]

    @property
    def last(self) -> Place:
        """Place of the last sample."""
        return Place(self.ordinal, self.first_seq + len(self.samples) - 1)


def merge(ledger: Ledger, waiting: Iterable[Samples], after: Place, limit: int) -> Outgoing | None:
    """The next publish: what lies after a place, one stream and no gap in it, at most ``limit`` samples."""
    stream: Stream | None = None
    first_seq = 0
    samples: list[bytes] = []
    for stored in waiting:
        part = stored.after(after)
        if part is None:
            continue
        if stream is None:
            stream, first_seq = ledger.stream(part.ordinal), part.first_seq
            if stream is None:  # its stream was forgotten: never the case for a sound ledger
                continue
        elif part.ordinal != stream.ordinal or part.first_seq != first_seq + len(samples):
            break
        samples += _in_time(ledger, part, limit - len(samples))
        if len(samples) >= limit:
            break
    if stream is None or not samples:
        return None
    return Outgoing(stream.ordinal, stream.number, stream.epoch, first_seq, tuple(samples))


def _in_time(ledger: Ledger, part: Samples, limit: int) -> list[bytes]:
    offset_ms, uncertain = time_of_boot(ledger, part.boot)
    return [
        placed(sample, mono_of(sample) + offset_ms, part.first_seq + index, uncertain=uncertain)
        for index, sample in enumerate(part.samples[:limit])
    ]


def time_of_boot(ledger: Ledger, boot_ordinal: int) -> tuple[int, bool]:
    """(what to add to the monotonic clock of a boot, whether that is a guess)."""
    boot = ledger.boot(boot_ordinal)
    if boot is None:
        return 0, True
    if boot.offset_ms is None:
        return boot.wall_offset_ms, True
    return boot.offset_ms, boot.uncertain


def oldest_to_drop(sizes: Sequence[int], max_bytes: int) -> int:
    """How many of the oldest segments go, so that the rest fits; the last one always stays."""
    total, count = sum(sizes), 0
    while total > max_bytes and count < len(sizes) - 1:
        total -= sizes[count]
        count += 1
    return count
