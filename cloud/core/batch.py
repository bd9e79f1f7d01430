"""Batches of telemetry as columns: from packets on a socket to the buffers PostgreSQL reads.

Theory of operation
-------------------
A device sends packets of one length with one header; ``match_run`` takes as many of them as stand in a row,
as one slice. A writer takes the *shares* of many sessions; ``decode_share`` turns their payloads into rows,
``sift`` keeps the rows that are new by their position, ``Table`` makes of them the binary COPY buffer and the
columns of the fence update. No Python object is made for a sample on the way.

A position is the pair (stream, seq). Rows must come above it and in order; what lies at or below it was
stored before and is counted as a duplicate. A step of more than 2^32 in seq and a stream of a far future are
refused, since they would use the numbers up: the position outlives the owner, so a device that counted to the
end would be mute for every later one. A message is refused as a whole, never in part.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cloud.core.upload import Fence, Rejection, Upload
from protocol.codec import ENTRY_BYTES, MAX_TELEMETRY_BYTES
from protocol.columns import (
    ROW,
    Decoded,
    Rows,
    decode_json_payloads,
    decode_payloads,
    out_of_range,
    view_rows,
)
from protocol.errors import DecodeError, ErrorCode
from protocol.points import VALUES, SampleFlag, Wire
from protocol.topics import UpTopic

MAX_SEQ_STEP: Final = 2**32
FEW_PACKETS: Final = 12
"""So many packets are compared one by one in less time than numpy takes to begin."""
MAX_STREAM_AHEAD: Final = 2**42
"""A stream is about the unix ms of its beginning; one from 140 years ahead is no clock that runs wrong."""
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
    if count <= FEW_PACKETS:
        return _match_few(template, data, at, count)
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


def _match_few(template: Template, data: bytes, at: int, count: int) -> tuple[int, bytes, bytes]:
    """The same packet by packet."""
    prefix, size, payload_at = template.prefix, template.size, template.payload_at
    id_at = len(prefix)
    ids: list[bytes] = []
    payloads: list[bytes] = []
    for start in range(at, at + count * size, size):
        packet_id = data[start + id_at : start + id_at + 2]
        properties = data[start + id_at + 2] if template.version5 else 0
        if properties or packet_id == b"\0\0" or not data.startswith(prefix, start):
            break
        ids.append(packet_id)
        payloads.append(data[start + payload_at : start + size])
    return len(ids), b"".join(ids), b"".join(payloads)


_PUBACK: Final = np.dtype([("head", ">u2"), ("id", "<u2")])


def pubacks(ids: bytes) -> bytes:
    """Successful PUBACKs for packet identifiers, four bytes each (alike in MQTT 3.1.1 and 5)."""
    out = np.empty(len(ids) // 2, _PUBACK)
    out["head"] = 0x4002
    out["id"] = np.frombuffer(ids, "<u2")
    return out.tobytes()


# --- shares -------------------------------------------------------------------------------------------------


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
    json = np.array([upload.topic.json for upload in uploads], np.bool_)
    if not json.any():
        return _decode_protobuf(uploads)
    if json.all():
        return _decode_json(uploads)
    whose = np.repeat(json, [upload.messages for upload in uploads])
    counts = np.zeros(len(whose), np.int64)
    errors: dict[int, DecodeError] = {}
    rows: list[Rows] = []
    of_row: list[Ints] = []
    for kind, decode in ((False, _decode_protobuf), (True, _decode_json)):
        part = decode([upload for upload in uploads if upload.topic.json is kind])
        places = np.flatnonzero(whose == kind)
        counts[places] = part.counts
        errors |= {int(places[message]): error for message, error in part.errors.items()}
        rows.append(part.rows.astype(ROW))
        of_row.append(np.repeat(places, part.counts))
    order = np.argsort(np.concatenate(of_row), kind="stable")
    return Decoded(np.concatenate(rows)[order], counts, errors)


def _decode_json(uploads: Sequence[Upload]) -> Decoded:
    return decode_json_payloads(_split(uploads))


def _split(uploads: Sequence[Upload]) -> list[bytes]:
    return [payload for upload in uploads for payload in upload.split()]


def _decode_protobuf(uploads: Sequence[Upload]) -> Decoded:
    if all(upload.size % ENTRY_BYTES == 0 < upload.size <= MAX_TELEMETRY_BYTES for upload in uploads):
        view = view_rows(b"".join([upload.joined for upload in uploads]))
        if view is not None and len(view) and out_of_range(view) is None:
            per_message = np.array([upload.size // ENTRY_BYTES for upload in uploads], np.int64)
            counts = np.repeat(per_message, [upload.messages for upload in uploads])
            return Decoded(view, counts, {})
    return decode_payloads(_split(uploads))


def sift(uploads: Sequence[Upload], shares: Sequence[int], fences: Sequence[Fence], now_ms: int) -> Sifted:
    """The rows of these uploads that are new. ``shares[i]`` (never falling) is the fence of upload i."""
    decoded = decode_uploads(uploads)
    messages = np.array([upload.messages for upload in uploads], np.int64)
    of_message = np.repeat(np.arange(len(uploads)), messages)
    upload_of = np.repeat(of_message, decoded.counts)
    share = np.array(shares, np.int64)[upload_of]
    stream = np.array([upload.topic.stream for upload in uploads], np.int64)[upload_of]
    seq = decoded.rows["seq"].astype(np.int64)
    errors = decoded.errors
    last_stream = now_ms + MAX_STREAM_AHEAD
    rows, duplicates = decoded.rows, 0
    if not _all_new(share, stream, seq, fences, last_stream):
        message_of = np.repeat(np.arange(len(decoded.counts)), decoded.counts)
        keep, duplicates, refused = _sift_slowly(share, stream, seq, message_of, fences, last_stream)
        errors = errors | refused
        rows, share, stream = rows[keep], share[keep], stream[keep]
    starts = np.concatenate([[0], np.cumsum(messages)])
    rejections = [
        Rejection(uploads[of_message[i]], int(i - starts[of_message[i]]), error)
        for i, error in errors.items()
    ]
    return Sifted(rows, share, stream, duplicates, rejections)


def _all_new(share: Ints, stream: Ints, seq: Ints, fences: Sequence[Fence], last_stream: int) -> bool:
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
    return bool(fine.all()) and int(stream.max()) <= last_stream


def _sift_slowly(
    share: Ints, stream: Ints, seq: Ints, message_of: Ints, fences: Sequence[Fence], last_stream: int
) -> tuple[Mask, int, dict[int, DecodeError]]:
    """Which rows are new, how many are not, and which messages step too far; row by row."""
    keep = np.zeros(len(share), np.bool_)
    duplicates = 0
    refused: dict[int, DecodeError] = {}
    whose, at = -1, (0, 0)
    rows = zip(message_of.tolist(), share.tolist(), stream.tolist(), seq.tolist(), strict=True)
    for message, run in groupby(enumerate(rows), key=lambda item: item[1][0]):
        new: list[int] = []
        before, seen = at, 0
        for i, (_, who, row_stream, row_seq) in run:
            if who != whose:
                whose, at = who, (fences[who].stream, fences[who].seq)
                before = at
            if (row_stream, row_seq) <= at:
                seen += 1
            elif row_stream > last_stream:
                refused[message] = DecodeError(ErrorCode.OUT_OF_RANGE, "stream lies too far ahead.")
            elif row_seq - (at[1] if row_stream == at[0] else 0) > MAX_SEQ_STEP:
                refused[message] = DecodeError(ErrorCode.OUT_OF_RANGE, "seq steps further than 2^32.")
            else:
                new.append(i)
                at = (row_stream, row_seq)
        if message in refused:
            at = before
        else:
            keep[new] = True
            duplicates += seen
    return keep, duplicates, refused


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
_BELIEVED: Final = ("device_id", "session_no", "epoch", "old_stream", "old_seq", "stream", "seq", "ts_ms")
FENCE_COLUMNS: Final[tuple[tuple[str, str], ...]] = (
    *((name, _BIGINT) for name in _BELIEVED),
    *((point.name, _VALUE_TYPE[point.wire]) for point in VALUES),
)
"""Columns of the fence update: what must hold, the new position, and the values to show (ts_ms -1: none)."""

_COPY_ROW: Final = np.dtype(
    [("fields", ">i2")]
    + [pair for name, kind in COPY_COLUMNS for pair in ((f"{name}_length", ">i4"), (name, kind))]
)
_COPY_BLANK: Final = np.zeros(1, _COPY_ROW)
_COPY_BLANK["fields"] = len(COPY_COLUMNS)
for _name, _kind in COPY_COLUMNS:
    _COPY_BLANK[f"{_name}_length"] = np.dtype(_kind).itemsize
_COPY_HEAD: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_TAIL: Final = b"\xff\xff"


@dataclass(slots=True)
class Table:
    """A batch as PostgreSQL reads it."""

    copies: dict[int, bytearray]
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
    held = [[getattr(fence, name) for fence in fences] for name in ("session_no", "epoch", "stream", "seq")]
    sessions = np.array(held, np.int64).T
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
    fence += [pg_array(kind, shown[name]) for name, kind in FENCE_COLUMNS[len(_BELIEVED) :]]
    copies = _copies(rows, devices[share], sifted.stream, sessions[share, 1], ts, flags, days)
    return Table(copies, fence, list(zip(new[:, 0].tolist(), new[:, 1].tolist(), strict=True)))


def _copies(
    rows: Rows, device: Ints, stream: Ints, epoch: Ints, ts: Ints, flags: Ints, days: frozenset[int]
) -> dict[int, bytearray]:
    if not len(rows):
        return {}
    day = ts // DAY_MS
    first, last = int(day.min()), int(day.max())
    if first == last:
        return {0 if first in days else 1: _copy(rows, device, stream, epoch, ts, flags)}
    known = np.isin(day, np.array(sorted(days), np.int64))
    return {
        late: _copy(rows[part], device[part], stream[part], epoch[part], ts[part], flags[part])
        for late, part in enumerate((known, ~known))
        if part.any()
    }


def _copy(rows: Rows, device: Ints, stream: Ints, epoch: Ints, ts: Ints, flags: Ints) -> bytearray:
    """The COPY buffer of these rows, filled where it stands: another copy of it would cost as much again."""
    size = len(rows) * _COPY_ROW.itemsize
    buffer = bytearray(len(_COPY_HEAD) + size + len(_COPY_TAIL))
    buffer[: len(_COPY_HEAD)] = _COPY_HEAD
    buffer[-len(_COPY_TAIL) :] = _COPY_TAIL
    body = np.frombuffer(buffer, np.uint8, size, len(_COPY_HEAD))
    body.reshape(-1, _COPY_ROW.itemsize)[...] = _COPY_BLANK.view(np.uint8)
    out = body.view(_COPY_ROW)
    out["device_id"], out["stream"], out["epoch"] = device, stream, epoch
    out["ts"] = (ts - _PG_EPOCH_MS) * 1000
    out["seq"] = rows["seq"]
    for point in VALUES:
        out[point.name] = flags if point.name == "flags" else rows[point.name]
    return buffer


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
