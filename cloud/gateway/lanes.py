"""Which writer stores what a session sends.

A session stays with its writer while that writer has something of it, so what it sends is stored in order.
Otherwise it goes to the first writer that has little to do: at a low rate one writer makes few and larger
batches, which costs less and answers sooner than two that take turns at the processors; at a high rate all
writers get their part.
"""

from typing import Final

from cloud.core.upload import Upload
from cloud.gateway.session import Session

LITTLE_BYTES: Final = 65_536
"""A writer that holds less has little to do: some 400 samples, a fraction of a good batch."""


class Lanes:
    """What each writer holds. Event loop only."""

    def __init__(self, count: int) -> None:
        self._held_bytes = [0] * count

    @property
    def held_bytes(self) -> int:
        """Payloads that are not decided, of all writers."""
        return sum(self._held_bytes)

    def enter(self, session: Session, upload: Upload) -> int:
        """One more upload of this session; the number of its writer."""
        if not session.waiting:
            session.lane = self._choose()
        session.waiting += upload.messages
        self._held_bytes[session.lane] += upload.bytes_held()
        return session.lane

    def leave(self, session: Session, upload: Upload) -> None:
        """The upload is decided."""
        session.waiting -= upload.messages
        self._held_bytes[session.lane] -= upload.bytes_held()

    def _choose(self) -> int:
        for lane, held in enumerate(self._held_bytes):
            if held < LITTLE_BYTES:
                return lane
        return self._held_bytes.index(min(self._held_bytes))
