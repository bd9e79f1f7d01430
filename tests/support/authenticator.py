"""An authenticator in software (WebAuthn level 2, section 6): makes passkeys of ES256 and signs with them.

Written from the specification, not with the library that the portal checks with. Whatever a test wants to be
wrong is an argument.
"""

import hashlib
import json
import os
import struct
from dataclasses import dataclass, field
from typing import Any, Final

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from protocol.identity import b64url, unb64url

PRESENT: Final = 1
VERIFIED: Final = 4
ATTESTED: Final = 64


@dataclass
class Authenticator:
    """One passkey, used by a page of this origin. ``step``: what the counter grows by with each use."""

    origin: str
    step: int = 1
    count: int = 0
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    credential_id: bytes = field(default_factory=lambda: os.urandom(32))
    handle: bytes = b""

    def create(self, options: dict[str, Any], **wrong: Any) -> str:
        """The answer to options for a new passkey: ``navigator.credentials.create`` as JSON."""
        self.handle = unb64url(options["user"]["id"])
        rp_id = wrong.get("rp_id", options["rp"]["id"])
        attested = bytes(16) + struct.pack(">H", len(self.credential_id)) + self.credential_id + self._cose()
        data = self._data(rp_id, ATTESTED, **wrong) + attested
        statement = {"fmt": wrong.get("format", "none"), "attStmt": {}, "authData": data}
        response = {
            "clientDataJSON": b64url(self._client_data("webauthn.create", options, **wrong)),
            "attestationObject": b64url(cbor2.dumps(statement)),
            "transports": ["internal", "hybrid"],
        }
        return self._answer(response)

    def get(self, options: dict[str, Any], **wrong: Any) -> str:
        """The answer to options for a proof: ``navigator.credentials.get`` as JSON."""
        self.count = wrong.get("count", self.count + self.step)
        data = self._data(wrong.get("rp_id", options["rpId"]), 0, **wrong)
        client_data = self._client_data("webauthn.get", options, **wrong)
        signed = data + hashlib.sha256(client_data).digest()
        response = {
            "clientDataJSON": b64url(client_data),
            "authenticatorData": b64url(data),
            "signature": b64url(self.key.sign(signed, ec.ECDSA(SHA256()))),
            "userHandle": b64url(wrong.get("handle", self.handle)),
        }
        return self._answer(response)

    def _answer(self, response: dict[str, Any]) -> str:
        name = b64url(self.credential_id)
        return json.dumps({"id": name, "rawId": name, "type": "public-key", "response": response})

    def _data(self, rp_id: str, flags: int, /, *, verified: bool = True, **_: Any) -> bytes:
        flags |= PRESENT | (VERIFIED if verified else 0)
        return hashlib.sha256(rp_id.encode()).digest() + struct.pack(">BI", flags, self.count)

    def _client_data(self, kind: str, options: dict[str, Any], /, **wrong: Any) -> bytes:
        told = {
            "type": wrong.get("kind", kind),
            "challenge": wrong.get("challenge", options["challenge"]),
            "origin": wrong.get("origin", self.origin),
            "crossOrigin": wrong.get("cross_origin", False),
        }
        return json.dumps(told).encode()

    def _cose(self) -> bytes:
        point = self.key.public_key().public_numbers()
        sides = {-2: point.x.to_bytes(32, "big"), -3: point.y.to_bytes(32, "big")}
        return cbor2.dumps({1: 2, 3: -7, -1: 1, **sides})
