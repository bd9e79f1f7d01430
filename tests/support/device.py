"""A device as the wire sees it: paho over TLS, its own key, the label's key, and what the cloud told it.

It speaks ``protocol`` alone and imports nothing of agent or cloud. All calls block: from a coroutine, use
``asyncio.to_thread``. Whatever ends the connection, or is wrong with what the cloud says, ends every wait.
"""

import secrets
import ssl
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from protocol import topics
from protocol.errors import ProtocolError
from protocol.identity import ProductId, ProductKey, device_id_of, kid_of
from protocol.messages import Announcement, Hello, Installation, KeySet
from protocol.signing import (
    is_key_set,
    label_key,
    login_token,
    open_control,
    open_key_set,
    public_bytes,
    seal_announcement,
)

ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
TIMEOUT_S: Final = 20.0
TOKEN_LIFE_MS: Final = 3_000_000


class DeviceError(Exception):
    """The connection ended, or the cloud said something it must not."""


class LoginRefusedError(DeviceError):
    """The CONNACK has this reason code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the log-in was refused: {code:#x}")
        self.code = code


def random_codes() -> tuple[ProductId, ProductKey]:
    """Product codes nobody else has."""
    text = "".join(secrets.choice(ALPHABET) for _ in range(26))
    return ProductId.parse(text[:12]), ProductKey.parse(text[12:])


class WireDevice:
    """One device with one connection at a time; as a context manager it connects and closes."""

    def __init__(
        self,
        installation: Installation,
        key_set: KeySet,
        codes: tuple[ProductId, ProductKey] | None = None,
        *,
        version: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv5,
    ) -> None:
        self.product_id, self.product_key = codes or random_codes()
        self.label = label_key(self.product_id, self.product_key)
        self.key = Ed25519PrivateKey.generate()
        self.kid = kid_of(public_bytes(self.key))
        self.device_id = device_id_of(self.product_id, public_bytes(self.label))
        self.sent: list[bytes] = []
        self.heard: list[bytes] = []
        """Topics and payloads of all that the cloud has said."""
        self._installation = installation
        self._key_set = key_set
        self._version = version
        self._client: Client | None = None
        self._changed = threading.Condition()
        self._hello: Hello | None = None
        self._acks: dict[int, int] = {}
        self._connack: int | None = None
        self._closed: int | None = None
        self._trouble: str | None = None
        self._last_iat_ms = 0

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def hello(self) -> Hello:
        """The newest hello of this connection."""
        if self._hello is None:
            raise DeviceError("no hello yet")
        return self._hello

    # --- connection

    def connect(self, token: str | None = None) -> None:
        """Log in (with a fresh token), subscribe, wait for the hello. LoginRefusedError, DeviceError."""
        self.close()
        self._hello = self._connack = self._closed = self._trouble = None
        self._acks.clear()
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=self.kid,
            protocol=self._version,
            reconnect_on_failure=False,  # a token works once
        )
        client.tls_set_context(ssl.create_default_context(cadata=self._installation.ca_pem))
        client.username_pw_set(self.kid, token or self.fresh_token())
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        self._client = client
        try:
            self._log_in(client)
        except BaseException:
            self.close()
            raise

    def _log_in(self, client: Client) -> None:
        client.connect(self._installation.gateway_host, self._installation.gateway_port)
        client.loop_start()
        self._wait(lambda: self._connack is not None, "CONNACK")
        if self._connack:
            raise LoginRefusedError(self._connack)
        client.subscribe(topics.control(self.kid))
        self._wait(lambda: self._hello is not None, "hello")

    def close(self) -> None:
        """Disconnect, if connected."""
        client, self._client = self._client, None
        if client is not None:
            client.disconnect()
            client.loop_stop()

    def fresh_token(self) -> str:
        """A log-in token no log-in has used."""
        self._last_iat_ms = max(self._last_iat_ms + 1, time.time_ns() // 1_000_000)
        return login_token(
            self.key,
            audience=self._installation.audience,
            device_id=self.device_id,
            iat_ms=self._last_iat_ms,
            exp_ms=self._last_iat_ms + TOKEN_LIFE_MS,
        )

    # --- what it says

    def announcement(self, *, smartconnect: bool = True, **changes: Any) -> Announcement:
        """What it would announce in this session."""
        values: dict[str, Any] = {
            "product_id": self.product_id.value,
            "device_pub": public_bytes(self.key),
            "label_pub": public_bytes(self.label),
            "boot": "boot-1",
            "nonce": self.hello.nonce,
            "ts_ms": time.time_ns() // 1_000_000,
            "model": "Smart-UPS 1500",
            "sku": "SMT1500IC",
            "serial": f"AS{self.product_id.value[:10]}",
            "firmware": "UPS 04.1",
            "smartconnect": smartconnect,
        }
        return Announcement(**(values | changes))

    def announce(self, *, smartconnect: bool = True) -> int:
        """Announce and wait for the PUBACK: its reason code."""
        return self.publish(
            seal_announcement(self.announcement(smartconnect=smartconnect), self.label, self.key)
        )

    def publish(self, payload: bytes, topic: str | None = None, timeout_s: float = TIMEOUT_S) -> int:
        """Publish bytes (as an announcement, if no topic is named), wait for the PUBACK: its reason code."""
        if self._client is None:
            raise DeviceError("not connected")
        self.sent.append(payload)
        number = self._client.publish(topic or topics.announce(self.kid), payload, qos=1).mid
        self._wait(lambda: number in self._acks, "PUBACK", timeout_s)
        return self._acks.pop(number)

    # --- what it hears

    def wait_owned(self, timeout_s: float = TIMEOUT_S) -> Hello:
        """Until a hello says that the device is owned."""
        self._wait(lambda: self._hello is not None and self._hello.owned, "hello with owned", timeout_s)
        return self.hello

    def wait_closed(self, timeout_s: float = TIMEOUT_S) -> int:
        """Until the connection has ended from the other side: the reason code of the DISCONNECT."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._closed is not None, timeout_s):
                raise TimeoutError(f"the connection did not end within {timeout_s} s")
        return self._closed or 0

    def _wait(self, holds: Callable[[], bool], what: str, timeout_s: float = TIMEOUT_S) -> None:
        def done() -> bool:
            return holds() or self._closed is not None or self._trouble is not None

        with self._changed:
            in_time = self._changed.wait_for(done, timeout_s)
            if self._trouble is not None:
                raise DeviceError(self._trouble)
            if holds():
                return
            if self._closed is not None:
                raise DeviceError(f"the connection ended ({self._closed:#x}) before the {what}")
            if not in_time:
                raise TimeoutError(f"no {what} within {timeout_s} s")

    def _on_connect(self, _client: Client, _data: object, _flags: object, code: Any, _more: object) -> None:
        with self._changed:
            self._connack = code.value
            self._changed.notify_all()

    def _on_disconnect(self, client: Client, _data: object, _flags: object, code: Any, _more: object) -> None:
        with self._changed:
            if client is self._client and not self._connack:  # what follows a refusal is no news
                self._closed = code.value
            self._changed.notify_all()

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        self.heard.append(message.topic.encode() + b" " + message.payload)
        with self._changed:
            try:
                self._hear(bytes(message.payload))
            except ProtocolError as error:
                self._trouble = f"a control message is wrong: {error}"
            self._changed.notify_all()

    def _hear(self, payload: bytes) -> None:
        if is_key_set(payload):
            self._key_set = open_key_set(payload, self._installation.root_pub)
            return
        found = open_control(payload, self._key_set, time.time_ns() // 1_000_000)
        if not isinstance(found, Hello):
            return
        last_n = -1 if self._hello is None else self._hello.n
        if found.kid != self.kid or found.login_ms != self._last_iat_ms or found.n <= last_n:
            self._trouble = f"a hello is not this connection's next one: {found}"
            return
        self._hello = found

    def _on_publish(self, _client: Client, _data: object, number: int, code: Any, _more: object) -> None:
        with self._changed:
            self._acks[number] = code.value
            self._changed.notify_all()
