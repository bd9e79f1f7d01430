"""Names of claims: a UUID of version 8 (RFC 9562) that carries the device_id beside 59 random bits.

So a claim is found by its primary key (device_id, claim_id), on one node of a distributed database, from
its name alone (docs/decisions/0011-schema-for-many-nodes.md).
"""

import re
from typing import Final

RANDOM_BITS: Final = 59
_DEVICE_BITS: Final = 63
_LOW_BITS: Final = 62
_VERSION: Final = 8
_VARIANT: Final = 0b10
_TEXT: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def make_claim_id(device_id: int, random_bits: int) -> str:
    """The name of a new claim on this device; ``random_bits`` has 59 bits."""
    if not 0 <= device_id < 1 << _DEVICE_BITS or not 0 <= random_bits < 1 << RANDOM_BITS:
        raise ValueError("a claim's name is made of 63 and 59 bits")
    content = device_id << RANDOM_BITS | random_bits
    high, middle = content >> 74, content >> _LOW_BITS & 0xFFF
    low = content & (1 << _LOW_BITS) - 1
    digits = f"{high << 80 | _VERSION << 76 | middle << 64 | _VARIANT << _LOW_BITS | low:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def device_id_of_claim(claim_id: str) -> int | None:
    """The device this claim is on; None for a text that is no name of a claim."""
    if not _TEXT.fullmatch(claim_id):
        return None
    number = int(claim_id.replace("-", ""), 16)
    if (number >> 76 & 0xF, number >> _LOW_BITS & 0b11) != (_VERSION, _VARIANT):
        return None
    content = (number >> 80) << 74 | (number >> 64 & 0xFFF) << _LOW_BITS
    return (content | number & (1 << _LOW_BITS) - 1) >> RANDOM_BITS
