"""A gateway that answers as it is told to: real TLS, real MQTT 5, real signatures, no database.

For what the real gateway cannot be made to say on demand: reason codes, forged and old hellos, silence.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

from cloud.config import Settings
from cloud.provision import load_signer, provision, sealed_key_set
from protocol import topics
from protocol.codec import decode as decode_message
from protocol.errors import Reason
from protocol.messages import Command, CommandResult, Hello, KeyUse, Watch
from protocol.mqtt import (
    V5,
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    PingReq,
    PingResp,
    Property,
    PubAck,
    Publish,
    Reader,
    SubAck,
    Subscribe,
    encode,
)
from protocol.signing import read_login_token, seal_control

if TYPE_CHECKING:
    import datetime as dt
    from collections import deque
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from cloud.provision import Signer
    from protocol.messages import ControlMessage, Installation
    from protocol.topics import UpKind

WAIT_S = 20.0
HOUR_MS = 3_600_000


@dataclass
class GatewayPeer:
    """One listener. ``hello`` is what the next subscription is told; None says nothing."""

    folder: Path
    host: str = "127.0.0.1"
    hosts: tuple[str, ...] = ()  # further names of its certificate
    made: dt.datetime | None = None  # when this cloud and its certificates were made; now
    hello: Hello | None = None
    connack: int = Reason.SUCCESS
    receive_maximum: int = 64
    reasons: dict[UpKind, deque[int | None]] = field(default_factory=dict)  # None: no PUBACK
    received: list[Publish] = field(default_factory=list)
    logins: list[int] = field(default_factory=list)  # iat of each
    subscriptions: int = 0
    signer: Signer = field(init=False)
    orders: Signer = field(init=False)  # the command key, which a real gateway does not hold
    installation: Installation = field(init=False)
    kid: str = ""
    _server: asyncio.Server | None = None
    _writer: asyncio.StreamWriter | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _serving: set[asyncio.Task[None]] = field(default_factory=set)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _n: int = 0
    _counter: int = 0

    async def __aenter__(self) -> Self:
        installation = provision(self._settings(), self.made)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "tls" / "server.pem", self.folder / "tls" / "server.key")
        self._server = await asyncio.start_server(self._serve, self.host, 0, ssl=context)
        port = self._server.sockets[0].getsockname()[1]
        self.installation = replace(installation, gateway_host=self.host, gateway_port=port)
        self.signer = load_signer(self.folder, KeyUse.NOTICE)
        self.orders = load_signer(self.folder, KeyUse.COMMAND)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await self._server.wait_closed()

    def _settings(self) -> Settings:
        plain = Settings(state_dir=self.folder)
        return replace(plain, hosts=(*plain.hosts, *self.hosts))

    # --- what a test does ----------------------------------------------------------------------------------

    def owned(self, epoch: int, **values: int) -> Hello:
        """A hello that says owned; kid, log-in and counter are filled in when it is sent."""
        return Hello(
            kid="",
            login_ms=0,
            n=0,
            server_time_ms=now_ms(),
            nonce=bytes(32),
            owned=True,
            epoch=epoch,
            **values,
        )

    def unowned(self) -> Hello:
        """A hello that says nobody owns the device."""
        return Hello(kid="", login_ms=0, n=0, server_time_ms=now_ms(), nonce=bytes(32), owned=False)

    def say_hello(self, hello: Hello, **changes: object) -> None:
        """Send it on the present connection; ``changes`` make it a wrong one.

        It tells the time of its sending, unless a test has made it from another hour.
        """
        self._n += 1
        right = replace(hello, kid=self.kid, login_ms=self.logins[-1], n=self._n)
        if abs(now_ms() - hello.server_time_ms) < HOUR_MS:
            right = replace(right, server_time_ms=now_ms())
        self.say(replace(right, **changes))  # type: ignore[arg-type]  # fields of a hello

    def say_watch(self, seconds: int) -> None:
        """Somebody looks at the device's page."""
        self._n += 1
        self.say(Watch(kid=self.kid, login_ms=self.logins[-1], n=self._n, seconds=seconds))

    def say(self, message: ControlMessage, signer: Signer | None = None) -> None:
        """Send a control message, signed."""
        by = signer or self.signer
        self.say_bytes(seal_control(message, by.key_id, by.key))

    def command(self, kind: str, **changes: object) -> Command:
        """A sound command to the device as the last hello describes it; ``changes`` make it a wrong one."""
        assert self.hello is not None
        self._counter = max(self._counter + 1, now_ms())
        sound = Command(
            command_id=f"command-{self._counter}",
            kid=self.kid,
            epoch=self.hello.epoch,
            counter=self._counter,
            issued_ms=now_ms(),
            expires_ms=now_ms() + 30_000,
            kind=kind,
        )
        return replace(sound, **changes)  # type: ignore[arg-type]  # fields of a command

    def say_command(self, command: Command) -> None:
        """Send it, signed by the command key."""
        self.say(command, self.orders)

    def results(self) -> list[CommandResult]:
        """What the device says became of its commands, in order."""
        return [
            decode_message(publish.payload, CommandResult, 8192) for publish in self.of(topics.UpKind.RESULT)
        ]

    async def result_of(self, command: Command, timeout_s: float = WAIT_S) -> CommandResult:
        """Its result, once it has come."""

        def found() -> list[CommandResult]:
            return [one for one in self.results() if one.command_id == command.command_id]

        await self.until(f"the result of {command.kind}", found, timeout_s)
        return found()[0]

    def say_bytes(self, payload: bytes, *, retain: bool = False) -> None:
        """Send a control message as it is."""
        self._write(Publish(topics.control(self.kid), payload, retain=retain))

    def answer(self, publish: Publish, reason: int) -> None:
        """The PUBACK that was held back."""
        self._write(PubAck(publish.packet_id, reason))

    def cut(self) -> None:
        """Break the connection."""
        assert self._writer is not None
        self._writer.transport.abort()

    def of(self, kind: UpKind) -> list[Publish]:
        """What came of one kind."""
        return [publish for publish in self.received if topics.parse(publish.topic).kind is kind]

    async def until(self, what: str, holds: Callable[[], object], timeout_s: float = WAIT_S) -> None:
        """Wait until it holds; it is looked at after every packet. AssertionError names what did not come."""
        try:
            async with asyncio.timeout(timeout_s):
                while not holds():
                    self._changed.clear()
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._changed.wait(), 0.1)
        except TimeoutError:
            raise AssertionError(f"not within {timeout_s:g} s: {what}") from None

    # --- MQTT ----------------------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._serving.add(task)
        self._writer = writer
        self._writers.add(writer)
        packets = Reader(from_client=True)
        try:
            while data := await reader.read(65_536):
                for packet in packets.feed(data):
                    self._answer(packet)
                self._changed.set()
        except (OSError, ssl.SSLError):
            pass
        finally:
            writer.close()
            self._changed.set()

    def _answer(self, packet: Packet) -> None:
        match packet:
            case Connect(client_id=kid, username=name, password=password):
                assert kid == name
                self.kid, self._n = kid, 0
                self.logins.append(read_login_token((password or b"").decode()).iat_ms)
                properties = {Property.RECEIVE_MAXIMUM: self.receive_maximum}
                self._write(ConnAck(self.connack, properties=properties))
            case Subscribe(packet_id=number, filters=filters):
                assert [name for name, _ in filters] == [topics.control(self.kid)]
                self._write(SubAck(number, (0,)))
                self.subscriptions += 1
                self.say_bytes(sealed_key_set(self.folder))
                if self.hello is not None:
                    self.say_hello(self.hello)
            case Publish(topic=topic, packet_id=number, qos=qos):
                self.received.append(packet)
                waiting = self.reasons.get(topics.parse(topic).kind)
                reason = waiting.popleft() if waiting else Reason.SUCCESS
                if qos and reason is not None:
                    self._write(PubAck(number, reason))
            case PingReq():
                self._write(PingResp())
            case Disconnect():
                pass
            case _:
                raise AssertionError(f"a device does not send {packet}")

    def _write(self, packet: Packet) -> None:
        assert self._writer is not None
        if not self._writer.is_closing():
            self._writer.write(encode(packet, V5))


def now_ms() -> int:
    """Unix time."""
    return time.time_ns() // 1_000_000
