"""Tasks that run beside the requests for as long as a process serves."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import Any, Final

NUDGE_S: Final = 0.2


@contextlib.asynccontextmanager
async def running(parts: Mapping[str, Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Run these while the block runs, each under its name; one that breaks ends the block.

    At the end they are cancelled until they have ended: in Python 3.11 ``asyncio.wait_for``, by which the
    pool of database connections waits, loses a cancellation that arrives together with its result.
    """
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(part, name=name) for name, part in parts.items()]
        try:
            yield
        finally:
            while not all(task.done() for task in tasks):
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks, timeout=NUDGE_S)
