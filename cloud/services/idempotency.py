"""Requests that may be sent again: the same key and the same request get the first answer once more.

``begin`` takes the key for a request: a ``Run`` of its own, or the ``Kept`` answer of an earlier one. The
run ends with ``finish`` (the answer is kept for a day) or with ``free`` (nothing was done; the key is free
again). ``finish_within`` writes the answer in the transaction that does what the request asks: then a crash
leaves both or none. A run that ended in a crash without either holds its key until its lease is over; whoever
takes the key then is the only one who can still finish, for ``finish_within`` rolls the other one's
transaction back.

Keys and bodies are stored as keyed hashes only.
"""

import hashlib
import uuid
from dataclasses import dataclass
from typing import Final

from cloud.postgres import idempotency
from cloud.postgres.transaction import Connection, in_transaction
from cloud.services.kit import Kit

KEPT_MS: Final = 86_400_000
LEASE_MS: Final = 30_000
"""No request runs longer: its statements, locks and waits for a connection end before."""
PURPOSE: Final = "idempotency"


class KeyReusedError(Exception):
    """The key was used for another request."""


class KeyInUseError(Exception):
    """A request with this key is running, or was when its portal ended. ``after_s``: when to ask again."""

    def __init__(self, after_s: int = 1) -> None:
        super().__init__("a request with this key is running")
        self.after_s = after_s


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer given before."""

    status: int
    answer: bytes


@dataclass(slots=True)
class Run:
    """The request that has the key; ``kept`` once its answer was written."""

    account_id: int
    key_hash: bytes
    run_id: str
    kept: Kept | None = None


async def begin(kit: Kit, account_id: int, key: str, request: bytes, now_ms: int) -> Run | Kept:
    """Take the key for ``request`` (all of it that matters). KeyReusedError, KeyInUseError."""
    holder = str(account_id).encode()
    key_hash = kit.vault.hash_code(PURPOSE, holder, f"key {key}")
    fingerprint = kit.vault.hash_code(PURPOSE, holder, f"request {hashlib.sha256(request).hexdigest()}")
    run = Run(account_id, key_hash, str(uuid.uuid4()))

    async def work(connection: Connection) -> Run | idempotency.Row | None:
        taken = await idempotency.take(
            connection,
            account_id,
            key_hash,
            fingerprint,
            run.run_id,
            now_ms=now_ms,
            lease_ms=now_ms + LEASE_MS,
            expires_ms=now_ms + KEPT_MS,
        )
        return run if taken else await idempotency.find(connection, account_id, key_hash)

    found = await in_transaction(kit.pool, work)
    if isinstance(found, Run):
        return found
    if found is None:  # it was given back at this moment
        raise KeyInUseError
    if found.fingerprint != fingerprint:
        raise KeyReusedError
    if found.status is None or found.answer is None:
        raise KeyInUseError
    return Kept(found.status, found.answer)


async def finish_within(connection: Connection, run: Run, status: int, answer: bytes) -> None:
    """Keep the answer, in the caller's transaction. KeyInUseError where another request has the key now."""
    if not await idempotency.finish(connection, run.account_id, run.key_hash, run.run_id, status, answer):
        raise KeyInUseError
    run.kept = Kept(status, answer)


async def finish(kit: Kit, run: Run, status: int, answer: bytes) -> None:
    """Keep the answer of what is done already."""
    await in_transaction(kit.pool, lambda connection: finish_within(connection, run, status, answer))


async def free(kit: Kit, run: Run) -> None:
    """Nothing was done: the same request may be tried again under the same key."""

    async def work(connection: Connection) -> None:
        await idempotency.free(connection, run.account_id, run.key_hash, run.run_id)

    await in_transaction(kit.pool, work)
