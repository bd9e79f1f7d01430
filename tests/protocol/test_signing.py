"""Label key, announcement, log-in token, control messages, key set and signed time."""

import contextlib
import hashlib
import hmac
from dataclasses import replace

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from protocol import signing
from protocol.codec import MAX_ANNOUNCEMENT_BYTES, decode, encode
from protocol.errors import DecodeError, ErrorCode, ProtocolError, SignatureError
from protocol.identity import ProductId, ProductKey, kid_of
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


def key(number: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)


LABEL, DEVICE, CLOUD, ROOT, OTHER = (key(n) for n in range(1, 6))
PUB = signing.public_bytes(DEVICE)
KID = kid_of(PUB)
NOW_MS = 1_800_000_000_000

ANNOUNCEMENT = Announcement(
    product_id="ABCDEF123456",
    device_pub=PUB,
    label_pub=signing.public_bytes(LABEL),
    boot="boot",
    nonce=bytes(32),
    ts_ms=NOW_MS,
    model="Smart-UPS 1500",
)
KEY_SET = KeySet(
    version=3,
    issued_ms=NOW_MS,
    keys=tuple(
        CloudKey(
            key_id=use.value,
            use=use,
            pub=signing.public_bytes(CLOUD),
            not_before_ms=NOW_MS,
            not_after_ms=NOW_MS + 10,
        )
        for use in KeyUse
    ),
)
HELLO = Hello(kid=KID, login_ms=1, n=1, server_time_ms=NOW_MS, nonce=bytes(32), owned=True, epoch=5)


def token(**changes: object) -> str:
    values = {"audience": "here", "device_id": 7, "iat_ms": NOW_MS, "exp_ms": NOW_MS + 1000} | changes
    return signing.login_token(DEVICE, **values)  # type: ignore[arg-type]  # its own parameters


def test_label_key_vector() -> None:
    """Computed apart with hashlib.scrypt and hmac, by the formula in the docstring of ``label_key``."""
    label = signing.label_key(ProductId("ABCDEF123456"), ProductKey("ABCDEFGH123456"))
    root = hashlib.scrypt(b"ABCDEFGH123456", salt=b"scl1|ABCDEF123456", n=8192, r=8, p=1, dklen=32)
    prk = hmac.digest(bytes(32), root, "sha256")
    assert label.private_bytes_raw() == hmac.digest(prk, b"label/v1\x01", "sha256")


def test_announcement_round_trip_and_size() -> None:
    sealed = signing.seal_announcement(ANNOUNCEMENT, LABEL, DEVICE)
    assert signing.open_announcement(sealed) == ANNOUNCEMENT
    assert len(sealed) < MAX_ANNOUNCEMENT_BYTES


@pytest.mark.parametrize(("label", "device"), [(OTHER, DEVICE), (LABEL, OTHER), (DEVICE, LABEL)])
def test_announcement_needs_both_right_signatures(
    label: Ed25519PrivateKey, device: Ed25519PrivateKey
) -> None:
    with pytest.raises(SignatureError):
        signing.open_announcement(signing.seal_announcement(ANNOUNCEMENT, label, device))


def test_announcement_signatures_cannot_be_exchanged() -> None:
    both = replace(ANNOUNCEMENT, label_pub=PUB)
    sealed = decode(signing.seal_announcement(both, DEVICE, DEVICE), dict, 4096)
    sealed["label_signature"], sealed["device_signature"] = (
        sealed["device_signature"],
        sealed["label_signature"],
    )
    with pytest.raises(SignatureError):
        signing.open_announcement(encode(sealed))


@given(st.binary(max_size=300), st.integers(0, 700), st.integers(1, 255))
def test_bytes_that_are_no_announcement(junk: bytes, at: int, flip: int) -> None:
    with pytest.raises(ProtocolError):
        signing.open_announcement(junk)
    sealed = bytearray(signing.seal_announcement(ANNOUNCEMENT, LABEL, DEVICE))
    sealed[at % len(sealed)] ^= flip
    with contextlib.suppress(ProtocolError):
        assert (
            signing.open_announcement(bytes(sealed)) == ANNOUNCEMENT
        )  # the byte was one that does not count


def test_announcement_too_large() -> None:
    with pytest.raises(DecodeError) as caught:
        signing.open_announcement(
            signing.seal_announcement(replace(ANNOUNCEMENT, model="x" * 2000), LABEL, DEVICE)
        )
    assert caught.value.code is ErrorCode.TOO_LARGE


