"""A test's independent witness: what was made durable and what was acknowledged, one line each.

Off unless ``SMARTCONNECT_TRACE_DIR`` is set.

============================  =============================================================================
``spooled STREAM SEQ TS_MS``   this sample is durable (ts as far as known at that moment)
``renumbered OLD NEW``         what waits unpublished in stream OLD is in stream NEW from now on
``acked STREAM SEQ``           the cloud holds the stream up to this seq, by PUBACK or by `hello`
``dropped STREAM FIRST LAST``  given up for newer ones, or refused by the cloud for good
``handed AFTER OLD NEW …``     of stream OLD what lies after seq AFTER, and of the next pairs all, is in the
                               streams NEW from now on, for another owner; everything else was thrown away
``wiped``                      the spool was emptied because the device changed hands
============================  =============================================================================
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

VARIABLE: Final = "SMARTCONNECT_TRACE_DIR"


def ignore(_line: str) -> None:
    """The trace of a process that is not under test."""


def opened(environment: Mapping[str, str], name: str) -> Callable[[str], None]:
    """A function that appends lines to ``<directory>/<name>.trace``, each complete even if we are killed."""
    directory = environment.get(VARIABLE)
    if not directory:
        return ignore
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    handle = os.open(Path(directory) / f"{name}.trace", flags, 0o600)

    def append(line: str) -> None:
        os.write(handle, line.encode("ascii") + b"\n")

    return append
