"""Batches of telemetry as columns: from packets on a socket to the buffers PostgreSQL reads.

Theory of operation
-------------------
A device sends packets of one length with one header; ``match_run`` takes as many of them as stand in a row,
as one slice. A writer takes the *shares* of many sessions; ``decode_share`` turns their payloads into rows,
``sift`` keeps the rows that are new by their position, ``Table`` makes of them the binary COPY buffer and the
columns of the fence update. No Python object is made for a sample on the way.

A position is the pair (stream, seq). Rows must come above it and in order; what lies at or below it was
stored before and is counted as a duplicate; a step of more than 2^32 in seq is refused, since it would use
the numbers up.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cloud.core.session import Entry
from protocol.codec import ENTRY_BYTES
from protocol.columns import (
    ROW,
    Decoded,
    Rows,
    decode_json_payloads,
    decode_payloads,
    out_of_range,
    view_rows,
)
from protocol.errors import DecodeError, ErrorCode, Reason
from protocol.points import VALUES, SampleFlag, Wire
from protocol.topics import UpTopic

MAX_SEQ_STEP: Final = 2**32
FUTURE_MS: Final = 600_000
"""A sample from further ahead of the server's clock is stored, flagged, and not shown."""
DAY_MS: Final = 86_400_000

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]


# --- packets ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Template:
    """A packet that more like it are expected to follow: QoS 1, same topic, same length."""

    topic: UpTopic
    prefix: bytes
    """Fixed header, remaining length and topic."""
    size: int
    """Of the whole packet."""
    payload_at: int
    version5: bool
    prefix_bytes: NDArray[np.uint8] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Keep the prefix as an array, too."""
        object.__setattr__(self, "prefix_bytes", np.frombuffer(self.prefix, np.uint8))


def match_run(template: Template, data: bytes, at: int, most: int) -> tuple[int, bytes, bytes]:
    """(count, packet identifiers, payloads) of the packets like the template that begin at ``at``."""
    count = min((len(data) - at) // template.size, most)
    packets = np.frombuffer(data, np.uint8, count * template.size, at).reshape(count, template.size)
    id_at = len(template.prefix)
    ids = packets[:, id_at : id_at + 2]
    like = (packets[:, :id_at] == template.prefix_bytes).all(axis=1) & ids.any(axis=1)
    if template.version5:
        like &= packets[:, id_at + 2] == 0  # no properties
    if not like.all():
        count = int(like.argmin())
        packets, ids = packets[:count], ids[:count]
    return count, ids.tobytes(), packets[:, template.payload_at :].tobytes()


_PUBACK: Final = np.dtype([("head", ">u2"), ("id", "<u2")])


def pubacks(ids: bytes) -> bytes:
    """Successful PUBACKs for packet identifiers, four bytes each (alike in MQTT 3.1.1 and 5)."""
    out = np.empty(len(ids) // 2, _PUBACK)
    out["head"] = 0x4002
    out["id"] = np.frombuffer(ids, "<u2")
    return out.tobytes()


# --- shares -------------------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class Upload(Entry):
    """Messages of one session on one topic, read together.

    ``joined`` holds the payloads where all have ``size`` bytes, else ``payloads`` holds them one by one.
    """

    topic: UpTopic = field(kw_only=True)
    ids: bytes = b""
    joined: bytes = b""
    size: int = 0
    payloads: list[bytes] = field(default_factory=list)
    messages: int = 0
    """Messages held, also those with QoS 0, which nobody acknowledges."""
    reasons: dict[int, Reason] = field(default_factory=dict)
    """What was refused, by message."""

    def split(self) -> list[bytes]:
        """Payload by payload."""
        if not self.size:
            return self.payloads
        return [self.joined[at : at + self.size] for at in range(0, len(self.joined), self.size)]

    def singles(self) -> list["Upload"]:
        """The same messages, each in an upload of its own."""
        return [
            Upload(
                min(self.count, 1),
                topic=self.topic,
                ids=self.ids[2 * i : 2 * i + 2],
                payloads=[payload],
                messages=1,
            )
            for i, payload in enumerate(self.split())
        ]

    def bytes_held(self) -> int:
        """Memory that its payloads take."""
        return len(self.joined) or sum(map(len, self.payloads))


@dataclass(frozen=True, slots=True)
class Fence:
    """What a writer believes the row of a device says; the database agrees, or nothing is written."""

    session_no: int
    epoch: int
    stream: int
    seq: int


@dataclass(slots=True, eq=False)
class Rejection:
    """A message that was not accepted, and why."""

    upload: Upload
    message: int
    error: DecodeError


@dataclass(slots=True)
class Sifted:
    """Rows of a batch. ``share`` says whose each row is; rows of a share stand together, in order."""

    rows: Rows
    share: Ints
    stream: Ints
    duplicates: int
    rejections: list[Rejection]


def decode_uploads(uploads: Sequence[Upload]) -> Decoded:
    """Rows of all messages of these uploads, in order."""
    runs = [(json, list(run)) for json, run in groupby(uploads, key=lambda upload: upload.topic.json)]
    parts = [_decode_json(run) if json else _decode_protobuf(run) for json, run in runs]
    if len(parts) == 1:
        return parts[0]
    errors: dict[int, DecodeError] = {}
    before = 0
    for part in parts:
        errors |= {before + message: error for message, error in part.errors.items()}
        before += len(part.counts)
    rows = np.concatenate([_packed(part.rows) for part in parts])
    return Decoded(rows, np.concatenate([part.counts for part in parts]), errors)


def _packed(rows: Rows) -> Rows:
    out = np.empty(len(rows), ROW)
    out[...] = rows
    return out


def _decode_json(uploads: Sequence[Upload]) -> Decoded:
    return decode_json_payloads([payload for upload in uploads for payload in upload.split()])


def _decode_protobuf(uploads: Sequence[Upload]) -> Decoded:
    if all(upload.size and upload.size % ENTRY_BYTES == 0 for upload in uploads):
        view = view_rows(b"".join([upload.joined for upload in uploads]))
        if view is not None and len(view) and out_of_range(view) is None:
            per_message = np.array([upload.size // ENTRY_BYTES for upload in uploads], np.int64)
            counts = np.repeat(per_message, [upload.messages for upload in uploads])
            return Decoded(view, counts, {})
    return decode_payloads([payload for upload in uploads for payload in upload.split()])


def sift(uploads: Sequence[Upload], shares: Sequence[int], fences: Sequence[Fence]) -> Sifted:
    """The rows of these uploads that are new. ``shares[i]`` (never falling) is the fence of upload i."""
    if not uploads:
        return Sifted(np.zeros(0, ROW), np.zeros(0, np.int64), np.zeros(0, np.int64), 0, [])
    decoded = decode_uploads(uploads)
    messages = np.array([upload.messages for upload in uploads], np.int64)
    of_message = np.repeat(np.arange(len(uploads)), messages)
    upload_of = np.repeat(of_message, decoded.counts)
    share = np.array(shares, np.int64)[upload_of]
    stream = np.array([upload.topic.stream for upload in uploads], np.int64)[upload_of]
    seq = decoded.rows["seq"].astype(np.int64)
    starts = np.concatenate([[0], np.cumsum(messages)])
    rejections = [
        Rejection(uploads[of_message[i]], int(i - starts[of_message[i]]), error)
        for i, error in decoded.errors.items()
    ]
    if _all_new(share, stream, seq, fences):
        return Sifted(decoded.rows, share, stream, 0, rejections)
    message_of = np.repeat(np.arange(len(decoded.counts)), decoded.counts)
    keep, refused = _sift_slowly(share, stream, seq, message_of, fences)
    jump = DecodeError(ErrorCode.OUT_OF_RANGE, "seq steps further than 2^32.")
    rejections += [Rejection(uploads[of_message[i]], int(i - starts[of_message[i]]), jump) for i in refused]
    dropped = np.isin(message_of, sorted(refused))
    kept = keep & ~dropped
    duplicates = int((~keep & ~dropped).sum())
    return Sifted(decoded.rows[kept], share[kept], stream[kept], duplicates, rejections)


def _all_new(share: Ints, stream: Ints, seq: Ints, fences: Sequence[Fence]) -> bool:
    """Whether every row lies above the one before it, and not too far."""
    if not len(share):
        return True
    first = np.empty(len(share), np.bool_)
    first[0] = True
    np.not_equal(share[1:], share[:-1], out=first[1:])
    before_stream, before_seq = np.empty_like(stream), np.empty_like(seq)
    before_stream[1:], before_seq[1:] = stream[:-1], seq[:-1]
    whose = share[first]
    before_stream[first] = np.array([fence.stream for fence in fences], np.int64)[whose]
    before_seq[first] = np.array([fence.seq for fence in fences], np.int64)[whose]
    same = stream == before_stream
    step = np.where(same, seq - before_seq, seq)
    fine = ((same & (step > 0)) | (stream > before_stream)) & (step <= MAX_SEQ_STEP)
    return bool(fine.all())


def _sift_slowly(
    share: Ints, stream: Ints, seq: Ints, message_of: Ints, fences: Sequence[Fence]
) -> tuple[Mask, set[int]]:
    """Which rows are new, and which messages step too far; row by row."""
    keep = np.zeros(len(share), np.bool_)
    refused: set[int] = set()
    whose, at = -1, (0, 0)
    for i, (who, row_stream, row_seq, message) in enumerate(
        zip(share.tolist(), stream.tolist(), seq.tolist(), message_of.tolist(), strict=True)
    ):
        if who != whose:
            whose, at = who, (fences[who].stream, fences[who].seq)
        if (row_stream, row_seq) <= at:
            continue
        if row_seq - (at[1] if row_stream == at[0] else 0) > MAX_SEQ_STEP:
            refused.add(message)
        elif message not in refused:
            keep[i] = True
            at = (row_stream, row_seq)
    return keep, refused


# --- what PostgreSQL reads ----------------------------------------------------------------------------------

_PG_EPOCH_MS: Final = 946_684_800_000  # 2000-01-01, PostgreSQL documentation, Date/Time Types
_BIGINT, _INTEGER, _REAL, _DOUBLE = ">i8", ">i4", ">f4", ">f8"
_VALUE_TYPE: Final = {Wire.FIXED32: _INTEGER, Wire.FLOAT: _REAL, Wire.DOUBLE: _DOUBLE}
PG_TYPE: Final = {_BIGINT: "bigint", _INTEGER: "integer", _REAL: "real", _DOUBLE: "double precision"}
_OID: Final = {_BIGINT: 20, _INTEGER: 23, _REAL: 700, _DOUBLE: 701}

COPY_COLUMNS: Final[tuple[tuple[str, str], ...]] = (
    ("device_id", _BIGINT),
    ("ts", _BIGINT),
    ("stream", _BIGINT),
    ("seq", _BIGINT),
    ("epoch", _BIGINT),
    *((point.name, _VALUE_TYPE[point.wire]) for point in VALUES),
)
FENCE_COLUMNS: Final[tuple[tuple[str, str], ...]] = (
    *(
        (name, _BIGINT)
        for name in (
            "device_id",
            "session_no",
            "epoch",
            "old_stream",
            "old_seq",
            "stream",
            "seq",
            "ts_ms",
        )
    ),
    *((point.name, _VALUE_TYPE[point.wire]) for point in VALUES),
)
"""Columns of the fence update: what must hold, the new position, and the values to show (ts_ms -1: none)."""

_COPY_ROW: Final = np.dtype(
    [("fields", ">i2")]
    + [pair for name, kind in COPY_COLUMNS for pair in ((f"{name}_length", ">i4"), (name, kind))]
)
_COPY_BLANK: Final = np.zeros((), _COPY_ROW)
_COPY_BLANK["fields"] = len(COPY_COLUMNS)
for _name, _kind in COPY_COLUMNS:
    _COPY_BLANK[f"{_name}_length"] = np.dtype(_kind).itemsize
_COPY_HEAD: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_TAIL: Final = b"\xff\xff"


@dataclass(slots=True)
class Table:
    """A batch as PostgreSQL reads it."""

    copies: dict[int, bytes]
    """Binary COPY buffer for ``telemetry`` (0: rows of known days) and for ``telemetry_late`` (1: others)."""
    fence: list[bytes]
    """Binary arrays in the order of FENCE_COLUMNS."""
    positions: list[tuple[int, int]]
    """The new position of each share."""


def build_table(
    sifted: Sifted,
    fences: Sequence[Fence],
    device_ids: Sequence[int],
    snapshots: Sequence[Rows | None],
    now_ms: int,
    days: frozenset[int],
) -> Table:
    """COPY buffers and fence columns. ``snapshots[i]`` is what share i shows now, if it said so."""
    rows, share = sifted.rows, sifted.share
    devices = np.array(device_ids, np.int64)
    sessions = np.array([(f.session_no, f.epoch, f.stream, f.seq) for f in fences], np.int64).reshape(-1, 4)
    ts = rows["ts"].astype(np.int64)
    flags = rows["flags"].astype(np.int64)
    future = ts > now_ms + FUTURE_MS
    if future.any():
        flags[future] |= SampleFlag.FROM_FUTURE
    new = sessions[:, 2:].copy()
    shown = np.zeros(len(devices), ROW)
    shown_ts = np.full(len(devices), -1, np.int64)
    if len(rows):
        last = np.flatnonzero(np.append(share[1:] != share[:-1], True))
        whose = share[last]
        new[whose, 0], new[whose, 1] = sifted.stream[last], rows["seq"][last]
        shown[whose] = rows[last]
        shown_ts[whose] = np.where(future[last], -1, ts[last])
    for i, snapshot in enumerate(snapshots):
        if snapshot is not None:
            snapshot_ts = int(snapshot["ts"][-1])
            if shown_ts[i] <= snapshot_ts <= now_ms + FUTURE_MS:
                shown[i] = snapshot[-1]
                shown_ts[i] = snapshot_ts
    fence = [pg_array(_BIGINT, devices)]
    fence += [pg_array(_BIGINT, sessions[:, i]) for i in range(4)]
    fence += [pg_array(_BIGINT, new[:, 0]), pg_array(_BIGINT, new[:, 1]), pg_array(_BIGINT, shown_ts)]
    fence += [pg_array(kind, shown[name]) for name, kind in FENCE_COLUMNS[8:]]
    copies = _copies(rows, devices[share], sifted.stream, sessions[share, 1], ts, flags, days)
    return Table(copies, fence, [(int(stream), int(seq)) for stream, seq in new])


def _copies(
    rows: Rows, device: Ints, stream: Ints, epoch: Ints, ts: Ints, flags: Ints, days: frozenset[int]
) -> dict[int, bytes]:
    if not len(rows):
        return {}
    out = np.empty(len(rows), _COPY_ROW)
    out[...] = _COPY_BLANK
    out["device_id"], out["stream"], out["epoch"] = device, stream, epoch
    out["ts"] = (ts - _PG_EPOCH_MS) * 1000
    out["seq"] = rows["seq"]
    for point in VALUES:
        out[point.name] = rows[point.name]
    out["flags"] = flags
    day = ts // DAY_MS
    first, last = int(day.min()), int(day.max())
    if first == last and first in days:
        return {0: _buffer(out)}
    known = np.isin(day, np.array(sorted(days), np.int64))
    parts = {0: out[known], 1: out[~known]}
    return {late: _buffer(part) for late, part in parts.items() if len(part)}


def _buffer(rows: NDArray[np.void]) -> bytes:
    return b"".join((_COPY_HEAD, rows.tobytes(), _COPY_TAIL))


_ARRAY_HEAD: Final = struct.Struct(">iiIii")
_ARRAY_ITEM: Final = {
    kind: np.dtype([("length", ">i4"), ("value", kind)]) for kind in (_BIGINT, _INTEGER, _REAL, _DOUBLE)
}


def pg_array(kind: str, values: NDArray[Any]) -> bytes:
    """A one-dimensional array without NULLs in PostgreSQL's binary format (array_send)."""
    items = np.empty(len(values), _ARRAY_ITEM[kind])
    items["length"] = items.dtype["value"].itemsize
    items["value"] = values
    return _ARRAY_HEAD.pack(1, 0, _OID[kind], len(values), 1) + items.tobytes()
