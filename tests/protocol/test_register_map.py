from itertools import pairwise

from protocol.register_map import (
    BLOCKS,
    COMMAND_STATUS,
    MAX_READ_WORDS,
    OUTLET_TARGETS,
    QUIRKS,
    REGISTERS,
    VERIFICATION_START,
    VERIFICATION_WORDS,
    WRITABLE,
    Access,
    Kind,
)


def test_rows_are_sorted_and_do_not_overlap() -> None:
    assert all(one.end <= other.address for one, other in pairwise(REGISTERS))
    assert len({register.name for register in REGISTERS}) == len(REGISTERS)


def test_blocks_fit_one_request_and_cut_no_row() -> None:
    for block in BLOCKS.values():
        assert block.count <= MAX_READ_WORDS
        for register in REGISTERS:
            inside = block.start <= register.address and register.end <= block.end
            outside = register.end <= block.start or register.address >= block.end
            assert inside or outside, (block, register)


def test_only_writable_rows_are_in_the_allow_list() -> None:
    by_name = {register.name: register for register in REGISTERS}
    assert all(by_name[name].access is not Access.READ for name in WRITABLE)
    assert "ups_command" not in WRITABLE


def test_commands_have_a_row_to_read_back() -> None:
    by_name = {register.name: register for register in REGISTERS}
    for command, rows in COMMAND_STATUS.items():
        assert by_name[command].access is Access.COMMAND
        assert all(by_name[row].kind is Kind.BITS for row in rows)


def test_the_verification_words_end_the_map() -> None:
    assert VERIFICATION_START + len(VERIFICATION_WORDS) == BLOCKS["verification"].end == REGISTERS[-1].end


def test_outlet_targets_and_profiles() -> None:
    assert list(OUTLET_TARGETS) == ["mog", "sog0", "sog1", "sog2", "sog3"]
    assert {"ups_serial", "smartconnect", "smt_word_swap", "srt_16_5", "nmc_tcp"} == set(QUIRKS)
