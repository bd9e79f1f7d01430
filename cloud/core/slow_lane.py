"""The way past "I am not a robot" of a browser without JavaScript: slower, and tightly bounded (pure).

Such a browser cannot work for its answer (:mod:`cloud.core.proof_of_work`), so it waits. A form carries a
*ticket*, ``2.KIND.READY_MS.RANDOM.SEAL``, whose seal is the caller's. A fresh one is good once, from
``MIN_AGE_MS`` after it was made; it is exchanged for a *turn* in two lanes, the one of the sender's network
and the one that all share. Where both are free the turn is now; else the answer is a ticket of the other
kind, good once from the moment of the turn, and whoever comes back then passes. So nobody waits twice, and
no more pass than the lanes have turns: ``at_once`` and then one each ``every_ms``.

A lane is a bucket that leaks (GCRA): all it remembers is ``full_ms``, the time at which it will be empty.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MIN_AGE_MS: Final = 5_000
"""A person reads a form for longer than that."""
LIFE_MS: Final = 3_600_000
MAX_WAIT_MS: Final = 600_000
"""No turn is given out that is further away."""
MAX_CHARS: Final = 120
_FORM: Final = re.compile(r"2\.([ft])\.(\d{1,14})\.[A-Za-z0-9_-]{16,43}\.([A-Za-z0-9_-]{43})")


class Kind(StrEnum):
    """What a ticket is good for."""

    FRESH = "f"
    TURN = "t"


@dataclass(frozen=True, slots=True)
class Lane:
    """How many pass: some at once, then one each ``every_ms``."""

    every_ms: int
    at_once: int


NETWORK: Final = Lane(every_ms=60_000, at_once=5)
EVERYWHERE: Final = Lane(every_ms=2_000, at_once=20)
"""Thirty a minute of all that the world asks for without work."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """A parsed ticket. ``sealed`` is the part that ``seal`` vouches for."""

    sealed: str
    seal: str
    kind: Kind
    ready_ms: int

    @property
    def ends_ms(self) -> int:
        """From then on it is worth nothing."""
        return self.ready_ms + LIFE_MS

    def wait_ms(self, now_ms: int) -> int:
        """How long until it is good; 0 once it is."""
        return max(0, self.ready_ms - now_ms)

    def is_over(self, now_ms: int) -> bool:
        """Whether it is too old; one that is good only after any wait was made by another clock."""
        return now_ms >= self.ends_ms or self.wait_ms(now_ms) > MAX_WAIT_MS


def compose(kind: Kind, random: str, *, ready_ms: int) -> str:
    """The part of a new ticket that is to be sealed; ``random`` is base64url."""
    return f"2.{kind}.{ready_ms}.{random}"


def parse(text: str) -> Ticket | None:
    """The ticket in a form; None for anything else. Its seal is not checked."""
    form = _FORM.fullmatch(text.strip()) if len(text) <= MAX_CHARS else None
    if form is None:
        return None
    return Ticket(text.strip().rpartition(".")[0], form[3], Kind(form[1]), int(form[2]))


def next_turn(lane: Lane, full_ms: int, now_ms: int) -> tuple[int, int]:
    """(how long until the next turn, ``full_ms`` once it is taken)."""
    after_ms = max(full_ms, now_ms) + lane.every_ms
    return max(0, after_ms - lane.at_once * lane.every_ms - now_ms), after_ms
