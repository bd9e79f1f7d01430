"""Who a device is: Product ID and Product Key from its label, kid from its device key.

The Product Key is a secret: it has no readable ``repr`` and is never part of a message.
"""

import hashlib
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field

from protocol.errors import ErrorCode, IdentityError
from protocol.marks import N_

PRODUCT_ID_LENGTH = 12
PRODUCT_KEY_LENGTH = 14
PUBLIC_KEY_LENGTH = 32  # Ed25519, RFC 8032

_IGNORED = re.compile(r"[\s\-\u2010-\u2015\u2212_.]+")  # blanks, and dashes as word processors write them
_ALPHANUMERIC = re.compile(r"[0-9A-Z]*")
_KID = re.compile(r"[A-Za-z0-9_-]{27}")  # base64url of 20 bytes, without padding
_TYPED_LIMIT = 64  # characters: far more than a code with blanks between all of its characters


def b64url(data: bytes) -> str:
    """base64url without padding (RFC 7515, section 2)."""
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def unb64url(text: str) -> bytes:
    """Inverse of :func:`b64url`; ValueError where the text is not base64url."""
    if not re.fullmatch(r"[A-Za-z0-9_-]*", text):
        raise ValueError("not base64url")
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


_ID_TEXTS = (
    N_("The Product ID has {length} characters; this text is much longer."),
    N_("The Product ID has letters A–Z and digits only."),
    N_("The Product ID has {length} characters; this one has {count}."),
)
_KEY_TEXTS = (
    N_("The Product Key has {length} characters; this text is much longer."),
    N_("The Product Key has letters A–Z and digits only."),
    N_("The Product Key has {length} characters; this one has {count}."),
)


def _normalise(text: str, length: int, code: ErrorCode, texts: tuple[str, str, str]) -> str:
    too_long, other_signs, other_length = texts
    if len(text) > _TYPED_LIMIT:
        raise IdentityError(code, too_long, length=length)
    value = _IGNORED.sub("", text).upper()
    if not _ALPHANUMERIC.fullmatch(value):
        raise IdentityError(code, other_signs)
    if len(value) != length:
        raise IdentityError(code, other_length, length=length, count=len(value))
    return value


@dataclass(frozen=True, slots=True)
class ProductId:
    """12 alphanumeric characters, upper case: for display and search, never a proof."""

    value: str

    @classmethod
    def parse(cls, text: str) -> "ProductId":
        """Product ID as a person types it: any case, blanks and dashes ignored; IdentityError otherwise."""
        return cls(_normalise(text, PRODUCT_ID_LENGTH, ErrorCode.PRODUCT_ID_INVALID, _ID_TEXTS))

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class ProductKey:
    """14 alphanumeric characters, upper case. Secret: neither ``repr`` nor ``str`` shows it."""

    value: str = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> "ProductKey":
        """Product Key as a person types it; the IdentityError never quotes the text."""
        return cls(_normalise(text, PRODUCT_KEY_LENGTH, ErrorCode.PRODUCT_KEY_INVALID, _KEY_TEXTS))

    def __str__(self) -> str:
        return "ProductKey(…)"


def kid_of(device_pub: bytes) -> str:
    """Name of a device key: base64url(SHA-256(device_pub)[:20]), 27 characters."""
    if len(device_pub) != PUBLIC_KEY_LENGTH:
        raise IdentityError(ErrorCode.KID_INVALID, "An Ed25519 public key has 32 bytes.")
    return b64url(hashlib.sha256(device_pub).digest()[:20])


def check_kid(text: str) -> str:
    """The text itself if it can be a kid; IdentityError otherwise."""
    if not _KID.fullmatch(text):
        raise IdentityError(ErrorCode.KID_INVALID, "A kid has 27 base64url characters.")
    return text


def fingerprint_of(kid: str) -> str:
    """How a device key is shown to people, who compare it: the first 16 characters of the kid, in fours."""
    return " ".join(kid[i : i + 4] for i in range(0, 16, 4))


def device_id_of(product_id: ProductId, label_pub: bytes) -> int:
    """First 63 bits of SHA-256("scl/dev/1" ‖ product_id ‖ label_pub), as a positive bigint."""
    digest = hashlib.sha256(b"scl/dev/1" + product_id.value.encode("ascii") + label_pub).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def qr_link(portal_url: str, product_id: ProductId, product_key: ProductKey) -> str:
    """The link a label's QR code holds; the codes stand in the fragment, which never reaches a server."""
    return f"{portal_url.rstrip('/')}/r#{product_id.value}.{product_key.value}"
