"""Six digits in a mail: how long they live, how often they may be tried, when the next ones are sent.

A code lives 10 minutes, is good for 5 tries and one use; an address bears 20 wrong ones. A new code replaces
the one before; the pause before the next mail doubles. Randomness and hashing are the caller's.
"""

from enum import StrEnum
from typing import Final

from cloud.core.refusal import RefusalCode

DIGITS: Final = 6
CODES: Final = 10**DIGITS
LIFE_MS: Final = 600_000
TRIES: Final = 5
ADDRESS_TRIES: Final = 20
"""Wrong codes for one address, whichever request they belong to, until a day passes without any."""
ADDRESS_FORGET_MS: Final = 86_400_000
SENDS: Final = 6
"""Mails for one request; more are not asked for by a person whose mails arrive."""
FIRST_PAUSE_MS: Final = 30_000


class Purpose(StrEnum):
    """What a code proves. Append only: the values are stored."""

    SIGN_UP = "sign_up"
    EMAIL_CHANGE = "email_change"


def text_of(number: int) -> str:
    """The code as it is mailed; ``number`` is uniform in 0 … 999999. ValueError outside."""
    if not 0 <= number < CODES:
        raise ValueError("a code has six digits")
    return f"{number:0{DIGITS}d}"


def parse(text: str) -> str | None:
    """What a person typed, without blanks and dashes; None where it cannot be a code."""
    digits = "".join(text.split()).replace("-", "")
    return digits if len(digits) == DIGITS and digits.isascii() and digits.isdigit() else None


def refusal_before_try(*, made_ms: int, tries: int, used_ms: int | None, now_ms: int) -> RefusalCode | None:
    """Why a code of this state is not even compared; None where it is."""
    if used_ms is not None or tries >= TRIES:
        return RefusalCode.CODE_SPENT
    # A clock that was set back makes no code live longer than its life from then on.
    if now_ms - made_ms >= LIFE_MS:
        return RefusalCode.CODE_EXPIRED
    return None


def resend_after_ms(sends: int) -> int:
    """The pause after so many mails: 30 s, 1, 2, 4, 8 min."""
    return FIRST_PAUSE_MS << min(max(sends - 1, 0), 10)
