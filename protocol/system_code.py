"""Registration without a network: a server's request, and the registration code the portal answers with.

Theory of operation
-------------------
The server shows a **request** (text and QR): System ID, number of the cloud's key, nonce, operation, and 80
bits of HMAC under the secret it shares with that key, which proves the System ID to be the asker's.
Somebody carries it to the portal and brings back a **registration code**: operation, registration, last day,
and 128 bits of HMAC over these, the System ID and the request's nonce. The server checks that by itself. It
keeps one open request; a good code closes it, which makes the code single-use.

::

    request  v3 op5 · key number 16 · System ID 256 · nonce 80 · MAC 80   bits  = 88 + 2 characters, 18 groups
    code     op3 · registration 30 · day 14 · MAC 128                     bits  = 35 characters, 7 groups

Both are written in groups of six: five characters of base 32 (Crockford: no I, L, O, U) and a check character
over the group and its place. It finds every single wrong character and every two swapped ones, in each group
by itself, so that a person is told which group to look at. Case does not matter, nor do blanks and dashes.
"""

import re
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final

from protocol.errors import ErrorCode, ProtocolError
from protocol.marks import N_
from protocol.system import SystemId
from protocol.system_keys import MAX_KEY_NUMBER, Secret, check_mac, mac

NONCE_BYTES: Final = 10
REQUEST_GROUPS: Final = 18
CODE_GROUPS: Final = 7
REGISTRATION_BITS: Final = 30
DAY_MS: Final = 86_400_000
DAY_ZERO: Final = 18_262
"""2020-01-01 in days since 1970; a code's day counts from it, up to 2064."""

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_VALUES: Final = {sign: value for value, sign in enumerate(_ALPHABET)} | {"O": 0, "I": 1, "L": 1}
_IGNORED: Final = re.compile(r"[\s\-\u2010-\u2015\u2212_.]+")
_TYPED_LIMIT: Final = 400
_DATA: Final = 5  # characters of a group that carry something
_GROUP: Final = _DATA + 1
_POLYNOMIAL: Final = 0b100101  # x^5 + x^2 + 1, irreducible over GF(2)
_VERSION: Final = 1
_REQUEST_MAC: Final = 10
_CODE_MAC: Final = 16
_DAY_BITS: Final = 14
_OPERATION_BITS: Final = 3
_REQUEST_BITS: Final = 8 + 16 + 256 + 8 * NONCE_BYTES + 8 * _REQUEST_MAC
_REQUEST_PADDING: Final = REQUEST_GROUPS * _DATA * 5 - _REQUEST_BITS
_NUMBER_LENGTH: Final = 6


class Operation(IntEnum):
    """What a code does at the server. Append only, at most 7."""

    REGISTER = 1
    ASSOCIATE = 2
    """This new System ID takes the place of an older one on an existing registration."""


class CodeRefusal(StrEnum):
    """The class of a refused code, as people are told it."""

    MISTYPED = "mistyped"
    EXPIRED = "expired"
    WRONG_OPERATION = "wrong operation"
    NO_OPEN_REQUEST = "no open request"
    NOT_FOR_REQUEST = "not made for this request"


REFUSAL_CODES: Final[dict[CodeRefusal, ErrorCode]] = {
    CodeRefusal.MISTYPED: ErrorCode.CODE_MISTYPED,
    CodeRefusal.EXPIRED: ErrorCode.CODE_EXPIRED,
    CodeRefusal.WRONG_OPERATION: ErrorCode.CODE_WRONG_OPERATION,
    CodeRefusal.NO_OPEN_REQUEST: ErrorCode.CODE_NO_OPEN_REQUEST,
    CodeRefusal.NOT_FOR_REQUEST: ErrorCode.CODE_NOT_FOR_REQUEST,
}

REFUSAL_TEXTS: Final[dict[CodeRefusal, str]] = {
    CodeRefusal.MISTYPED: "Something is mistyped.",
    CodeRefusal.EXPIRED: "The code has expired. Take the request to the portal again and get a new code.",
    CodeRefusal.WRONG_OPERATION: (
        "The code is for another operation than the one asked for here. Make a new request for what you want,"
        " and get a code for it."
    ),
    CodeRefusal.NO_OPEN_REQUEST: (
        "This server waits for no code: its last one was used, or it never asked. Make a new request first."
    ),
    CodeRefusal.NOT_FOR_REQUEST: (
        "The code was not made for this server's present request. Take the request that is shown now to the"
        " portal, and enter the code that it answers with."
    ),
}
"""What each class says to people, and what to do next."""


