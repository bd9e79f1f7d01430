"""Modbus driver: whole-block reads from a UPS over RTU, TCP or RTU-over-TCP, with the manners the unit needs.

pymodbus carries the bytes. What it does not do is done here: silence before every request, a check of the
answer's length, never abandoning a request half-way (on a serial line its late answer would be taken for the
answer of the next one), and after a time-out, quiet and a look at the verification block before any other
value is trusted. UPSs behind one line share its connection and its lock.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import termios
from typing import TYPE_CHECKING, Final

import structlog
from pymodbus import FramerType
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.exceptions import ConnectionException, ModbusException, ModbusIOException

from agent.core.register_write import check_allowed
from agent.errors import LinkDownError, LinkError, LinkRefusedError, LinkUnsureError, LinkUntrustedError
from protocol.faults import reach
from protocol.registers import BLOCKS, verification_ok

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from pymodbus.pdu import ModbusPDU

    from agent.config import ModbusAddress

GAP_S: Final = 0.035  # silence before a request; a UPS takes less for the same frame going on
RTU_TIMEOUT_S: Final = 0.6  # both known clients use 500 ms
TCP_TIMEOUT_S: Final = 2.0  # management cards were seen to take over 500 ms
QUIET_S: Final = 1.0  # after a time-out: longer than any late answer takes
SETTLE_S: Final = 0.2  # after a write: closer ones reset the UPS' controller
TRIES: Final = 3
LINE_DEAD_AFTER: Final = 3  # failures in a row, of any unit, before the line is opened anew
LONGEST_ANSWER_BYTES: Final = 260
BITS_PER_BYTE: Final = 10
CERTAINLY_REFUSED: Final = {1, 2, 3, 4}  # others: it is being done, or a go-between got no answer
REOPEN_EVERY_S: Final = 1.0

_VERIFICATION: Final = BLOCKS["verification"]
_log = structlog.get_logger(__name__)


class Line:
    """One serial line or TCP connection; all requests of all units on it go one after the other."""

    def __init__(self, address: ModbusAddress, baud_rate: int) -> None:
        self._address = address
        self._baud_rate = baud_rate
        self._lock = asyncio.Lock()
        self._client: AsyncModbusSerialClient | AsyncModbusTcpClient | None = None
        self._next_open_s = 0.0
        self._why_closed = f"{address} was closed"
        self._free_s = 0.0  # loop time from which a request may be sent
        self._failures = 0
        self._suspect = False
        self._closing = False
        self._running: set[asyncio.Task[object]] = set()

    @property
    def _timeout_s(self) -> float:
        if not self._address.rtu:
            return TCP_TIMEOUT_S
        if self._address.path is None:
            return TCP_TIMEOUT_S
        return RTU_TIMEOUT_S + LONGEST_ANSWER_BYTES * BITS_PER_BYTE / self._baud_rate

    async def ask(self, unit: int, request: Callable[[], Awaitable[Sequence[int]]]) -> Sequence[int]:
        """Run a request alone on the line. Cancelling the caller does not cancel the request."""

        async def alone() -> Sequence[int]:
            async with self._lock:
                if self._closing:
                    raise LinkDownError(f"{self._address} is being closed")
                await self._open()
                if self._suspect:
                    await self._verify(unit)
                return await request()

        task = asyncio.create_task(alone(), name=f"modbus {self._address} unit {unit}")
        self._running.add(task)
        task.add_done_callback(self._finished)
        return await asyncio.shield(task)

    def _finished(self, task: asyncio.Task[object]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # an abandoned request's failure interests nobody

    async def send(self, unit: int, start: int, count: int) -> Sequence[int]:
        """Read words; inside `ask` only."""
        client = self._connected()
        answer = await self._exchange(
            lambda: client.read_holding_registers(start, count=count, device_id=unit), f"read {start}x{count}"
        )
        words = answer.registers
        if len(words) != count:
            await self._fell_silent()
            raise LinkDownError(f"asked for {count} words at {start}, {len(words)} came")
        return words

    async def store(self, unit: int, address: int, words: Sequence[int]) -> Sequence[int]:
        """Write the words of one row, once; inside `ask` only. LinkUnsureError: perhaps it was written."""
        client = self._connected()
        reach("agent.serial.write")
        what = f"write {address}"
        try:
            if len(words) == 1:
                await self._exchange(lambda: client.write_register(address, words[0], device_id=unit), what)
            else:
                await self._exchange(
                    lambda: client.write_registers(address, list(words), device_id=unit), what
                )
        except LinkDownError as error:
            raise LinkUnsureError(str(error)) from error
        except LinkRefusedError as error:
            if error.code in CERTAINLY_REFUSED:
                raise
            raise LinkUnsureError(str(error)) from error
        finally:
            self._free_s = asyncio.get_running_loop().time() + SETTLE_S
        return ()

    async def close(self) -> None:
        """Wait for the request under way, then close; those that wait for their turn get LinkDownError."""
        self._closing = True
        await asyncio.gather(*self._running, return_exceptions=True)
        self._drop()

    async def _exchange(self, call: Callable[[], Awaitable[ModbusPDU]], what: str) -> ModbusPDU:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._free_s - loop.time()))
        try:
            answer = await call()
        except ConnectionException as error:
            self._drop()
            raise LinkDownError(f"{what}: the connection to {self._address} broke") from error
        except ModbusIOException as error:
            await self._fell_silent()
            silence = f"{what}: no answer within {self._timeout_s:.1f} s"
            raise LinkDownError(f"{silence}; is Modbus switched on, and the unit id right?") from error
        except (ModbusException, OSError) as error:
            await self._fell_silent()
            raise LinkDownError(f"{what}: {error}") from error
        self._free_s = loop.time() + (GAP_S if self._address.rtu else 0.0)
        self._failures = 0
        if answer.isError():
            raise LinkRefusedError(answer.exception_code, what)
        return answer

    async def _fell_silent(self) -> None:
        """After a time-out or garbage: let late answers pass, and trust nothing until verified."""
        self._failures += 1
        if self._address.rtu:
            self._suspect = True
            await asyncio.sleep(QUIET_S)
        if self._failures >= LINE_DEAD_AFTER:
            self._drop()

    async def _verify(self, unit: int) -> None:
        words = await self.send(unit, _VERIFICATION.start, _VERIFICATION.count)
        if not verification_ok(words):
            await self._fell_silent()
            raise LinkUntrustedError("the verification block is wrong after a time-out")
        self._suspect = False

    async def _open(self) -> None:
        if self._client is not None and self._client.connected:
            return
        self._drop()
        loop = asyncio.get_running_loop()
        if loop.time() < self._next_open_s:
            raise LinkDownError(self._why_closed)
        self._next_open_s = loop.time() + REOPEN_EVERY_S
        client = self._make_client()
        try:
            connected = await client.connect()
        except (ModbusException, OSError, termios.error) as error:  # the last: hung up while it was opened
            client.close()
            self._why_closed = f"{self._address}: {error}"
            raise LinkDownError(self._why_closed) from error
        if not connected:
            client.close()
            self._why_closed = self._why_not()
            raise LinkDownError(self._why_closed)
        self._client = client
        self._failures = 0
        self._suspect = False  # what was under way went with the old connection

    def _why_not(self) -> str:
        """What keeps the line closed; pymodbus says only that it is."""
        if self._address.path is None:
            return f"nothing accepts a connection at {self._address}"
        try:
            handle = os.open(self._address.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return f"{self._address} does not exist; is it plugged in?"
        except OSError as error:
            return f"{self._address} cannot be opened: {error.strerror}"
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return f"{self._address} cannot be opened: another program has it"
        finally:
            os.close(handle)
        return f"{self._address} cannot be opened, or is no serial line"

    def _make_client(self) -> AsyncModbusSerialClient | AsyncModbusTcpClient:
        if self._address.path is not None:
            return AsyncModbusSerialClient(
                self._address.path,
                baudrate=self._baud_rate,
                timeout=self._timeout_s,
                retries=0,
                reconnect_delay=0,
            )
        return AsyncModbusTcpClient(
            self._address.host or "",
            port=self._address.port,
            framer=FramerType.RTU if self._address.rtu else FramerType.SOCKET,
            timeout=self._timeout_s,
            retries=0,
            reconnect_delay=0,
        )

    def _connected(self) -> AsyncModbusSerialClient | AsyncModbusTcpClient:
        if self._client is None:
            raise LinkDownError(self._why_closed)
        return self._client

    def _drop(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


class Lines:
    """The lines of a process, one per address."""

    def __init__(self) -> None:
        self._lines: dict[ModbusAddress, Line] = {}

    def link(self, address: ModbusAddress, unit: int, baud_rate: int) -> UnitLink:
        """A link to a unit; units at the same address share the line."""
        line = self._lines.setdefault(address, Line(address, baud_rate))
        return UnitLink(line, unit)

    async def close(self) -> None:
        """Close every line."""
        await asyncio.gather(*(line.close() for line in self._lines.values()))


class UnitLink:
    """`Link` to one unit. It reads the verification block before anything else, after each trouble."""

    def __init__(self, line: Line, unit: int) -> None:
        self._line = line
        self._unit = unit
        self._trusted = False
        self._patient = True  # a unit that was just silent gets one try, so that others on the line go on

    async def read(self, start: int, count: int) -> Sequence[int]:
        """Words of whole rows, tried up to three times."""
        await self._trust()
        return await self._try(start, count)

    async def write(self, address: int, words: Sequence[int]) -> None:
        """Write one row of the allow-list. Tried once: the caller reads back before it tries again."""
        check_allowed(address, words)
        await self._trust()
        await self._line.ask(self._unit, lambda: self._line.store(self._unit, address, words))

    async def close(self) -> None:
        """Nothing to give back: the line is closed with all others."""

    async def _trust(self) -> None:
        if self._trusted:
            return
        words = await self._try(_VERIFICATION.start, _VERIFICATION.count)
        if not verification_ok(words):
            raise LinkUntrustedError("the verification block (2048 to 2061) is wrong")
        self._trusted = True

    async def _try(self, start: int, count: int) -> Sequence[int]:
        failure: LinkError | None = None
        for _ in range(TRIES if self._patient else 1):
            try:
                words = await self._line.ask(self._unit, lambda: self._line.send(self._unit, start, count))
            except LinkRefusedError:
                self._patient = True
                raise
            except LinkError as error:
                failure = error
                continue
            self._patient = True
            return words
        self._patient = self._trusted = False
        assert failure is not None  # noqa: S101  the loop runs at least once
        raise failure
