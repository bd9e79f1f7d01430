"""Many devices in one process: each a TLS connection that logs in, hears its hello, and announces itself."""

import asyncio
import ssl
import time
from typing import Final, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from protocol import topics
from protocol.identity import ProductId, ProductKey, device_id_of, kid_of
from protocol.messages import Announcement, Hello, Installation, KeySet
from protocol.mqtt import V5, ConnAck, Connect, Packet, PubAck, Publish, Reader, Subscribe, encode
from protocol.signing import (
    is_key_set,
    label_key,
    login_token,
    open_control,
    public_bytes,
    seal_announcement,
)
from tests.accept import expect

WAIT_S: Final = 60.0
KEEP_ALIVE_S: Final = 600
TOKEN_LIFE_MS: Final = 3_000_000


class Announcer:
    """One device; its label key is derived if a Product Key is given, else random, which saves the scrypt."""

    def __init__(self, product_id: ProductId, product_key: ProductKey | None) -> None:
        self.product_id = product_id
        self.product_key = product_key
        self._key = Ed25519PrivateKey.generate()
        self._label = (
            Ed25519PrivateKey.generate() if product_key is None else label_key(product_id, product_key)
        )
        self.kid = kid_of(public_bytes(self._key))
        self.device_id = device_id_of(product_id, public_bytes(self._label))
        self._packets = Reader(from_client=False, version=V5)
        self._nonce = b""
        self._count = 0

    @property
    def secret(self) -> bytes:
        """The device key, for another process that goes on as this device."""
        return self._key.private_bytes_raw()

    async def connect(self, installation: Installation, key_set: KeySet, tls: ssl.SSLContext) -> Self:
        """Log in and wait for the hello. CheckError."""
        self._reader, self._writer = await asyncio.open_connection(
            installation.gateway_host, installation.gateway_port, ssl=tls
        )
        iat_ms = time.time_ns() // 1_000_000
        token = login_token(
            self._key,
            audience=installation.audience,
            device_id=self.device_id,
            iat_ms=iat_ms,
            exp_ms=iat_ms + TOKEN_LIFE_MS,
        )
        self._send(Connect(self.kid, V5, True, KEEP_ALIVE_S, self.kid, token.encode()))
        self._send(Subscribe(1, ((topics.control(self.kid), 0),)))
        async with asyncio.timeout(WAIT_S):
            while not self._nonce:
                for packet in await self._receive():
                    if isinstance(packet, ConnAck):
                        expect(packet.code == 0, f"a log-in was answered with {packet.code:#x}")
                    elif isinstance(packet, Publish) and not is_key_set(packet.payload):
                        hello = open_control(packet.payload, key_set, None)
                        if isinstance(hello, Hello):
                            self._nonce = hello.nonce
        return self

    async def announce(self) -> None:
        """Announce and wait for the PUBACK. CheckError."""
        announcement = Announcement(
            product_id=self.product_id.value,
            device_pub=public_bytes(self._key),
            label_pub=public_bytes(self._label),
            boot="boot",
            nonce=self._nonce,
            ts_ms=time.time_ns() // 1_000_000,
            model="Smart-UPS 1500",
            sku="SMT1500IC",
            serial="AS1234567890",
            firmware="UPS 04.1",
            smartconnect=True,
        )
        self._count += 1
        sealed = seal_announcement(announcement, self._label, self._key)
        self._send(Publish(topics.announce(self.kid), sealed, qos=1, packet_id=self._count))
        async with asyncio.timeout(WAIT_S):
            while True:
                for packet in await self._receive():
                    if isinstance(packet, PubAck) and packet.packet_id == self._count:
                        expect(packet.reason < 0x80, f"an announcement was answered with {packet.reason:#x}")
                        return

    @property
    def connected(self) -> bool:
        """Whether neither side has ended the connection."""
        return not self._writer.is_closing()

    def close(self) -> None:
        """End the connection."""
        self._writer.transport.abort()

    def _send(self, packet: Packet) -> None:
        self._writer.write(encode(packet, V5))

    async def _receive(self) -> list[Packet]:
        data = await self._reader.read(65_536)
        expect(data, "the gateway has closed a device's connection")
        return list(self._packets.feed(data))
