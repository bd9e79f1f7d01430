"""Clocks set by hand."""

from __future__ import annotations


class FakeClock:
    """`agent.core.ports.Clock` that moves only when told."""

    def __init__(self, wall_ms: int = 1_700_000_000_000, boot_id: str = "boot-1") -> None:
        self._boot_id = boot_id
        self._mono_ms = 1_000
        self._wall_offset_ms = wall_ms - self._mono_ms

    @property
    def boot_id(self) -> str:
        return self._boot_id

    def mono_ms(self) -> int:
        return self._mono_ms

    def wall_ms(self) -> int:
        return self._mono_ms + self._wall_offset_ms

    def advance(self, step_ms: int) -> None:
        """Let time pass."""
        self._mono_ms += step_ms

    def set_wall(self, wall_ms: int) -> None:
        """Set the machine's own clock, rightly or wrongly."""
        self._wall_offset_ms = wall_ms - self._mono_ms

    def reboot(self, boot_id: str, wall_ms: int) -> None:
        """Begin another boot of the machine."""
        self._boot_id = boot_id
        self._mono_ms = 500
        self.set_wall(wall_ms)
