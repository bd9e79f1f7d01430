"""First start and later ones: certificates, signing keys, installation file."""

import datetime as dt
import ssl
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509

from cloud.config import Settings
from cloud.provision import load_key_set, load_signer, provision, sealed_key_set
from cloud.provision_systems import load_system_keys
from protocol.messages import KeyUse
from protocol.signing import open_control, open_key_set, public_bytes, seal_control
from tests.support.messages import hello

NOW = dt.datetime(2026, 11, 21, tzinfo=dt.UTC)
NOW_MS = int(NOW.timestamp() * 1000)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state_dir=tmp_path / "state")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_second_start_changes_nothing(settings: Settings) -> None:
    first = provision(settings, NOW)
    before = contents(settings.state_dir)
    assert provision(settings, NOW + dt.timedelta(days=1)) == first
    assert contents(settings.state_dir) == before


def test_nobody_else_can_read_the_keys(settings: Settings) -> None:
    provision(settings, NOW)
    for path in settings.state_dir.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_each_signer_is_in_the_signed_key_set(settings: Settings) -> None:
    installation = provision(settings, NOW)
    key_set = open_key_set(sealed_key_set(settings.state_dir), installation.root_pub)
    assert {entry.use for entry in key_set.keys} == set(KeyUse)
    signer = load_signer(settings.state_dir, KeyUse.NOTICE)
    message = hello()
    assert open_control(seal_control(message, signer.key_id, signer.key), key_set, NOW_MS) == message


def test_a_key_is_replaced_before_its_end_and_the_old_one_stays_known(settings: Settings) -> None:
    installation = provision(settings, NOW)
    old_set = load_key_set(settings.state_dir)
    old = load_signer(settings.state_dir, KeyUse.NOTICE)
    later = NOW + dt.timedelta(days=3 * 365 - 60)
    assert replace(provision(settings, later), key_set=installation.key_set) == installation
    new_set = load_key_set(settings.state_dir)
    new = load_signer(settings.state_dir, KeyUse.NOTICE)
    assert new_set.version > old_set.version
    assert public_bytes(new.key) != public_bytes(old.key)
    assert old.key_id in {entry.key_id for entry in new_set.keys}
    provision(settings, NOW + dt.timedelta(days=3 * 365 + 1))
    assert old.key_id not in {entry.key_id for entry in load_key_set(settings.state_dir).keys}


def test_old_keys_for_systems_are_kept_when_a_new_one_is_made(settings: Settings) -> None:
    installation = provision(settings, NOW)
    keys = settings.state_dir / "keys"
    (first,) = open_key_set(installation.key_set, installation.root_pub).systems
    assert first.number == 1
    old = load_system_keys(keys)[1]
    assert old.public_key().public_bytes_raw() == first.pub
    later = provision(settings, NOW + dt.timedelta(days=3 * 365 - 60))
    both = open_key_set(later.key_set, later.root_pub).systems
    assert [one.number for one in both] == [1, 2]
    last = provision(settings, NOW + dt.timedelta(days=3 * 365 + 1))
    assert [one.number for one in open_key_set(last.key_set, last.root_pub).systems] == [2]
    assert sorted(load_system_keys(keys)) == [1, 2]
    (keys / "system-3.key").write_bytes((keys / "root.key").read_bytes())
    with pytest.raises(TypeError):
        load_system_keys(keys)


def test_the_certificate_verifies_for_its_hosts_and_follows_them(settings: Settings) -> None:
    provision(settings, NOW)
    first = (settings.state_dir / "tls" / "server.pem").read_bytes()
    authority = (settings.state_dir / "tls" / "ca.pem").read_bytes()
    wider = Settings(state_dir=settings.state_dir, hosts=("ups.example.org", "192.0.2.7"))
    installation = provision(wider, NOW)
    assert installation.gateway_host == "ups.example.org"
    found = x509.load_pem_x509_certificate((settings.state_dir / "tls" / "server.pem").read_bytes())
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["ups.example.org", "localhost"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["192.0.2.7", "127.0.0.1"]
    assert (settings.state_dir / "tls" / "server.pem").read_bytes() != first
    assert (settings.state_dir / "tls" / "ca.pem").read_bytes() == authority


def test_the_certificate_is_renewed_a_month_before_its_end(settings: Settings) -> None:
    provision(settings, NOW)
    path = settings.state_dir / "tls" / "server.pem"
    first = path.read_bytes()
    provision(settings, NOW + dt.timedelta(days=360))
    assert path.read_bytes() == first
    provision(settings, NOW + dt.timedelta(days=368))
    assert path.read_bytes() != first


def shake_hands(server_files: tuple[Path, Path], ca_pem: str, name: str) -> None:
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(*server_files)
    client_context = ssl.create_default_context(cadata=ca_pem)
    client_context.verify_flags |= ssl.VERIFY_X509_STRICT
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname=name)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    done = 0
    while done < 2:
        done = 0
        for side in (client, server):
            try:
                side.do_handshake()
                done += 1
            except ssl.SSLWantReadError:
                continue


def test_a_strict_client_accepts_it_for_the_right_name_only(settings: Settings) -> None:
    installation = provision(settings)
    shake_hands(settings.certificate_paths, installation.ca_pem, "localhost")
    shake_hands(settings.certificate_paths, installation.ca_pem, "127.0.0.1")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(settings.certificate_paths, installation.ca_pem, "elsewhere.example")
