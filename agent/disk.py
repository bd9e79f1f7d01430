"""One private directory of files, with the order of writes that survives a power cut."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from protocol.faults import reach

if TYPE_CHECKING:
    from pathlib import Path

_OPEN: Final = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_TEMPORARY: Final = ".tmp"


class OsDisk:
    """`Disk` on a real directory, made 0700 with files 0600. Used by one thread at a time."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._directory = directory
        self._open: dict[str, int] = {}
        self._named: set[str] = set()  # files whose name is durable
        for leftover in directory.glob("*" + _TEMPORARY):
            leftover.unlink()
        self._named.update(self.names())

    def names(self) -> list[str]:
        return sorted(entry.name for entry in os.scandir(self._directory) if entry.is_file())

    def read(self, name: str, offset: int = 0, size: int = -1) -> bytes:
        with (self._directory / name).open("rb") as file:
            file.seek(offset)
            return file.read(size)

    def write(self, name: str, data: bytes, offset: int) -> None:
        reach("agent.spool.append")
        handle = self._handle(name)
        view, done = memoryview(data), 0
        while done < len(view):
            done += os.pwrite(handle, view[done:], offset + done)

    def sync(self, name: str) -> None:
        reach("agent.spool.fsync")
        os.fsync(self._handle(name))
        if name not in self._named:
            self._sync_directory()
            self._named.add(name)

    def truncate(self, name: str, size: int) -> None:
        os.ftruncate(self._handle(name), size)

    def replace(self, name: str, data: bytes) -> None:
        temporary = self._directory / (name + _TEMPORARY)
        handle = os.open(temporary, _OPEN | os.O_TRUNC, 0o600)
        try:
            view, done = memoryview(data), 0
            while done < len(view):
                done += os.write(handle, view[done:])
            os.fsync(handle)
        finally:
            os.close(handle)
        self._forget(name)
        reach("agent.spool.rename")
        temporary.replace(self._directory / name)
        self._sync_directory()
        self._named.add(name)

    def remove(self, name: str) -> None:
        reach("agent.spool.trim")
        self._forget(name)
        self._named.discard(name)
        (self._directory / name).unlink(missing_ok=True)

    def close(self) -> None:
        """Close every file; the disk may be used again afterwards."""
        for name in list(self._open):
            self._forget(name)

    def _handle(self, name: str) -> int:
        handle = self._open.get(name)
        if handle is None:
            handle = self._open[name] = os.open(self._directory / name, _OPEN, 0o600)
        return handle

    def _forget(self, name: str) -> None:
        handle = self._open.pop(name, None)
        if handle is not None:
            os.close(handle)

    def _sync_directory(self) -> None:
        handle = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
