"""A test's independent witness: what was made durable and what was acknowledged, one line each.

Off unless ``SMARTCONNECT_TRACE_DIR`` is set. Lines: ``kid <kid> <device_id>``, ``spooled <stream> <seq>
<ts_ms>`` after the fsync, ``renumbered <old> <new>`` after the ledger's, ``acked <stream> <seq>`` on PUBACK.
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
