"""The spool of one UPS on disk: ledger, telemetry segments, event segments.

Nothing is handed out for publishing before it is durable. Every method may raise OSError; then it changed
nothing that matters, and may be tried again. Blocking: the caller runs it in a thread, one call at a time.
"""

from __future__ import annotations

import errno
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from agent.core import hand_over, spool, timeline
from agent.core.spool_record import NOWHERE, Place, Samples, StoredEvent
from agent.event_file import EventFile
from agent.segment_log import Segment, SegmentLog, generation_of
from agent.trace import ignore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from agent.core.ports import Clock, Disk
    from agent.core.spool import Ledger, Outgoing, Position
    from protocol.messages import EventKind, Scalar

LEDGER_NAME = "ledger"
SEGMENT_BYTES = 128 * 1024  # small enough to drop in steps, large enough for a few minutes each


class SpoolFile:
    """Store-and-forward of one device. ``trace`` gets a line for each durable append and renumbering."""

    def __init__(
        self,
        disk: Disk,
        clock: Clock,
        *,
        max_bytes: int,
        segment_bytes: int = SEGMENT_BYTES,
        trace: Callable[[str], None] = ignore,
    ) -> None:
        self._disk = disk
        self._clock = clock
        self._max_bytes = max_bytes
        self._trace = trace
        self._telemetry = SegmentLog(disk, "telemetry", segment_bytes=segment_bytes)
        self.event_file = EventFile(disk)
        self._ledger = self._saved = spool.Ledger()
        self._floor = 0  # the cloud's stream, as far as known
        self._lasts: dict[int, Place] = {}  # segment number → place of its last sample
        self._current: int | None = None  # ordinal of the stream that grows
        self._last_seq = 0
        self._event_seq = 0
        self._done = NOWHERE  # everything up to here is delivered or dropped
        self._cursor = (0, 0)  # segment number, offset: what is read next
        self._waiting: deque[Samples] = deque()
        self._recover()

    # --- what it holds -------------------------------------------------------------------------------------

    @property
    def ledger(self) -> Ledger:
        """Streams, boots, epoch and counts."""
        return self._ledger

    @property
    def epoch(self) -> int:
        """Ownership epoch of what is spooled; 0 before the first."""
        return self._ledger.epoch

    @property
    def events(self) -> int:
        """Events that wait."""
        return len(self.event_file)

    def depth(self) -> int:
        """Samples that wait. Reads the oldest segment, so it is not free."""
        return sum(self._count(segment) for segment in self._telemetry.segments)

    def is_empty(self) -> bool:
        """Whether no sample waits."""
        return not self._lasts or max(self._lasts.values()) <= self._done

    # --- filling it ----------------------------------------------------------------------------------------

    def append(self, samples: Sequence[bytes]) -> int:
        """Make packed samples (monotonic ms as ``ts``) durable, in order; the number of samples dropped."""
        boot = self._enter_boot()
        ordinal = self._stream()
        record = Samples(ordinal, self._last_seq + 1, boot, tuple(samples))
        dropped = self._make_room()
        try:
            segment = self._telemetry.append(record)
        except OSError as error:
            if not self._may_free(error):
                raise
            dropped += self._drop_oldest(1)  # newer samples are worth more
            segment = self._telemetry.append(record)
        self._last_seq = record.last_seq
        self._lasts[segment.number] = record.last
        for line in spool.spooled_lines(self._ledger, record):
            self._trace(line)
        return dropped

    def append_event(self, mono_ms: int, kind: EventKind, values: dict[str, Scalar]) -> StoredEvent:
        """Make an event durable; it belongs to the present epoch and stream."""
        boot = self._enter_boot()
        ordinal = self._stream()
        stream = self._ledger.stream(ordinal)
        assert stream is not None  # noqa: S101  _stream() just made or found it
        seq = self._event_seq + 1
        number = self.event_file.next_number
        event = StoredEvent(number, stream.epoch, stream.number, seq, boot, mono_ms, kind, dict(values))
        try:
            lost = self.event_file.append(event)
        except OSError as error:
            if not self._may_free(error):
                raise
            self._drop_oldest(1)  # events outlive telemetry
            lost = self.event_file.append(event)
        self._event_seq = seq
        if lost:  # durable with the ledger's next write; the event itself is already
            self._ledger = replace(self._ledger, dropped_events=self._ledger.dropped_events + lost)
        return event

    # --- emptying it ---------------------------------------------------------------------------------------

    def next_samples(self, limit: int) -> Outgoing | None:
        """What to publish next, at most ``limit`` samples; the same again until `delivered` moves on."""
        while sum(len(part.samples) for part in self._waiting) < limit and self._load():
            pass
        outgoing = spool.merge(self._ledger, self._waiting, self._done, limit)
        if outgoing is None:
            return None
        stream = self._ledger.stream(outgoing.ordinal)
        if stream is not None and not stream.published:
            self._save(spool.mark_published(self._ledger, outgoing.ordinal))
        return outgoing

    def next_event(self) -> StoredEvent | None:
        """The oldest event that waits; all that wait are the present epoch's."""
        event = self.event_file.first()
        return None if event is None else replace(event, epoch=self._ledger.epoch)

    def event_ts(self, event: StoredEvent) -> tuple[int, bool]:
        """(unix ms of an event, whether that is a guess)."""
        offset_ms, uncertain = spool.time_of_boot(self._ledger, event.boot)
        return max(0, event.mono_ms + offset_ms), uncertain

    def acknowledged(self, outgoing: Outgoing) -> None:
        """The cloud stored this publish; of no account if its stream was handed on meanwhile."""
        stream = self._ledger.stream(outgoing.ordinal)
        if stream is not None and stream.number != outgoing.stream:
            return
        self._trace(f"acked {outgoing.stream} {outgoing.last.seq}")
        self.delivered(outgoing.last)

    def refused(self, outgoing: Outgoing) -> None:
        """The cloud will never take this publish."""
        self._trace(f"dropped {outgoing.stream} {outgoing.first_seq} {outgoing.last.seq}")
        self.delivered(outgoing.last)

    def delivered(self, place: Place) -> None:
        """Everything up to this place is stored in the cloud, or nobody is to have it."""
        if place <= self._done:
            return
        self._done = place
        while self._waiting and self._waiting[0].last <= place:
            self._waiting.popleft()
        gone = 0
        for segment in self._telemetry.segments:
            if self._lasts.get(segment.number, NOWHERE) > place or not segment.sealed:
                break
            gone += 1
        for segment in self._telemetry.segments[:gone]:
            self._telemetry.drop(1)
            self._lasts.pop(segment.number, None)

    def event_done(self, number: int) -> None:
        """The event is stored in the cloud, or was refused for good."""
        self.event_file.done(number)

    # --- obeying the cloud ---------------------------------------------------------------------------------

    def settle(self, position: Position) -> None:
        """Trim to the cloud's position, then lift what it would take for known. Before any publish."""
        stored = spool.delivered(self._ledger, position)
        if stored > self._done:
            self._trace(f"acked {position.stream} {position.seq}")
        self.delivered(stored)
        ledger, lifted = spool.renumber(self._ledger, position)
        if lifted:
            self._save(ledger)
            for old, new in lifted:
                self._trace(f"renumbered {old} {new}")
        stream = None if self._current is None else self._ledger.stream(self._current)
        if stream is not None and spool.is_overtaken(stream, self._last_seq, position):
            self._open_stream(position.stream)
        self._floor = position.stream

    def begin(self, epoch: int, since_ms: int) -> None:
        """Go on under another epoch, whose owner has what was taken since then; durable as one step.

        Nothing is handed on to an unknown beginning (0), or to a lower epoch: a cloud from a backup.
        """
        if epoch == self.epoch:  # durable before; whoever asks again was interrupted
            return
        since_ms = since_ms if epoch > self.epoch else 0
        cut = max(self._done, hand_over.last_before(self._ledger, self._samples(), since_ms))
        first_event = hand_over.first_since(self._ledger, self.event_file.waiting, since_ms)
        if cut >= max(self._lasts.values(), default=NOWHERE) and first_event is None:
            self.wipe(epoch)
            return
        first_event = first_event or self.event_file.next_number
        ledger, line = hand_over.handed_on(self._ledger, epoch, cut, first_event)
        self._save(ledger)
        self._current = None
        self._trace(line)
        self.event_file.forget_before(first_event)
        self.delivered(cut)

    def wipe(self, epoch: int) -> None:
        """Throw everything away and go on under another epoch; durable as one step."""
        self._save(spool.wiped(self._ledger, epoch))
        self._telemetry.clear(self._ledger.generation)
        self.event_file.clear(self._ledger.generation)
        self._lasts.clear()
        self._waiting.clear()
        self._cursor, self._current, self._done = (0, 0), None, NOWHERE
        self._telemetry.remove_others()
        self.event_file.remove_others()
        self._trace("wiped")

    def settle_time(self, offset_ms: int) -> bool:
        """Fix unix time of this boot, once; False if that was done before."""
        self._enter_boot()
        if self.knows_time:
            return False
        self._save(timeline.settle(self._ledger, self._clock.boot_id, offset_ms, self._spans()))
        return True

    @property
    def knows_time(self) -> bool:
        """Whether this boot's time was settled by the cloud's clock."""
        boot = self._ledger.boot_named(self._clock.boot_id)
        return boot is not None and boot.offset_ms is not None

    def offset_ms(self) -> int:
        """What to add to this boot's monotonic clock to get unix time, as far as known."""
        boot = self._ledger.boot_named(self._clock.boot_id)
        if boot is None:
            return self._clock.wall_ms() - self._clock.mono_ms()
        return boot.wall_offset_ms if boot.offset_ms is None else boot.offset_ms

    # --- inside --------------------------------------------------------------------------------------------

    def _recover(self) -> None:
        data = self._disk.read(LEDGER_NAME) if LEDGER_NAME in self._disk.names() else b""
        ledger = spool.decode_ledger(data) if data else None
        if ledger is None:  # a first start, or a lost spool: records without a ledger mean nothing
            generation = max((generation_of(name) for name in self._disk.names()), default=0) + 1
            ledger = spool.Ledger(generation=generation, damaged_records=int(generation > 1))
            self._disk.replace(LEDGER_NAME, spool.encode_ledger(ledger))
        self._ledger = self._saved = ledger
        damaged = self._recover_samples()
        damaged += self.event_file.recover(ledger.generation, ledger.first_event)
        boots = frozenset(self._spans())
        oldest = self._oldest_ordinal()
        ledger = replace(ledger, damaged_records=ledger.damaged_records + damaged)
        self.delivered(hand_over.beginning(ledger))  # a power cut may bring deleted segments back
        self._save(spool.pruned(ledger, oldest, boots))

    def _recover_samples(self) -> int:
        """Find the last place of each segment; the number of torn ones.

        A record that repeats a seq makes the one before it void: that one's append had failed.
        """
        torn = 0
        tails: list[tuple[Segment, int, Samples]] = []  # the last record of each segment, and where it begins
        for segment, records in self._telemetry.recover(self._ledger.generation):
            torn += segment.torn
            samples = [(at, record) for at, record in records if isinstance(record, Samples)]
            self._lasts[segment.number] = samples[-1][1].last if samples else NOWHERE
            if not samples:
                continue
            first = Place(samples[0][1].ordinal, samples[0][1].first_seq)
            while tails and tails[-1][2].last >= first:
                void, void_at, record = tails.pop()
                void.end = void_at
                self._lasts[void.number] = Place(record.ordinal, record.first_seq - 1)
            tails.append((segment, *samples[-1]))
        return torn

    def _oldest_ordinal(self) -> int:
        return next((record.ordinal for record in self._samples()), self._ledger.next_ordinal)

    def _samples(self) -> Iterator[Samples]:
        return (record for record in self._telemetry.records() if isinstance(record, Samples))

    def _spans(self) -> dict[int, timeline.Span]:
        spans: dict[int, timeline.Span] = {}

        def add(boot: int, mono_ms: int) -> None:
            spans[boot] = spans.get(boot, timeline.Span(mono_ms, mono_ms)).including(mono_ms)

        for record in self._samples():
            add(record.boot, spool.mono_of(record.samples[0]))
            add(record.boot, spool.mono_of(record.samples[-1]))
        for event in self.event_file.waiting:
            add(event.boot, event.mono_ms)
        return spans

    def _save(self, ledger: Ledger) -> None:
        if ledger != self._saved:
            self._disk.replace(LEDGER_NAME, spool.encode_ledger(ledger))
        self._ledger = self._saved = ledger

    def _enter_boot(self) -> int:
        offset_ms = self._clock.wall_ms() - self._clock.mono_ms()
        self._save(timeline.enter_boot(self._ledger, self._clock.boot_id, offset_ms))
        boot = self._ledger.boot_named(self._clock.boot_id)
        assert boot is not None  # noqa: S101  entered in the line above
        return boot.ordinal

    def _stream(self) -> int:
        if self._current is None:
            self._open_stream(self._floor)
        assert self._current is not None  # noqa: S101  opened in the line above
        return self._current

    def _open_stream(self, floor: int) -> None:
        now_ms = self._clock.mono_ms() + self.offset_ms()
        in_use = self._waiting_ordinal()
        ledger, stream = spool.open_stream(self._ledger, now_ms, floor)
        self._save(replace(ledger, streams=tuple(s for s in ledger.streams if s.ordinal >= in_use)))
        self._current, self._last_seq, self._event_seq = stream.ordinal, 0, 0

    def _waiting_ordinal(self) -> int:
        """Ordinal of the oldest stream that may still have a sample here."""
        if self.is_empty():
            return self._ledger.next_ordinal
        return max(self._done.ordinal, self._oldest_ordinal())

    def _count(self, segment: Segment) -> int:
        if self._lasts.get(segment.number, NOWHERE) <= self._done:
            return 0
        parts = [
            record.after(self._done)
            for _, record in self._telemetry.read(segment, 0)
            if isinstance(record, Samples)
        ]
        return sum(len(part.samples) for part in parts if part is not None)

    def _load(self) -> bool:
        """Read on from the cursor; False at the end of the log."""
        number, offset = self._cursor
        for segment in self._telemetry.segments:
            if segment.number < number:
                continue
            if segment.number > number:
                number, offset = segment.number, 0
            if offset >= segment.end or self._lasts.get(number, NOWHERE) <= self._done:
                continue
            for _, record in self._telemetry.read(segment, offset):
                if isinstance(record, Samples) and record.last > self._done:
                    self._waiting.append(record)
            self._cursor = (number, segment.end)
            return True
        return False

    def _may_free(self, error: OSError) -> bool:
        """Whether deleting old telemetry can help: the disk is full, and there is some."""
        return error.errno in {errno.ENOSPC, errno.EDQUOT} and len(self._telemetry.segments) >= 2

    def _make_room(self) -> int:
        sizes = [segment.end for segment in self._telemetry.segments]
        return self._drop_oldest(spool.oldest_to_drop(sizes, self._max_bytes))

    def _drop_oldest(self, count: int) -> int:
        """Give up the oldest segments; the number of samples that were still waiting in them."""
        dropped = 0
        for segment in self._telemetry.segments[:count]:
            waiting = self._count(segment)
            self._trace_dropped(segment)
            self._telemetry.drop(1)  # before the ledger, which a full disk would not take
            self._done = max(self._done, self._lasts.pop(segment.number, NOWHERE))
            self._ledger = replace(self._ledger, dropped_samples=self._ledger.dropped_samples + waiting)
            dropped += waiting
        while self._waiting and self._waiting[0].last <= self._done:
            self._waiting.popleft()
        self._save(self._ledger)
        return dropped

    def _trace_dropped(self, segment: Segment) -> None:
        for _, record in self._telemetry.read(segment, 0):
            part = record.after(self._done) if isinstance(record, Samples) else None
            stream = None if part is None else self._ledger.stream(part.ordinal)
            if part is not None and stream is not None:
                self._trace(f"dropped {stream.number} {part.first_seq} {part.last_seq}")
