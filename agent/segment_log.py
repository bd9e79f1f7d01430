"""Append-only log of checksummed records in numbered segments; whole segments are deleted from the front."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agent.core.spool_record import decode_records, encode_record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.core.ports import Disk
    from agent.core.spool_record import Record


def generation_of(name: str) -> int:
    """The generation in a segment's name; 0 for other names."""
    parts = name.removesuffix(".seg").split("-")
    return int(parts[1]) if name.endswith(".seg") and len(parts) == 3 and parts[1].isdigit() else 0


@dataclass(slots=True)
class Segment:
    """One file: its number, and how far its sound and durable records reach."""

    number: int
    name: str
    end: int = 0
    sealed: bool = False
    torn: bool = field(default=False)


class SegmentLog:
    """The segments `{prefix}-{generation}-{number}.seg` of one generation, oldest first."""

    def __init__(self, disk: Disk, prefix: str, *, segment_bytes: int) -> None:
        self._disk = disk
        self._prefix = prefix
        self._segment_bytes = segment_bytes
        self._generation = 0
        self._next_number = 1
        self.segments: list[Segment] = []

    @property
    def bytes(self) -> int:
        """Size of all segments."""
        return sum(segment.end for segment in self.segments)

    def recover(self, generation: int) -> Iterator[tuple[Segment, list[tuple[int, Record]]]]:
        """Open one generation, yielding each segment's sound (offset, record)s; delete other generations.

        A torn tail is cut. Damage in the middle of a segment loses the rest of that segment only.
        """
        self.clear(generation)
        prefix = f"{self._prefix}-{generation:08d}-"
        for name in self._disk.names():
            if not name.startswith(self._prefix + "-"):
                continue
            number = name.removeprefix(prefix).removesuffix(".seg")
            if not name.startswith(prefix) or not number.isdigit():
                self._disk.remove(name)
                continue
            segment = Segment(int(number), name, sealed=True)
            records = []
            data = self._disk.read(name)
            for end, record in decode_records(data):
                records.append((segment.end, record))
                segment.end = end
            segment.torn = segment.end < len(data)
            self.segments.append(segment)
            self._next_number = segment.number + 1
            yield segment, records

    def clear(self, generation: int) -> None:
        """Forget every segment and go on in this generation. Files are left to `remove_others`."""
        self.segments = []
        self._generation = generation
        self._next_number = 1

    def remove_others(self) -> None:
        """Delete files of this log that belong to no known segment."""
        known = {segment.name for segment in self.segments}
        for name in self._disk.names():
            if name.startswith(self._prefix + "-") and name not in known:
                self._disk.remove(name)

    def append(self, record: Record, *, durable: bool = True) -> Segment:
        """Write a record and, if ``durable``, wait until it is on the disk. OSError: it is not in the log."""
        data = encode_record(record)
        segment = self._active(len(data))
        try:
            self._disk.write(segment.name, data, segment.end)
            if durable:
                self._disk.sync(segment.name)
        except OSError:
            self._undo(segment)
            raise
        segment.end += len(data)
        return segment

    def read(self, segment: Segment, offset: int) -> list[tuple[int, Record]]:
        """(end offset, record) for the records of a segment from an offset on."""
        data = self._disk.read(segment.name, offset, segment.end - offset)
        return [(offset + end, record) for end, record in decode_records(data)]

    def records(self) -> Iterator[Record]:
        """Everything it holds, oldest first."""
        for segment in self.segments:
            for _, record in self.read(segment, 0):
                yield record

    def seal(self) -> None:
        """Let the next record begin a new segment."""
        if self.segments:
            self.segments[-1].sealed = True

    def drop(self, count: int) -> None:
        """Delete the oldest ``count`` segments."""
        for _ in range(count):
            self._disk.remove(self.segments[0].name)
            del self.segments[0]

    def _active(self, more: int) -> Segment:
        last = self.segments[-1] if self.segments else None
        if last is not None and not last.sealed and last.end + more <= self._segment_bytes:
            return last
        if last is not None:
            last.sealed = True
        number = self._next_number
        self._next_number += 1
        segment = Segment(number, f"{self._prefix}-{self._generation:08d}-{number:012d}.seg")
        self.segments.append(segment)
        return segment

    def _undo(self, segment: Segment) -> None:
        """After a failed write: cut what it may have left, and never append behind it."""
        segment.sealed = True
        try:
            self._disk.truncate(segment.name, segment.end)
            self._disk.sync(segment.name)
        except OSError:
            segment.torn = True  # on recovery a later record with the same seq makes it void
