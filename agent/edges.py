"""What is known of a UPS by its edges: conditions that hold, contact, firmware; over restarts, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.core import sampling
from agent.core.sampling import COMMUNICATION_LOST, Edge
from protocol.messages import EventKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.core.sampling import Reading
    from agent.core.spool_record import StoredEvent
    from agent.spool_file import SpoolFile
    from agent.state import DeviceState


class Edges:
    """Decides the events of one UPS, from what its agent wrote down last and the events that came after."""

    def __init__(self, state: DeviceState, spool: SpoolFile) -> None:
        later = _events_after(state, spool)
        kinds = [event.kind for event in later]
        self._watcher = sampling.resumed(state.active, kinds)
        self._contact = sampling.contact_after(state.active, kinds)
        firmwares = [event.values["after"] for event in later if event.kind is EventKind.FIRMWARE_CHANGED]
        self._firmware = str(firmwares[-1]) if firmwares else state.firmware

    @property
    def stale(self) -> bool:
        """Whether the UPS does not answer, so that what was read last says nothing of now."""
        return self._contact.lost

    @property
    def facts(self) -> dict[str, object]:
        """What the next start must know, as fields of the state."""
        active = self._watcher.active | sampling.running_tests(self._watcher)
        active |= {COMMUNICATION_LOST} if self._contact.lost else set()
        return {"active": tuple(sorted(active)), "firmware": self._firmware}

    def read(self, reading: Reading, groups: Sequence[str]) -> tuple[Edge, ...]:
        """What a reading brings."""
        self._contact, restored = sampling.answered(self._contact, reading.mono_ms)
        self._watcher, edges = sampling.watch(self._watcher, reading, groups)
        return (*restored, *edges)

    def missed(self, mono_ms: int, reason: str) -> tuple[Edge, ...]:
        """What a failed reading brings."""
        self._contact, edges = sampling.missed(self._contact, mono_ms, reason)
        return edges

    def runs(self, firmware: str, mono_ms: int) -> tuple[Edge, ...]:
        """The UPS says which firmware it runs; the first one ever is no change."""
        before = self._firmware
        if not firmware or firmware == before:
            return ()
        self._firmware = firmware
        values = {"before": before, "after": firmware}
        return (Edge(mono_ms, EventKind.FIRMWARE_CHANGED, {**values}),) if before else ()


def _events_after(state: DeviceState, spool: SpoolFile) -> list[StoredEvent]:
    """Events whose edges the state does not know, because the agent was killed before it was written."""
    if state.last_event is None:  # written before this was noted
        return []
    stored = spool.event_file
    return stored.since(state.last_event if state.last_event <= stored.last_number else 0)
