"""When things happened: monotonic time of a boot → unix time.

The cloud's clock settles a boot's offset once, at the boot's first `hello`; from then on it is final, so a
sample that is sent again has the same time. A boot that never met the cloud keeps the machine's own clock if
that lies between its neighbours; else it is moved into the gap between them, in order, and flagged.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from agent.core.spool import Boot, Ledger

if TYPE_CHECKING:
    from collections.abc import Mapping

CLOCK_OFF_MS = 2_000  # a machine's clock that differs by more was wrong, not late


@dataclass(frozen=True, slots=True)
class Span:
    """First and last monotonic ms of what the spool holds of one boot."""

    first_ms: int
    last_ms: int

    def including(self, mono_ms: int) -> Span:
        """The span widened to hold this instant."""
        return Span(min(self.first_ms, mono_ms), max(self.last_ms, mono_ms))


def enter_boot(ledger: Ledger, boot_id: str, wall_offset_ms: int) -> Ledger:
    """The ledger with this boot as the last one; unchanged if it already is there."""
    if ledger.boot_named(boot_id) is not None:
        return ledger
    ordinal = ledger.boots[-1].ordinal + 1 if ledger.boots else 1
    return replace(ledger, boots=(*ledger.boots, Boot(ordinal, boot_id, wall_offset_ms)))


def settle(ledger: Ledger, boot_id: str, offset_ms: int, spans: Mapping[int, Span]) -> Ledger:
    """Settle this boot by trusted time, and every earlier one that never met it; settled ones stay."""
    boots = [
        replace(boot, offset_ms=offset_ms) if boot.boot_id == boot_id and boot.offset_ms is None else boot
        for boot in ledger.boots
    ]
    now_at = next((index for index, boot in enumerate(boots) if boot.boot_id == boot_id), None)
    if now_at is None:
        raise ValueError("the boot was never entered")
    for index in range(now_at - 1, -1, -1):  # backwards: each has a settled neighbour after it
        if boots[index].offset_ms is None:
            boots[index] = _guess(boots[: now_at + 1], index, spans)
    return replace(ledger, boots=tuple(boots))


def _guess(boots: list[Boot], index: int, spans: Mapping[int, Span]) -> Boot:
    boot = boots[index]
    span = spans.get(boot.ordinal)
    if span is None:  # no record of it is left, so any offset will do
        return replace(boot, offset_ms=boot.wall_offset_ms, uncertain=True)
    before = next(
        (
            spans[earlier.ordinal].last_ms + earlier.offset_ms
            for earlier in reversed(boots[:index])
            if earlier.offset_ms is not None and earlier.ordinal in spans
        ),
        None,
    )
    later = next((boot for boot in boots[index + 1 :] if boot.ordinal in spans), boots[-1])
    after = _start(later, spans)
    first, last = span.first_ms + boot.wall_offset_ms, span.last_ms + boot.wall_offset_ms
    if last < after and before is not None and before < first:
        return replace(boot, offset_ms=boot.wall_offset_ms)
    if last < after and before is None:  # no neighbour vouches for its beginning
        return replace(boot, offset_ms=boot.wall_offset_ms, uncertain=True)
    length = span.last_ms - span.first_ms
    start = after - 1 - length
    if before is not None and before + 1 + length < after:
        start = before + 1
    return replace(boot, offset_ms=start - span.first_ms, uncertain=True)


def _start(boot: Boot, spans: Mapping[int, Span]) -> int:
    """Unix ms at which a settled boot's records begin, or the boot itself began if none are left."""
    offset_ms = boot.wall_offset_ms if boot.offset_ms is None else boot.offset_ms
    span = spans.get(boot.ordinal)
    return offset_ms if span is None else span.first_ms + offset_ms
