"""When the cloud says that it does not hear a device, and when that it hears it again.

Theory of operation. Silence is judged by the server's clock, and only silence that somebody could have heard
counts: while no gateway listened, or within the hold-off after one started, nobody is away. An absence begins
once a device was silent for the hold-off, is told then, with the moment it was heard last, and ends when it
is connected and was heard. So a gateway that restarts, or a link that is back within the hold-off, tells
nothing; an absence is told once, and its end once. It says nothing about the mains.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from cloud.core.device_state import QUIET_MS

BEAT_AGE_MS: Final = 30_000
"""A gateway that listens says so every five seconds; after this long without a word none does."""


@dataclass(frozen=True, slots=True)
class Presence:
    """What is known of an owned device. ``listening_*`` is 0 where no gateway ever listened."""

    epoch: int
    from_ms: int
    seen_ms: int
    connected: bool
    smartconnect: bool
    revoked: bool
    listening_since_ms: int
    beat_ms: int
    absent_epoch: int | None = None
    """Ownership in which an absence was told that has not ended; None without one."""
    absent_since_ms: int = 0

    @property
    def heard_ms(self) -> int:
        """When it was heard last in this ownership."""
        return max(self.seen_ms, self.from_ms)


class Verdict(Enum):
    """What is to be done about a device's absence."""

    NOTHING = "nothing"
    BEGINS = "begins"
    ENDS = "ends"
    FORGET = "forget"
    """The absence is of an ownership that is over: nobody is told."""


def judge(presence: Presence | None, now_ms: int, offline_after_ms: int) -> Verdict:
    """What follows from what is known; None is a device that nobody owns."""
    if presence is None:
        return Verdict.FORGET
    if presence.absent_epoch is not None:
        if presence.absent_epoch != presence.epoch:
            return Verdict.FORGET
        heard = presence.connected and presence.seen_ms > presence.absent_since_ms
        return Verdict.ENDS if heard else Verdict.NOTHING
    if not presence.smartconnect or presence.revoked or now_ms - presence.beat_ms > BEAT_AGE_MS:
        return Verdict.NOTHING
    # A gateway that was killed leaves its sessions behind as connected: those count as the pages count them.
    after_ms = max(offline_after_ms, QUIET_MS) if presence.connected else offline_after_ms
    silent_ms = now_ms - max(presence.heard_ms, presence.listening_since_ms)
    return Verdict.BEGINS if silent_ms > after_ms else Verdict.NOTHING
