"""What a cloud needs before its first start, made once and renewed at later starts.

========================  ==================================================================================
``tls/ca.pem, ca.key``    a small certificate authority of this installation; agents pin ``ca.pem``
``tls/server.pem, .key``  the server's certificate for the configured hosts; renewed 30 days before its end
``keys/root.key``         Ed25519; signs the key set; agents pin its public half
``keys/USE.key``          Ed25519 of the uses notice, command and time; a process reads only those it needs
``keys/secrets.key``      32 bytes, hexadecimal: seals secrets in the database (:mod:`cloud.services.vault`)
``keys/system-N.key``     X25519, numbered: secrets with servers (:mod:`cloud.provision_systems`)
``keyset.bin``            the signed key set (:func:`protocol.signing.seal_key_set`)
``installation.json``     :class:`protocol.messages.Installation`, the file an agent is given
========================  ==================================================================================

All keys are 0600 in 0700 folders. ``keyset.bin`` lies in ``keys/`` beside the keys.
"""

import contextlib
import datetime as dt
import fcntl
import ipaddress
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cloud.config import Settings
from cloud.files import private_opener, write_private
from cloud.provision_systems import ensure_system_keys
from protocol.codec import decode, encode
from protocol.messages import CloudKey, Installation, KeySet, KeyUse
from protocol.signing import open_key_set, public_bytes, seal_key_set

CA_LIFE: Final = dt.timedelta(days=3650)
SERVER_LIFE: Final = dt.timedelta(days=397)  # the longest that browsers accept
SERVER_RENEWAL: Final = dt.timedelta(days=30)
MAX_INSTALLATION_BYTES: Final = 262_144
KEY_LIFE_MS: Final = 3 * 365 * 86_400_000
KEY_RENEWAL_MS: Final = 90 * 86_400_000
BACKDATED: Final = dt.timedelta(minutes=5)  # clocks of agents differ a little


class ProvisionError(Exception):
    """The state directory holds something that does not fit together; nothing was overwritten."""


@dataclass(frozen=True, slots=True)
class Signer:
    """A signing key of the key set with its name there."""

    key_id: str
    key: Ed25519PrivateKey


