"""Collects samples and events of one UPS and brings them to its spool; while the disk fails they wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from agent.core import sampling
from agent.core.sampling import Edge
from agent.core.spool import mono_of
from protocol.codec import pack_sample
from protocol.messages import EventKind

if TYPE_CHECKING:
    from agent.background import Background
    from agent.core.ports import Clock
    from agent.core.sampling import Reading
    from agent.logs import Repeats
    from agent.spool_file import SpoolFile

MAX_BUFFERED: Final = 600  # samples kept in memory while the disk fails
OVERFLOW_EVENT_EVERY_MS: Final = 600_000
NEVER: Final = -(2**62)


class _OtherEpochError(Exception):
    """A hello of another ownership was obeyed meanwhile."""


class Reporter:
    """What was seen and is not on disk yet. All of it is of one ownership: `begin` every other one."""

    def __init__(
        self, spool: SpoolFile, background: Background, clock: Clock, trouble: Repeats, *, name: str
    ) -> None:
        self._spool = spool
        self._background = background
        self._clock = clock
        self._trouble = trouble
        self._log = structlog.get_logger(__name__).bind(ups=name)
        self._samples: list[bytes] = []
        self._events: list[Edge] = []
        self._last_report_ms = NEVER  # the first sample of an ownership goes out at once
        self._overflow_told_ms = NEVER
        self._untold_drops = 0
        self._told_lost_events = spool.ledger.dropped_events
        self._since_mono_ms = NEVER

    @property
    def has_events(self) -> bool:
        """Whether an event is not on disk yet."""
        return bool(self._events)

    def add(self, reading: Reading) -> None:
        """Keep a sample."""
        self._samples.append(pack_sample({**reading.sample, "ts": reading.mono_ms}))

    def note(self, edge: Edge, *, keep: bool) -> None:
        """Log an event and, if it is for somebody, keep it."""
        self._log.info("event", kind=edge.kind.value, **{f"of_{name}": v for name, v in edge.values.items()})
        if keep:
            self._events.append(edge)

    def is_due(self, interval_s: float, *, on_battery: bool, edge: bool) -> bool:
        """Whether what was collected goes to the spool now."""
        due = sampling.is_due(
            len(self._samples),
            self._last_report_ms,
            self._clock.mono_ms(),
            int(interval_s * 1000),
            on_battery=on_battery,
            edge=edge,
        )
        return due or self.has_events

    def clear_samples(self) -> None:
        """Nobody is to have them."""
        self._samples.clear()

    def begin(self, since_mono_ms: int) -> None:
        """Another ownership has begun then: what was taken before is not kept."""
        self._since_mono_ms = since_mono_ms
        self._last_report_ms = NEVER
        samples, events, self._samples, self._events = self._samples, self._events, [], []
        self._put_back(samples, events)

    def _put_back(self, samples: list[bytes], events: list[Edge]) -> None:
        """Keep for the next time what is this ownership's."""
        since_ms = self._since_mono_ms
        self._events = [edge for edge in events if edge.mono_ms >= since_ms] + self._events
        ours = [sample for sample in samples if mono_of(sample) >= since_ms]
        self._samples = (ours + self._samples)[-MAX_BUFFERED:]

    async def report(self, epoch: int) -> None:
        """Make what was collected durable. Where the spool is of another epoch by now, what belongs to that
        is kept for the next time.
        """
        events, samples = self._events, self._samples
        self._events, self._samples = [], []
        if samples:
            self._last_report_ms = self._clock.mono_ms()
        try:
            while events:
                edge = events[0]
                await self._background.run(lambda edge=edge: self._append_event(epoch, edge))  # type: ignore[misc]  # a lambda with a default has no type
                events.pop(0)
            if samples:
                dropped = await self._background.run(lambda: self._append(epoch, samples))
                self._untold_drops += dropped
        except OSError as error:
            self._trouble.failed("the disk cannot be written", reason=str(error))
            self._put_back(samples, events)
        except _OtherEpochError:
            self._put_back(samples, events)
        else:
            self._trouble.worked("the disk can be written again")
            self._tell_overflow()

    def _append_event(self, epoch: int, edge: Edge) -> None:
        self._expect(epoch)
        self._spool.append_event(edge.mono_ms, edge.kind, edge.values)

    def _append(self, epoch: int, samples: list[bytes]) -> int:
        self._expect(epoch)
        return self._spool.append(samples)

    def _expect(self, epoch: int) -> None:
        if self._spool.epoch != epoch:
            raise _OtherEpochError

    def _tell_overflow(self) -> None:
        now_ms = self._clock.mono_ms()
        ledger = self._spool.ledger
        lost_events = ledger.dropped_events - self._told_lost_events
        if not (self._untold_drops or lost_events > 0):
            return
        if now_ms - self._overflow_told_ms >= OVERFLOW_EVENT_EVERY_MS:
            self._overflow_told_ms = now_ms
            values = {"dropped": self._untold_drops, "dropped_total": ledger.dropped_samples}
            if lost_events > 0:
                values["dropped_events"] = lost_events
            self.note(Edge(now_ms, EventKind.SPOOL_OVERFLOW, {**values}), keep=True)
            self._untold_drops = 0
            self._told_lost_events = ledger.dropped_events
