"""What an agent wrote down of its own doing, as evidence that does not come from the cloud.

With ``SMARTCONNECT_TRACE_DIR`` set, an agent appends to one file a UPS, ``NAME.trace``, a line at a time:

=============================  ==========================================================================
``spooled STREAM SEQ TS_MS``   this sample is durable in the spool (ts as far as known at that moment)
``renumbered OLD NEW``         what waits unpublished in stream OLD is in stream NEW from now on
``acked STREAM SEQ``           the cloud acknowledged the stream up to this seq; written before the trimming
``dropped STREAM FIRST LAST``  the bound of the spool threw these away, and said so
``handed AFTER OLD NEW …``     the device changed hands: what lies behind AFTER in the first of the streams
                               OLD, and all of the others, went on as NEW; the rest was thrown away
``wiped``                      the spool was emptied because the device changed hands
=============================  ==========================================================================

A kill may cut the last line short. A sample that was stored but not noted (a kill between the two) is no
fault; an acknowledgement that was not noted only weakens the evidence.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

SUFFIX: Final = ".trace"
WORDS: Final = ("spooled ", "renumbered ", "acked ", "dropped ", "handed ", "wiped")
Place = tuple[int, int]
"""(stream, seq)."""


class TraceError(Exception):
    """A line in a trace that nothing explains."""


@dataclass
class Trace:
    """The evidence of one device, read so far."""

    spooled: dict[Place, int] = field(default_factory=dict)
    """Every sample it put into its spool, by where it is published, with its time in ms."""
    acked: dict[int, int] = field(default_factory=dict)
    """The last acknowledged seq of each stream."""
    dropped: set[Place] = field(default_factory=set)
    renumbered: int = 0

    def feed(self, line: str) -> None:
        """Take one whole line into account."""
        kind, *words = line.split()
        numbers = [int(word) for word in words]
        match kind, numbers:
            case "spooled", [stream, seq, ts_ms]:
                if (stream, seq) in self.spooled:
                    raise TraceError(f"two samples were spooled as {stream}/{seq}")
                self.spooled[stream, seq] = ts_ms
            case "acked", [stream, seq]:
                self.acked[stream] = max(seq, self.acked.get(stream, 0))
            case "renumbered", [old, new]:
                self._renumber(old, new)
            case "dropped", [stream, first, last]:
                self.dropped |= {(stream, seq) for seq in range(first, last + 1)}
            case "handed", [after, *pairs]:
                self._hand_on(after, dict(zip(pairs[::2], pairs[1::2], strict=True)))
            case "wiped", []:
                self.spooled.clear()
            case _:
                raise TraceError(f"no line of a trace: {line!r}")

    def _renumber(self, old: int, new: int) -> None:
        """A stream that was published is never renumbered, so all of it moves."""
        if old in self.acked:
            raise TraceError(f"stream {old} was renumbered after the cloud knew it")
        moved = {place: ts_ms for place, ts_ms in self.spooled.items() if place[0] == old}
        for (stream, seq), ts_ms in moved.items():
            del self.spooled[stream, seq]
            self.spooled[new, seq] = ts_ms
        self.renumbered += len(moved)

    def _hand_on(self, after: int, numbers: dict[int, int]) -> None:
        """The first stream begins behind ``after``; of the others everything goes on under a new number."""
        first = next(iter(numbers), 0)
        self.spooled = {
            (numbers[stream], seq): ts_ms
            for (stream, seq), ts_ms in self.spooled.items()
            if stream in numbers and (stream != first or seq > after)
        }

    def acknowledged(self) -> set[Place]:
        """The spooled samples that the cloud has acknowledged."""
        return {place for place in self.spooled if place[1] <= self.acked.get(place[0], 0)}

    def open(self) -> set[Place]:
        """The spooled samples that wait for their acknowledgement."""
        return self.spooled.keys() - self.acknowledged() - self.dropped


def read_lines(lines: Iterable[str]) -> Trace:
    """The evidence in these lines; one without its end is a kill's, not a fault."""
    trace = Trace()
    for line in lines:
        if line.endswith("\n") and line.strip():
            trace.feed(line)
    return trace


def read_trace(path: Path) -> Trace:
    """The evidence in a file; TraceError names file and line."""
    try:
        with path.open(encoding="ascii") as lines:
            return read_lines(_joined(lines))
    except (TraceError, ValueError) as error:
        raise TraceError(f"{path.name}: {error}") from error


def _joined(lines: Iterable[str]) -> Iterable[str]:
    """The lines of a file whose writer was killed and came back: it goes on behind what was cut short.

    A cut line and the one after it stand in one; every kind of line begins with its own word.
    """
    for line in lines:
        start = max(line.rfind(word) for word in WORDS)
        yield line[start:] if start > 0 else line


def read_traces(folder: Path) -> dict[str, Trace]:
    """The evidence of every UPS below a folder, by its name; a UPS has one file."""
    return {path.name.removesuffix(SUFFIX): read_trace(path) for path in sorted(folder.rglob(f"*{SUFFIX}"))}