class MistypedError(ProtocolError):
    """A request or code that is mistyped. ``group`` counts from 1; 0 where the length is wrong."""

    def __init__(self, code: ErrorCode, message: str, group: int = 0, **values: object) -> None:
        super().__init__(code, message, **values)
        self.group = group


class CodeRefusedError(ProtocolError):
    """A registration code that does nothing here. ``group`` as in `MistypedError`, 0 for other classes."""

    def __init__(self, refusal: CodeRefusal, message: str = "", group: int = 0) -> None:
        super().__init__(REFUSAL_CODES[refusal], message or REFUSAL_TEXTS[refusal])
        self.refusal = refusal
        self.group = group


# --- groups -------------------------------------------------------------------------------------------------


def _times_x(value: int) -> int:
    doubled = value << 1
    return doubled ^ _POLYNOMIAL if doubled & 0b100000 else doubled


def _check_of(values: list[int], place: int) -> int:
    """Check value of a group at this place: Horner's rule in GF(32), so single errors and swaps show."""
    check = (place * 7 + 3) % 32
    for value in values:
        check = _times_x(check ^ value)
    return check


def write_groups(number: int, groups: int) -> str:
    """A number of ``groups`` × 25 bits, in groups with their check characters."""
    signs = [number >> 5 * i & 31 for i in reversed(range(groups * _DATA))]
    parts = [signs[i : i + _DATA] for i in range(0, len(signs), _DATA)]
    return "-".join(
        "".join(_ALPHABET[value] for value in (*part, _check_of(part, place)))
        for place, part in enumerate(parts)
    )


REQUEST_TEXTS: Final = (
    N_("This text is much longer than a request."),
    N_("Group {place} of the request is mistyped: {part}. Compare it."),
    N_("A request has {groups} groups of {size} characters, {whole} in all; this one has {count}."),
)
"""What :func:`read_groups` says of a request, which people type into a portal of any language."""


def read_groups(text: str, groups: int, code: ErrorCode, name: str) -> int:
    """Inverse of :func:`write_groups`, for what people type; MistypedError names the first wrong group."""
    if len(text) > _TYPED_LIMIT:
        raise MistypedError(code, f"This text is much longer than a {name}.")
    signs = _IGNORED.sub("", text).upper()
    number = 0
    for place in range(groups):
        part = signs[place * _GROUP : (place + 1) * _GROUP]
        if len(part) < _GROUP:
            break
        values = [_VALUES.get(sign, -1) for sign in part]
        if -1 in values or _check_of(values[:_DATA], place) != values[_DATA]:
            raise MistypedError(
                code,
                f"Group {{place}} of the {name} is mistyped: {{part}}. Compare it.",
                place + 1,
                place=place + 1,
                part=part,
            )
        for value in values[:_DATA]:
            number = number << 5 | value
    if len(signs) != groups * _GROUP:
        raise MistypedError(
            code,
            f"A {name} has {{groups}} groups of {{size}} characters, {{whole}} in all;"
            " this one has {count}.",
            groups=groups,
            size=_GROUP,
            whole=groups * _GROUP,
            count=len(signs),
        )
    return number


def written_number(number: int) -> str:
    """A registration's number as people read it: six characters of base 32."""
    if not 0 <= number < 1 << REGISTRATION_BITS:
        raise ValueError("a registration's number has 30 bits")
    return "".join(_ALPHABET[number >> 5 * i & 31] for i in reversed(range(_NUMBER_LENGTH)))


def read_number(text: str) -> int | None:
    """A registration's number as people type it; None where it is none."""
    signs = _IGNORED.sub("", text[:_TYPED_LIMIT]).upper()
    values = [_VALUES.get(sign, -1) for sign in signs]
    if len(values) != _NUMBER_LENGTH or -1 in values:
        return None
    number = 0
    for value in values:
        number = number << 5 | value
    return number


# --- the request --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """What a server asks for, and keeps until a code has answered it. No secret in it."""

    system_id: SystemId
    key_number: int
    operation: Operation
    nonce: bytes


def write_request(request: OpenRequest, secret: Secret) -> str:
    """The request as text: 18 groups of six characters."""
    body = _request_body(request)
    sealed = body + mac(secret, "request", body, _REQUEST_MAC)
    return write_groups(int.from_bytes(sealed, "big") << _REQUEST_PADDING, REQUEST_GROUPS)


