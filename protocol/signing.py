"""Keys and signatures: label key, announcement, log-in token, control messages, key set.

Keys are made by shells; here they only sign and verify. Every signature covers a domain and the very bytes
that travel, so there is no canonical form to get wrong. Ed25519 throughout (RFC 8032).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import jwt
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from protocol.codec import MAX_ANNOUNCEMENT_BYTES, MAX_CONTROL_BYTES, decode, encode
from protocol.errors import DecodeError, ErrorCode, IdentityError, SignatureError
from protocol.identity import ProductId, ProductKey, b64url, check_kid, kid_of, unb64url
from protocol.messages import (
    Announcement,
    CloudKey,
    Command,
    ControlMessage,
    Desired,
    Hello,
    KeySet,
    KeyUse,
    SignedTime,
    Watch,
)

TOKEN_LIFE_MS = 3_600_000
TOKEN_AHEAD_MS = 600_000
MAX_TOKEN_BYTES = 1024
_SEED_BYTES = 32

_CONTROL: dict[str, tuple[type[ControlMessage], KeyUse]] = {
    "hello": (Hello, KeyUse.NOTICE),
    "watch": (Watch, KeyUse.NOTICE),
    "desired": (Desired, KeyUse.COMMAND),
    "command": (Command, KeyUse.COMMAND),
}
KEY_SET_KIND = "keyset"


def label_key(product_id: ProductId, product_key: ProductKey) -> Ed25519PrivateKey:
    """Key pair that only somebody with the label can derive. Slow on purpose: about 14 ms and 8 MiB.

    ``root = scrypt(product_key, "scl1|" + product_id, N=2^13, r=8, p=1)``,
    ``seed = HKDF-SHA256(root, salt empty, info "label/v1")`` (RFC 7914, RFC 5869).
    """
    salt = b"scl1|" + product_id.value.encode("ascii")
    root = Scrypt(salt=salt, length=32, n=2**13, r=8, p=1).derive(product_key.value.encode("ascii"))
    seed = HKDF(algorithm=SHA256(), length=_SEED_BYTES, salt=None, info=b"label/v1").derive(root)
    return Ed25519PrivateKey.from_private_bytes(seed)


def public_bytes(key: Ed25519PrivateKey) -> bytes:
    """The 32 bytes of a key's public half."""
    return key.public_key().public_bytes_raw()


def sign(key: Ed25519PrivateKey, domain: str, body: bytes) -> bytes:
    """Signature (64 bytes) over a domain and the bytes of a message."""
    return key.sign(_scope(domain, body))


def verify(public: bytes, domain: str, body: bytes, signature: bytes) -> None:
    """SignatureError unless this key signed these bytes for this domain."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, _scope(domain, body))
    except (InvalidSignature, ValueError) as error:
        raise SignatureError(ErrorCode.SIGNATURE_INVALID, f"The {domain} signature is wrong.") from error


def _scope(domain: str, body: bytes) -> bytes:
    return b"scl/" + domain.encode("ascii") + b"/1\0" + body


# --- announcement -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _SealedAnnouncement:
    body: bytes
    label_signature: bytes
    device_signature: bytes


def seal_announcement(
    announcement: Announcement, label: Ed25519PrivateKey, device: Ed25519PrivateKey
) -> bytes:
    """An announcement with both its signatures, ready to publish (at most 2 KiB)."""
    body = encode(announcement)
    sealed = _SealedAnnouncement(body, sign(label, "ann-label", body), sign(device, "ann-device", body))
    return encode(sealed)


def open_announcement(payload: bytes) -> Announcement:
    """The announcement, both signatures checked against the keys it names.

    That the device key is the session's and the nonce is the session's is the caller's to check.
    Raises DecodeError (too_large, malformed), IdentityError, SignatureError.
    """
    sealed = decode(payload, _SealedAnnouncement, MAX_ANNOUNCEMENT_BYTES)
    announcement = decode(sealed.body, Announcement, MAX_ANNOUNCEMENT_BYTES)
    if ProductId.parse(announcement.product_id).value != announcement.product_id:
        raise IdentityError(ErrorCode.PRODUCT_ID_INVALID, "A Product ID travels in its normal form.")
    verify(announcement.label_pub, "ann-label", sealed.body, sealed.label_signature)
    verify(announcement.device_pub, "ann-device", sealed.body, sealed.device_signature)
    return announcement


# --- log-in token -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LoginClaims:
    """What a log-in token says. ``device_pub`` is there only while the cloud may not know the key yet."""

    kid: str
    device_id: int
    iat_ms: int
    exp_ms: int
    device_pub: bytes | None


def login_token(
    key: Ed25519PrivateKey,
    *,
    audience: str,
    device_id: int,
    iat_ms: int,
    exp_ms: int,
    include_pub: bool = True,
) -> str:
    """EdDSA JWT (RFC 7519, RFC 8037): a device's MQTT password. ``iat`` and ``exp`` are in ms."""
    public = public_bytes(key)
    claims: dict[str, object] = {"aud": audience, "dev": str(device_id), "iat": iat_ms, "exp": exp_ms}
    if include_pub:
        claims["pub"] = b64url(public)
    return jwt.encode(claims, key, algorithm="EdDSA", headers={"kid": kid_of(public)})


