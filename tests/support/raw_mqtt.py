"""A device that speaks MQTT packet by packet: a test decides what is sent and sees what comes back."""

import asyncio
import ssl
import time
from collections.abc import Callable
from typing import Any, TypeVar

from protocol import topics
from protocol.codec import pack_batch, pack_sample
from protocol.messages import Hello, KeySet, Watch
from protocol.mqtt import (
    V5,
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    PubAck,
    Publish,
    Reader,
    SubAck,
    Subscribe,
    encode,
)
from protocol.signing import is_key_set, login_token, open_control, seal_announcement
from tests.support.claiming import TestDevice

P = TypeVar("P")
TIMEOUT_S = 10.0
AUDIENCE = "smartconnect"


class RawDevice:
    """One device with one connection at a time."""

    def __init__(self, port: int, authority: str, key_set: KeySet, version: int = V5) -> None:
        self.identity = TestDevice()
        self.version = version
        self.received: list[Packet] = []
        """Everything that came and was not waited for yet."""
        self.closed = False
        self.iat_ms = 0
        self._port = port
        self._context = ssl.create_default_context(cadata=authority)
        self._key_set = key_set
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Condition()
        self._packet_id = 0

    # --- packets --------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """The TLS connection alone."""
        await self.close()
        self.received, self.closed = [], False
        self._reader, self._writer = await asyncio.open_connection(
            "localhost", self._port, ssl=self._context, server_hostname="localhost"
        )
        self._task = asyncio.create_task(self._read())

    async def close(self) -> None:
        """Close without a word."""
        if self._writer is not None:
            self._writer.transport.abort()
            self._writer = None
        if self._task is not None:
            await self._task
            self._task = None

    async def send(self, *packets: Packet | bytes) -> None:
        """Write packets, in one piece."""
        if self._writer is None:
            raise ConnectionError("not connected")
        self._writer.write(b"".join(p if isinstance(p, bytes) else encode(p, self.version) for p in packets))
        await self._writer.drain()

    async def wait(self, kind: type[P], holds: Callable[[P], bool] = lambda _: True) -> P:
        """The first packet of this kind that nobody has waited for. TimeoutError, ConnectionError."""

        def find() -> P | None:
            return next((p for p in self.received if isinstance(p, kind) and holds(p)), None)

        async with asyncio.timeout(TIMEOUT_S), self._changed:
            await self._changed.wait_for(lambda: find() is not None or self.closed)
            found = find()
            if found is None:
                raise ConnectionError(f"closed before a {kind.__name__}; came: {self.received}")
            self.received.remove(found)  # type: ignore[arg-type]  # it is a packet
            return found

    async def wait_closed(self) -> None:
        """Until the gateway has closed the connection."""
        async with asyncio.timeout(TIMEOUT_S), self._changed:
            await self._changed.wait_for(lambda: self.closed)

    async def wait_acks(self, count: int) -> list[PubAck]:
        """The next so many PUBACKs, in the order they came."""
        return [await self.wait(PubAck) for _ in range(count)]

    async def _read(self) -> None:
        reader = Reader(from_client=False, version=self.version)
        if self._reader is None:
            return
        try:
            while data := await self._reader.read(65536):
                async with self._changed:
                    self.received += reader.feed(data)
                    self._changed.notify_all()
        except (ConnectionError, ssl.SSLError):
            pass
        async with self._changed:
            self.closed = True
            self._changed.notify_all()

    # --- a device's own words -------------------------------------------------------------------------------

    def token(self, **changes: Any) -> str:
        """A fresh log-in token."""
        self.iat_ms = max(self.iat_ms + 1, time.time_ns() // 1_000_000)
        values: dict[str, Any] = {
            "audience": AUDIENCE,
            "device_id": self.identity.device_id,
            "iat_ms": self.iat_ms,
            "exp_ms": self.iat_ms + 600_000,
        }
        return login_token(self.identity.key, **(values | changes))

    def connect_packet(self, **changes: Any) -> Connect:
        """A CONNECT as it should be."""
        values: dict[str, Any] = {
            "client_id": self.identity.kid,
            "version": self.version,
            "username": self.identity.kid,
            "keep_alive_s": 60,
        }
        if "password" not in changes:
            changes["password"] = self.token().encode()
        return Connect(**(values | changes))

    async def log_in(self, **changes: Any) -> ConnAck:
        """Open, CONNECT, CONNACK."""
        await self.open()
        await self.send(self.connect_packet(**changes))
        return await self.wait(ConnAck)

    async def greet(self) -> Hello:
        """Log in and subscribe; the hello."""
        connack = await self.log_in()
        if connack.code:
            raise ConnectionError(f"refused: {connack.code:#x}")
        await self.send(Subscribe(self.next_id(), ((topics.control(self.identity.kid), 0),)))
        await self.wait(SubAck)
        return await self.hello()

    async def hello(self, holds: Callable[[Hello], bool] = lambda _: True) -> Hello:
        """The next hello."""
        while True:
            message = await self.control()
            if isinstance(message, Hello) and holds(message):
                return message

    async def watch(self) -> Watch:
        """The next watch."""
        while True:
            message = await self.control()
            if isinstance(message, Watch):
                return message

    async def control(self) -> Any:
        """The next control message but the key set, its signature checked."""
        while True:
            publish = await self.wait(Publish)
            if publish.topic != topics.control(self.identity.kid):
                raise AssertionError(f"a message on {publish.topic}")
            if not is_key_set(publish.payload):
                return open_control(publish.payload, self._key_set, None)

    async def announce(self, hello: Hello, **changes: Any) -> PubAck:
        """Announce in this session; the PUBACK."""
        announcement = self.identity.announcement()
        values = {name: getattr(announcement, name) for name in announcement.__slots__}
        announcement = type(announcement)(**(values | {"nonce": hello.nonce} | changes))
        sealed = seal_announcement(announcement, self.identity.label, self.identity.key)
        await self.send(self.publish(topics.announce(self.identity.kid), sealed))
        return await self.wait(PubAck)

    def next_id(self) -> int:
        """A packet identifier."""
        self._packet_id = self._packet_id % 65535 + 1
        return self._packet_id

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, **changes: Any) -> Publish:
        """A PUBLISH with the next packet identifier."""
        return Publish(topic, payload, qos, self.next_id() if qos else 0, **changes)

    def telemetry(self, epoch: int, stream: int, *seqs: int, **values: float) -> Publish:
        """A PUBLISH of one batch of samples, a second apart, ending now."""
        now_ms = time.time_ns() // 1_000_000
        samples = [
            pack_sample({"ts": now_ms - 1000 * (len(seqs) - i), "seq": seq, "input_voltage": 230.0, **values})
            for i, seq in enumerate(seqs)
        ]
        return self.publish(topics.telemetry(self.identity.kid, epoch, stream), pack_batch(samples))


async def gone(device: RawDevice) -> int | None:
    """Until the connection is closed; the reason of the DISCONNECT, if one came."""
    await device.wait_closed()
    return next((p.reason for p in device.received if isinstance(p, Disconnect)), None)
