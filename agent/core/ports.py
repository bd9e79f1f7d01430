"""What the agent needs of the world, as small protocols."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


class Clock(Protocol):
    """Two clocks of one boot. The monotonic one goes on in suspend and is the same in every process."""

    @property
    def boot_id(self) -> str:
        """Name of this boot of the machine."""

    def mono_ms(self) -> int:
        """Milliseconds since the boot."""

    def wall_ms(self) -> int:
        """Unix milliseconds by the machine's own clock, right or wrong."""


class Disk(Protocol):
    """One directory of files. Every method may raise OSError; nothing is durable before `sync`."""

    def names(self) -> list[str]:
        """Names of all files."""

    def read(self, name: str, offset: int = 0, size: int = -1) -> bytes:
        """Content from an offset; FileNotFoundError if there is no such file."""

    def write(self, name: str, data: bytes, offset: int) -> None:
        """Write at an offset, making the file if there is none."""

    def sync(self, name: str) -> None:
        """Content, length and name of this file are durable on return."""

    def truncate(self, name: str, size: int) -> None:
        """Cut the file."""

    def replace(self, name: str, data: bytes) -> None:
        """Set the whole content, durably and atomically: afterwards the file is the old or the new one."""

    def remove(self, name: str) -> None:
        """Delete the file; a missing one is no error."""


class Link(Protocol):
    """A way to the registers of one UPS. LinkError on every failure; never cancelled half-way."""

    async def read(self, start: int, count: int) -> Sequence[int]:
        """Words of holding registers."""

    async def write(self, address: int, words: Sequence[int]) -> None:
        """Write words of one row."""

    async def close(self) -> None:
        """Give the line back."""
