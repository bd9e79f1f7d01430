"""Words of the Smart-UPS register map ↔ values: decode, encode, family, verification.

Numbers are big-endian over words, high word first, and fixed point (``raw / 2**scale_log2``); dates are days
since 2000-01-01; strings hold two characters a word, padded with blank, NUL or 0xFF in any mixture. Source:
reference collection of the Modbus map, rules ``string_rules``, ``date_rule`` and "Types and scaling".
A decoder never raises on what a UPS sends; ValueError and KeyError mean that the caller misused it.
"""

import math
import re
from bisect import bisect_left
from collections.abc import Sequence
from datetime import date, timedelta

from protocol.register_codes import BITFIELDS, ENUMERATIONS
from protocol.register_map import (
    BLOCKS,
    BY_ADDRESS,
    BY_NAME,
    COMMAND_STATUS,
    GROUPS,
    OUTLET_MODIFIERS,
    OUTLET_TARGETS,
    QUIRKS,
    REGISTERS,
    VERIFICATION_START,
    VERIFICATION_WORDS,
    WRITABLE,
    Access,
    Block,
    Family,
    Kind,
    Quirks,
    Register,
    WriteRule,
)

__all__ = [
    "BLOCKS",
    "BY_ADDRESS",
    "BY_NAME",
    "COMMAND_STATUS",
    "GROUPS",
    "QUIRKS",
    "REGISTERS",
    "WRITABLE",
    "Access",
    "Block",
    "Family",
    "Kind",
    "Quirks",
    "Register",
    "Value",
    "WriteRule",
    "check_write",
    "decode_block",
    "decode_register",
    "encode_raw",
    "encode_value",
    "family_of",
    "groups_present",
    "outlet_command_words",
    "raw_value",
    "verification_ok",
]

# None: not applicable. Strings: texts and names of codes; unknown codes are "code_N", unknown bits "bit_N".
Value = int | float | str | frozenset[str] | date | None

_EPOCH = date(2000, 1, 1)
_DATE_NONE = 0xFFFF
_PAD = b"\x00\xff "
_NUMBERED = re.compile(r"(?:bit|code)_(-?\d{1,10})")
_FAMILY = re.compile(r"(SMT|SMX|SMC|SRT|SURT)")
_ADDRESSES = [register.address for register in REGISTERS]
_BIT_OF = {kind: {name: 1 << bit for bit, name in names.items()} for kind, names in BITFIELDS.items()}
_CODE_OF = {kind: {name: code for code, name in names.items()} for kind, names in ENUMERATIONS.items()}


def decode_block(start: int, words: Sequence[int], *, family: Family | None = None) -> dict[str, Value]:
    """Value of every row in ``words``, read from address ``start``, by name.

    Rows that ``family`` does not implement are None. ValueError if the stretch cuts a row in two: such a
    read is refused by a real unit, so its words cannot be trusted.
    """
    end = start + len(words)
    values: dict[str, Value] = {}
    for register in _rows_in(start, end):
        if register.address < start or register.end > end:
            raise ValueError(f"{register.name} is cut by {start}..{end - 1}")
        offset = register.address - start
        if _implemented(register, family):
            values[register.name] = decode_register(register, words[offset : offset + register.count])
        else:
            values[register.name] = None
    return values


def decode_register(register: Register, words: Sequence[int]) -> Value:
    """Value of the words of one row."""
    if register.kind is Kind.STRING:
        return _decode_text(words)
    raw = _join(words)
    if raw == register.na:
        return None
    match register.kind:
        case Kind.BITS:
            return _decode_bits(register.codes, raw)
        case Kind.ENUM:
            return _code_name(register.codes, raw)
        case Kind.DATE:
            return None if raw == _DATE_NONE else _EPOCH + timedelta(days=raw)
        case Kind.SIGNED:
            raw = _signed(raw, register.count)
            if register.codes and raw < 0:
                return _code_name(register.codes, raw)
        case _:
            pass
    return raw / (1 << register.scale_log2) if register.scale_log2 else raw


def raw_value(name: str, words: Sequence[int], block_start: int) -> int:
    """The words of one row of a block as they stand, high word first, as one unsigned number."""
    register = BY_NAME[name]
    offset = register.address - block_start
    if offset < 0 or offset + register.count > len(words):
        raise ValueError(f"{name} is not in {block_start}..{block_start + len(words) - 1}")
    return _join(words[offset : offset + register.count])


def encode_value(name: str, value: Value) -> tuple[int, ...]:
    """Words that decode to ``value``. ValueError when the row cannot hold it.

    Fixed point follows the vendor's rule: multiply, add one half, truncate, negate if needed.
    """
    register = BY_NAME[name]
    if register.kind is Kind.STRING:
        return _encode_text(register, value)
    return encode_raw(name, _raw_of(register, value))


def encode_raw(name: str, raw: int) -> tuple[int, ...]:
    """Words of a raw number, signed or not, high word first; ValueError when it does not fit the row."""
    register = BY_NAME[name]
    bits = 16 * register.count
    signed = register.kind is Kind.SIGNED
    if not (-(1 << bits - 1) if signed else 0) <= raw < (1 << (bits - 1 if signed else bits)):
        raise ValueError(f"{raw} does not fit {name}")
    raw &= (1 << bits) - 1
    return tuple(raw >> shift & 0xFFFF for shift in range(bits - 16, -1, -16))


def family_of(sku: str) -> Family:
    """Family of a unit by its SKU (548); the model (532) of an SMT says only "Smart-UPS 1500"."""
    match = _FAMILY.match(sku.strip().upper())
    if match is None:
        return Family.UNKNOWN
    return Family.SURTD if match[1] == "SURT" else Family(match[1])


