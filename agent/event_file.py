"""The events of one UPS on disk: each waits until the cloud has it; a mark in the log says that it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.core.spool_record import EventDone, StoredEvent
from agent.segment_log import Segment, SegmentLog

if TYPE_CHECKING:
    from agent.core.ports import Disk
    from agent.core.spool_record import Record

EVENT_SEGMENT_BYTES = 32 * 1024
EVENT_MAX_BYTES = 2 * 1024 * 1024  # about 8 000 events


class EventFile:
    """Events in order of their numbers. Every method may raise OSError; then nothing that matters changed."""

    def __init__(self, disk: Disk) -> None:
        self._log = SegmentLog(disk, "event", segment_bytes=EVENT_SEGMENT_BYTES)
        self._waiting: dict[int, StoredEvent] = {}
        self._segments: dict[int, int] = {}  # event number → segment number
        self.next_number = 1

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def waiting(self) -> tuple[StoredEvent, ...]:
        """Events that wait, oldest first."""
        return tuple(self._waiting.values())

    @property
    def last_number(self) -> int:
        """Number of the newest event; counted anew after a restart that finds none."""
        return self.next_number - 1

    def since(self, number: int) -> list[StoredEvent]:
        """Events after this number that are still on disk, delivered or not. Reads all: not free."""
        return [
            record
            for record in self._log.records()
            if isinstance(record, StoredEvent) and record.number > number
        ]

    def first(self) -> StoredEvent | None:
        """The oldest event that waits."""
        return next(iter(self._waiting.values()), None)

    def recover(self, generation: int, first: int = 0) -> int:
        """Read what is on disk, from the event numbered ``first`` on; the number of torn segments."""
        torn = 0
        for segment, records in self._log.recover(generation):
            torn += segment.torn
            for _, record in records:
                self._recover(segment, record)
        self.forget_before(first)
        self.next_number = max(self.next_number, first)
        return torn

    def append(self, event: StoredEvent) -> int:
        """Make an event durable; the number of old events given up for it."""
        lost = 0
        if self._log.bytes > EVENT_MAX_BYTES and len(self._log.segments) > 1:
            lost = self._drop_oldest()
        segment = self._log.append(event)
        self._waiting[event.number] = event
        self._segments[event.number] = segment.number
        self.next_number = event.number + 1
        return lost

    def done(self, number: int) -> None:
        """The event is stored in the cloud, or was refused for good."""
        if self._waiting.pop(number, None) is None:
            return
        self._segments.pop(number, None)
        self._log.append(EventDone(number), durable=False)  # if lost, it is sent again and ignored
        in_use = min(self._segments.values(), default=None)
        gone = sum(1 for s in self._log.segments[:-1] if in_use is None or s.number < in_use)
        self._log.drop(gone)

    def forget_before(self, first: int) -> None:
        """Events with a lower number are void; whoever recovers must say so again."""
        for number in [number for number in self._waiting if number < first]:
            del self._waiting[number], self._segments[number]

    def clear(self, generation: int) -> None:
        """Forget everything and go on in this generation; files are left to `remove_others`."""
        self._log.clear(generation)
        self._waiting.clear()
        self._segments.clear()

    def remove_others(self) -> None:
        """Delete files that belong to no known segment."""
        self._log.remove_others()

    def _recover(self, segment: Segment, record: Record) -> None:
        match record:
            case StoredEvent():
                self._waiting[record.number] = record
                self._segments[record.number] = segment.number
                self.next_number = max(self.next_number, record.number + 1)
            case EventDone():
                self._waiting.pop(record.number, None)
                self._segments.pop(record.number, None)
                self.next_number = max(self.next_number, record.number + 1)
            case _:
                pass

    def _drop_oldest(self) -> int:
        oldest = self._log.segments[0].number
        lost = [number for number, segment in self._segments.items() if segment == oldest]
        self._log.drop(1)
        for number in lost:
            del self._waiting[number], self._segments[number]
        return len(lost)