def read_login_token(token: str) -> LoginClaims:
    """Claims of a token, **nothing verified**: only to find the key. SignatureError (token_invalid)."""
    if len(token) > MAX_TOKEN_BYTES:
        raise SignatureError(ErrorCode.TOKEN_INVALID, "The log-in token is too long.")
    try:
        header = jwt.get_unverified_header(token)
        claims = jwt.decode(token, options={"verify_signature": False})
        return _claims_of(header, claims)
    except (jwt.InvalidTokenError, IdentityError, KeyError, TypeError, ValueError) as error:
        raise SignatureError(ErrorCode.TOKEN_INVALID, "The log-in token is malformed.") from error


def verify_login_token(token: str, device_pub: bytes, audience: str, now_ms: int) -> LoginClaims:
    """Claims of a token signed by this key for this audience and valid by the server's clock.

    Raises SignatureError: token_invalid, token_expired (exp ≤ now), token_too_long (life over 1 h),
    token_not_yet (iat more than 10 min ahead).
    """
    try:
        claims = jwt.decode(
            token,
            Ed25519PublicKey.from_public_bytes(device_pub),
            algorithms=["EdDSA"],
            audience=audience,
            options={"verify_exp": False, "verify_iat": False, "require": ["aud", "iat", "exp"]},
        )
        found = _claims_of(jwt.get_unverified_header(token), claims)
    except (jwt.InvalidTokenError, IdentityError, KeyError, TypeError, ValueError) as error:
        raise SignatureError(ErrorCode.TOKEN_INVALID, "The log-in token does not verify.") from error
    if found.kid != kid_of(device_pub):
        raise SignatureError(ErrorCode.TOKEN_INVALID, "The log-in token names another key.")
    if found.exp_ms <= now_ms:
        raise SignatureError(ErrorCode.TOKEN_EXPIRED, "The log-in token has expired.")
    if found.exp_ms - found.iat_ms > TOKEN_LIFE_MS:
        raise SignatureError(ErrorCode.TOKEN_TOO_LONG, "A log-in token lives one hour at most.")
    if found.iat_ms > now_ms + TOKEN_AHEAD_MS:
        raise SignatureError(ErrorCode.TOKEN_NOT_YET, "The log-in token is from the future.")
    return found


def _claims_of(header: Mapping[str, object], claims: Mapping[str, object]) -> LoginClaims:
    iat_ms, exp_ms, kid, device = claims["iat"], claims["exp"], header["kid"], claims["dev"]
    if type(iat_ms) is not int or type(exp_ms) is not int or not 0 < iat_ms < 2**53:
        raise ValueError("iat and exp are milliseconds")
    if not isinstance(kid, str) or not isinstance(device, str) or not 0 <= int(device) < 2**63:
        raise ValueError("kid or dev is missing")
    public = claims.get("pub")
    return LoginClaims(
        check_kid(kid), int(device), iat_ms, exp_ms, unb64url(public) if isinstance(public, str) else None
    )


