"""A simulated Smart-UPS as holding registers: what a read answers, what a write does, and what is refused.

The access rules are those of the reference: a read must not begin or end inside a row of several words
(exception 2), undefined words read 0xFFFF, a write touches exactly one row that can be written (exception 2)
and must have a legal value (exception 4). ``Quirks`` make it behave like units that differ.
"""

from collections import Counter
from collections.abc import Sequence
from enum import IntEnum

from protocol import extension
from protocol.identity import ProductId, ProductKey
from protocol.registers import (
    BY_ADDRESS,
    REGISTERS,
    WRITABLE,
    Access,
    Kind,
    Quirks,
    Register,
    Value,
    check_write,
    decode_register,
    encode_value,
)
from simulators.core.command import execute
from simulators.core.row_values import row_value
from simulators.core.smart_ups import SmartUps

MAX_READ_WORDS = 125
MAX_WRITE_WORDS = 123
MAP_WORDS = 16384  # addresses above are answered with exception 2
_UNDEFINED = 0xFFFF


class ExceptionCode(IntEnum):
    """Modbus exception codes that a UPS answers with."""

    ILLEGAL_FUNCTION = 1
    ILLEGAL_ADDRESS = 2
    ILLEGAL_VALUE = 3
    DEVICE_FAILURE = 4


class AccessError(Exception):
    """The UPS refuses the request."""

    def __init__(self, code: ExceptionCode) -> None:
        super().__init__(code.name)
        self.code = code


class RegisterImage:
    """The registers of one UPS; with product codes it has our extension block, too."""

    def __init__(
        self,
        ups: SmartUps,
        quirks: Quirks | None = None,
        codes: tuple[ProductId, ProductKey] | None = None,
    ) -> None:
        self.ups = ups
        self._quirks = quirks or Quirks()
        self._codes = codes
        self.writes: Counter[str] = Counter()
        """Write requests by row (an address where there is none), whether they were obeyed or refused."""
        self._atomic = [(row.address, row.count) for row in REGISTERS if row.count > 1]
        if codes:
            self._atomic += [row for row in extension.ROWS if row[1] > 1]

    def read(self, address: int, count: int) -> list[int]:
        """Words of a read request (function 3 or 4); AccessError when the UPS refuses."""
        if not 1 <= count <= MAX_READ_WORDS:
            raise AccessError(ExceptionCode.ILLEGAL_VALUE)
        end = address + count
        if end > MAP_WORDS or any(
            start < edge < start + size for start, size in self._atomic for edge in (address, end)
        ):
            raise AccessError(ExceptionCode.ILLEGAL_ADDRESS)
        words = [self._quirks.undefined_block_word] * count
        found = False
        for register in REGISTERS:
            if address <= register.address and register.end <= end:
                offset = register.address - address
                words[offset : offset + register.count] = self._words_of(register)
                found = True
        if self._codes and address < extension.END and end > extension.START:
            _overlay(words, address, self._extension_words(), extension.START)
            found = True
        if not found and self._quirks.undefined_read_fails:
            raise AccessError(ExceptionCode.ILLEGAL_ADDRESS)
        return words

    def write(self, address: int, words: Sequence[int]) -> None:
        """Carry a write out (function 6 or 16); AccessError when the UPS refuses."""
        register = BY_ADDRESS.get(address)
        self.writes[str(address) if register is None else register.name] += 1
        if not 1 <= len(words) <= MAX_WRITE_WORDS:
            raise AccessError(ExceptionCode.ILLEGAL_VALUE)
        if self._codes and address in extension.WRITABLE_ADDRESSES and len(words) == 1:
            if words[0] not in {0, 1}:
                raise AccessError(ExceptionCode.DEVICE_FAILURE)
            self.ups.smartconnect = bool(words[0])
            return
        if register is None or len(words) != register.count or not self._takes_writes(register):
            raise AccessError(ExceptionCode.ILLEGAL_ADDRESS)
        try:
            self._write_row(register, words)
        except ValueError:
            raise AccessError(ExceptionCode.DEVICE_FAILURE) from None

    def _takes_writes(self, register: Register) -> bool:
        if register.access is Access.COMMAND:
            return True
        return register.access is Access.READ_WRITE and register.name in self.ups.settings

    def _write_row(self, register: Register, words: Sequence[int]) -> None:
        if register.name == "outlet_command":
            if self._quirks.outlet_command_refused:
                raise ValueError("this unit refuses outlet commands")
            if self._quirks.outlet_low_word_first:
                words = words[::-1]
        value = decode_register(register, words)
        if register.access is Access.COMMAND:
            execute(self.ups, register.name, value)
            return
        if register.name in WRITABLE:
            check_write(register.name, words)
        self._check_limits(register.name, value)
        self.ups.change_setting(register.name, value)

    def _check_limits(self, name: str, value: Value) -> None:
        if name not in {"transfer_high", "transfer_low"} or not isinstance(value, int):
            return
        share = value / self.ups.plate.nominal_v
        low, high = (1.0, 1.25) if name == "transfer_high" else (0.75, 1.0)
        if not low < share < high:
            raise ValueError(f"{value} V is no {name} of this unit")

    def _extension_words(self) -> tuple[int, ...]:
        assert self._codes is not None  # noqa: S101  called only where there are codes
        product_id, product_key = self._codes
        return extension.encode_extension(
            extension.Extension(
                enabled=self.ups.smartconnect,
                product_id=product_id.value,
                product_key=product_key.value,
                presence=self.ups.presence,
            )
        )

    def _words_of(self, register: Register) -> tuple[int, ...]:
        if register.access is Access.COMMAND:
            return (0,) * register.count
        value = row_value(self.ups, register.name)
        if value is None:
            return self._not_applicable(register)
        words = encode_value(register.name, value)
        if self._quirks.outlet_low_word_first and register.name.endswith("outlet_status"):
            return words[::-1]
        return words

    def _not_applicable(self, register: Register) -> tuple[int, ...]:
        """Absent groups and foreign families: zero words for status and strings, else 0xFFFF."""
        countdown = register.name.endswith("_countdown")
        number = register.kind not in {Kind.BITS, Kind.STRING} and (register.na is not None or countdown)
        return (_UNDEFINED if number else 0,) * register.count


def _overlay(words: list[int], address: int, block: Sequence[int], start: int) -> None:
    """Put the part of ``block`` that lies inside the request into its answer."""
    for index, word in enumerate(block, start - address):
        if 0 <= index < len(words):
            words[index] = word
