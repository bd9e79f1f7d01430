"""What the parts of the acceptance check ``claim`` share: the cloud, its people and devices, and waiting."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeVar

import psycopg

from tests.accept import CheckError, expect
from tests.support.device import WireDevice
from tests.support.parts import CloudParts
from tests.support.person import POLL_S, Answer, Person

WAIT_S: Final = 20.0

T = TypeVar("T")


class Check:
    """One run: the processes and the people."""

    def __init__(self, parts: CloudParts, folder: Path) -> None:
        self.parts = parts
        self.folder = folder
        self.people: list[Person] = []

    def device(self) -> WireDevice:
        """A device nobody has seen."""
        return WireDevice(self.parts.installation, self.parts.key_set)

    def rows(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        """What the database says."""
        with psycopg.connect(self.parts.dsn) as connection:
            return connection.execute(statement, values).fetchall()

    def owners(self, device: WireDevice) -> int:
        """How many live owners a device has."""
        live = self.rows(
            "SELECT 1 FROM v_ownership WHERE device_id = %s AND until_ms IS NULL", device.device_id
        )
        return len(live)


async def threaded(work: Callable[..., T], *arguments: object) -> T:
    """Run something blocking beside the event loop."""
    return await asyncio.get_running_loop().run_in_executor(None, work, *arguments)


async def stopped(task: asyncio.Future[None]) -> None:
    """Cancel it; what it failed with before is raised."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def until_final(person: Person, answer: Answer, pause_s: float = POLL_S) -> Answer:
    """Look at a claim until it is decided."""
    try:
        return await person.until_final(answer.body["claim_id"], WAIT_S, pause_s)
    except TimeoutError as error:
        raise CheckError(f"a claim is undecided after {WAIT_S} s") from error


async def expect_won(person: Person, answer: Answer, what: str) -> None:
    """CheckError unless this claim comes to be won."""
    expect_answer(await until_final(person, answer), 200, "won", what)


def expect_answer(answer: Answer, status: int, state: str, what: str) -> None:
    """CheckError unless the API answered so."""
    got = (answer.status, answer.body.get("state"))
    expect(got == (status, state), f"{what}: {got} instead of {(status, state)}")


@asynccontextmanager
async def connected(device: WireDevice) -> AsyncIterator[WireDevice]:
    """A device with a connection, until the block ends."""
    await threaded(device.connect)
    try:
        yield device
    finally:
        await threaded(device.close)


async def until(holds: Callable[[], bool], what: str) -> None:
    """Poll without blocking the loop."""
    deadline = time.monotonic() + WAIT_S
    while not holds():
        expect(time.monotonic() < deadline, f"not within {WAIT_S} s: {what}")
        await asyncio.sleep(0.002)
