"""MQTT 5 over TLS to the gateway: one connection, as awaitable calls.

paho-mqtt does the protocol; its socket is driven by the asyncio loop, so every callback runs in the loop's
thread and no lock is taken anywhere. Only connecting, which blocks for name look-up and handshake, happens in
a thread. A connection is used once: after it broke, the next is a new object with a new log-in.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import structlog
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion

from agent.background import in_daemon_thread
from agent.errors import UplinkDatesError, UplinkDownError, UplinkRefusedError
from agent.proxy import STRAIGHT, ProxyError, Way
from protocol.errors import Reason
from protocol.faults import reach

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

    from protocol.messages import Installation

KEEP_ALIVE_S: Final = 30  # finds a dead path within 45 s, and costs two bytes each time
CONNECT_TIMEOUT_S: Final = 10.0
CLOSE_TIMEOUT_S: Final = 2.0
OWN_WINDOW: Final = 20  # unacknowledged messages; an announcement, an event and a batch at the most
DATES_ONLY: Final = {9, 10}  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
REFUSED_FROM: Final = 0x80
CONTROL_QUEUE: Final = 256  # control messages waiting; more than a gateway ever sends at once
_log = structlog.get_logger(__name__)


def tls_context(ca_pem: str) -> ssl.SSLContext:
    """Verifies chain and host name against the installation's authority, and nothing else."""
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cadata=ca_pem)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class _Client(paho.Client):
    """paho's client with a TLS socket of ours: paho leaves its own one open when the handshake fails, and has
    no proxy of its own.
    """

    tls: ssl.SSLContext
    way: Way

    def _create_socket(self) -> ssl.SSLSocket:
        plain = self.way.connect(self.host, self.port, CONNECT_TIMEOUT_S)
        try:
            return self.tls.wrap_socket(plain, server_hostname=self.host)  # closes it when that fails
        finally:
            plain.close()  # detached if it went well


@dataclass(frozen=True, slots=True)
class Heard:
    """A control message. ``kept``: something on the way had kept it (retained, or of a QoS with a queue)."""

    payload: bytes
    kept: bool = False


