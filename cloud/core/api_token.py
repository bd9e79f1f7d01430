"""API tokens: what they look like, what they may be used for, how long they live.

A token acts for one person in one company, with the role that this person has there at that moment and with
no more than its scopes. It never counts as the person: whatever needs somebody to be there (a fresh factor,
one's own account, making tokens) is refused to it.

``scat_`` + 41 characters of base 62 (240 random bits) + 6 of their CRC-32, so that programs that look for
secrets find it by a pattern, and tell a real one from something alike without asking anybody.
"""

import re
import zlib
from collections.abc import Collection, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from cloud.core.account import AccountError
from cloud.core.language import N_, gettext

PREFIX: Final = "scat_"
RANDOM_BYTES: Final = 30
_RANDOM_CHARS: Final = 41  # 62**41 > 2**240
_CHECK_CHARS: Final = 6  # 62**6 > 2**32
PATTERN: Final = rf"\b{PREFIX}[0-9A-Za-z]{{{_RANDOM_CHARS + _CHECK_CHARS}}}\b"
"""What scanners for secrets look for (docs/api.md)."""
_WHOLE: Final = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{_RANDOM_CHARS + _CHECK_CHARS}}}", re.ASCII)
_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

NAME_MAX_CHARS: Final = 60
DAY_MS: Final = 86_400_000
LIVES_DAYS: Final = (7, 30, 90, 365)
"""What the page offers."""
DEFAULT_LIFE_DAYS: Final = 90
MAX_LIFE_DAYS: Final = 366
MAX_TOKENS: Final = 50
"""Of a person in a company, ended ones that are still listed included."""
KEPT_MS: Final = 30 * DAY_MS
"""So long an expired token stays in the list, so that people see why something stopped."""


class Scope(StrEnum):
    """What a token may be used for. Append only: stored, and programs rely on them."""

    DEVICES_READ = "devices:read"
    DEVICES_WRITE = "devices:write"
    CLAIMS = "claims"
    OWNERSHIP = "ownership"
    CONTROL = "control"
    NOTIFICATIONS = "notifications"
    COMPANY_READ = "company:read"
    COMPANY_WRITE = "company:write"
    AUDIT_READ = "audit:read"
    METRICS_READ = "metrics:read"
    SYSTEMS_READ = "systems:read"
    SYSTEMS_WRITE = "systems:write"


MEANINGS: Final[Mapping[Scope, str]] = MappingProxyType(
    {
        Scope.DEVICES_READ: N_(
            "See devices with their readings, events, outages, settings, alarms and rules, and export them."
        ),
        Scope.DEVICES_WRITE: N_(
            "Name devices, change their settings and rules, arrange sites, acknowledge alarms."
        ),
        Scope.CLAIMS: N_("Claim devices, one by one or by a list, and look after these claims."),
        Scope.OWNERSHIP: N_(
            "Answer claimants, keep devices, withdraw or decline offers, mark devices as stolen."
        ),
        Scope.CONTROL: N_(
            "Send commands: identify, mute, self-test, calibration. Outlets are switched by people only."
        ),
        Scope.NOTIFICATIONS: N_("See and change who is told what, and by which channel."),
        Scope.COMPANY_READ: N_("See the company’s details and members."),
        Scope.COMPANY_WRITE: N_("Change the company’s details, invite members, change their roles."),
        Scope.AUDIT_READ: N_("Read what people did in the company."),
        Scope.METRICS_READ: N_("Read the metrics of all devices, for Prometheus."),
        Scope.SYSTEMS_READ: N_("See registered building systems, their data, codes, history and offers."),
        Scope.SYSTEMS_WRITE: N_(
            "Register systems, associate System IDs, write what is registered, "
            "lead and shadow, invite to free slots."
        ),
    }
)


def text_of(randomness: bytes) -> str:
    """The token of so many random bytes."""
    if len(randomness) != RANDOM_BYTES:
        raise ValueError(f"a token has {RANDOM_BYTES} random bytes")
    head = PREFIX + _base62(int.from_bytes(randomness, "big"), _RANDOM_CHARS)
    return head + _checksum(head)


def is_token(text: str) -> bool:
    """Whether a text has the form of a token and its checksum is right."""
    return _WHOLE.fullmatch(text) is not None and text[-_CHECK_CHARS:] == _checksum(text[:-_CHECK_CHARS])


def _checksum(head: str) -> str:
    return _base62(zlib.crc32(head.encode()), _CHECK_CHARS)


def _base62(number: int, chars: int) -> str:
    digits = []
    for _ in range(chars):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))


def parse_name(text: str) -> str:
    """What a person calls a token. AccountError (name)."""
    name = " ".join(text.split())
    if not name:
        raise AccountError("name", gettext("Please enter a name, as in “Nightly report”."))
    if len(name) > NAME_MAX_CHARS or not name.isprintable():
        raise AccountError("name", gettext("Please use at most {count} characters.", count=NAME_MAX_CHARS))
    return name


def parse_scopes(texts: Collection[str]) -> tuple[Scope, ...]:
    """Scopes without repetition, in the order of :class:`Scope`. AccountError (scopes)."""
    chosen = tuple(scope for scope in Scope if scope in texts)
    if not chosen:
        raise AccountError("scopes", gettext("Please choose what the token may be used for."))
    if set(texts) - set(Scope):
        raise AccountError("scopes", gettext("There is no such scope."))
    return chosen


def expiry_ms(days: int, now_ms: int) -> int:
    """When a token that lives so many days ends. AccountError (expires_days)."""
    if not 1 <= days <= MAX_LIFE_DAYS:
        raise AccountError("expires_days", gettext("A token lives 1 to {count} days.", count=MAX_LIFE_DAYS))
    return now_ms + days * DAY_MS
