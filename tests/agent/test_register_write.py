"""What may be written to a UPS at all: the list, typed out by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.register_write import COMMAND_WRITES, RegisterWrite, check_allowed, outlet_write, plain_write
from protocol.commands import CommandKind
from protocol.register_map import REGISTERS, Access

TARGETS = {"mog": 0x100, "sog0": 0x200, "sog1": 0x400, "sog2": 0x800}
ON, OFF, REBOOT, COLD = 0x02, 0x04, 0x10, 0x20
OUTLETS = {
    low
    for target in TARGETS.values()
    for low in (ON | target, ON | COLD | target, OFF | target, REBOOT | target, REBOOT | COLD | target)
}
PLAIN = {(1541, (1,)), (1542, (1,)), (1542, (2,)), (1543, (4,)), (1543, (1,))}
WRITES = {*PLAIN, *((1538, (0, low)) for low in OUTLETS), *((1538, (low, 0)) for low in OUTLETS)}


def test_the_list_is_this_one() -> None:
    assert {(write.address, write.words) for write in COMMAND_WRITES} == WRITES
    assert len(COMMAND_WRITES) == 45


def test_the_words_are_those_of_the_reference() -> None:
    """Captured from another client (reference, "nut_values_seen"): test start is 1 to 1541."""
    assert plain_write(CommandKind.SELF_TEST) == RegisterWrite(1541, (1,))
    reboot = outlet_write(CommandKind.OUTLET_REBOOT, "sog0", force=False, low_word_first=False)
    assert reboot == RegisterWrite(1538, (0, 0x210))
    swapped = outlet_write(CommandKind.OUTLET_REBOOT, "sog0", force=False, low_word_first=True)
    assert swapped == RegisterWrite(1538, (0x210, 0))
    forced = outlet_write(CommandKind.OUTLET_ON, "mog", force=True, low_word_first=False)
    assert forced == RegisterWrite(1538, (0, 0x122))
    assert outlet_write(CommandKind.OUTLET_OFF, "sog2", force=True, low_word_first=False).words == (0, 0x804)


COMMAND_ROWS = [row for row in REGISTERS if row.access is Access.COMMAND]


@given(st.sampled_from(COMMAND_ROWS), st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=3))
def test_no_other_words_reach_a_command_row(row: object, words: list[int]) -> None:
    address = row.address  # type: ignore[attr-defined]  # a register
    if (address, tuple(words)) in WRITES:
        check_allowed(address, words)
        return
    with pytest.raises(ValueError, match="that is ever sent"):
        check_allowed(address, words)


def test_nothing_is_written_to_what_is_only_read() -> None:
    for row in REGISTERS:
        if row.access is Access.READ:
            with pytest.raises(ValueError, match="is not written"):
                check_allowed(row.address, [0] * row.count)


@pytest.mark.parametrize(("address", "words"), [(1026, [70, 71]), (1028, [3]), (1540, [1]), (1536, [0, 16])])
def test_a_setting_keeps_to_its_range_and_signals_are_never_sent(address: int, words: list[int]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each says it in other words
        check_allowed(address, words)
