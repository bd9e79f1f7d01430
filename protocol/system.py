"""Building systems: what a server and the cloud say to each other about a registration.

A *server* is an Enterprise Server or a stand-alone one. Its **System ID** is the public half of an X25519 key
that was made with its database, so a new database is a new System ID. Server and cloud each know a secret by
that key and one of the cloud's (:func:`protocol.system_keys.cloud_secret`), which proves either to the other.

What travels, over HTTPS and by the server's own asking (``POST /api/v1/systems/exchange``):

==================  ======================================================================================
`SystemReport`      server → cloud: who I am, what runs here, which servers are attached, what I know already
`SystemState`       cloud → server: how the registration stands, what it says, notices, when to ask again
`Attachment`        an attached server's own word that it belongs to an Enterprise Server; carried by either
`PassedOn`          Enterprise Server → attached server, over their own link, also without any cloud
==================  ======================================================================================

The exchange takes a sealed report as its body and answers 200 with a sealed state, or with a problem (RFC
9457) whose ``code`` says why not: ``system_proof_invalid`` (401: not sealed by the server it names, or under
a key of the cloud that is gone: fetch ``/api/v1/keys`` anew), ``system_report_old`` (409: the counter has not
grown), ``bad_request`` (400), ``busy`` (429, with Retry-After).

Registration without a network is in :mod:`protocol.system_code`. Times are unix ms. Codes and kinds are
stored and sent as they stand here: append, never rename.
"""

import hashlib
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from protocol.errors import ErrorCode, IdentityError
from protocol.identity import b64url, unb64url
from protocol.marks import N_
from protocol.messages import Scalar

SYSTEM_KEY_BYTES: Final = 32  # X25519, RFC 7748
SYSTEM_ID_LENGTH: Final = 43
WRITTEN_LENGTH: Final = 45
"""Characters of a System ID with its two check characters, as it is shown to people."""
MAX_REPORT_BYTES: Final = 524_288
"""Takes as many attached servers and UPSs as may be, each with its own sealed or signed word."""
MAX_STATE_BYTES: Final = 65_536
MAX_ATTACHED: Final = 500
MAX_UPS: Final = 500
MAX_TEXT: Final = 200
NONCE_BYTES: Final = 16

_ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
"""Base 58: neither 0 and O nor I and l, nor a dash, which then may stand between groups."""
_READABLE: Final = re.compile(f"[{_ALPHABET}]*")
_IGNORED: Final = re.compile(r"[\s\-\u2010-\u2015\u2212_.]+")
_TYPED_LIMIT: Final = 200
_GROUP: Final = 5
_FIELD_PRIME: Final = 2**255 - 19


class System(StrEnum):
    """What kind of server it is."""

    ENTERPRISE_SERVER = "enterprise_server"
    STANDALONE = "standalone"


