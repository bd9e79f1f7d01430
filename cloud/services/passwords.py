"""Password hashes: Argon2id in a small pool of threads, with a bounded queue in front.

Parameters m = 19 MiB, t = 2, p = 1 (OWASP; about 22 ms on a small server). The queue
is bounded because each hash in flight costs memory: a flood of log-ins is told to come back.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Final, Self, TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from cloud.core.account import normalise_password

MEMORY_KIB: Final = 19 * 1024
TIME_COST: Final = 2
PARALLELISM: Final = 1
THREADS: Final = 2
QUEUE: Final = 64  # about 0.7 s of work for two threads

T = TypeVar("T")


class BusyError(Exception):
    """Too many passwords are being checked; try again in a moment."""


class Passwords:
    """Hashes and verifies off the event loop. Close it, or use it as a context manager."""

    def __init__(self, threads: int = THREADS, queue: int = QUEUE) -> None:
        self._hasher = PasswordHasher(
            time_cost=TIME_COST, memory_cost=MEMORY_KIB, parallelism=PARALLELISM, type=Type.ID
        )
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="passwords")
        self._free = queue
        # What an unknown account is checked against, so that it takes the same time as a known one.
        self._nobody = self._hasher.hash("nobody has this password")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the running hashes end; queued ones are dropped."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    async def hash(self, password: str) -> str:
        """PHC string of the password. BusyError when the queue is full."""
        return await self._run(self._hash, password)

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether the password is the stored one; None (no such account) takes as long and is False."""
        return await self._run(self._verify, stored, password)

    async def _run(self, work: Callable[..., T], *arguments: object) -> T:
        if self._free <= 0:
            raise BusyError("too many passwords are being checked")
        self._free -= 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, work, *arguments)
        finally:
            self._free += 1

    def _hash(self, password: str) -> str:
        return self._hasher.hash(normalise_password(password))

    def _verify(self, stored: str | None, password: str) -> bool:
        try:
            matches = self._hasher.verify(stored or self._nobody, normalise_password(password))
        except (VerificationError, InvalidHashError):
            return False
        return matches and stored is not None
