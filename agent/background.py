"""Blocking work in threads: a device's disk, one piece at a time, and what nobody need wait for."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from functools import partial
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

T = TypeVar("T")


class Background:
    """Runs functions in order. A cancelled caller still waits for the one under way, so none overlap."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._lock = asyncio.Lock()

    async def run(self, work: Callable[[], T]) -> T:
        """The function's result or exception."""
        async with self._lock:
            future = asyncio.get_running_loop().run_in_executor(self._executor, work)
            try:
                return await asyncio.shield(future)
            except asyncio.CancelledError:
                await asyncio.wait({future})
                raise


async def in_daemon_thread(work: Callable[[], T], *, late: Callable[[], None] | None = None) -> T:
    """The function's result or exception, from a thread that a process that has to stop does not wait for.

    ``late`` is called in the loop where the function ends after its caller was cancelled.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(outcome: Callable[[], None]) -> None:
        if not done.cancelled():
            outcome()
        elif late is not None:
            late()

    def run() -> None:
        try:
            result = work()
        except Exception as raised:  # noqa: BLE001  handed over to the one who waits
            outcome = partial(done.set_exception, raised)
        else:
            outcome = partial(done.set_result, result)
        with contextlib.suppress(RuntimeError):  # the loop may have ended meanwhile
            loop.call_soon_threadsafe(settle, outcome)

    threading.Thread(target=run, name=getattr(work, "__name__", "work"), daemon=True).start()
    return await done
