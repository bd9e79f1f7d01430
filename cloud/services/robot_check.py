"""*I am not a robot*: a challenge for the browser, and the check of what it sends back.

``challenge(kit, now_ms)`` → text for the browser; nothing is stored. ``check(kit, solution, now_ms)`` is the
``check_robot`` of sign-up and password reset. RefusedError robot_check where the work is missing, wrong,
older than 5 minutes, or used before.
"""

import hmac
import secrets
from typing import Final

from cloud.core import proof_of_work
from cloud.core.refusal import RefusalCode, RefusedError
from cloud.postgres import challenges
from cloud.services.kit import Kit, hash_of
from protocol.identity import b64url

RANDOM_BYTES: Final = 18
PURPOSE: Final = "robot"


def challenge(kit: Kit, now_ms: int, *, bits: int = proof_of_work.BITS) -> str:
    """A new challenge; more ``bits`` for whoever asks too often."""
    sealed = proof_of_work.compose(b64url(secrets.token_bytes(RANDOM_BYTES)), now_ms=now_ms, bits=bits)
    return f"{sealed}.{_seal(kit, sealed)}"


async def check(kit: Kit, solution: str, now_ms: int, *, bits: int = proof_of_work.BITS) -> None:
    """Spend a solved challenge of at least ``bits``. A wrong solution spends nothing."""
    parsed = proof_of_work.parse(solution)
    if parsed is None:
        raise RefusedError(RefusalCode.ROBOT_CHECK, field="robot")
    given, numbers = parsed
    ours = hmac.compare_digest(given.seal.encode(), _seal(kit, given.sealed).encode())
    if (
        not ours
        or given.bits < bits
        or not given.is_open(now_ms)
        or not proof_of_work.is_solved(given, numbers)
        or not await challenges.use(kit.pool, _hash(given.text), expires_ms=given.expires_ms, now_ms=now_ms)
    ):
        raise RefusedError(RefusalCode.ROBOT_CHECK, field="robot")


def _seal(kit: Kit, sealed: str) -> str:
    return b64url(kit.vault.hash_code(PURPOSE, sealed.encode(), ""))


def _hash(text: str) -> bytes:
    return hash_of(text.rpartition(".")[2])
