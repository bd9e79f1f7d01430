"""The ledger of one UPS' settings on disk: one small file, replaced atomically."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.core.settings import Ledger
from agent.errors import StateError
from protocol.codec import decode, encode
from protocol.errors import DecodeError
from protocol.faults import reach

if TYPE_CHECKING:
    from agent.core.ports import Disk

LEDGER: Final = "settings.json"
MAX_LEDGER_BYTES: Final = 131_072


class SettingsFile:
    """The file of one UPS."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.value = self._load() if LEDGER in disk.names() else Ledger()

    def store(self, value: Ledger) -> None:
        """Make it durable; OSError, and then nothing has changed. Nothing is written for no change."""
        if value != self.value:
            reach("agent.settings.remember")
            self._disk.replace(LEDGER, encode(value))
            self.value = value

    def _load(self) -> Ledger:
        try:
            return decode(self._disk.read(LEDGER), Ledger, MAX_LEDGER_BYTES)
        except (DecodeError, OSError) as error:
            raise StateError(f"{LEDGER} is damaged: {error}") from error
