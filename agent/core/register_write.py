"""Every write that the agent may ever send to a UPS: settings by range, commands word for word, no others.

The commands are all listed here, 45 writes made from the rows of the register map when this module is loaded;
nothing that arrives from outside can add one. Not among them, on purpose: the whole-unit signals of 1540 (an
outlet command that a unit refuses is not replaced by one that takes every outlet), bypass, factory settings.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from protocol.commands import OUTLET_KINDS, SWITCHED_GROUPS, CommandKind
from protocol.extension import WRITABLE_ADDRESSES
from protocol.registers import BY_ADDRESS, BY_NAME, Access, check_write, encode_value, outlet_command_words

if TYPE_CHECKING:
    from collections.abc import Sequence

_COLD_BOOT: Final = "mod_cold_boot_allowed"
_ACTIONS: Final = {
    CommandKind.OUTLET_OFF: "output_off",
    CommandKind.OUTLET_ON: "output_on",
    CommandKind.OUTLET_REBOOT: "output_reboot",
}
_FORCED: Final = {  # without mains the group comes back only where a cold boot is allowed
    CommandKind.OUTLET_OFF: (),
    CommandKind.OUTLET_ON: (_COLD_BOOT,),
    CommandKind.OUTLET_REBOOT: (_COLD_BOOT,),
}
_ROWS: Final = {
    CommandKind.SELF_TEST: ("battery_test_command", "start"),
    CommandKind.CALIBRATION_START: ("runtime_calibration_command", "start"),
    CommandKind.CALIBRATION_ABORT: ("runtime_calibration_command", "abort"),
    CommandKind.MUTE: ("user_interface_command", "mute_all"),
    CommandKind.IDENTIFY: ("user_interface_command", "short_test"),
}


@dataclass(frozen=True, slots=True)
class RegisterWrite:
    """Words for one row, at its address."""

    address: int
    words: tuple[int, ...]


def outlet_write(kind: CommandKind, group: str, *, force: bool, low_word_first: bool) -> RegisterWrite:
    """The write of an outlet command. Without delays: the page says what happens at once."""
    modifiers = _FORCED[kind] if force else ()
    words = outlet_command_words(_ACTIONS[kind], [group], modifiers, low_word_first=low_word_first)
    return RegisterWrite(BY_NAME["outlet_command"].address, words)


def plain_write(kind: CommandKind) -> RegisterWrite:
    """The write of any other command."""
    name, bit = _ROWS[kind]
    return RegisterWrite(BY_NAME[name].address, encode_value(name, frozenset({bit})))


_BOTH: Final = (False, True)
COMMAND_WRITES: Final = frozenset(
    {
        *(plain_write(kind) for kind in _ROWS),
        *(
            outlet_write(kind, group, force=force, low_word_first=swapped)
            for kind, group, force, swapped in itertools.product(
                sorted(OUTLET_KINDS), SWITCHED_GROUPS, _BOTH, _BOTH
            )
        ),
    }
)
"""All commands, word for word."""


def check_allowed(address: int, words: Sequence[int]) -> None:
    """ValueError for a write that is not on the list."""
    if address in WRITABLE_ADDRESSES:
        if list(words) not in ([0], [1]):
            raise ValueError("SmartConnect is 0 or 1")
        return
    register = BY_ADDRESS.get(address)
    if register is None:
        raise ValueError(f"{address} is not written")
    if register.access is Access.COMMAND:
        if RegisterWrite(address, tuple(words)) not in COMMAND_WRITES:
            raise ValueError(f"{list(words)} is no command of {register.name} that is ever sent")
        return
    check_write(register.name, words)