def read_request(text: str) -> tuple[OpenRequest, bytes]:
    """A request as it was typed or scanned, with its MAC, which :func:`check_request` must judge.

    Also takes the link of :func:`request_link`. Raises MistypedError (request_mistyped), ProtocolError
    (request_invalid).
    """
    number = read_groups(text.rpartition("#")[2], REQUEST_GROUPS, ErrorCode.REQUEST_MISTYPED, "request")
    if number & (1 << _REQUEST_PADDING) - 1:
        raise ProtocolError(ErrorCode.REQUEST_INVALID, N_("This is no request of a server."))
    sealed = (number >> _REQUEST_PADDING).to_bytes(_REQUEST_BITS // 8, "big")
    body, given = sealed[:-_REQUEST_MAC], sealed[-_REQUEST_MAC:]
    version, operation = body[0] >> 5, body[0] & 31
    system_id = SystemId.of(body[3:35])
    if version != _VERSION or operation not in set(Operation) or system_id is None:
        raise ProtocolError(
            ErrorCode.REQUEST_INVALID,
            N_("This is no request that this portal knows. Update whichever is older."),
        )
    key_number = int.from_bytes(body[1:3], "big")
    return OpenRequest(system_id, key_number, Operation(operation), body[35:]), given


def check_request(request: OpenRequest, given: bytes, secret: Secret) -> None:
    """ProtocolError (request_invalid) unless the server of this System ID made this request."""
    if len(given) != _REQUEST_MAC or not check_mac(secret, "request", _request_body(request), given):
        raise ProtocolError(
            ErrorCode.REQUEST_INVALID,
            N_("The request was not made by the server whose System ID it names."),
        )


def request_link(portal_url: str, text: str) -> str:
    """The link that a request's QR code holds; the request stands in the fragment."""
    return f"{portal_url.rstrip('/')}/systems/offline#{text}"


def _request_body(request: OpenRequest) -> bytes:
    if not 0 <= request.key_number <= MAX_KEY_NUMBER or len(request.nonce) != NONCE_BYTES:
        raise ValueError("a key number has 16 bits and a nonce 80")
    return (
        bytes([_VERSION << 5 | request.operation])
        + request.key_number.to_bytes(2, "big")
        + request.system_id.public
        + request.nonce
    )


# --- the registration code ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Registered:
    """What a good code says."""

    operation: Operation
    registration: int
    day: int
    """The last day (UTC) it is taken on, in days since 1970."""


def day_of(moment_ms: int) -> int:
    """Days since 1970 (UTC)."""
    return moment_ms // DAY_MS


def write_code(request: OpenRequest, answer: Registered, secret: Secret) -> str:
    """The registration code for a request that was checked: 7 groups of six characters."""
    head = _code_head(answer)
    sealed = int.from_bytes(_code_mac(request, head, secret), "big")
    return write_groups(head << 8 * _CODE_MAC | sealed, CODE_GROUPS)


def read_code(text: str, request: OpenRequest | None, secret: Secret | None, now_ms: int) -> Registered:
    """What a code says, if it answers this open request; verifiable without any network.

    ``secret`` is the one shared with the cloud's key that the request names; both None: nothing was asked.
    Raises CodeRefusedError; the classes are judged in the order mistyped, no open request, not made for this
    request, expired, wrong operation.
    """
    try:
        number = read_groups(text, CODE_GROUPS, ErrorCode.CODE_MISTYPED, "registration code")
    except MistypedError as error:
        raise CodeRefusedError(CodeRefusal.MISTYPED, str(error), error.group) from error
    if request is None or secret is None:
        raise CodeRefusedError(CodeRefusal.NO_OPEN_REQUEST)
    head, sealed = number >> 8 * _CODE_MAC, (number & (1 << 8 * _CODE_MAC) - 1).to_bytes(_CODE_MAC, "big")
    if not check_mac(secret, "code", _code_body(request, head), sealed):
        raise CodeRefusedError(CodeRefusal.NOT_FOR_REQUEST)
    operation = head >> REGISTRATION_BITS + _DAY_BITS
    day = DAY_ZERO + (head & (1 << _DAY_BITS) - 1)
    if day_of(now_ms) > day:
        raise CodeRefusedError(CodeRefusal.EXPIRED)
    if operation != request.operation:
        raise CodeRefusedError(CodeRefusal.WRONG_OPERATION)
    return Registered(request.operation, head >> _DAY_BITS & (1 << REGISTRATION_BITS) - 1, day)


def _code_head(answer: Registered) -> int:
    day = answer.day - DAY_ZERO
    if not 0 <= answer.registration < 1 << REGISTRATION_BITS or not 0 <= day < 1 << _DAY_BITS:
        raise ValueError("a registration's number has 30 bits and a day 14")
    return (answer.operation << REGISTRATION_BITS | answer.registration) << _DAY_BITS | day


def _code_body(request: OpenRequest, head: int) -> bytes:
    return head.to_bytes(6, "big") + request.system_id.public + request.nonce


def _code_mac(request: OpenRequest, head: int, secret: Secret) -> bytes:
    return mac(secret, "code", _code_body(request, head), _CODE_MAC)
