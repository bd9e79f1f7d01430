"""Product codes → label_pub, off the event loop: a bounded pool, so that guessing cannot starve anyone.

A derivation costs about 14 ms of a core and 8 MiB; it happens in processes that give way to all others
(:mod:`cloud.services.deriver`), one for two cores, so that telemetry finds a core without one. Typed claims
go before bulk ones; past the bound the answer is *busy, come again*, and nothing was spent. The Product Key
is forgotten with the call; only the public key comes back.

Theory of operation
-------------------
A typed claim is *taken in* (:meth:`LabelKeys.admit`) until its answer, ``MAX_TYPED`` at most, of one account
``MAX_EACH``. Those taken in wait, in the order they came, for one of ``ACTIVE`` *turns*, and only then take a
connection of the database: so a storm of claims neither keeps all connections from everybody else nor has
more backends compete with telemetry's than it can use.
"""

import asyncio
import contextlib
import functools
import math
import os
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Final, Self

from cloud.services.deriver import Deriver
from protocol.identity import ProductId, ProductKey

CLAIM_S: Final = 0.02
"""How far apart claims are answered where many wait, at first: only used to say when to come again."""
LEARN: Final = 0.05
"""How much of that one claim changes."""
LONGEST_S: Final = 60
MAX_TYPED: Final = 128
"""Typed claims that may be taken in: two or three seconds' worth."""
ACTIVE: Final = 4
"""Typed claims that are worked on at a time: half of the connections of a portal."""
MAX_BULK: Final = 64
MAX_EACH: Final = 8
"""Typed claims of one account that may be in here: nobody fills the queue alone."""


class BusyError(Exception):
    """Too many wait already; try again after ``retry_after_s``."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"too many product codes are being checked; try again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class LabelKeys:
    """The pool of one process; use it from one event loop; close it, or use it as a context manager."""

    def __init__(
        self, workers: int | None = None, *, max_typed: int = MAX_TYPED, max_bulk: int = MAX_BULK
    ) -> None:
        self._workers = workers or max(1, min(4, (os.cpu_count() or 1) // 2))
        self._executor = ThreadPoolExecutor(self._workers, thread_name_prefix="derivation")
        self._derivers = [Deriver() for _ in range(self._workers)]
        self._free = list(self._derivers)
        self._turns = asyncio.Semaphore(ACTIVE)
        self._apart_s = CLAIM_S
        self._typed: deque[asyncio.Future[Deriver]] = deque()
        self._bulk: deque[asyncio.Future[Deriver]] = deque()
        self._max_typed = max_typed
        self._max_bulk = max_bulk
        self._admitted = 0
        self._of_each: Counter[str] = Counter()
        self.spent = 0
        """Derivations begun since the start."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def waiting(self) -> int:
        """How many wait for a worker."""
        return len(self._typed) + len(self._bulk)

    @property
    def taken_in(self) -> int:
        """How many typed claims were let in and are not answered."""
        return self._admitted

    @property
    def full(self) -> bool:
        """Whether no typed claim can be taken in."""
        return self._admitted >= self._max_typed

    @property
    def retry_after_s(self) -> int:
        """When to come again while it is full: when those who are in will have been answered."""
        return _seconds(self._admitted * self._apart_s)

    def start(self) -> None:
        """Have the processes ready before the first claim comes."""
        for deriver in self._derivers:
            deriver.start()

    @contextlib.contextmanager
    def admit(self, who: str) -> Iterator[None]:
        """Room for one typed claim, from its first look at the database to its answer. BusyError past the
        bound, of all or of ``who``: then nothing was spent, no connection of the database either.
        """
        if self.full or self._of_each[who] >= MAX_EACH:
            raise BusyError(self.retry_after_s)
        self._admitted += 1
        self._of_each[who] += 1
        try:
            yield
        finally:
            self._admitted -= 1
            self._of_each[who] -= 1
            if not self._of_each[who]:
                del self._of_each[who]

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Work on a typed claim that was taken in, once it is its turn."""
        async with self._turns:
            began_s = time.monotonic()
            yield
            apart_s = (time.monotonic() - began_s) / ACTIVE
            self._apart_s += (apart_s - self._apart_s) * LEARN

    async def label_pub(self, product_id: ProductId, product_key: ProductKey, *, bulk: bool = False) -> bytes:
        """The public label key of these codes. BusyError past the bound; DeriverError, OSError."""
        deriver = await self._enter(bulk=bulk)
        # A cancelled caller leaves, its derivation does not: the process is free when it has answered.
        work = asyncio.get_running_loop().run_in_executor(
            self._executor, deriver.derive, product_id, product_key
        )
        work.add_done_callback(functools.partial(self._leave, deriver))
        self.spent += 1
        return await asyncio.shield(work)

    def close(self) -> None:
        """End threads and processes; whoever still waits is refused."""
        for waiter in (*self._typed, *self._bulk):
            waiter.cancel()
        self._executor.shutdown(wait=True, cancel_futures=True)
        for deriver in self._derivers:
            deriver.close()

    async def _enter(self, *, bulk: bool) -> Deriver:
        if self._free:
            return self._free.pop()
        queue, bound = (self._bulk, self._max_bulk) if bulk else (self._typed, self._max_typed)
        if len(queue) >= bound:
            raise BusyError(_seconds(len(queue) * self._apart_s))
        turn: asyncio.Future[Deriver] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._pass_on(turn.result())  # our turn had come: somebody else's now
            elif turn in queue:
                queue.remove(turn)
            raise

    def _leave(self, deriver: Deriver, work: asyncio.Future[bytes]) -> None:
        if not work.cancelled():
            work.exception()  # seen here also when the caller has gone
        self._pass_on(deriver)

    def _pass_on(self, deriver: Deriver) -> None:
        for queue in (self._typed, self._bulk):
            while queue:
                turn = queue.popleft()
                if not turn.done():
                    turn.set_result(deriver)
                    return
        self._free.append(deriver)


def _seconds(wait_s: float) -> int:
    """For Retry-After: whole seconds, within reason."""
    return min(max(1, math.ceil(wait_s)), LONGEST_S)
