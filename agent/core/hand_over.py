"""Another ownership: what of the spool is the new owner's.

Theory of operation. A sample carries the epoch that was known when it was taken, and a device may hear late
that it has changed hands: what it took since then is labelled with the old epoch. The hello says when the new
ownership began. What was taken since is handed on, under the new epoch and in streams with new numbers, for
the cloud refuses the old ones; everything before it is thrown away. Privacy comes first: a sample whose time
is a guess goes to nobody, and with it all that stands before it.

One write of the ledger does it: streams before the cut are forgotten, the one that is cut says after which
seq it begins (`Stream.after`), and events below `Ledger.first_event` are void.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from agent.core.spool import mono_of, time_of_boot
from agent.core.spool_record import NOWHERE, Place

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agent.core.spool import Ledger, Stream
    from agent.core.spool_record import Samples, StoredEvent


def last_before(ledger: Ledger, stored: Iterable[Samples], since_ms: int) -> Place:
    """Place of the last sample that was not certainly taken at or after ``since_ms`` (0: all of them)."""
    last = NOWHERE
    for record in stored:
        offset_ms, uncertain = time_of_boot(ledger, record.boot)
        if uncertain or not since_ms:
            last = max(last, record.last)
            continue
        for index in range(len(record.samples) - 1, -1, -1):
            if mono_of(record.samples[index]) + offset_ms < since_ms:
                last = max(last, Place(record.ordinal, record.first_seq + index))
                break
    return last


def first_since(ledger: Ledger, waiting: Sequence[StoredEvent], since_ms: int) -> int | None:
    """Number of the first event of those that are all certainly of ``since_ms`` or later (0: none is)."""
    first = None
    for event in reversed(waiting):
        offset_ms, uncertain = time_of_boot(ledger, event.boot)
        if uncertain or not since_ms or event.mono_ms + offset_ms < since_ms:
            break
        first = event.number
    return first


def beginning(ledger: Ledger) -> Place:
    """The place behind which the spool's samples are the present owner's, and wait."""
    places = (Place(stream.ordinal, stream.after) for stream in ledger.streams)
    return min(places, default=Place(ledger.next_ordinal, 0))


def handed_on(ledger: Ledger, epoch: int, cut: Place, first_event: int) -> tuple[Ledger, str]:
    """The ledger under another epoch, with only what lies after the cut; and the trace's line about it."""
    last = ledger.last_stream
    streams: list[Stream] = []
    words: list[str] = []
    for stream in ledger.streams:
        if stream.ordinal < cut.ordinal:
            continue
        last += 1
        after = cut.seq if stream.ordinal == cut.ordinal else stream.after
        streams.append(replace(stream, number=last, epoch=epoch, published=False, after=after))
        words += (str(stream.number), str(last))
    handed = replace(ledger, epoch=epoch, last_stream=last, streams=tuple(streams), first_event=first_event)
    return handed, " ".join(["handed", str(beginning(handed).seq), *words])
