import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.extension import COUNT, ENABLE_ADDRESS, START, decode_extension
from protocol.identity import ProductId, ProductKey
from protocol.registers import BLOCKS, QUIRKS, REGISTERS, Block, decode_block, encode_value, verification_ok
from simulators.core.register_image import MAP_WORDS, AccessError, ExceptionCode, RegisterImage
from simulators.core.smart_ups import SmartUps

CODES = (ProductId.parse("AB12CD34EF56"), ProductKey.parse("K0123456789XYZ"))


def unit(profile: str = "ups_serial") -> RegisterImage:
    return RegisterImage(SmartUps(), QUIRKS[profile], CODES if profile == "smartconnect" else None)


def refused(image: RegisterImage, address: int, words: int | list[int]) -> ExceptionCode:
    try:
        image.read(address, words) if isinstance(words, int) else image.write(address, words)
    except AccessError as refusal:
        return refusal.code
    raise AssertionError(f"{address} was not refused")


@pytest.mark.parametrize("block", BLOCKS.values(), ids=lambda block: block.name)
def test_every_block_reads_and_decodes(block: Block) -> None:
    assert decode_block(block.start, unit().read(block.start, block.count))


def test_verification_block() -> None:
    assert verification_ok(unit().read(2050, 12))


def test_split_reads_are_refused_at_either_end() -> None:
    image = unit()
    for address, count in ((1, 2), (0, 1), (128, 1), (127, 2), (517, 7), (516, 7), (2049, 1)):
        assert refused(image, address, count) is ExceptionCode.ILLEGAL_ADDRESS
    assert len(image.read(516, 120)) == 120


def test_undefined_words_read_all_ones() -> None:
    image = unit()
    assert image.read(5, 1) == [0xFFFF]
    assert image.read(3000, 10) == [0xFFFF] * 10
    assert image.read(152, 2) == [0xFFFF, 0xFFFF]
    assert image.read(START, COUNT) == [0xFFFF] * COUNT


def test_undefined_words_of_a_network_card() -> None:
    image = unit("nmc_tcp")
    assert refused(image, 5, 1) is ExceptionCode.ILLEGAL_ADDRESS
    assert image.read(150, 5)[2:4] == [0, 0]


def test_counts_and_addresses_have_limits() -> None:
    image = unit()
    assert refused(image, 0, 0) is ExceptionCode.ILLEGAL_VALUE
    assert refused(image, 0, 126) is ExceptionCode.ILLEGAL_VALUE
    assert refused(image, MAP_WORDS - 1, 2) is ExceptionCode.ILLEGAL_ADDRESS
    assert refused(image, 596, []) is ExceptionCode.ILLEGAL_VALUE
    assert refused(image, 596, [0] * 124) is ExceptionCode.ILLEGAL_VALUE


def test_absent_groups_read_zero_status_and_idle_timers() -> None:
    image = unit()
    assert image.read(9, 2) == [0, 0]
    assert image.read(163, 4) == [0xFFFF] * 4
    assert image.read(132, 1) == [0xFFFF]
    assert image.read(1054, 2) == [0, 0]


def test_commands_read_zero() -> None:
    assert unit().read(1536, 8) == [0] * 8


def test_settings_are_written_whole() -> None:
    image = unit()
    image.write(596, encode_value("ups_name", "Rack 7"))
    assert decode_block(596, image.read(596, 8))["ups_name"] == "Rack 7"
    assert refused(image, 596, [0x4142]) is ExceptionCode.ILLEGAL_ADDRESS
    assert refused(image, 597, [0x4142] * 7) is ExceptionCode.ILLEGAL_ADDRESS
    assert refused(image, 1026, [253, 207]) is ExceptionCode.ILLEGAL_ADDRESS
    image.write(1026, [250])
    assert image.read(1026, 1) == [250]
    assert image.ups.cause == "configuration_change"


def test_bad_values_are_refused() -> None:
    image = unit()
    for address, words in (
        (1026, [400]),
        (1026, [200]),
        (1027, [240]),
        (1028, [3]),
        (1029, [32768]),
        (1024, [4]),
        (596, [0x0041] * 8),
        (1541, [3]),
        (1536, [0, 0x10]),
        (1543, [0]),
    ):
        assert refused(image, address, words) is ExceptionCode.DEVICE_FAILURE, (address, words)


def test_read_only_absent_and_undefined_rows_are_not_written() -> None:
    image = unit()
    for address, words in (
        (0, [0, 0]),
        (5, [1]),
        (593, [1]),
        (1039, [5]),
        (1054, [0, 1]),
        (620, [0x4141] * 8),
    ):
        assert refused(image, address, words) is ExceptionCode.ILLEGAL_ADDRESS, address


def test_extension_block_reads_and_switches() -> None:
    image = unit("smartconnect")
    block = decode_extension(image.read(START, COUNT))
    assert block is not None
    assert (block.enabled, block.product_id, block.product_key) == (False, CODES[0].value, CODES[1].value)
    image.write(ENABLE_ADDRESS, [1])
    assert image.ups.smartconnect
    assert image.read(ENABLE_ADDRESS, 1) == [1]
    assert refused(image, ENABLE_ADDRESS, [2]) is ExceptionCode.DEVICE_FAILURE
    assert refused(image, START, [0, 0]) is ExceptionCode.ILLEGAL_ADDRESS
    assert refused(image, START + 1, 1) is ExceptionCode.ILLEGAL_ADDRESS
    image.ups.press_button()
    assert image.read(START + COUNT - 1, 1) == [1]


def test_every_write_is_counted_obeyed_or_not() -> None:
    image = RegisterImage(SmartUps(), QUIRKS["srt_16_5"])
    image.write(1541, [1])
    for address, words in ((1538, [0, 0x210]), (130, [1]), (5000, [1])):
        with pytest.raises(AccessError):
            image.write(address, words)
    assert image.writes == {
        "battery_test_command": 1,
        "outlet_command": 1,
        "state_of_charge": 1,
        "5000": 1,
    }


def test_unit_that_refuses_outlet_commands() -> None:
    image = unit("srt_16_5")
    assert refused(image, 1538, [0, 0x204]) is ExceptionCode.DEVICE_FAILURE
    image.write(1540, [2])
    assert not image.ups.output_on


def test_unit_with_exchanged_outlet_words() -> None:
    image = unit("smt_word_swap")
    assert refused(image, 1538, [0, 0x204]) is ExceptionCode.DEVICE_FAILURE
    image.write(1538, [0x204, 0])
    assert not image.ups.outlets["sog0"].on
    assert image.read(6, 2) == [2, 0]


@given(st.integers(0, 2100), st.integers(1, 125))
def test_a_long_read_agrees_with_single_rows(address: int, count: int) -> None:
    image = unit()
    try:
        words = image.read(address, count)
    except AccessError:
        return
    for row in REGISTERS:
        if address <= row.address and row.end <= address + count:
            offset = row.address - address
            assert words[offset : offset + row.count] == image.read(row.address, row.count)


@given(st.integers(0, MAP_WORDS), st.lists(st.integers(0, 0xFFFF), max_size=10))
def test_any_write_is_carried_out_or_refused(address: int, words: list[int]) -> None:
    image = unit("smartconnect")
    with contextlib.suppress(AccessError):
        image.write(address, words)
    image.ups.step(1)
    image.read(0, 27)
