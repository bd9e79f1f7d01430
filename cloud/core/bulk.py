"""Lists of product codes: what each line holds, and what became of it.

A list is pasted or comes from a CSV file: Product ID and Product Key in the first two columns, parted by
comma, semicolon, tab or blanks; a label's link does as well. Further columns, empty lines and a heading are
skipped.
"""

import csv
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from protocol.errors import IdentityError
from protocol.identity import ProductId, ProductKey

MAX_ROWS: Final = 10_000
MAX_OPEN: Final = 10_000
"""Claims of one company that may wait for their devices, and lines that still have to be checked."""
ROWS_PER_S: Final = 20.0
"""Fixed for a company, so that a list cannot be used to guess quickly, nor hold up what people type."""
KEPT_MS: Final = 30 * 86_400_000

_LINK: Final = re.compile(r"#([0-9A-Za-z]{12})\.([0-9A-Za-z]{14})\s*$")
_HEADING: Final = re.compile(r"product[ _-]*(id|key)", re.IGNORECASE)


class Result(StrEnum):
    """What became of a line. Stored; append only."""

    OPEN = "open"
    WON = "won"
    ALREADY_YOURS = "already_yours"
    WAITING = "waiting_for_device"
    SMARTCONNECT_OFF = "smartconnect_off"
    SEVERAL_KEYS = "several_keys"
    OWNED_ELSEWHERE = "owned_elsewhere"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    NO_CODES = "no_codes"
    PRODUCT_ID_INVALID = "product_id_invalid"
    PRODUCT_KEY_INVALID = "product_key_invalid"
    REPEATED = "repeated"
    NOT_ALLOWED = "not_allowed"
    INTERRUPTED = "interrupted"


YOURS: Final = frozenset({Result.WON, Result.ALREADY_YOURS})
COMING: Final = frozenset({Result.OPEN, Result.WAITING, Result.SMARTCONNECT_OFF, Result.SEVERAL_KEYS})


@dataclass(frozen=True, slots=True)
class Row:
    """A line that is not empty: its codes, or what is wrong with it."""

    line: int
    product_id: ProductId | None
    product_key: ProductKey | None
    fault: Result | None = None


class TooManyRowsError(Exception):
    """The list is longer than ``MAX_ROWS``."""


def parse(text: str) -> tuple[Row, ...]:
    """The lines of a list. TooManyRowsError; no text makes any other error."""
    rows: list[Row] = []
    seen: set[tuple[ProductId, ProductKey]] = set()
    for number, raw in enumerate(text.lstrip("\ufeff").splitlines(), 1):
        line = raw.strip().strip("\0")
        if not line or (not rows and _HEADING.search(line) and "#" not in line):
            continue
        if len(rows) >= MAX_ROWS:
            raise TooManyRowsError(f"a list has {MAX_ROWS} lines at most")
        row = _parse_line(number, line)
        if row.product_id is not None and row.product_key is not None:
            codes = (row.product_id, row.product_key)
            if codes in seen:
                row = Row(number, row.product_id, None, Result.REPEATED)
            seen.add(codes)
        rows.append(row)
    return tuple(rows)


def _parse_line(number: int, line: str) -> Row:
    link = _LINK.search(line)
    cells = list(link.groups()) if link else _cells(line)
    if len(cells) < 2:
        return Row(number, None, None, Result.NO_CODES)
    try:
        product_id = ProductId.parse(cells[0])
    except IdentityError:
        return Row(number, None, None, Result.PRODUCT_ID_INVALID)
    try:
        return Row(number, product_id, ProductKey.parse(cells[1]))
    except IdentityError:
        return Row(number, product_id, None, Result.PRODUCT_KEY_INVALID)


def _cells(line: str) -> list[str]:
    for delimiter in ",;\t":
        if delimiter in line:
            try:
                return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]
            except csv.Error:
                return []
    return line.split()
