"""The second factor: time-based codes (RFC 6238), recovery codes, and how long a proof stays fresh.

A code is six digits over steps of 30 s; the step before and after ours are accepted, for clocks differ. A
step that was used is never accepted again, nor is any before it. Ten recovery codes of 50 bits stand in for
a lost device, each once.
"""

import hmac
from collections.abc import Iterable
from typing import Final

import pyotp

STEP_MS: Final = 30_000
WINDOW: Final = 1
SECRET_BYTES: Final = 20  # RFC 4226 section 4 recommends 160 bits
FRESH_MS: Final = 300_000
RECOVERY_CODES: Final = 10
RECOVERY_BYTES: Final = 10  # one character each
LOGIN_STEP_LIFE_MS: Final = 300_000
LOGIN_STEP_TRIES: Final = 5

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32: nothing to mix up
_LOOKALIKES: Final = str.maketrans("OIL", "011")


def step_of(now_ms: int) -> int:
    """The number of the time step."""
    return now_ms // STEP_MS


def code_at(secret: str, step: int) -> str:
    """The code of a step; ``secret`` in base 32."""
    return pyotp.HOTP(secret).at(step)


def matching_step(secret: str, code: str, *, now_ms: int, last_step: int) -> int | None:
    """The step whose code this is, if it is acceptable now and newer than the last one used."""
    found = None
    for step in range(max(step_of(now_ms) - WINDOW, 1), step_of(now_ms) + WINDOW + 1):
        # All are compared, so that the time tells nothing.
        if hmac.compare_digest(code_at(secret, step).encode(), code.encode()) and step > last_step:
            found = step if found is None else found
    return found


def parse_totp(text: str) -> str | None:
    """Six digits as typed, with or without a blank; None for anything else."""
    digits = "".join(text.split())
    return digits if len(digits) == 6 and digits.isascii() and digits.isdigit() else None


def provisioning_uri(secret: str, *, account_name: str, issuer: str) -> str:
    """What the QR code of an authenticator app holds (otpauth://totp/…)."""
    return pyotp.TOTP(secret).provisioning_uri(name=account_name, issuer_name=issuer)


def recovery_text(randomness: bytes) -> str:
    """A recovery code as it is shown, as in ``4F7KX-20QZB``; 10 random bytes give 50 bits."""
    if len(randomness) != RECOVERY_BYTES:
        raise ValueError("a recovery code is made from 10 bytes")
    text = "".join(_ALPHABET[byte & 31] for byte in randomness)
    return f"{text[:5]}-{text[5:]}"


def parse_recovery(text: str) -> str | None:
    """A recovery code as it is hashed; letters that look like digits count as those; else None."""
    bare = "".join(text.split()).replace("-", "").upper().translate(_LOOKALIKES)
    return bare if len(bare) == RECOVERY_BYTES and all(char in _ALPHABET for char in bare) else None


def recovery_texts(randomness: Iterable[bytes]) -> list[str]:
    """Several recovery codes."""
    return [recovery_text(part) for part in randomness]


def is_fresh(factor_ms: int | None, now_ms: int) -> bool:
    """Whether a proof of this time still stands for sensitive changes: 5 minutes."""
    return factor_ms is not None and 0 <= now_ms - factor_ms <= FRESH_MS
