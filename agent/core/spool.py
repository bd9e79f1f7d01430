"""Store-and-forward policy: streams and their numbers, and what counts as delivered.

Theory of operation. A sample has a place (stream, seq) in its device's telemetry. On disk a record names its
stream by an *ordinal* that never changes; the *ledger*, a small file replaced atomically, says which number
each ordinal has on the wire. So a stream that was never published can get another number by one durable
write, without touching its records. Streams drain strictly in order of ordinal, hence the published ones are
always the oldest. What the cloud holds is a position (stream number, seq): it trims published streams only,
because a number that was never published can lie below the position by accident (a lost spool, a clock that
went back), and its samples are not in the cloud.

Everything here is a function of its arguments; `agent/spool_file.py` owns the files, and
`agent/core/spool_record.py` says how records look in them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from agent.core.spool_record import NOWHERE, Place, checksum, end_of
from protocol.codec import OFFSETS, encode
from protocol.codec import decode as decode_json
from protocol.errors import DecodeError
from protocol.points import SampleFlag

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agent.core.spool_record import Samples

MAX_LEDGER_BYTES = 16 << 20  # a stream takes 60 bytes; a crash loop in a long outage makes many


# --- the ledger: numbers of streams, times of boots --------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream: its name on disk, its number on the wire, and whether any of it was ever published.

    What it holds up to the seq ``after`` was an earlier owner's, and void (`agent/core/hand_over.py`).
    """

    ordinal: int
    number: int
    epoch: int
    published: bool = False
    after: int = 0


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
    """Everything of a spool that is not a record. ``epoch`` 0: no owner known.

    Events with a number below ``first_event`` are void.
    """

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
    first_event: int = 0

    def stream(self, ordinal: int) -> Stream | None:
        """The stream of this ordinal."""
        return next((stream for stream in self.streams if stream.ordinal == ordinal), None)

    def boot(self, ordinal: int) -> Boot | None:
        """The boot of this ordinal."""
        return next((boot for boot in self.boots if boot.ordinal == ordinal), None)

    def boot_named(self, boot_id: str) -> Boot | None:
        """The boot with this id of the operating system."""
        return next((boot for boot in self.boots if boot.boot_id == boot_id), None)


@dataclass(frozen=True, slots=True)
class Position:
    """A place on the wire, as `hello` gives it: everything up to here is stored."""

    stream: int = 0
    seq: int = 0


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
    return replace(ledger, generation=ledger.generation + 1, epoch=epoch, streams=(), first_event=0)


def pruned(ledger: Ledger, oldest: int, boots_in_use: frozenset[int]) -> Ledger:
    """Forget streams before ordinal ``oldest`` and boots that no record names, but never the last boot."""
    streams = tuple(stream for stream in ledger.streams if stream.ordinal >= oldest)
    boots = tuple(boot for boot in ledger.boots[:-1] if boot.ordinal in boots_in_use) + ledger.boots[-1:]
    return replace(ledger, streams=streams, boots=boots)


def encode_ledger(ledger: Ledger) -> bytes:
    """The ledger as a checksummed file."""
    body = encode(ledger)
    return checksum(body).to_bytes(4, "big") + body


def decode_ledger(data: bytes) -> Ledger | None:
    """The ledger in a file; None when the file is damaged."""
    if len(data) <= 4 or int.from_bytes(data[:4], "big") != checksum(data[4:]):
        return None
    try:
        return decode_json(data[4:], Ledger, MAX_LEDGER_BYTES)
    except DecodeError:
        return None


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


def spooled_lines(ledger: Ledger, record: Samples) -> list[str]:
    """What the trace says of a record (`agent/trace.py`)."""
    stream = ledger.stream(record.ordinal)
    number = 0 if stream is None else stream.number
    offset_ms, _ = time_of_boot(ledger, record.boot)
    return [
        f"spooled {number} {record.first_seq + index} {mono_of(sample) + offset_ms}"
        for index, sample in enumerate(record.samples)
    ]


def oldest_to_drop(sizes: Sequence[int], max_bytes: int) -> int:
    """How many of the oldest segments go, so that the rest fits; the last one always stays."""
    total, count = sum(sizes), 0
    while total > max_bytes and count < len(sizes) - 1:
        total -= sizes[count]
        count += 1
    return count
