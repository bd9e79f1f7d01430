"""Work in threads: in order, and never two pieces of one device at once."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from agent.background import Background, in_daemon_thread


async def test_a_cancelled_piece_is_finished_before_the_next_begins() -> None:
    go_on, began, order = threading.Event(), threading.Event(), list[str]()

    def slow() -> None:
        began.set()
        assert go_on.wait(10)
        order.append("slow")

    with ThreadPoolExecutor(2) as executor:
        background = Background(executor)
        cancelled = asyncio.create_task(background.run(slow))
        await asyncio.get_running_loop().run_in_executor(None, began.wait, 10)
        following = asyncio.create_task(background.run(lambda: order.append("next")))
        cancelled.cancel()
        await asyncio.sleep(0)
        assert order == []
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        await following
        assert order == ["slow", "next"]


async def test_results_and_exceptions_come_back() -> None:
    def fail() -> None:
        raise OSError("no")

    with ThreadPoolExecutor(1) as executor:
        background = Background(executor)
        assert await background.run(lambda: 7) == 7
        with pytest.raises(OSError, match="no"):
            await background.run(fail)
        assert await background.run(lambda: 8) == 8  # the lock is free again
    assert await in_daemon_thread(lambda: 9) == 9
    with pytest.raises(OSError, match="no"):
        await in_daemon_thread(fail)


async def test_who_gave_up_is_told_when_it_ends() -> None:
    go_on, late = threading.Event(), asyncio.Event()
    waiting = asyncio.create_task(in_daemon_thread(lambda: go_on.wait(10), late=late.set))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not late.is_set()
    go_on.set()
    async with asyncio.timeout(10):
        await late.wait()
