"""How many mails one mailbox gets because somebody, not its owner, asks for them.

Counted per recipient, whoever asks and from wherever, and whether the address has an account or not. The
first mails are free, then the pause before the next one doubles up to an hour. Sign-ups and offers are
counted apart, so that a flood of offers keeps nobody from signing up.
"""

import hashlib
from typing import Final

from cloud.core.account import Pace, delay_ms
from cloud.core.language import N_, gettext
from cloud.core.refusal import RefusalCode, RefusedError
from cloud.postgres import factors
from cloud.postgres.transaction import Connection

SCOPE: Final = "mail"
DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000
SIGN_UP: Final = Pace(free=8, first_ms=60_000, longest_ms=HOUR_MS, forget_ms=DAY_MS)
"""One sign-up asks for six mails at most."""
OFFER: Final = Pace(free=30, first_ms=60_000, longest_ms=HOUR_MS, forget_ms=DAY_MS)
"""A room full of devices is handed over at once, to one person."""
TOLD: Final = 20
"""Mails a day that one thing, as a registered system, is worth to one company."""
TEXT: Final = N_("Many emails were sent to this address already. Please wait before asking for another one.")


def subject_of(email_norm: str) -> str:
    """An address as the table ``attempt`` names it: as a hash."""
    return hashlib.sha256(email_norm.encode()).hexdigest()[:32]


async def count_sign_up(connection: Connection, email_norm: str, now_ms: int) -> None:
    """One more mail about a sign-up, in its transaction. RefusedError resend_later (``after_s``)."""
    await _count(connection, SIGN_UP, subject_of(email_norm), now_ms, RefusalCode.RESEND_LATER)


async def count_offer(connection: Connection, email_norm: str, now_ms: int) -> None:
    """One more mail about an offer, in its transaction. RefusedError too_fast (``after_s``)."""
    await _count(connection, OFFER, f"offer {subject_of(email_norm)}", now_ms, RefusalCode.TOO_FAST)


async def may_tell(connection: Connection, subject: str, now_ms: int) -> bool:
    """Whether one more mail about this subject is sent to who follows it, in its transaction; it counts."""
    sent, _last_ms = await factors.lock_attempts(connection, SCOPE, subject, now_ms, DAY_MS)
    if sent < TOLD:
        await factors.set_attempts(connection, SCOPE, subject, sent + 1, now_ms)
    return sent < TOLD


async def _count(connection: Connection, pace: Pace, subject: str, now_ms: int, code: RefusalCode) -> None:
    sent, last_ms = await factors.lock_attempts(connection, SCOPE, subject, now_ms, pace.forget_ms)
    left_ms = last_ms + delay_ms(pace, sent, last_ms, now_ms) - now_ms
    if left_ms > 0:
        raise RefusedError(code, text=gettext(TEXT), after_s=-(-left_ms // 1000))
    await factors.set_attempts(connection, SCOPE, subject, sent + 1, now_ms)
