"""Product codes → label_pub, off the event loop: a bounded pool, so that guessing cannot starve anyone.

A derivation costs about 14 ms of a core and 8 MiB (scrypt, which lets other threads run). Typed claims go
before bulk ones; past the bound the answer is *busy, come again*, and nothing was spent. The Product Key is
forgotten with the call; only the public key comes back.
"""

import asyncio
import contextlib
import math
import os
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Final, Self

from protocol.identity import ProductId, ProductKey
from protocol.signing import label_key, public_bytes

DERIVATION_S: Final = 0.02
"""What one costs on a slow core: only used to say when to come again."""
MAX_TYPED: Final = 256
"""Typed claims that may wait: less than five seconds' worth on one slow core."""
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
        self._workers = workers or max(1, min(4, os.cpu_count() or 1))
        self._executor = ThreadPoolExecutor(self._workers, thread_name_prefix="derivation")
        self._free = self._workers
        self._typed: deque[asyncio.Future[None]] = deque()
        self._bulk: deque[asyncio.Future[None]] = deque()
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

    @contextlib.contextmanager
    def admit(self, who: str) -> Iterator[None]:
        """Room for one typed claim, from its first look at the database to its answer. BusyError past the
        bound, of all or of ``who``: then nothing was spent, no connection of the database either.
        """
        if self._admitted >= self._max_typed or self._of_each[who] >= MAX_EACH:
            raise BusyError(self._retry_after_s(self._admitted))
        self._admitted += 1
        self._of_each[who] += 1
        try:
            yield
        finally:
            self._admitted -= 1
            self._of_each[who] -= 1
            if not self._of_each[who]:
                del self._of_each[who]

    async def label_pub(self, product_id: ProductId, product_key: ProductKey, *, bulk: bool = False) -> bytes:
        """The public label key of these codes. BusyError past the bound."""
        await self._enter(bulk=bulk)
        # A cancelled caller leaves, its derivation does not: the worker is free when the thread is.
        work = asyncio.get_running_loop().run_in_executor(self._executor, _derive, product_id, product_key)
        work.add_done_callback(self._leave)
        self.spent += 1
        return await asyncio.shield(work)

    def close(self) -> None:
        """End the threads; whoever still waits is refused."""
        for waiter in (*self._typed, *self._bulk):
            waiter.cancel()
        self._executor.shutdown(wait=True, cancel_futures=True)

    async def _enter(self, *, bulk: bool) -> None:
        if self._free:
            self._free -= 1
            return
        queue, bound = (self._bulk, self._max_bulk) if bulk else (self._typed, self._max_typed)
        if len(queue) >= bound:
            raise BusyError(self._retry_after_s(len(queue)))
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._pass_on()  # our turn had come: somebody else's now
            elif turn in queue:
                queue.remove(turn)
            raise

    def _retry_after_s(self, waiting: int) -> int:
        return max(1, math.ceil(waiting * DERIVATION_S / self._workers))

    def _leave(self, work: asyncio.Future[bytes]) -> None:
        if not work.cancelled():
            work.exception()  # seen here also when the caller has gone
        self._pass_on()

    def _pass_on(self) -> None:
        for queue in (self._typed, self._bulk):
            while queue:
                turn = queue.popleft()
                if not turn.done():
                    turn.set_result(None)
                    return
        self._free += 1


def _derive(product_id: ProductId, product_key: ProductKey) -> bytes:
    return public_bytes(label_key(product_id, product_key))
