"""A directory in memory that loses what was not synced when its power is cut."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random


class PowerCut(BaseException):
    """The machine is gone; nothing may catch this on the way."""


@dataclass(slots=True)
class _File:
    content: bytearray = field(default_factory=bytearray)
    durable: bytes | None = None  # None: not even its name would be found after a power cut


class FakeDisk:
    """`agent.core.ports.Disk`. Every change of the disk counts as one step.

    At step ``cut_at`` the power goes in the middle of the step; at a step of ``errors_at`` the disk is full
    or broken in the middle of it. As on the real disk (`agent/disk.py`), a first sync of a name and each
    `replace` sync the directory: from then on, what was removed before stays removed.
    """

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._files: dict[str, _File] = {}
        self._removed: dict[str, bytes] = {}  # names that a power cut may bring back
        self.steps = 0
        self.cut_at: int | None = None
        self.errors_at: set[int] = set()

    def names(self) -> list[str]:
        return sorted(self._files)

    def read(self, name: str, offset: int = 0, size: int = -1) -> bytes:
        if name not in self._files:
            raise FileNotFoundError(name)
        content = bytes(self._files[name].content)
        return content[offset:] if size < 0 else content[offset : offset + size]

    def write(self, name: str, data: bytes, offset: int) -> None:
        file = self._files.setdefault(name, _File())
        part = data[: self._dice.randrange(len(data) + 1)]
        if self._step_fails():
            _put(file.content, part, offset)
            self._fail()
        _put(file.content, data, offset)

    def sync(self, name: str) -> None:
        file = self._files.setdefault(name, _File())
        if self._step_fails():
            if self._dice.random() < 0.5:
                self._make_durable(file)
            self._fail()
        self._make_durable(file)

    def truncate(self, name: str, size: int) -> None:
        if self._step_fails():
            self._fail()
        del self._files[name].content[size:]

    def replace(self, name: str, data: bytes) -> None:
        if self._step_fails():
            if self.steps == self.cut_at and self._dice.random() < 0.5:
                self._files[name] = _File(bytearray(data), bytes(data))
            self._fail()
        self._files[name] = _File(bytearray(data), bytes(data))
        self._sync_directory()

    def remove(self, name: str) -> None:
        if self._step_fails():
            self._fail()
        file = self._files.pop(name, None)
        if file is not None and file.durable is not None:
            self._removed[name] = file.durable

    def after_power_cut(self) -> FakeDisk:
        """What the next boot finds: synced content, and of the rest whatever the dice say."""
        found = FakeDisk(self._dice)
        for name, file in self._files.items():
            durable = file.durable
            if durable is None:
                if self._dice.random() < 0.5:
                    continue
                durable = b""
            content = _torn(durable, bytes(file.content), self._dice)
            found._files[name] = _File(bytearray(content), content)
        for name, content in self._removed.items():
            if name not in found._files and self._dice.random() < 0.3:
                found._files[name] = _File(bytearray(content), content)
        return found

    def _make_durable(self, file: _File) -> None:
        if file.durable is None:
            self._sync_directory()
        file.durable = bytes(file.content)

    def _sync_directory(self) -> None:
        self._removed.clear()

    def _step_fails(self) -> bool:
        self.steps += 1
        return self.steps == self.cut_at or self.steps in self.errors_at

    def _fail(self) -> None:
        if self.steps == self.cut_at:
            raise PowerCut
        raise OSError(self._dice.choice([errno.ENOSPC, errno.EIO]), "this fake disk is full or broken")


def _put(content: bytearray, data: bytes, offset: int) -> None:
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def _torn(durable: bytes, wanted: bytes, dice: random.Random) -> bytes:
    """Some state between two contents: a part of what was appended, or zeros in its place."""
    if wanted == durable or not wanted.startswith(durable):
        return dice.choice([durable, wanted])
    added = wanted[len(durable) :]
    kept = dice.randrange(len(added) + 1)
    filler = bytes(dice.randrange(len(added) - kept + 1)) if dice.random() < 0.3 else b""
    return durable + added[:kept] + filler
