"""The key a server shows on the link to other servers, as a certificate that says nothing but the key.

Nobody signs it but itself, and its dates are none (RFC 5280, 4.1.2.5): the two ends know each other's exact
certificate since they were attached, and trust nothing else. So the link works without internet, without an
authority, and with wrong clocks.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import ssl
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from protocol.system_link import FINGERPRINT_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

BEGINNING: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
END: Final = dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC)


def make_certificate(key: Ed25519PrivateKey) -> bytes:
    """DER of the certificate of this key; the same every time."""
    public = key.public_key()
    name = hashlib.sha256(public.public_bytes_raw()).hexdigest()[:32]
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(public)
        .serial_number(int(name, 16) >> 1 | 1)
        .not_valid_before(BEGINNING)
        .not_valid_after(END)
    )
    return builder.sign(key, None).public_bytes(Encoding.DER)


def is_certificate(certificate: bytes) -> bool:
    """Whether these bytes are a certificate of such a key: what another server says must not break ours."""
    try:
        key = x509.load_der_x509_certificate(certificate).public_key()
    except ValueError:
        return False
    return isinstance(key, Ed25519PublicKey)


def fingerprint(certificate: bytes) -> bytes:
    """What people carry from one server to the other: the first bytes of its SHA-256."""
    return hashlib.sha256(certificate).digest()[:FINGERPRINT_BYTES]


def listening_context(key: Ed25519PrivateKey, peers: Iterable[bytes]) -> ssl.SSLContext:
    """For the end that is called: knows these peers by certificate, and lets somebody without one knock.

    A caller with a certificate that is not among these is refused in the handshake.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_OPTIONAL
    return _prepared(context, key, peers)


def calling_context(peer: bytes, key: Ed25519PrivateKey | None) -> ssl.SSLContext:
    """For the end that calls: talks to the holder of this certificate only; ``key`` None knocks."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # the one trusted certificate is the peer's own, whatever its address
    return _prepared(context, key, [peer])


def _prepared(
    context: ssl.SSLContext, key: Ed25519PrivateKey | None, peers: Iterable[bytes]
) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    trust(context, peers)
    if key is not None:
        _show(context, key)
    return context


def trust(context: ssl.SSLContext, peers: Iterable[bytes]) -> None:
    """Let a context know these certificates, too."""
    data = b"".join(peers)
    if data:
        context.load_verify_locations(cadata=data)


def _show(context: ssl.SSLContext, key: Ed25519PrivateKey) -> None:
    """Python's ssl takes a key from a file only: one in memory, and no other process can open it."""
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pem += ssl.DER_cert_to_PEM_cert(make_certificate(key)).encode("ascii")
    handle = os.memfd_create("link", os.MFD_CLOEXEC)
    try:
        os.write(handle, pem)
        context.load_cert_chain(f"/proc/self/fd/{handle}")
    finally:
        os.close(handle)
