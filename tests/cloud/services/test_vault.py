"""Sealed secrets and the key file outside the database."""

from pathlib import Path

import pytest

from cloud.config import Settings
from cloud.provision import provision
from cloud.services.vault import Vault, VaultError


def test_a_secret_opens_for_its_purpose_owner_and_key_only() -> None:
    vault = Vault(b"k" * 32)
    sealed = vault.seal("totp", 7, b"secret")
    assert b"secret" not in sealed
    assert vault.open("totp", 7, sealed) == b"secret"
    assert vault.seal("totp", 7, b"secret") != sealed
    for other, purpose, owner, value in (
        (vault, "totp", 8, sealed),
        (vault, "webhook", 7, sealed),
        (Vault(b"l" * 32), "totp", 7, sealed),
        (vault, "totp", 7, sealed[:-1] + bytes([sealed[-1] ^ 1])),
        (vault, "totp", 7, b""),
    ):
        with pytest.raises(VaultError):
            other.open(purpose, owner, value)


def test_hashes_of_codes_depend_on_purpose_holder_and_key() -> None:
    vault = Vault(b"k" * 32)
    found = {
        vault.hash_code("a", b"x", "123456"),
        vault.hash_code("b", b"x", "123456"),
        vault.hash_code("a", b"y", "123456"),
        vault.hash_code("a", b"x", "123457"),
        Vault(b"l" * 32).hash_code("a", b"x", "123456"),
    }
    assert len(found) == 5


def test_the_key_file_is_made_once_and_private(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path)
    provision(settings)
    path = settings.secrets_key_path
    content = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    sealed = Vault.load(path).seal("totp", 1, b"x")
    provision(settings)
    assert path.read_text() == content
    assert Vault.load(path).open("totp", 1, sealed) == b"x"


@pytest.mark.parametrize(
    ("content", "mode", "complaint"),
    [("00" * 32, 0o640, "open to other users"), ("00" * 31, 0o600, "31 bytes"), ("zz", 0o600, "hex")],
)
def test_a_bad_key_file_is_refused(tmp_path: Path, content: str, mode: int, complaint: str) -> None:
    path = tmp_path / "key"
    path.write_text(content)
    path.chmod(mode)
    with pytest.raises(VaultError, match=complaint):
        Vault.load(path)
    with pytest.raises(VaultError):
        Vault.load(tmp_path / "missing")