# --- control messages, key set, time ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Sealed:
    kind: str
    key_id: str
    body: bytes
    signature: bytes


def seal_control(message: ControlMessage, key_id: str, key: Ed25519PrivateKey) -> bytes:
    """A message for ``d/{kid}/control``, signed by a key of the key set."""
    kind = next(name for name, (shape, _) in _CONTROL.items() if type(message) is shape)
    body = encode(message)
    return encode(_Sealed(kind, key_id, body, sign(key, f"control/{kind}", body)))


def seal_key_set(key_set: KeySet, root: Ed25519PrivateKey) -> bytes:
    """The key set, signed by the installation's root key; also a message for ``d/{kid}/control``."""
    body = encode(key_set)
    return encode(_Sealed(KEY_SET_KIND, "root", body, sign(root, "keyset", body)))


def open_key_set(payload: bytes, root_pub: bytes) -> KeySet:
    """The key set, its signature by the root key checked. Raises DecodeError, SignatureError."""
    sealed = decode(payload, _Sealed, MAX_CONTROL_BYTES)
    if sealed.kind != KEY_SET_KIND:
        raise DecodeError(ErrorCode.UNKNOWN_KIND, "This is not a key set.")
    verify(root_pub, "keyset", sealed.body, sealed.signature)
    return decode(sealed.body, KeySet, MAX_CONTROL_BYTES)


def is_key_set(payload: bytes) -> bool:
    """Whether a control payload is a key set, which is opened with the root key instead of a key set's."""
    return decode(payload, _Sealed, MAX_CONTROL_BYTES).kind == KEY_SET_KIND


def open_control(payload: bytes, key_set: KeySet, now_ms: int | None) -> ControlMessage:
    """A control message, signed by a key of this key set that may sign this kind and is valid now.

    ``now_ms`` None skips the keys' validity (a device that has no trusted time yet).
    Raises DecodeError (too_large, malformed, unknown_kind), SignatureError.
    """
    sealed = decode(payload, _Sealed, MAX_CONTROL_BYTES)
    shape_and_use = _CONTROL.get(sealed.kind)
    if shape_and_use is None:
        raise DecodeError(ErrorCode.UNKNOWN_KIND, "A control message of a kind this agent does not know.")
    shape, use = shape_and_use
    key = find_key(key_set, sealed.key_id, use, now_ms)
    verify(key.pub, f"control/{sealed.kind}", sealed.body, sealed.signature)
    return decode(sealed.body, shape, MAX_CONTROL_BYTES)


def find_key(key_set: KeySet, key_id: str, use: KeyUse, now_ms: int | None) -> CloudKey:
    """The key of this name, if it may be used so and now; SignatureError (key_set_invalid) otherwise."""
    for key in key_set.keys:
        if key.key_id == key_id and key.use is use:
            if now_ms is not None and not key.not_before_ms <= now_ms < key.not_after_ms:
                raise SignatureError(ErrorCode.KEY_SET_INVALID, f"The {use} key {key_id} is not valid now.")
            return key
    raise SignatureError(ErrorCode.KEY_SET_INVALID, f"The key set has no {use} key {key_id!r}.")


@dataclass(frozen=True, slots=True)
class _SealedTime:
    key_id: str
    body: bytes
    signature: bytes


def seal_time(answer: SignedTime, key_id: str, key: Ed25519PrivateKey) -> bytes:
    """Answer of the time service."""
    body = encode(answer)
    return encode(_SealedTime(key_id, body, sign(key, "time", body)))


def open_time(payload: bytes, key_set: KeySet, nonce: bytes) -> SignedTime:
    """The time a key of the set signed for this nonce. Raises DecodeError, SignatureError."""
    sealed = decode(payload, _SealedTime, MAX_CONTROL_BYTES)
    key = find_key(key_set, sealed.key_id, KeyUse.TIME, None)
    verify(key.pub, "time", sealed.body, sealed.signature)
    answer = decode(sealed.body, SignedTime, MAX_CONTROL_BYTES)
    if answer.nonce != nonce:
        raise SignatureError(ErrorCode.SIGNATURE_INVALID, "The signed time answers another question.")
    return answer
