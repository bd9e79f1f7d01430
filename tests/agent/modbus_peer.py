"""A Modbus server that serves words given to it, and misbehaves when told to. It knows no register map."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

READ: Final = 3
WRITE_ONE: Final = 6
ILLEGAL_ADDRESS: Final = 2


def crc16(data: bytes) -> bytes:
    """The checksum of an RTU frame, low byte first (Modbus over serial line 1.02, appendix B)."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc.to_bytes(2, "little")


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asked, and when by the loop's clock."""

    unit: int
    function: int
    address: int
    value: int  # count of a read, word of a write
    at_s: float


@dataclass(slots=True)
class Trouble:
    """How one answer goes wrong."""

    delay_s: float = 0.0
    silent: bool = False
    cut_words: int = 0  # the answer has fewer words than asked for, with a sound frame
    exception: int = 0
    hang_up: bool = False


@dataclass
class ModbusPeer:
    """Listens on a free port of 127.0.0.1. ``words`` by address; ``troubles`` are used up one an answer."""

    rtu: bool = False
    units: frozenset[int] = frozenset({1})
    words: dict[int, int] = field(default_factory=dict)
    troubles: deque[Trouble] = field(default_factory=deque)
    requests: list[Request] = field(default_factory=list)
    port: int = 0
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _serving: set[asyncio.Task[None]] = field(default_factory=set)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    def load(self, start: int, words: Iterable[int]) -> None:
        """Put words at consecutive addresses."""
        self.words.update(enumerate(words, start))

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        for writer in self._writers:
            writer.close()
        await asyncio.gather(*self._tasks, *self._serving, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def address(self) -> str:
        """How a setting names it."""
        return f"{'rtu+tcp' if self.rtu else 'tcp'}://127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        task = asyncio.current_task()
        if task is not None:
            self._serving.add(task)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = b"" if self.rtu else await reader.readexactly(6)
                frame = await reader.readexactly(8 if self.rtu else struct.unpack(">H", head[4:])[0])
                unit, function, address, value = struct.unpack(">BBHH", frame[:6])
                asked = Request(unit, function, address, value, asyncio.get_running_loop().time())
                self.requests.append(asked)
                answer = asyncio.create_task(self._answer(asked, head, writer))
                self._tasks.add(answer)
                answer.add_done_callback(self._tasks.discard)

    async def _answer(self, asked: Request, head: bytes, writer: asyncio.StreamWriter) -> None:
        trouble = self.troubles.popleft() if self.troubles else Trouble()
        if asked.unit not in self.units or trouble.silent:
            return
        if trouble.hang_up:
            writer.close()
            return
        await asyncio.sleep(trouble.delay_s)
        body = bytes([asked.unit]) + self._body(asked, trouble)
        data = body + crc16(body) if self.rtu else head[:4] + struct.pack(">H", len(body)) + body
        with contextlib.suppress(OSError):
            writer.write(data)
            await writer.drain()

    def _body(self, asked: Request, trouble: Trouble) -> bytes:
        if trouble.exception:
            return bytes([asked.function | 0x80, trouble.exception])
        if asked.function == WRITE_ONE:
            self.words[asked.address] = asked.value
            return struct.pack(">BHH", WRITE_ONE, asked.address, asked.value)
        if asked.function != READ or asked.address not in self.words:
            return bytes([asked.function | 0x80, ILLEGAL_ADDRESS])
        words = [self.words.get(asked.address + i, 0xFFFF) for i in range(asked.value - trouble.cut_words)]
        return struct.pack(f">BB{len(words)}H", READ, 2 * len(words), *words)

    @property
    def connections(self) -> int:
        """How often somebody connected."""
        return len(self._writers)

    def reads(self) -> Iterator[tuple[int, int]]:
        """(address, count) of every read so far."""
        return ((r.address, r.value) for r in self.requests if r.function == READ)
