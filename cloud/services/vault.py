"""What the database alone must not give away: sealed secrets and hashes of short codes.

The key is a file outside the database (``secrets_key_file``): 32 bytes in hexadecimal, 0600. Two keys are
derived from it. Whoever has the database alone can neither read a sealed secret nor try out six digits.
"""

import hashlib
import hmac
import os
import stat
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12


class VaultError(Exception):
    """The key file cannot be used, or a sealed value was not sealed with it."""


class Vault:
    """Seals and opens small secrets; hashes codes that are short enough to be tried out."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise VaultError(f"the key has {len(key)} bytes, not {KEY_BYTES}")
        self._seal = AESGCM(hmac.digest(key, b"seal/1", "sha256"))
        self._code_key = hmac.digest(key, b"code/1", "sha256")

    @classmethod
    def load(cls, path: Path) -> Self:
        """The vault of a key file. VaultError when it is missing, open to others or no such key."""
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
            text = path.read_text(encoding="ascii").strip()
            key = bytes.fromhex(text)
        except (OSError, ValueError) as error:
            raise VaultError(f"{path}: {error}") from error
        if mode & 0o077:
            raise VaultError(f"{path} is open to other users of this machine (mode {mode:o}): chmod 600")
        return cls(key)

    def seal(self, purpose: str, owner: int, secret: bytes) -> bytes:
        """Nonce, ciphertext and tag; bound to what it is for and whose it is."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._seal.encrypt(nonce, secret, f"{purpose}|{owner}".encode())

    def open(self, purpose: str, owner: int, sealed: bytes) -> bytes:
        """The secret again. VaultError for another key, purpose or owner."""
        nonce, rest = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
        try:
            return self._seal.decrypt(nonce, rest, f"{purpose}|{owner}".encode())
        except (InvalidTag, ValueError) as error:
            raise VaultError(
                f"the sealed {purpose} was sealed with another key or for another owner"
            ) from error

    def hash_code(self, purpose: str, holder: bytes, code: str) -> bytes:
        """What is stored of a short code: HMAC-SHA256, bound to its purpose and holder."""
        message = b"|".join([purpose.encode(), hashlib.sha256(holder).digest(), code.encode()])
        return hmac.digest(self._code_key, message, "sha256")
