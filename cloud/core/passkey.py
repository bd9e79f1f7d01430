"""Passkeys (WebAuthn level 2): for which address they are, what they are called, when one looks copied.

A passkey belongs to the host of the portal's public address (the RP id) and works at no other. Browsers make
none for an IP address and none without TLS; ``localhost`` is the exception, so a portal on a loopback address
has its passkeys under that name.
"""

import ipaddress
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cloud.core.account import AccountError
from cloud.core.language import gettext
from cloud.core.sign_up import line_of

NAME_MAX_CHARS: Final = 60
MAX_PASSKEYS: Final = 20
"""Per account; all of them are sent to the browser whenever one is asked for."""
CHALLENGE_BYTES: Final = 32
CHALLENGE_LIFE_MS: Final = 300_000
MAX_ANSWER_CHARS: Final = 8_000
"""An answer of a browser; those of known authenticators have 700 to 2 500."""

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class Purpose(StrEnum):
    """What a challenge was made for. Append only: the values are stored."""

    REGISTER = "register"
    LOG_IN = "log_in"
    STEP_UP = "step_up"


class Hindrance(StrEnum):
    """Why a portal of this address cannot have passkeys. Append only."""

    NEEDS_NAME = "needs_name"
    NEEDS_HTTPS = "needs_https"


@dataclass(frozen=True, slots=True)
class Site:
    """Where passkeys work: the host they belong to, and the only origin whose answers count."""

    rp_id: str
    origin: str


def site_of(scheme: str, host: str, port: int | None) -> Site | Hindrance:
    """The site of a public address, whose host is in lower case and ASCII."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host
    else:
        if not address.is_loopback:
            return Hindrance.NEEDS_NAME
        name = "localhost"
    local = name == "localhost" or name.endswith(".localhost")
    if scheme != "https" and not local:
        return Hindrance.NEEDS_HTTPS
    usual = port is None or port == _DEFAULT_PORTS.get(scheme)
    return Site(name, f"{scheme}://{name}" if usual else f"{scheme}://{name}:{port}")


def goes_on(stored: int, shown: int) -> bool:
    """Whether a signature counter may follow on the one stored (WebAuthn level 2, section 7.2, step 21).

    Passkeys that are kept in step on several devices do not count: they show 0 for ever. Else a counter that
    does not grow says that the key is somewhere twice.
    """
    return shown > stored or shown == stored == 0


def passkey_name(text: str) -> str:
    """A name as it is stored. AccountError (field ``name``)."""
    name = line_of(text)
    if not name:
        raise AccountError("name", gettext("Please give the passkey a name."))
    if len(name) > NAME_MAX_CHARS:
        raise AccountError(
            "name", gettext("The name may have {count} characters at most.", count=NAME_MAX_CHARS)
        )
    return name