@dataclass(frozen=True, slots=True)
class SystemId:
    """43 characters, case-sensitive: base64url of the X25519 public key, made so that all are of base 58."""

    value: str

    @classmethod
    def parse(cls, text: str) -> "SystemId":
        """System ID as it is typed or copied, with or without its two check characters.

        Blanks and dashes count for nothing; upper and lower case differ. Raises IdentityError:
        system_id_invalid where it cannot be one, system_id_mistyped where the check characters differ.
        """
        if len(text) > _TYPED_LIMIT:
            raise IdentityError(ErrorCode.SYSTEM_ID_INVALID, N_("This text is much longer than a System ID."))
        value = _IGNORED.sub("", text)
        foreign = next((sign for sign in value if not _READABLE.fullmatch(sign)), None)
        if foreign is not None:
            raise IdentityError(
                ErrorCode.SYSTEM_ID_INVALID,
                N_("No System ID has the character {sign}: letters and digits without 0, O, I and l."),
                sign=repr(foreign),
            )
        if len(value) not in {SYSTEM_ID_LENGTH, WRITTEN_LENGTH}:
            raise IdentityError(
                ErrorCode.SYSTEM_ID_INVALID,
                N_("A System ID has {length} characters; this one has {count}."),
                length=WRITTEN_LENGTH,
                count=len(value),
            )
        found = cls(value[:SYSTEM_ID_LENGTH])
        if len(value) == WRITTEN_LENGTH and value[SYSTEM_ID_LENGTH:] != found.check:
            raise IdentityError(
                ErrorCode.SYSTEM_ID_MISTYPED,
                N_("A character of the System ID is wrong. Compare upper and lower case, too."),
            )
        if not _can_be_key(found.value):
            raise IdentityError(ErrorCode.SYSTEM_ID_INVALID, N_("No server can have this System ID."))
        return found

    @classmethod
    def of(cls, public: bytes) -> "SystemId | None":
        """The System ID of this public key; None where a key must be made anew until it is readable.

        About one key in 70 will do (4 ms of tries), for 6 of some 252 bits.
        """
        if len(public) != SYSTEM_KEY_BYTES:
            raise IdentityError(ErrorCode.SYSTEM_ID_INVALID, "An X25519 public key has 32 bytes.")
        value = b64url(public)
        return cls(value) if _READABLE.fullmatch(value) and _can_be_key(value) else None

    @property
    def public(self) -> bytes:
        """The X25519 public key (32 bytes)."""
        return unb64url(self.value)

    @property
    def check(self) -> str:
        """Two characters that find 3363 of 3364 typing errors."""
        digest = hashlib.sha256(b"scl/system-id/1\0" + self.value.encode("ascii")).digest()
        high, low = divmod(int.from_bytes(digest[:8], "big") % 58**2, 58)
        return _ALPHABET[high] + _ALPHABET[low]

    @property
    def written(self) -> str:
        """As people read and type it: nine groups of five, check characters included."""
        text = self.value + self.check
        return "-".join(text[i : i + _GROUP] for i in range(0, WRITTEN_LENGTH, _GROUP))

    def __str__(self) -> str:
        return self.value


def _can_be_key(value: str) -> bool:
    """Whether 43 base64url characters are one canonical X25519 public key (RFC 7748, section 5)."""
    public = unb64url(value)
    return b64url(public) == value and 1 < int.from_bytes(public, "little") < _FIELD_PRIME


# --- server → cloud -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A server's own word: I belong to this Enterprise Server (``to`` its System ID, "" for: to none).

    Sealed by the server for the cloud (:func:`protocol.system_keys.seal`, domain ``attachment``), so that the
    Enterprise Server can carry it for one that has no network. ``counter`` only grows.
    """

    system_id: str
    to: str
    counter: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UpsUnder:
    """A UPS under this server: its device key's word for it (:func:`protocol.system_keys.sign_ups`)."""

    device_id: str
    """Decimal, as JSON numbers above 2^53 are not safe everywhere."""
    kid: str
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemReport:
    """Server → cloud, sealed with domain ``report``.

    ``counter`` = max(last + 1, unix ms), kept: the cloud takes none twice. ``nonce`` comes back in the
    answer.
    ``known`` is the ``version`` of the last state this server has; 0 without one. ``attached`` are sealed
    `Attachment`s of the servers under this one; ``attachment`` is the server's own. ``uptime_s`` in seconds;
    ``licences`` as people read them. ``register`` says that somebody pressed *Register now*: the answer then
    has a ``link``. ``accept`` names the one of the state's ``waiting`` that somebody at the server has agreed
    to, ``decline`` one that somebody there does not want.
    """

    v: int = 1
    system_id: str
    counter: int
    nonce: bytes
    kind: System = System.STANDALONE
    name: str = ""
    version: str = ""
    licences: tuple[str, ...] = ()
    uptime_s: int = 0
    known: int = 0
    register: bool = False
    accept: str = ""
    decline: str = ""
    attachment: bytes = b""
    attached: tuple[bytes, ...] = ()
    ups: tuple[UpsUnder, ...] = ()


# --- cloud → server -----------------------------------------------------------------------------------------


