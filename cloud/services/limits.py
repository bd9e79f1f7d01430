"""A place for each claim, taken before its key derivation is spent; see :mod:`cloud.core.limits`.

``claim(…)`` is the way from typed product codes to an answer: place → derivation → claim → the place is named
after the claim, or given back. It fails closed: without the database there is no place and no derivation.
"""

import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from cloud.core.authz import Action, Actor
from cloud.core.limits import ACCOUNT, DERIVING_MS, NETWORK, SPENT_MS, Pace, price
from cloud.core.manifest import ManifestMode
from cloud.postgres import limits
from cloud.postgres.acting import Reason, crossing
from cloud.postgres.pool import Pool
from cloud.postgres.transaction import Connection, in_transaction
from cloud.services import claiming
from cloud.services.accounts import network_of
from cloud.services.claim_view import ClaimView
from cloud.services.derivation import BusyError, LabelKeys
from protocol.identity import ProductId, ProductKey

CheckWork = Callable[[int], Awaitable[None]]
"""Spends a proof of work of at least so many bits, or raises."""


class TooManyOpenError(Exception):
    """The account, or its network, has many open claims: the next one is taken after ``after_s``."""

    def __init__(self, after_s: int) -> None:
        super().__init__(f"many claims of yours are still open; try again in {after_s} s")
        self.after_s = after_s


class WorkNeededError(Exception):
    """The next claim needs a proof of work of so many bits."""

    def __init__(self, bits: int) -> None:
        super().__init__(f"a proof of work of {bits} bits is needed")
        self.bits = bits


@dataclass(frozen=True, slots=True)
class Paces:
    """How generous this installation is."""

    account: Pace = ACCOUNT
    network: Pace = NETWORK


DEFAULT_PACES: Final = Paces()


async def claim(
    pool: Pool,
    label_keys: LabelKeys,
    actor: Actor,
    product_id: ProductId,
    product_key: ProductKey,
    *,
    address: str,
    now_ms: int,
    pending_ms: int = claiming.PENDING_MS,
    mode: ManifestMode = ManifestMode.NONE,
    check_work: CheckWork | None = None,
    paces: Paces = DEFAULT_PACES,
) -> ClaimView:
    """Claim by typed codes. ``address`` is the person's, ``check_work`` comes with a solution.

    Raises TooManyOpenError and WorkNeededError (nothing was spent), BusyError (the place is given back), what
    ``check_work`` raises, and what :func:`cloud.services.claiming.submit` raises.
    """
    actor.must(Action.CLAIM)
    with label_keys.admit(str(actor.account_id)):
        async with label_keys.turn():
            place_id = await take(
                pool, actor.account_id, address, now_ms=now_ms, check_work=check_work, paces=paces
            )
            try:
                label_pub = await label_keys.label_pub(product_id, product_key)
            except BusyError:
                await in_transaction(pool, lambda connection: limits.free(connection, place_id))
                raise
            return await claiming.submit(
                pool,
                actor,
                product_id,
                label_pub,
                now_ms,
                pending_ms=pending_ms,
                mode=mode,
                along=functools.partial(settle, place_id),
            )


@crossing(Reason.OWNERSHIP)
async def take(
    pool: Pool,
    account_id: int,
    address: str,
    *,
    now_ms: int,
    check_work: CheckWork | None = None,
    paces: Paces = DEFAULT_PACES,
) -> int:
    """Take a place for a claim that is about to be checked; its number. Errors as in :func:`claim`.

    Places of the same network are given back whosever claims they were for.
    """
    network, bits = network_of(address), 0
    if check_work is not None:
        # Asked first, so that nobody waits for the lock while the work is checked.
        bits = await in_transaction(
            pool, lambda connection: _ask(connection, account_id, network, now_ms, paces)
        )
        if bits:
            await check_work(bits)

    async def work(connection: Connection) -> int:
        asked = await _ask(connection, account_id, network, now_ms, paces)
        if asked and not bits:
            raise WorkNeededError(asked)
        return await limits.take(connection, account_id, network, now_ms, now_ms + DERIVING_MS)

    return await in_transaction(pool, work)


async def _ask(connection: Connection, account_id: int, network: str, now_ms: int, paces: Paces) -> int:
    """How many bits of work the next place costs, held until the transaction ends. TooManyOpenError."""
    await limits.lock(connection, account_id, network)
    await limits.give_back(connection, account_id, network, now_ms)
    places = await limits.count(connection, account_id, network)
    asked = price(places, now_ms, account=paces.account, network=paces.network)
    if asked.wait_ms:
        raise TooManyOpenError(-(-asked.wait_ms // 1000))
    return asked.bits


async def settle(place_id: int, connection: Connection, view: ClaimView) -> None:
    """The codes were checked: the place is the waiting claim's, or is given back."""
    if view.state.final or view.claim_id is None:
        await limits.free(connection, place_id)
    else:
        ends_ms = max(view.expires_ms, view.created_ms + SPENT_MS)
        await limits.name(connection, place_id, view.device_id, view.claim_id, ends_ms)