def test_token_round_trip() -> None:
    text = token()
    claims = signing.verify_login_token(text, PUB, "here", NOW_MS)
    assert (claims.kid, claims.device_id, claims.iat_ms, claims.device_pub) == (KID, 7, NOW_MS, PUB)
    assert signing.read_login_token(text) == claims
    assert signing.read_login_token(token(include_pub=False)).device_pub is None


@pytest.mark.parametrize(
    ("changes", "now_ms", "code"),
    [
        ({}, NOW_MS + 1000, ErrorCode.TOKEN_EXPIRED),
        ({"exp_ms": NOW_MS + 3_600_001}, NOW_MS, ErrorCode.TOKEN_TOO_LONG),
        ({}, NOW_MS - 600_001, ErrorCode.TOKEN_NOT_YET),
        ({"audience": "elsewhere"}, NOW_MS, ErrorCode.TOKEN_INVALID),
    ],
)
def test_token_refused(changes: dict[str, object], now_ms: int, code: ErrorCode) -> None:
    with pytest.raises(SignatureError) as caught:
        signing.verify_login_token(token(**changes), PUB, "here", now_ms)
    assert caught.value.code is code


def test_token_of_another_key_and_of_another_algorithm() -> None:
    with pytest.raises(SignatureError):
        signing.verify_login_token(token(), signing.public_bytes(OTHER), "here", NOW_MS)
    claims = {"aud": "here", "dev": "7", "iat": NOW_MS, "exp": NOW_MS + 1}
    for forged in (
        jwt.encode(claims, "", algorithm="none", headers={"kid": KID}),
        jwt.encode(claims, b"x" * 32, algorithm="HS256", headers={"kid": KID}),
        jwt.encode(claims, OTHER, algorithm="EdDSA", headers={"kid": KID}),
        jwt.encode(claims, DEVICE, algorithm="EdDSA", headers={"kid": kid_of(bytes(32))}),
    ):
        with pytest.raises(SignatureError):
            signing.verify_login_token(forged, PUB, "here", NOW_MS)


@given(st.text(max_size=200))
def test_text_that_is_no_token(text: str) -> None:
    with pytest.raises(SignatureError):
        signing.read_login_token(text)


@pytest.mark.parametrize(
    "message",
    [
        HELLO,
        Watch(kid=KID, login_ms=1, n=2, seconds=30),
        Desired(kid=KID, epoch=1, version=2, settings={"name": "rack", "report_interval_s": 5}),
        Command(command_id="1", kid=KID, epoch=1, counter=1, issued_ms=1, expires_ms=2, kind="mute"),
    ],
)
def test_control_round_trip_by_the_right_key_only(message: ControlMessage) -> None:
    use = KeyUse.NOTICE if isinstance(message, Hello | Watch) else KeyUse.COMMAND
    assert signing.open_control(signing.seal_control(message, use.value, CLOUD), KEY_SET, NOW_MS) == message
    wrong_use = KeyUse.COMMAND if use is KeyUse.NOTICE else KeyUse.NOTICE
    for key_id, signer, now_ms in (
        (wrong_use.value, CLOUD, NOW_MS),
        (use.value, OTHER, NOW_MS),
        (use.value, CLOUD, NOW_MS + 10),
        (use.value, CLOUD, NOW_MS - 1),
    ):
        with pytest.raises(SignatureError):
            signing.open_control(signing.seal_control(message, key_id, signer), KEY_SET, now_ms)


def test_control_without_trusted_time_skips_validity_only() -> None:
    sealed = signing.seal_control(HELLO, "notice", CLOUD)
    assert signing.open_control(sealed, KEY_SET, None) == HELLO


def test_key_set_is_signed_by_the_root() -> None:
    sealed = signing.seal_key_set(KEY_SET, ROOT)
    assert signing.is_key_set(sealed)
    assert signing.open_key_set(sealed, signing.public_bytes(ROOT)) == KEY_SET
    with pytest.raises(SignatureError):
        signing.open_key_set(sealed, signing.public_bytes(OTHER))
    with pytest.raises(DecodeError):
        signing.open_key_set(signing.seal_control(HELLO, "notice", CLOUD), signing.public_bytes(ROOT))
    with pytest.raises(DecodeError) as caught:
        signing.open_control(sealed, KEY_SET, NOW_MS)
    assert caught.value.code is ErrorCode.UNKNOWN_KIND


def test_signed_time_answers_one_question() -> None:
    sealed = signing.seal_time(SignedTime(nonce=b"q", time_ms=NOW_MS), "time", CLOUD)
    assert signing.open_time(sealed, KEY_SET, b"q").time_ms == NOW_MS
    with pytest.raises(SignatureError):
        signing.open_time(sealed, KEY_SET, b"other")
