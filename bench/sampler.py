"""Runs a module of ours in this process, and samples what its threads do while a load goes on.

``python -m bench.sampler OUTPUT MODULE WORDS…``: SIGUSR1 begins a sample, SIGUSR2 ends it and writes OUTPUT
(JSON, :class:`Sample`). Nothing of the program is changed; a thread of ours looks at the others' stacks. It
sees Python frames alone: time in TLS and sockets inside the event loop counts for the loop's own line, and so
does idling; the threads' processor time, which the kernel counts, says how much of it was work.
"""

import collections
import runpy
import signal
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

import msgspec

INTERVAL_S: Final = 0.004
BEGIN: Final = signal.SIGUSR1
END: Final = signal.SIGUSR2
_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class ThreadSample:
    """One thread: share of a core it used, and in which share of the samples each frame was seen.

    ``innermost`` counts the line a thread was at, ``anywhere`` the functions it was in, callers included.
    """

    name: str
    cores: float
    innermost: dict[str, float]
    anywhere: dict[str, float]


@dataclass(frozen=True, slots=True)
class Sample:
    """What the threads of a process did for so many seconds."""

    seconds: float
    threads: list[ThreadSample]


class Sampler:
    """Begins and ends by signals, which it takes synchronously: every thread has to block them."""

    def __init__(self, output: Path) -> None:
        self._output = output
        self._innermost: dict[int, Counter[str]] = {}
        self._anywhere: dict[int, Counter[str]] = {}
        self._cpu_ns: dict[int, int] = {}
        self._began_ns = 0

    def run(self) -> None:
        """Sample when told to, for ever."""
        sampling = False
        while True:
            found = signal.sigtimedwait((BEGIN, END), INTERVAL_S if sampling else 3600.0)
            if found is None:
                if sampling:
                    self._look()
            elif found.si_signo == BEGIN:
                sampling = True
                self._begin()
            else:
                sampling = False
                self._write()

    def _begin(self) -> None:
        self._innermost, self._anywhere = collections.defaultdict(Counter), collections.defaultdict(Counter)
        self._cpu_ns = {thread.native_id or 0: _cpu_ns(thread) for thread in threading.enumerate()}
        self._began_ns = time.monotonic_ns()

    def _look(self) -> None:
        own = threading.get_ident()
        for ident, frame in sys._current_frames().items():  # noqa: SLF001 - what it is for
            if ident == own:
                continue
            self._innermost[ident][_place(frame, line=True)] += 1
            inside: set[str] = set()
            outer: FrameType | None = frame
            while outer is not None:
                inside.add(_place(outer, line=False))
                outer = outer.f_back
            self._anywhere[ident].update(inside)

    def _write(self) -> None:
        seconds = (time.monotonic_ns() - self._began_ns) / _NS
        threads = []
        for thread in threading.enumerate():
            seen = self._innermost.get(thread.ident or 0)
            if seen:
                cpu_ns = _cpu_ns(thread) - self._cpu_ns.get(thread.native_id or 0, 0)
                threads.append(
                    ThreadSample(
                        thread.name,
                        round(cpu_ns / _NS / seconds, 3),
                        _shares(seen, seen.total()),
                        _shares(self._anywhere[thread.ident or 0], seen.total()),
                    )
                )
        part = self._output.with_suffix(".part")
        part.write_bytes(msgspec.json.encode(Sample(round(seconds, 2), threads)))
        part.rename(self._output)


def _shares(seen: Counter[str], total: int) -> dict[str, float]:
    return {place: round(count / total, 4) for place, count in seen.most_common(40)}


def _place(frame: FrameType, *, line: bool) -> str:
    code = frame.f_code
    path = "/".join(Path(code.co_filename).parts[-2:])
    return f"{path}:{frame.f_lineno} {code.co_qualname}" if line else f"{path} {code.co_qualname}"


def _cpu_ns(thread: threading.Thread) -> int:
    """Processor time of a thread: the first number of its schedstat (proc(5)), in ns."""
    try:
        text = Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text()
    except FileNotFoundError:
        return 0
    return int(text.split()[0])


def main() -> None:
    """See the module."""
    output, module, *words = sys.argv[1:]
    signal.pthread_sigmask(signal.SIG_BLOCK, (BEGIN, END))
    threading.Thread(target=Sampler(Path(output)).run, name="sampler", daemon=True).start()
    sys.argv = [module, *words]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
