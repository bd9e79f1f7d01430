"""*I am not a robot* without JavaScript: tickets, and the turns of a network and of all; see the core.

``ticket(kit, now_ms, given)`` → what the form carries. ``check(kit, ticket, address, now_ms)`` spends it.
WaitError says when to press the button again, and holds the ticket that is good then; RefusedError
robot_check where a ticket is not ours, too old, or was used before.
"""

import hmac
import secrets
from typing import Final

from cloud.core.refusal import RefusalCode, RefusedError
from cloud.core.slow_lane import (
    EVERYWHERE,
    MAX_WAIT_MS,
    MIN_AGE_MS,
    NETWORK,
    Kind,
    Lane,
    Ticket,
    compose,
    next_turn,
    parse,
)
from cloud.postgres import challenges, factors
from cloud.postgres.transaction import Connection
from cloud.services.accounts import network_of
from cloud.services.kit import Kit, hash_of
from protocol.identity import b64url

RANDOM_BYTES: Final = 18
PURPOSE: Final = "slow lane"
SCOPE: Final = "slow lane"
FIELD: Final = "robot"


class WaitError(RefusedError):
    """Not yet: ``ticket`` is good after ``after_s``."""

    def __init__(self, ticket: str, wait_ms: int) -> None:
        super().__init__(RefusalCode.ROBOT_WAIT, field=FIELD, after_s=-(-wait_ms // 1000))
        self.ticket = ticket


def ticket(kit: Kit, now_ms: int, given: str = "") -> str:
    """For a form that is shown: the ticket that it had, while that may be good, else a new one."""
    known = _read(kit, given)
    if known is not None and not known.is_over(now_ms):
        return given.strip()
    return _make(kit, Kind.FRESH, now_ms + MIN_AGE_MS)


async def check(kit: Kit, given: str, address: str, now_ms: int) -> None:
    """Spend a ticket, and a turn. WaitError, RefusedError robot_check."""
    known = _read(kit, given)
    if known is None or known.is_over(now_ms):
        raise RefusedError(RefusalCode.ROBOT_CHECK, field=FIELD)
    if wait_ms := known.wait_ms(now_ms):
        raise WaitError(given.strip(), wait_ms)
    async with kit.pool.connection() as connection, connection.transaction():
        wait_ms = 0
        if known.kind is Kind.FRESH:
            wait_ms = await _take_turn(connection, network_of(address), now_ms)
        if wait_ms > MAX_WAIT_MS:  # nothing is spent: a flood leaves no rows behind
            raise WaitError(given.strip(), wait_ms - MAX_WAIT_MS)
        spent = await challenges.use_in(
            connection, hash_of(known.seal), expires_ms=known.ends_ms, now_ms=now_ms
        )
        if not spent:
            raise WaitError(_make(kit, Kind.FRESH, now_ms + MIN_AGE_MS), MIN_AGE_MS)
    if wait_ms:
        raise WaitError(_make(kit, Kind.TURN, now_ms + wait_ms), wait_ms)


async def _take_turn(connection: Connection, network: str, now_ms: int) -> int:
    """How long until the turn that is taken in both lanes; none is where that is past MAX_WAIT_MS."""
    lanes: tuple[tuple[Lane, str], ...] = ((NETWORK, f"network {network}"), (EVERYWHERE, "everywhere"))
    longest_ms, after = 0, []
    for lane, subject in lanes:  # always in this order: no two of them wait for each other
        _, full_ms = await factors.lock_attempts(connection, SCOPE, subject, now_ms)
        wait_ms, after_ms = next_turn(lane, full_ms, now_ms)
        longest_ms = max(longest_ms, wait_ms)
        after.append((subject, after_ms))
    if longest_ms <= MAX_WAIT_MS:
        for subject, after_ms in after:
            await factors.set_attempts(connection, SCOPE, subject, 1, after_ms)
    return longest_ms


def _make(kit: Kit, kind: Kind, ready_ms: int) -> str:
    sealed = compose(kind, b64url(secrets.token_bytes(RANDOM_BYTES)), ready_ms=ready_ms)
    return f"{sealed}.{_seal(kit, sealed)}"


def _read(kit: Kit, text: str) -> Ticket | None:
    known = parse(text)
    if known is None or not hmac.compare_digest(known.seal.encode(), _seal(kit, known.sealed).encode()):
        return None
    return known


def _seal(kit: Kit, sealed: str) -> str:
    return b64url(kit.vault.hash_code(PURPOSE, sealed.encode(), ""))
