"""Our extension block of the register map: SmartConnect flag, label codes, front-panel button.

No public register of a Smart-UPS enables SmartConnect or holds the product codes, so this product defines a
block of its own. It lies at 8192, outside the vendor's map (0..2061) and outside everything that NUT's
apc_modbus (516..635, 0..26, 128..171, 1026..1047), apcupsd and the vendor's own tools ask for, and it still
fits the classic 4xxxx numbering (48193). Units without it answer 0xFFFF or exception 2: the magic tells.

===========  =====  ======  =====================================================================
address      words  access  content
===========  =====  ======  =====================================================================
8192         2      R       magic, "SCXB"
8194         1      R       layout version, 1; a higher one only appends words
8195         1      RW      SmartConnect: 0 off, 1 on; any other value is exception 4
8196         6      R       Product ID, 12 characters, two a word, high byte first
8202         7      R       Product Key, 14 characters, two a word, high byte first
8209         1      R       presence counter: presses of the front-panel button, modulo 65536
===========  =====  ======  =====================================================================

Rows of more than one word are atomic, as everywhere in the map.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

START = 8192
COUNT = 18
END = START + COUNT
MAGIC: tuple[int, int] = (0x5343, 0x5842)
LAYOUT_VERSION = 1
ENABLE_ADDRESS = 8195
PRODUCT_ID_ADDRESS = 8196
PRODUCT_KEY_ADDRESS = 8202
PRESENCE_ADDRESS = 8209
PRESENCE_MODULUS = 1 << 16

# (address, words) of each row, for access rules.
ROWS: tuple[tuple[int, int], ...] = ((8192, 2), (8194, 1), (8195, 1), (8196, 6), (8202, 7), (8209, 1))
WRITABLE_ADDRESSES: frozenset[int] = frozenset({ENABLE_ADDRESS})


@dataclass(frozen=True, slots=True)
class Extension:
    """What the block says. Codes are texts as stored, to be parsed by ``protocol.identity``."""

    enabled: bool
    product_id: str
    product_key: str = field(repr=False)
    presence: int = 0
    layout_version: int = LAYOUT_VERSION


def decode_extension(words: Sequence[int]) -> Extension | None:
    """The block read from START; None when the unit has no such block, or one that says nothing sound."""
    if len(words) < COUNT or tuple(words[:2]) != MAGIC:
        return None
    version, flag = words[2], words[3]
    product_id, product_key = _text(words[4:10]), _text(words[10:17])
    if version < LAYOUT_VERSION or flag not in {0, 1} or product_id is None or product_key is None:
        return None
    return Extension(bool(flag), product_id, product_key, words[17], version)


def encode_extension(extension: Extension) -> tuple[int, ...]:
    """The whole block as words; ValueError when a code has another length."""
    return (
        *MAGIC,
        extension.layout_version,
        int(extension.enabled),
        *_words(extension.product_id, 6),
        *_words(extension.product_key, 7),
        extension.presence % PRESENCE_MODULUS,
    )


def _text(words: Sequence[int]) -> str | None:
    data = b"".join(word.to_bytes(2, "big") for word in words)
    return data.decode("ascii") if data.isalnum() else None


def _words(text: str, count: int) -> tuple[int, ...]:
    if len(text) != 2 * count or not text.isascii() or not text.isalnum():
        raise ValueError(f"a code of {2 * count} letters and digits is needed")
    data = text.encode("ascii")
    return tuple(int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2))