class Stand(StrEnum):
    """How a System ID stands. Append only."""

    UNREGISTERED = "unregistered"
    """The cloud has heard of it; nobody has registered it."""
    PENDING = "pending"
    """Registered, and the end-user's two consents are missing."""
    REGISTERED = "registered"
    RETIRED = "retired"
    """Another System ID has taken its place, for good: nothing will ever be registered with this one."""


class Source(StrEnum):
    """Whose registration a server shows. Append only."""

    OWN = "own"
    LEAD = "lead"
    ATTACHED = "attached"


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What is registered, as a server shows it.

    ``number`` as people read it (:func:`protocol.system_code.written_number`). ``data``, ``contacts`` and
    ``warranty``: field → text; names as in :data:`FIELDS`. A slot nobody holds is "".
    """

    number: str
    registered_ms: int
    integrator: str = ""
    end_user: str = ""
    data: dict[str, str] = field(default_factory=dict)
    contacts: dict[str, str] = field(default_factory=dict)
    warranty: dict[str, str] = field(default_factory=dict)


FIELDS: Final[dict[str, str]] = {
    "site_name": N_("Site or building name"),
    "company": N_("Site company"),
    "address": N_("Address"),
    "address2": N_("Address, second line"),
    "country": N_("Country"),
    "state": N_("State or province"),
    "city": N_("City"),
    "zip": N_("Zip"),
    "application": N_("System application"),
    "transition": N_("Transition from a legacy system"),
    "contact_name": N_("Contact"),
    "contact_email": N_("Contact's e-mail"),
    "contact_phone": N_("Contact's telephone"),
    "integrator_contact": N_("Contact at the integrator"),
    "integrator_email": N_("E-mail at the integrator"),
    "integrator_phone": N_("Telephone at the integrator"),
    "warranty_start": N_("Warranty begins"),
    "warranty_end": N_("Warranty ends"),
    "warranty_terms": N_("Warranty terms"),
}
"""Every field of a registration and what people call it. Names are stored and sent: append, never rename."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemNotice:
    """Something a server's people should know; ``number`` only grows within a System ID."""

    number: int
    ts_ms: int
    code: str
    text: str
    values: dict[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Somebody has only typed this System ID at the portal. It holds nothing until the server accepts it.

    ``company`` wants to become its ``slot`` (integrator or end_user); ``operation`` as in
    :class:`protocol.system_code.Operation`; ``number`` is that of the registration for *associate*, else "".
    """

    name: str
    company: str
    slot: str
    operation: int
    number: str = ""
    since_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemState:
    """Cloud → server, sealed with domain ``state`` under the report's ``nonce``.

    ``version`` only grows for a System ID. ``registration`` is what the server shows, from ``source``:
    its own, its lead's, or that of the Enterprise Server it is attached to (``source_id``, its System ID);
    ``own`` is its own where it has one and shows another. ``attached``: System IDs whose attachment to this
    server counts, both having said so. ``next_s``: when to ask again. ``waiting``: who typed this System ID
    and waits for its server's yes (``accept`` of a report). ``link``: after *Register now*, the portal's page
    for whoever is at the server, which needs no such yes; good for 15 minutes, a secret in its fragment.
    ``gone_id``: the Enterprise Server it says it is attached to, where that System ID is retired for good.
    """

    v: int = 1
    system_id: str
    counter: int
    nonce: bytes
    server_time_ms: int
    version: int
    stand: Stand
    source: Source = Source.OWN
    source_id: str = ""
    registration: Registration | None = None
    own: Registration | None = None
    notices: tuple[SystemNotice, ...] = ()
    attached: tuple[str, ...] = ()
    waiting: tuple[Waiting, ...] = ()
    link: str = ""
    next_s: int = 60
    key_set_version: int = 0
    gone_id: str = ""


# --- Enterprise Server → attached server --------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedOn:
    """What an Enterprise Server shows, for a server attached to it; sealed under both their System ID keys.

    ``counter`` only grows: the attached server takes none twice. Without ``registration``
    nothing is registered there (any more).
    """

    v: int = 1
    from_id: str
    to: str
    counter: int
    version: int
    stand: Stand
    registration: Registration | None = None
