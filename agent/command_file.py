"""The command record of one UPS on disk: one small file, replaced atomically."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.core.command_record import CommandRecord
from agent.errors import StateError
from protocol.codec import decode, encode
from protocol.errors import DecodeError

if TYPE_CHECKING:
    from agent.core.command_record import Change
    from agent.core.ports import Disk

RECORD: Final = "commands.json"
MAX_RECORD_BYTES: Final = 262_144  # of 64 results and a start, a tenth is used


class CommandFile:
    """The file of one UPS. A damaged one is an error, for without its counter old commands would pass."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.value = self._load() if RECORD in disk.names() else CommandRecord()

    def update(self, change: Change) -> None:
        """Make a change durable; OSError, and then nothing has changed. Nothing is written for none."""
        value = change(self.value)
        if value != self.value:
            self._disk.replace(RECORD, encode(value))
            self.value = value

    def _load(self) -> CommandRecord:
        try:
            return decode(self._disk.read(RECORD), CommandRecord, MAX_RECORD_BYTES)
        except (DecodeError, OSError) as error:
            raise StateError(f"{RECORD} is damaged: {error}") from error
