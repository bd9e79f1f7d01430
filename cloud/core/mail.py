"""A mail on its way, and when it is tried again."""

from dataclasses import dataclass
from typing import Final

SUBJECT_MAX_CHARS: Final = 150
FIRST_PAUSE_MS: Final = 15_000
LONGEST_PAUSE_MS: Final = 3_600_000
GIVE_UP_MS: Final = 3 * 86_400_000
"""A little less than mail servers themselves keep on trying (RFC 5321 section 4.5.4.1: 4 to 5 days)."""


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail to one person. ``kind`` is a stable word for logs and tests, as in ``sign_up_code``.

    ``html`` is an optional second form of ``text``. After ``expires_ms`` it is not worth sending. With a
    ``delivery_id`` it is a notification's: whom it goes to and what it says are looked up when it is sent.
    """

    to_address: str
    subject: str
    text: str
    kind: str
    created_ms: int
    account_id: int | None = None
    html: str | None = None
    expires_ms: int | None = None
    delivery_id: int | None = None

    @property
    def subject_line(self) -> str:
        """The subject without line breaks and control characters, capped."""
        line = " ".join(self.subject.split())
        return "".join(char for char in line if char.isprintable())[:SUBJECT_MAX_CHARS]


def pause_ms(tries: int) -> int:
    """How long after the try of this number (the first is 1) the next one comes."""
    return int(min(FIRST_PAUSE_MS << min(max(tries - 1, 0), 20), LONGEST_PAUSE_MS))


def is_over(*, created_ms: int, expires_ms: int | None, now_ms: int) -> bool:
    """Whether a mail that was not sent by now is given up."""
    ends_ms = created_ms + GIVE_UP_MS
    return now_ms >= (ends_ms if expires_ms is None else min(ends_ms, expires_ms))
