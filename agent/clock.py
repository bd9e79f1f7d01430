"""The two clocks of the machine. Nothing here ever sets one."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Final

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class SystemClock:
    """`Clock` of this machine; the monotonic one goes on while it sleeps."""

    def __init__(self) -> None:
        try:
            self._boot_id = _BOOT_ID.read_text(encoding="ascii").strip()
        except OSError:  # no such file outside Linux: then every start counts as a boot
            self._boot_id = str(uuid.uuid4())
        self._clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

    @property
    def boot_id(self) -> str:
        """Name of this boot, made by the kernel."""
        return self._boot_id

    def mono_ms(self) -> int:
        """Milliseconds since the boot."""
        return time.clock_gettime_ns(self._clock) // 1_000_000

    def wall_ms(self) -> int:
        """Unix milliseconds by the machine's own clock."""
        return time.time_ns() // 1_000_000
