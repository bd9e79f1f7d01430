"""What the account services need beside their arguments: database, hashes, vault, words, links."""

import hashlib
import secrets
from dataclasses import dataclass, field
from typing import Final

from cloud.core.sign_up import CHOICES, Choices
from cloud.postgres.pool import Pool
from cloud.services.passwords import Passwords
from cloud.services.vault import Vault
from protocol.identity import b64url

TOKEN_BYTES: Final = 32
MAX_TOKEN_CHARS: Final = 64


@dataclass(frozen=True, slots=True)
class Kit:
    """One of these a process. ``portal_url`` has no slash at its end; ``choices`` are sign-up's lists."""

    pool: Pool
    passwords: Passwords
    vault: Vault
    brand: str
    portal_url: str
    choices: Choices = field(default_factory=lambda: CHOICES)


def new_token() -> str:
    """256 random bits for a link or a cookie, base64url."""
    return b64url(secrets.token_bytes(TOKEN_BYTES))


def hash_of(token: str) -> bytes:
    """What is stored of a token. Any text has a hash; only a real token's is found."""
    return hashlib.sha256(token[:MAX_TOKEN_CHARS].encode(errors="replace")).digest()
