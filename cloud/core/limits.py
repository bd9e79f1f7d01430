"""What a further claim costs somebody who has many open ones already (pure).

Every claim takes a *place*, of its account and of its network, until the device is won; so a wrong Product
Key keeps its place for as long as the claim waits, and a cancelled or expired one for a day. The first
places are free. Further ones cost a pause, which doubles up to a bound and is counted from the account's
own last place, and work for the browser. Nothing is ever locked: the pause of one account is not lengthened
by what others do meanwhile, and no device or owner is touched.
"""

from dataclasses import dataclass
from typing import Final

from cloud.core import proof_of_work

DAY_MS: Final = 86_400_000
DERIVING_MS: Final = 600_000
"""A place whose claim was never stored (the portal was killed) is free again after this long."""
SPENT_MS: Final = DAY_MS
"""A claim that was cancelled or has expired counts this long, else a guesser would cancel each guess."""
MOST_BITS: Final = 16
"""16 puzzles of 16 bits: a million hashes, some 20 s of a browser."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Free places, the pause after them, which doubles every ``step`` places up to ``longest_ms``."""

    free: int
    first_ms: int
    longest_ms: int
    step: int

    def pause_ms(self, places: int) -> int:
        """The pause before one more place."""
        if places < self.free:
            return 0
        return min(self.first_ms << min((places - self.free) // self.step, 30), self.longest_ms)

    def bits(self, places: int) -> int:
        """The work for one more place; 0 for none."""
        if places < self.free:
            return 0
        return min(proof_of_work.BITS + (places - self.free) // self.step, MOST_BITS)


ACCOUNT: Final = Pace(free=20, first_ms=1_000, longest_ms=600_000, step=4)
NETWORK: Final = Pace(free=100, first_ms=1_000, longest_ms=30_000, step=20)
"""Many people share an address: they pay with work rather than with time."""


@dataclass(frozen=True, slots=True)
class Places:
    """The open claims of an account and of its network, and when the account took its last one (unix ms)."""

    account: int
    network: int
    last_ms: int


@dataclass(frozen=True, slots=True)
class Price:
    """What one more claim costs: so long to wait, and a proof of work of so many bits (0: none)."""

    wait_ms: int = 0
    bits: int = 0


def price(places: Places, now_ms: int, *, account: Pace = ACCOUNT, network: Pace = NETWORK) -> Price:
    """The price of one more claim. A clock that went back never makes the wait longer than the pause."""
    pause_ms = max(account.pause_ms(places.account), network.pause_ms(places.network))
    wait_ms = min(max(places.last_ms + pause_ms - now_ms, 0), pause_ms)
    return Price(wait_ms, max(account.bits(places.account), network.bits(places.network)))
