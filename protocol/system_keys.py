"""What proves a System ID: secrets agreed by X25519, and messages sealed under them.

Two parties who each know the other's public key share a secret without sending any (RFC 7748, section 6.1).
Server and cloud seal reports, states, offline requests and codes so; Enterprise Server and attached server
seal what is passed on. Keys are made by shells; here they only agree and seal.
"""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from protocol.codec import T, decode, encode
from protocol.errors import ErrorCode, SignatureError
from protocol.messages import KeySet, SystemKey
from protocol.signing import sign, verify
from protocol.system import Attachment, PassedOn, SystemId, SystemReport, SystemState

MAX_KEY_NUMBER: Final = 2**16 - 1
SECRET_BYTES: Final = 32
_MAC_BYTES: Final = 32

Secret = bytes
"""32 bytes that two parties share. Never sent, logged or shown."""

_DOMAINS: Final[dict[type, str]] = {
    SystemReport: "report",
    SystemState: "state",
    Attachment: "attachment",
    PassedOn: "passed",
}


def make_system_key(new: Callable[[], X25519PrivateKey]) -> tuple[X25519PrivateKey, SystemId]:
    """A key whose System ID is readable, out of those that ``new`` makes (about 70)."""
    while True:
        key = new()
        system_id = SystemId.of(key.public_key().public_bytes_raw())
        if system_id is not None:
            return key, system_id


def cloud_secret(own: X25519PrivateKey, other: bytes, system_id: SystemId, number: int) -> Secret:
    """What a server and the cloud's key ``number`` share; each gives its own private and the other's public.

    ``HKDF-SHA256(X25519(own, other), salt empty, info "scl/system-cloud/1" ‖ number ‖ System ID)``.
    SignatureError where the other's key is none (all-zero outcome, RFC 7748, section 6.1).
    """
    scope = b"scl/system-cloud/1\0" + number.to_bytes(2, "big") + system_id.public
    return _agree(own, other, scope)


def link_secret(own: X25519PrivateKey, other: SystemId, enterprise: SystemId, attached: SystemId) -> Secret:
    """What an Enterprise Server and a server attached to it share, by their System IDs alone."""
    return _agree(own, other.public, b"scl/system-link/1\0" + enterprise.public + attached.public)


def _agree(own: X25519PrivateKey, other: bytes, scope: bytes) -> Secret:
    try:
        shared = own.exchange(X25519PublicKey.from_public_bytes(other))
    except ValueError as error:
        raise SignatureError(ErrorCode.SIGNATURE_INVALID, "This is no key to agree a secret with.") from error
    return HKDF(algorithm=SHA256(), length=SECRET_BYTES, salt=None, info=scope).derive(shared)


def mac(secret: Secret, domain: str, body: bytes, length: int = _MAC_BYTES) -> bytes:
    """HMAC-SHA256 over a domain and bytes, cut to ``length`` (RFC 2104, section 5)."""
    scope = b"scl/system-" + domain.encode("ascii") + b"/1\0"
    return hmac.digest(secret, scope + body, hashlib.sha256)[:length]


def check_mac(secret: Secret, domain: str, body: bytes, given: bytes) -> bool:
    """Whether these bytes were sealed under this secret; in the same time either way."""
    return hmac.compare_digest(mac(secret, domain, body, max(1, len(given))), given)


def system_key(key_set: KeySet, number: int | None = None) -> SystemKey:
    """The cloud's key of this number, or its newest one; SignatureError (key_set_invalid) without one."""
    keys = [key for key in key_set.systems if number is None or key.number == number]
    if not keys:
        raise SignatureError(ErrorCode.KEY_SET_INVALID, "The key set has no such key for systems.")
    return max(keys, key=lambda key: key.number)


# --- sealed messages ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SealedSystem:
    """A message on its way, and who says it is whose. Nothing of it is true before :func:`unseal`."""

    system_id: str
    key_number: int
    body: bytes
    mac: bytes


def seal(message: object, system_id: SystemId, secret: Secret, key_number: int = 0) -> bytes:
    """A `SystemReport`, `SystemState`, `Attachment` or `PassedOn`, sealed under a secret.

    ``system_id`` is the server's; for a `PassedOn` the Enterprise Server's, with key number 0.
    """
    body = encode(message)
    sealed = mac(secret, _DOMAINS[type(message)], body)
    return encode(SealedSystem(system_id.value, key_number, body, sealed))


def read_envelope(payload: bytes, max_bytes: int) -> tuple[SystemId, SealedSystem]:
    """Whose message it claims to be, **nothing verified**: only to find the secret.

    Raises DecodeError (too_large, malformed), IdentityError (system_id_invalid).
    """
    envelope = decode(payload, SealedSystem, max_bytes)
    return SystemId.parse(envelope.system_id), envelope


def unseal(envelope: SealedSystem, kind: type[T], secret: Secret, max_bytes: int) -> T:
    """The message; SignatureError (signature_invalid) unless it was sealed under this secret as this kind."""
    if not check_mac(secret, _DOMAINS[kind], envelope.body, envelope.mac) or len(envelope.mac) != _MAC_BYTES:
        raise SignatureError(ErrorCode.SIGNATURE_INVALID, "The message is not from whom it says it is.")
    return decode(envelope.body, kind, max_bytes)


# --- UPSs under a server ------------------------------------------------------------------------------------


def sign_ups(device: Ed25519PrivateKey, system_id: SystemId) -> bytes:
    """A UPS's own word, by its device key, that it is under this server."""
    return sign(device, "system-ups", system_id.value.encode("ascii"))


def check_ups(device_pub: bytes, system_id: SystemId, signature: bytes) -> None:
    """SignatureError unless this device key has said that it is under this server."""
    verify(device_pub, "system-ups", system_id.value.encode("ascii"), signature)