def groups_present(sog_relay_config: frozenset[str]) -> tuple[str, ...]:
    """Outlet groups that exist, by word 590 alone: status words and timers of absent groups say nothing.

    The main group always exists, whatever its bit says.
    """
    return tuple(group for group in GROUPS if group == "mog" or group in sog_relay_config)


def verification_ok(words: Sequence[int]) -> bool:
    """Whether these are the constants of 2050..2061, alone or after the map's name (the block 2048..2061).

    If not, the link or the unit must not be trusted.
    """
    expected = len(VERIFICATION_WORDS)
    if len(words) not in {expected, expected + VERIFICATION_START - BLOCKS["verification"].start}:
        return False
    return tuple(words[-expected:]) == VERIFICATION_WORDS


def check_write(name: str, words: Sequence[int]) -> None:
    """ValueError unless the allow-list permits these words for the row."""
    rule = WRITABLE.get(name)
    if rule is None:
        raise ValueError(f"{name} is not written")
    register = BY_NAME[name]
    if len(words) != register.count or not all(0 <= word <= 0xFFFF for word in words):
        raise ValueError(f"{name} has {register.count} words")
    if register.kind is Kind.STRING:
        if not all(0x20 <= char <= 0x7E for char in _bytes_of(words)):
            raise ValueError(f"{name} takes printable ASCII")
        return
    raw = _join(words)
    if rule.one_of and raw not in rule.one_of:
        raise ValueError(f"{raw:#x} is not written to {name}")
    if not rule.one_of and not rule.minimum <= raw <= rule.maximum:
        raise ValueError(f"{raw} is outside {rule.minimum}..{rule.maximum} of {name}")


def outlet_command_words(
    action: str, targets: Sequence[str], modifiers: Sequence[str] = (), *, low_word_first: bool = False
) -> tuple[int, int]:
    """Words for the outlet command (1538): one action on some outlet groups.

    Some units want the words exchanged (``Quirks.outlet_low_word_first``). ValueError for an illegal pair
    of action and modifier, or without a target.
    """
    legal = OUTLET_MODIFIERS.get(action)
    if legal is None or not set(modifiers) <= legal or not targets:
        raise ValueError(f"{action} of {list(targets)} with {list(modifiers)} is not an outlet command")
    names = frozenset({action, *modifiers, *(OUTLET_TARGETS[target] for target in targets)})
    high, low = encode_value("outlet_command", names)
    return (low, high) if low_word_first else (high, low)


def _rows_in(start: int, end: int) -> Sequence[Register]:
    first = bisect_left(_ADDRESSES, start)
    if first and REGISTERS[first - 1].end > start:
        first -= 1
    return REGISTERS[first : bisect_left(_ADDRESSES, end)]


def _implemented(register: Register, family: Family | None) -> bool:
    known = family not in {None, Family.UNKNOWN}
    return not known or not register.families or family in register.families


def _join(words: Sequence[int]) -> int:
    raw = 0
    for word in words:
        raw = raw << 16 | word
    return raw


def _signed(raw: int, count: int) -> int:
    bits = 16 * count
    return raw - (1 << bits) if raw >> (bits - 1) else raw


def _bytes_of(words: Sequence[int]) -> bytes:
    return b"".join(word.to_bytes(2, "big") for word in words)


def _decode_text(words: Sequence[int]) -> str:
    first = next((index for index, word in enumerate(words) if word), len(words))
    data = _bytes_of(words[first:]).rstrip(_PAD)
    return "".join(chr(char) if 0x20 <= char <= 0x7E else "?" for char in data)


def _encode_text(register: Register, value: Value) -> tuple[int, ...]:
    size = 2 * register.count
    if not isinstance(value, str) or len(value) > size or not value.isascii() or not value.isprintable():
        raise ValueError(f"{register.name} takes up to {size} printable ASCII characters")
    data = value.ljust(size).encode("ascii")
    return tuple(int.from_bytes(data[i : i + 2], "big") for i in range(0, size, 2))


def _decode_bits(codes: str, raw: int) -> frozenset[str]:
    names = BITFIELDS.get(codes, {})
    return frozenset(names.get(bit, f"bit_{bit}") for bit in range(raw.bit_length()) if raw >> bit & 1)


def _code_name(codes: str, raw: int) -> str:
    return ENUMERATIONS[codes].get(raw, f"code_{raw}")


def _number_in(name: str) -> int:
    match = _NUMBERED.fullmatch(name)
    if match is None:
        raise ValueError(f"{name!r} is not the name of a bit or code")
    return int(match[1])


def _raw_of(register: Register, value: Value) -> int:
    match value:
        case None:
            raw = _DATE_NONE if register.kind is Kind.DATE else register.na
            if raw is None:
                raise ValueError(f"{register.name} cannot say that it is not applicable")
            return _signed(raw, register.count) if register.kind is Kind.SIGNED else raw
        case frozenset() if register.kind is Kind.BITS:
            known = _BIT_OF.get(register.codes, {})
            return sum(known[name] if name in known else 1 << _number_in(name) for name in value)
        case str() if register.codes and register.kind is not Kind.BITS:
            code = _CODE_OF[register.codes].get(value)
            return _number_in(value) if code is None else code
        case date() if register.kind is Kind.DATE:
            return (value - _EPOCH).days
        case bool():
            pass
        case int() | float() if register.kind in {Kind.SIGNED, Kind.UNSIGNED} and math.isfinite(value):
            scaled = int(abs(value) * (1 << register.scale_log2) + 0.5)
            if value < 0 and register.codes:
                raise ValueError(f"{register.name} below zero is a reason: give its name")
            return -scaled if value < 0 else scaled
    raise ValueError(f"{value!r} is no value of {register.name}")
