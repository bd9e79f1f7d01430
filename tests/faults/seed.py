"""Owners and claims for many devices in seconds, through the same code that the portal uses.

A `Label` is what a maker prints: codes, and what follows from them. `claim_labels` makes the person's half of
a claim; the device's half comes from a real agent, or from `announce_all`, which stands in for a gateway.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import psycopg

from cloud.core.authz import Actor
from cloud.postgres.pool import Pool, make_pool
from cloud.services import claiming
from protocol.identity import ProductId, ProductKey, device_id_of
from protocol.signing import label_key, public_bytes
from simulators.label import mint
from tests.support.claiming import TestDevice, make_actors

AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class Label:
    """The codes of one UPS, and the device they make."""

    product_id: ProductId
    product_key: ProductKey
    label_pub: bytes

    @property
    def device_id(self) -> int:
        """The name of the device in the database."""
        return device_id_of(self.product_id, self.label_pub)


def make_labels(count: int) -> list[Label]:
    """New labels; deriving the key of each takes about 14 ms."""
    labels = []
    for _ in range(count):
        product_id, product_key = mint()
        labels.append(Label(product_id, product_key, public_bytes(label_key(product_id, product_key))))
    return labels


def claim_labels(dsn: str, labels: Sequence[Label], *, owners: int = 1) -> list[Actor]:
    """Claim the labels for new people in turn, each with a company of their own; those people."""
    actors = make_actors(dsn, owners)

    async def work(pool: Pool) -> None:
        async def claim(number: int, label: Label) -> None:
            await claiming.submit(pool, actors[number % owners], label.product_id, label.label_pub, now_ms())

        await _in_batches(claim(number, label) for number, label in enumerate(labels))

    asyncio.run(_with_pool(dsn, work))
    return actors


def announce_all(dsn: str, devices: Sequence[TestDevice]) -> None:
    """Let devices without a process announce themselves, as through a gateway's session."""

    async def work(pool: Pool) -> None:
        await _in_batches(device.announce(pool, now_ms(), iat_ms=now_ms()) for device in devices)

    asyncio.run(_with_pool(dsn, work))


def count_owned(dsn: str, device_ids: Iterable[int]) -> int:
    """How many of these devices have an owner; asks the view that is there for checks from outside."""
    with psycopg.connect(dsn, connect_timeout=5) as connection:
        row = connection.execute(
            "SELECT count(*) FROM v_ownership WHERE until_ms IS NULL AND device_id = ANY (%s)",
            [list(device_ids)],
        ).fetchone()
    return int(row[0]) if row else 0


def now_ms() -> int:
    """Unix time."""
    return time.time_ns() // 1_000_000


async def _with_pool(dsn: str, work: Callable[[Pool], Awaitable[None]]) -> None:
    async with make_pool(dsn, name="seed", max_size=AT_ONCE) as pool:
        await work(pool)


async def _in_batches(jobs: Iterable[Awaitable[object]]) -> None:
    waiting = list(jobs)
    for first in range(0, len(waiting), AT_ONCE):
        await asyncio.gather(*waiting[first : first + AT_ONCE])
