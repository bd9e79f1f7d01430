"""Product codes in whatever a label's code holds: our link, another maker's link, or plain text.

What real labels hold is not known, so any text will do that has exactly one code of 12 characters and exactly
one of 14. ``cloud/web/frontend/label_text.ts`` reads the same way in the browser; both are held to the same
cases (``tests/support/label_texts.py``).
"""

import re
from dataclasses import dataclass
from typing import Final

from protocol.identity import PRODUCT_ID_LENGTH, PRODUCT_KEY_LENGTH, ProductId, ProductKey

MAX_CHARS: Final = 4296
"""The most a QR code holds: version 40-L, alphanumeric (ISO/IEC 18004, table 7)."""
SHOWN_CHARS: Final = 80

_ESCAPED: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_HOST: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://[^/?#\x00-\x20]*")
_RUN: Final = re.compile(r"[0-9A-Za-z]+")


@dataclass(frozen=True, slots=True)
class Label:
    """Both codes of a label. Its ``repr`` has no Product Key."""

    product_id: ProductId
    product_key: ProductKey


def find_label(text: str) -> Label | None:
    """The codes, if the text holds exactly one of each; else None.

    A code is a run of letters and digits of just its length. The host of a link is none (``smartconnect`` has
    12 characters), nor is a word with small letters and no digit; a word in capitals is one only where no
    other candidate has a digit. The same code twice is one code.
    """
    if len(text) > MAX_CHARS:
        return None
    plain = _HOST.sub(" ", _ESCAPED.sub(_unescape, text))
    runs = [run for run in _RUN.findall(plain) if run.isupper() or not run.isalpha()]
    product_id = _only({run.upper() for run in runs if len(run) == PRODUCT_ID_LENGTH})
    product_key = _only({run.upper() for run in runs if len(run) == PRODUCT_KEY_LENGTH})
    if product_id is None or product_key is None:
        return None
    return Label(ProductId.parse(product_id), ProductKey.parse(product_key))


def shown(text: str) -> str:
    """What a person is told of a text that holds no codes: printable, one line, not long."""
    line = " ".join("".join(one if one.isprintable() else " " for one in text[: 4 * SHOWN_CHARS]).split())
    return line if len(line) <= SHOWN_CHARS else f"{line[: SHOWN_CHARS - 1]}…"


def _unescape(found: re.Match[str]) -> str:
    byte = int(found[1], 16)
    return chr(byte) if byte < 128 else " "


def _only(codes: set[str]) -> str | None:
    """The one code there is; of several, the one that has a digit."""
    if len(codes) > 1:
        codes = {code for code in codes if not code.isalpha()}
    return next(iter(codes)) if len(codes) == 1 else None
