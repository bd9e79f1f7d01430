"""A device as the wire sees it: paho over TLS, its own key, the label's key, and what the cloud told it."""

import secrets
import ssl
import threading
import time
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from protocol import topics
from protocol.identity import ProductId, ProductKey, device_id_of, kid_of
from protocol.messages import Announcement, Hello, Installation, KeySet
from protocol.signing import (
    is_key_set,
    label_key,
    login_token,
    open_control,
    public_bytes,
    seal_announcement,
)

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
TIMEOUT_S = 20.0


def random_codes() -> tuple[ProductId, ProductKey]:
    """Product codes nobody else has."""
    text = "".join(secrets.choice(ALPHABET) for _ in range(26))
    return ProductId.parse(text[:12]), ProductKey.parse(text[12:])


class WireDevice:
    """One device with one connection at a time. Blocking: call it from threads."""

    def __init__(self, installation: Installation, key_set: KeySet) -> None:
        self.product_id, self.product_key = random_codes()
        self.label = label_key(self.product_id, self.product_key)
        self.key = Ed25519PrivateKey.generate()
        self.kid = kid_of(public_bytes(self.key))
        self.device_id = device_id_of(self.product_id, public_bytes(self.label))
        self.sent: list[bytes] = []
        self._installation = installation
        self._key_set = key_set
        self._client: Client | None = None
        self._changed = threading.Condition()
        self._hello: Hello | None = None
        self._acks: dict[int, int] = {}
        self._connack: int | None = None
        self._last_iat_ms = 0

    @property
    def hello(self) -> Hello:
        """The newest hello of this connection."""
        if self._hello is None:
            raise RuntimeError("no hello yet")
        return self._hello

    def connect(self) -> None:
        """Log in with a fresh token, subscribe, and wait for the hello. RuntimeError where that fails."""
        self.close()
        self._hello, self._connack = None, None
        self._last_iat_ms = max(self._last_iat_ms + 1, time.time_ns() // 1_000_000)
        client = Client(CallbackAPIVersion.VERSION2, client_id=self.kid, protocol=MQTTProtocolVersion.MQTTv5)
        client.tls_set_context(ssl.create_default_context(cadata=self._installation.ca_pem))
        client.username_pw_set(self.kid, self._token())
        client.on_connect = self._on_connect
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.connect(self._installation.gateway_host, self._installation.gateway_port)
        client.loop_start()
        self._client = client
        self._wait(lambda: self._connack is not None, "CONNACK")
        if self._connack != 0:
            self.close()
            raise RuntimeError(f"the log-in was refused: {self._connack:#x}")
        client.subscribe(topics.control(self.kid))
        self._wait(lambda: self._hello is not None, "hello")

    def close(self) -> None:
        """Disconnect, if connected."""
        if self._client is not None:
            self._client.disconnect()
            self._client.loop_stop()
            self._client = None

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

    def publish(self, payload: bytes, timeout_s: float = TIMEOUT_S) -> int:
        """Publish bytes as an announcement and wait for the PUBACK: its reason code."""
        if self._client is None:
            raise RuntimeError("not connected")
        self.sent.append(payload)
        number = self._client.publish(topics.announce(self.kid), payload, qos=1).mid
        self._wait(lambda: number in self._acks, "PUBACK", timeout_s)
        return self._acks.pop(number)

    def wait_owned(self, timeout_s: float = TIMEOUT_S) -> Hello:
        """Until a hello says that the device is owned."""
        self._wait(lambda: self._hello is not None and self._hello.owned, "hello with owned", timeout_s)
        return self.hello

    def _token(self) -> str:
        return login_token(
            self.key,
            audience=self._installation.audience,
            device_id=self.device_id,
            iat_ms=self._last_iat_ms,
            exp_ms=self._last_iat_ms + 3_000_000,
        )

    def _wait(self, holds: Any, what: str, timeout_s: float = TIMEOUT_S) -> None:
        with self._changed:
            if not self._changed.wait_for(holds, timeout_s):
                raise TimeoutError(f"no {what} within {timeout_s} s")

    def _on_connect(self, _client: Client, _data: object, _flags: object, code: Any, _more: object) -> None:
        with self._changed:
            if self._connack is None:
                self._connack = code.value
            self._changed.notify_all()

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        payload = bytes(message.payload)
        if is_key_set(payload):
            return
        found = open_control(payload, self._key_set, None)
        if isinstance(found, Hello):
            with self._changed:
                self._hello = found
                self._changed.notify_all()

    def _on_publish(self, _client: Client, _data: object, number: int, code: Any, _more: object) -> None:
        with self._changed:
            self._acks[number] = code.value
            self._changed.notify_all()