class Uplink:
    """One MQTT connection. `open` it, `subscribe`, `publish`; `closed` is set once it is gone."""

    def __init__(
        self,
        installation: Installation,
        tls: ssl.SSLContext,
        kid: str,
        password: str,
        *,
        check_certificate: Callable[[Mapping[str, object]], None] | None = None,
        way: Way = STRAIGHT,
    ) -> None:
        self._check_certificate = check_certificate
        self._loop = asyncio.get_running_loop()
        self._host, self._port = installation.gateway_host, installation.gateway_port
        self._client = _Client(
            CallbackAPIVersion.VERSION2, client_id=kid, protocol=MQTTProtocolVersion.MQTTv5
        )
        self._client.username_pw_set(kid, password)
        self._client.tls, self._client.way = tls, way
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._client.on_socket_close = self._on_socket_close
        self._client.on_socket_register_write = self._on_register_write
        self._client.on_socket_unregister_write = self._on_unregister_write
        self._accepted: asyncio.Future[None] = self._loop.create_future()
        self._window = asyncio.Semaphore(OWN_WINDOW)
        self._waiting: dict[int, asyncio.Future[int]] = {}
        self._misc: asyncio.Task[None] | None = None
        self._socket: socket.socket | None = None
        self.messages: asyncio.Queue[Heard] = asyncio.Queue(CONTROL_QUEUE)
        self.closed = asyncio.Event()
        self.close_reason = ""

    async def open(self) -> None:
        """Connect and log in. UplinkRefusedError if the gateway says no, UplinkDownError for all else."""
        try:
            await in_daemon_thread(self._connect, late=self._release)
            self._adopt()
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await self._accepted
        except TimeoutError as error:
            raise UplinkDownError(f"{self._host}:{self._port} did not answer in time") from error
        except ssl.SSLCertVerificationError as error:
            kind = UplinkDatesError if error.verify_code in DATES_ONLY else UplinkDownError
            raise kind(
                f"{self._host}:{self._port} is not this installation's gateway: {error.verify_message}"
            ) from error
        except ProxyError as error:
            raise UplinkDownError(str(error)) from error
        except (OSError, ValueError) as error:  # ssl's errors are OSErrors, host names' ValueErrors
            raise UplinkDownError(f"{self._host}:{self._port}: {error}") from error
        self._misc = asyncio.create_task(self._run_misc(), name="mqtt keep-alive")

    async def subscribe(self, topic: str) -> None:
        """Subscribe with QoS 0; UplinkDownError if the gateway does not grant it."""
        code, mid = self._client.subscribe(topic, qos=0)
        reason = await self._answer(code, mid)
        if reason >= REFUSED_FROM:
            raise UplinkDownError(f"the gateway refused the subscription ({reason:#04x})")

    async def publish(self, topic: str, payload: bytes) -> int:
        """Publish with QoS 1 and wait for the PUBACK, as long as the connection lives; its reason code."""
        reach("agent.publish")
        async with self._window:
            info = self._client.publish(topic, payload, qos=1)
            reason = await self._answer(info.rc, info.mid)
        reach("agent.puback")
        return int(reason)

    def publish_once(self, topic: str, payload: bytes) -> None:
        """Publish with QoS 0 and forget. On a dead path the keep-alive ends the pile within a minute."""
        self._client.publish(topic, payload, qos=0)

    async def close(self) -> None:
        """Say goodbye if possible, and release everything."""
        if self._misc is not None:
            self._misc.cancel()
        if not self.closed.is_set() and self._accepted.done():
            self._client.disconnect()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await self.closed.wait()
        self._lost("closed")
        self._release()

    async def _answer(self, code: MQTTErrorCode, mid: int | None) -> int:
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS or mid is None or self.closed.is_set():
            raise UplinkDownError(self.close_reason or paho.error_string(code))
        future = self._waiting[mid] = self._loop.create_future()
        try:
            reason: int = await future
            return reason
        finally:
            self._waiting.pop(mid, None)

    # --- driven by the loop --------------------------------------------------------------------------------

    def _connect(self) -> None:
        self._client.connect(self._host, self._port, keepalive=KEEP_ALIVE_S, clean_start=True)

    def _adopt(self) -> None:
        """Let the loop drive the socket, from when the connecting thread is done with it."""
        sock = self._client.socket()
        if sock is None:
            raise UplinkDownError(self.close_reason or "the connection broke at once")
        self._socket = cast("socket.socket", sock)
        if self._check_certificate is not None and isinstance(sock, ssl.SSLSocket):
            self._check_certificate(sock.getpeercert() or {})
        self._loop.add_reader(sock, self._readable)
        self._watch_writable()

    def _on_register_write(self, _client: paho.Client, _data: Any, _sock: Any) -> None:
        self._loop.call_soon_threadsafe(self._watch_writable)

    def _watch_writable(self) -> None:
        if self._socket is not None and self._client.want_write():
            self._loop.add_writer(self._socket, self._client.loop_write)

    def _on_unregister_write(self, _client: paho.Client, _data: Any, _sock: Any) -> None:
        self._loop.call_soon_threadsafe(self._unwatch_writable)

    def _unwatch_writable(self) -> None:
        if self._socket is not None and not self._client.want_write():
            self._loop.remove_writer(self._socket)

    def _on_socket_close(self, _client: paho.Client, _data: Any, sock: Any) -> None:
        if self._socket is sock:
            self._let_go()

    def _let_go(self) -> None:
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._socket = None

    def _readable(self) -> None:
        self._client.loop_read()
        while isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            self._client.loop_read()  # bytes already decrypted do not make the socket readable again

    async def _run_misc(self) -> None:
        while not self.closed.is_set():
            await asyncio.sleep(1)
            if self._client.loop_misc() != MQTTErrorCode.MQTT_ERR_SUCCESS:
                self._lost("no answer to the keep-alive")

    def _on_connect(
        self, _client: paho.Client, _data: Any, _flags: Any, reason: Any, properties: Any
    ) -> None:
        if self._accepted.done():
            return
        # paho does not look at the gateway's receive maximum, nor lets us set its own window any more.
        self._window = asyncio.Semaphore(
            min(OWN_WINDOW, getattr(properties, "ReceiveMaximum", None) or OWN_WINDOW)
        )
        if reason.value >= REFUSED_FROM:
            self._accepted.set_exception(_refusal(reason.value, reason.getName()))
        else:
            self._accepted.set_result(None)

    def _on_disconnect(
        self, _client: paho.Client, _data: Any, _flags: Any, reason: Any, _properties: Any
    ) -> None:
        self._lost(f"{reason.getName()} ({reason.value:#04x})")

    def _on_publish(self, _client: paho.Client, _data: Any, mid: int, reason: Any, _properties: Any) -> None:
        self._resolve(mid, int(reason.value))

    def _on_subscribe(
        self, _client: paho.Client, _data: Any, mid: int, reasons: Any, _properties: Any
    ) -> None:
        self._resolve(mid, int(reasons[0].value if reasons else Reason.UNSPECIFIED))

    def _on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        try:
            self.messages.put_nowait(Heard(bytes(message.payload), kept=bool(message.retain or message.qos)))
        except asyncio.QueueFull:
            _log.warning("a control message was dropped, too many are waiting")

    def _resolve(self, mid: int, reason: int) -> None:
        future = self._waiting.get(mid)
        if future is not None and not future.done():
            future.set_result(reason)

    def _lost(self, why: str) -> None:
        if self.closed.is_set():
            return
        self.close_reason = why
        self.closed.set()
        if not self._accepted.done():
            self._accepted.set_exception(UplinkDownError(why))
        if not self._accepted.cancelled():
            self._accepted.exception()  # retrieved: whoever waits for it gets it anyway
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(UplinkDownError(why))

    def _release(self) -> None:
        self._let_go()
        self._client.on_socket_close = None  # the client may outlive the loop
        self._client.on_socket_register_write = None
        self._client.on_socket_unregister_write = None
        sock = self._client.socket()
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.close()


def _refusal(reason: int, text: str) -> UplinkRefusedError | UplinkDownError:
    """A log-in that was judged, against a gateway that cannot judge now."""
    if reason in {Reason.SERVER_UNAVAILABLE, Reason.SERVER_BUSY, Reason.CONNECTION_RATE_EXCEEDED}:
        return UplinkDownError(f"the gateway is busy: {text}")
    return UplinkRefusedError(reason, text)
