"""Proof of work behind "I am not a robot": a price in processor time that a person does not notice (pure).

A challenge is a line of text, ``1.BITS.PUZZLES.EXPIRES_MS.RANDOM.SEAL``. Its solution is one whole number a
puzzle, such that SHA-256 of ``CHALLENGE.INDEX.NUMBER`` begins with BITS zero bits. Several small puzzles take
about the same time each time, one big one does not. The seal is the caller's: only challenges of this
installation count. Each is good for one use; remembering the used ones is the caller's, too.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Final

LIFE_MS: Final = 300_000
BITS: Final = 11
PUZZLES: Final = 16
"""16 puzzles of 11 bits: 33 000 hashes on average, a second or less in a browser."""
MAX_BITS: Final = 20
MAX_CHARS: Final = 600
_FORM: Final = re.compile(r"1\.(\d{1,2})\.(\d{1,2})\.(\d{1,14})\.[A-Za-z0-9_-]{16,43}\.([A-Za-z0-9_-]{43})")
_NUMBERS: Final = re.compile(r"\d{1,10}(?:,\d{1,10})*")


@dataclass(frozen=True, slots=True)
class Challenge:
    """A parsed challenge. ``sealed`` is the part that ``seal`` vouches for."""

    text: str
    sealed: str
    seal: str
    bits: int
    puzzles: int
    expires_ms: int

    def is_open(self, now_ms: int) -> bool:
        """Whether it is still accepted; one from the future was made by another clock and is not."""
        return now_ms < self.expires_ms <= now_ms + LIFE_MS


def compose(random: str, *, now_ms: int, bits: int = BITS) -> str:
    """The part of a new challenge that is to be sealed; ``random`` is base64url. ValueError."""
    if not 1 <= bits <= MAX_BITS:
        raise ValueError("a puzzle has 1 to 20 bits")
    return f"1.{bits}.{PUZZLES}.{now_ms + LIFE_MS}.{random}"


def parse(text: str) -> tuple[Challenge, tuple[int, ...]] | None:
    """Challenge and numbers of ``CHALLENGE:N,N,…`` as a form carries it; None for anything else."""
    challenge, _, numbers = text.strip().partition(":")
    form = _FORM.fullmatch(challenge)
    if len(text) > MAX_CHARS or form is None or not _NUMBERS.fullmatch(numbers):
        return None
    bits, puzzles, expires_ms = int(form[1]), int(form[2]), int(form[3])
    sealed = challenge.rpartition(".")[0]
    parsed = Challenge(challenge, sealed, form[4], bits, puzzles, expires_ms)
    return parsed, tuple(int(number) for number in numbers.split(","))


def is_solved(challenge: Challenge, numbers: tuple[int, ...]) -> bool:
    """Whether every puzzle has its number."""
    if len(numbers) != challenge.puzzles:
        return False
    return all(
        _zero_bits(challenge.text, index, number) >= challenge.bits for index, number in enumerate(numbers)
    )


def solve(challenge: str, bits: int, puzzles: int) -> str:
    """What a browser does; for programs that sign up by themselves, as tests do."""
    found = []
    for index in range(puzzles):
        number = 0
        while _zero_bits(challenge, index, number) < bits:
            number += 1
        found.append(str(number))
    return f"{challenge}:{','.join(found)}"


def _zero_bits(challenge: str, index: int, number: int) -> int:
    digest = hashlib.sha256(f"{challenge}.{index}.{number}".encode()).digest()
    return 256 - int.from_bytes(digest, "big").bit_length()
