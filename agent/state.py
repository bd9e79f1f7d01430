"""What one UPS' agent must not forget, beside keys and spool: one small file, replaced atomically."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from agent.errors import StateError
from protocol.codec import decode, encode
from protocol.errors import DecodeError

if TYPE_CHECKING:
    from agent.core.ports import Disk

STATE: Final = "state.json"
MAX_STATE_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceState:
    """Persisted facts. ``smartconnect`` is the agent's own switch, for a UPS that has none. ``firmware`` and
    ``active`` are written after the events that tell of them; ``last_event`` is the last one they know of.
    """

    version: int = 1
    last_login_ms: int = 0
    owned: bool = False
    smartconnect: bool = False
    release: bool = False
    presence: int | None = None
    firmware: str = ""
    active: tuple[str, ...] = ()
    last_event: int | None = None
    key_set: bytes = b""


class StateFile:
    """The file of one UPS."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.exists = STATE in disk.names()
        self.value = self._load() if self.exists else DeviceState(last_event=0)

    def update(self, **changes: object) -> None:
        """Set fields and make them durable; nothing is written when nothing changes."""
        value = replace(self.value, **changes)  # type: ignore[arg-type]  # names of its fields
        if value != self.value or not self.exists:
            self._disk.replace(STATE, encode(value))
            self.value, self.exists = value, True

    def _load(self) -> DeviceState:
        try:
            return decode(self._disk.read(STATE), DeviceState, MAX_STATE_BYTES)
        except DecodeError as error:
            raise StateError(f"{STATE} is damaged: {error}") from error
