"""The cloud's half of a building system's registration, by the protocol alone: keys, codes, sealed states."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from protocol.messages import Installation, KeySet, SystemKey
from protocol.signing import public_bytes, seal_key_set
from protocol.system import MAX_REPORT_BYTES, Stand, SystemReport, SystemState
from protocol.system_code import (
    OpenRequest,
    Operation,
    Registered,
    check_request,
    day_of,
    read_request,
    write_code,
)
from protocol.system_keys import cloud_secret, read_envelope, seal, unseal

DAY_MS: Final = 86_400_000
FOREVER_MS: Final = 2**50


class SystemCloud:
    """A cloud with a root key and numbered keys for systems; the highest number is its present one."""

    def __init__(self) -> None:
        self.root = Ed25519PrivateKey.generate()
        self.keys: dict[int, X25519PrivateKey] = {}
        self.version = 0
        self.rotate()

    def rotate(self) -> None:
        """Another key for systems, and a key set that knows it."""
        self.version += 1
        self.keys[self.version] = X25519PrivateKey.generate()

    def key(self, number: int | None = None) -> SystemKey:
        """The public half of a key."""
        number = max(self.keys) if number is None else number
        public = self.keys[number].public_key().public_bytes_raw()
        return SystemKey(number=number, pub=public, not_before_ms=0, not_after_ms=FOREVER_MS)

    @property
    def key_set(self) -> bytes:
        """Signed by the root key."""
        systems = tuple(self.key(number) for number in sorted(self.keys))
        return seal_key_set(KeySet(version=self.version, issued_ms=1, keys=(), systems=systems), self.root)

    def installation(self, portal_url: str = "https://portal.example.org", ca_pem: str = "") -> Installation:
        """The file that names this cloud."""
        return Installation(
            audience="example",
            root_pub=public_bytes(self.root),
            ca_pem=ca_pem,
            gateway_host="localhost",
            gateway_port=9,
            portal_url=portal_url,
            key_set=self.key_set,
        )

    def secret(self, request: OpenRequest) -> bytes:
        """What the cloud shares with the asker, by the key that the request names."""
        key = self.keys[request.key_number]
        return cloud_secret(key, request.system_id.public, request.system_id, request.key_number)

    def code(
        self,
        text: str,
        number: int = 12345,
        *,
        operation: Operation | None = None,
        day: int | None = None,
    ) -> str:
        """The registration code for a request that a server shows; a ProtocolError if it is not genuine."""
        request, given = read_request(text)
        secret = self.secret(request)
        check_request(request, given, secret)
        last = day_of(time.time_ns() // 1_000_000) + 7 if day is None else day
        asked = request if operation is None else replace(request, operation=operation)
        return write_code(asked, Registered(asked.operation, number, last), secret)

    def exchange(self, payload: bytes, state: SystemState | None = None) -> tuple[SystemReport, bytes]:
        """What a server reports, and the answer: this state, or that it is not registered."""
        system_id, envelope = read_envelope(payload, MAX_REPORT_BYTES)
        number = envelope.key_number
        secret = cloud_secret(self.keys[number], system_id.public, system_id, number)
        report = unseal(envelope, SystemReport, secret, MAX_REPORT_BYTES)
        now_ms = time.time_ns() // 1_000_000
        plain = SystemState(
            system_id=system_id.value,
            counter=report.counter,
            nonce=report.nonce,
            server_time_ms=now_ms,
            version=1,
            stand=Stand.UNREGISTERED,
            key_set_version=self.version,
        )
        answer = plain if state is None else replace(state, system_id=system_id.value, nonce=report.nonce)
        return report, seal(answer, system_id, secret, number)
