"""The list of a company's devices: its orders, and the place where a page of it ends.

Pages go on behind the last device of the page before (keyset), never at a number of rows, so that what comes
and goes meanwhile neither repeats nor hides another device. A place is a token in the address: nobody's
secret, and checked like any text that comes from outside.
"""

import base64
import binascii
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cloud.core.language import N_, gettext

MAX_TOKEN_CHARS: Final = 2000
MAX_ID: Final = 1 << 63
_ID: Final = re.compile(r"[0-9]{1,19}", re.ASCII)


class OrderError(ValueError):
    """No order there is, or no place in this one; the text says what to do."""


class Sort(StrEnum):
    """What a list is ordered by; each begins with what somebody would look for."""

    STATE = "state"
    NAME = "name"
    SITE = "site"
    MODEL = "model"
    RUNTIME = "runtime"
    CHARGE = "charge"
    LOAD = "load"
    WATTS = "watts"
    LASTSEEN = "lastseen"


LABELS: Final[Mapping[Sort, str]] = {
    Sort.STATE: N_("Most urgent first"),
    Sort.NAME: N_("Name"),
    Sort.SITE: N_("Site"),
    Sort.MODEL: N_("Model"),
    Sort.RUNTIME: N_("Shortest runtime first"),
    Sort.CHARGE: N_("Lowest charge first"),
    Sort.LOAD: N_("Highest load first"),
    Sort.WATTS: N_("Most watts first"),
    Sort.LASTSEEN: N_("Not seen for longest first"),
}
"""Orders in words."""


@dataclass(frozen=True, slots=True)
class Order:
    """A way to sort, or the same from its other end. Devices that do not say the number come last in both."""

    sort: Sort = Sort.STATE
    backwards: bool = False

    @classmethod
    def parse(cls, text: str) -> "Order":
        """``runtime``, ``-runtime``; nothing is the usual order. OrderError."""
        name = text.removeprefix("-")
        if not text:
            return cls()
        if name not in set(Sort):
            raise OrderError(
                gettext(
                    "Devices are sorted by {orders}; with a “-” in front, the other way.",
                    orders=", ".join(Sort),
                )
            )
        return cls(Sort(name), backwards=text != name)

    def __str__(self) -> str:
        return f"{'-' if self.backwards else ''}{self.sort}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a device stands in an order: its number (infinite: unknown), its text, itself."""

    number: float
    text: str
    device_id: int


def token_of(order: Order, place: Place) -> str:
    """The place as a text for an address."""
    number = None if math.isinf(place.number) else place.number
    told = json.dumps([str(order), number, place.text, str(place.device_id)], separators=(",", ":"))
    return base64.urlsafe_b64encode(told.encode()).rstrip(b"=").decode()


def place_of(order: Order, token: str) -> Place:
    """The place in this order. OrderError for whatever ``token_of`` did not make for it."""
    try:
        return _place(order, token)
    except (ValueError, TypeError, binascii.Error, RecursionError, OverflowError):
        raise OrderError(gettext("The list has another order now. Begin at its first page.")) from None


def _place(order: Order, token: str) -> Place:
    """ValueError, or whatever else goes wrong on the way."""
    if len(token) > MAX_TOKEN_CHARS or not token.isascii():
        raise ValueError(token)
    told = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    of, number, text, device_id = told
    if number is None:
        number = -math.inf if order.backwards else math.inf
    if of != str(order) or not isinstance(number, int | float) or isinstance(number, bool):
        raise ValueError(token)
    if math.isnan(number) or not isinstance(text, str) or "\0" in text:
        raise ValueError(token)
    text.encode()  # half a character is an error
    if not isinstance(device_id, str) or not _ID.fullmatch(device_id) or int(device_id) >= MAX_ID:
        raise ValueError(token)
    return Place(float(number), text, int(device_id))