def provision(settings: Settings, now: dt.datetime | None = None) -> Installation:
    """Make or renew whatever is missing; safe to call by several processes at once, and cheap when all is
    there.
    """
    moment = now or dt.datetime.now(dt.UTC)
    state_dir = settings.state_dir
    for folder in (state_dir, state_dir / "tls", state_dir / "keys"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(state_dir / "provision.lock"):
        if settings.tls_certificate is None:
            _ensure_certificates(state_dir / "tls", settings.hosts, moment)
        _ensure_keys(state_dir / "keys", int(moment.timestamp() * 1000))
        secrets_path = settings.secrets_key_path
        if settings.secrets_key_file is None and not secrets_path.exists():
            write_private(secrets_path, secrets.token_hex(32) + "\n")
        installation = _installation(settings)
        content = encode(installation)
        path = state_dir / "installation.json"
        if not path.exists() or path.read_bytes() != content:
            write_private(path, content)
    return installation


def load_signer(state_dir: Path, use: KeyUse) -> Signer:
    """The private key of ``use`` and its name in the key set."""
    key = _load_key(state_dir / "keys" / f"{use}.key")
    public = public_bytes(key)
    for entry in load_key_set(state_dir).keys:
        if entry.pub == public:
            return Signer(entry.key_id, key)
    raise ProvisionError(f"keys/{use}.key is not in keys/keyset.bin")


def load_key_set(state_dir: Path) -> KeySet:
    """The installation's key set, its signature checked."""
    return open_key_set(sealed_key_set(state_dir), load_installation(state_dir).root_pub)


def load_installation(state_dir: Path) -> Installation:
    """The file an agent is given, as :func:`provision` wrote it."""
    return decode((state_dir / "installation.json").read_bytes(), Installation, MAX_INSTALLATION_BYTES)


def sealed_key_set(state_dir: Path) -> bytes:
    """The key set as it is sent to devices."""
    return (state_dir / "keys" / "keyset.bin").read_bytes()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with open(path, "a", opener=private_opener) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _installation(settings: Settings) -> Installation:
    keys = settings.state_dir / "keys"
    authority = settings.state_dir / "tls" / "ca.pem"
    return Installation(
        audience=settings.audience,
        root_pub=public_bytes(_load_key(keys / "root.key")),
        # An own certificate is either a public authority's, which agents know, or its chain names the
        # authority.
        ca_pem=(authority if settings.tls_certificate is None else settings.tls_certificate).read_text(),
        gateway_host=settings.hosts[0],
        gateway_port=settings.gateway_port,
        portal_url=settings.portal_url,
        key_set=(keys / "keyset.bin").read_bytes(),
    )


# --- signing keys
# --------------------------------------------------------------------------------------------


def _ensure_keys(folder: Path, now_ms: int) -> None:
    root = _ensure_key(folder / "root.key")
    path = folder / "keyset.bin"
    old = open_key_set(path.read_bytes(), public_bytes(root)) if path.exists() else None
    entries = [entry for entry in (old.keys if old else ()) if entry.not_after_ms > now_ms]
    systems = ensure_system_keys(
        folder,
        old.systems if old else (),
        now_ms,
        life_ms=KEY_LIFE_MS,
        renewal_ms=KEY_RENEWAL_MS,
        backdated_ms=int(BACKDATED.total_seconds() * 1000),
    )
    changed = old is None or len(entries) != len(old.keys) or systems != old.systems
    for use in KeyUse:
        ends_ms = max((entry.not_after_ms for entry in entries if entry.use is use), default=0)
        key_path = folder / f"{use}.key"
        if ends_ms - KEY_RENEWAL_MS > now_ms and key_path.exists():
            continue
        if ends_ms:  # the old public key stays in the set until its own end
            key_path.unlink(missing_ok=True)
        public = public_bytes(_ensure_key(key_path))
        entries.append(
            CloudKey(
                key_id=f"{use}-{now_ms}",
                use=use,
                pub=public,
                not_before_ms=now_ms - int(BACKDATED.total_seconds() * 1000),
                not_after_ms=now_ms + KEY_LIFE_MS,
            )
        )
        changed = True
    if changed:
        version = max(old.version + 1 if old else 1, now_ms)  # grows, and stays ahead of a restored backup
        key_set = KeySet(version=version, issued_ms=now_ms, keys=tuple(entries), systems=systems)
        write_private(path, seal_key_set(key_set, root))


def _ensure_key(path: Path) -> Ed25519PrivateKey:
    if not path.exists():
        write_private(path, _pem(Ed25519PrivateKey.generate()))
    return _load_key(path)


def _load_key(path: Path) -> Ed25519PrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ProvisionError(f"{path} is not an Ed25519 key")
    return key


def _pem(key: Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


# --- certificates
# --------------------------------------------------------------------------------------------


def _ensure_certificates(folder: Path, hosts: tuple[str, ...], now: dt.datetime) -> None:
    authority_path, authority_key_path = folder / "ca.pem", folder / "ca.key"
    if not authority_path.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        write_private(authority_key_path, _pem(key))
        write_private(authority_path, _authority(key, now).public_bytes(serialization.Encoding.PEM))
    authority = x509.load_pem_x509_certificate(authority_path.read_bytes())
    authority_key = serialization.load_pem_private_key(authority_key_path.read_bytes(), password=None)
    if not isinstance(authority_key, ec.EllipticCurvePrivateKey) or (
        authority_key.public_key() != authority.public_key()
    ):
        raise ProvisionError(f"{authority_key_path} is not the key of {authority_path}")
    if not _still_good(folder, hosts, now):
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _server_certificate(key, hosts, authority, authority_key, now)
        (folder / "server.pem").unlink(missing_ok=True)  # never a certificate beside the other one's key
        write_private(folder / "server.key", _pem(key))
        write_private(folder / "server.pem", certificate.public_bytes(serialization.Encoding.PEM))


def _still_good(folder: Path, hosts: tuple[str, ...], now: dt.datetime) -> bool:
    if not (folder / "server.pem").exists():
        return False
    found = x509.load_pem_x509_certificate((folder / "server.pem").read_bytes())
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(names) == set(_names(hosts)) and found.not_valid_after_utc - SERVER_RENEWAL > now


def _names(hosts: tuple[str, ...]) -> list[x509.GeneralName]:
    """The configured hosts, and this machine's own two names, without repeats."""
    names: dict[x509.GeneralName, None] = {}
    for host in (*hosts, "localhost", "127.0.0.1"):
        try:
            names[x509.IPAddress(ipaddress.ip_address(host))] = None
        except ValueError:
            names[x509.DNSName(host)] = None
    return list(names)


def _builder(
    name: str, key: ec.EllipticCurvePrivateKey, now: dt.datetime, life: dt.timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _authority(key: ec.EllipticCurvePrivateKey, now: dt.datetime) -> x509.Certificate:
    builder = _builder("SmartConnect installation authority", key, now, CA_LIFE)
    return (
        builder.issuer_name(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "SmartConnect installation authority")])
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )


def _server_certificate(
    key: ec.EllipticCurvePrivateKey,
    hosts: tuple[str, ...],
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    now: dt.datetime,
) -> x509.Certificate:
    life = min(SERVER_LIFE, authority.not_valid_after_utc - now)
    issuer = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return (
        _builder(hosts[0][:64], key, now, life)
        .issuer_name(authority.subject)
        .add_extension(x509.SubjectAlternativeName(_names(hosts)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
