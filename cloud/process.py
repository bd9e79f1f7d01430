"""What Linux says about, and does for, the processes we start."""

import ctypes
import functools
import gc
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h


def end_with_parent(number: signal.Signals = signal.SIGINT) -> Callable[[], None] | None:
    """What the child has to do so that it gets a signal when we are killed.

    Linux sends that signal when the *thread* that forked ends, so only the main thread may ask for it.
    """
    if threading.current_thread() is not threading.main_thread():
        return None
    return functools.partial(ctypes.CDLL(None).prctl, PR_SET_PDEATHSIG, int(number))


def keep_what_is_loaded() -> None:
    """Take modules and all else that lives now out of the garbage collector's sight.

    A full collection of a process that has loaded a gateway's modules takes 10 to 20 ms, in which no thread
    answers anybody; without them it takes as long as what the process holds of its own work.
    """
    gc.collect()
    gc.freeze()


def works_in(pid: int, folder: Path) -> bool:
    """Is ``pid`` a live process working in ``folder``? (PostgreSQL works in its data directory.)"""
    try:
        return Path(f"/proc/{pid}/cwd").samefile(folder)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False
