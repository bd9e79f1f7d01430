import math
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.register_codes import ENUMERATIONS
from protocol.registers import (
    BLOCKS,
    BY_NAME,
    REGISTERS,
    Family,
    Kind,
    Register,
    Value,
    check_write,
    decode_block,
    decode_register,
    encode_raw,
    encode_value,
    family_of,
    groups_present,
    outlet_command_words,
    raw_value,
    verification_ok,
)

rows = st.sampled_from(REGISTERS)
word = st.integers(0, 0xFFFF)


def words_of(register: Register) -> st.SearchStrategy[list[int]]:
    return st.lists(word, min_size=register.count, max_size=register.count)


@given(st.data())
def test_words_survive_a_round_trip(data: st.DataObject) -> None:
    """Any words of any row: decoded, encoded and decoded again they say the same.

    Words of numbers are even the same words; texts may change their padding.
    """
    register = data.draw(rows)
    words = data.draw(words_of(register))
    value = decode_register(register, words)
    again = encode_value(register.name, value)
    assert decode_register(register, again) == value
    if register.kind is not Kind.STRING:
        assert again == tuple(words)


def values_of(register: Register) -> st.SearchStrategy[Value]:
    bits = 16 * register.count
    match register.kind:
        case Kind.STRING:
            return st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=2 * register.count)
        case Kind.BITS:
            return st.frozensets(st.integers(0, bits - 1)).map(
                lambda numbers: decode_register(
                    register, encode_raw(register.name, sum(1 << n for n in numbers))
                )
            )
        case Kind.ENUM:
            return st.sampled_from(sorted(ENUMERATIONS[register.codes].values()))
        case Kind.DATE:
            return st.integers(0, 65534).map(lambda days: date(2000, 1, 1) + timedelta(days=days))
        case _:
            signed = register.kind is Kind.SIGNED
            low = -(1 << bits - 1) if signed and not register.codes else 0
            top = (1 << (bits - 1 if signed else bits)) - 1
            scale = 1 << register.scale_log2
            return st.integers(low, top).map(lambda raw: raw / scale if scale > 1 else raw)


@given(st.data())
def test_values_survive_a_round_trip(data: st.DataObject) -> None:
    """Every type and row: a value it can hold is what comes back."""
    register = data.draw(rows)
    value = data.draw(values_of(register))
    back = decode_register(register, encode_value(register.name, value))
    if register.kind is Kind.STRING:
        assert isinstance(value, str)
        assert back == value.rstrip(" ")
    else:
        assert back == value or (back is None and register.na is not None)


@given(st.floats(0, 120, allow_nan=False))
def test_fixed_point_rounds_to_the_nearest_step(percent: float) -> None:
    back = decode_register(BY_NAME["state_of_charge"], encode_value("state_of_charge", percent))
    assert isinstance(back, float)
    assert abs(back - percent) <= 1 / 1024


@given(st.integers(0, 2100), st.lists(word, max_size=125))
def test_blocks_of_any_words_decode_or_are_refused_as_cut(start: int, words: list[int]) -> None:
    try:
        values = decode_block(start, words)
    except ValueError:
        return
    inside = {r.name for r in REGISTERS if r.address >= start and r.end <= start + len(words)}
    assert set(values) == inside


def test_a_cut_row_is_refused() -> None:
    with pytest.raises(ValueError, match="ups_status is cut"):
        decode_block(1, [0, 0])
    with pytest.raises(ValueError, match="runtime_remaining is cut"):
        decode_block(128, [0])


def test_rows_of_other_families_do_not_apply() -> None:
    words = [0] * BLOCKS["dynamic"].count
    assert decode_block(128, words)["bypass_voltage"] == 0.0
    assert decode_block(128, words, family=Family.UNKNOWN)["bypass_voltage"] == 0.0
    assert decode_block(128, words, family=Family.SRT)["bypass_voltage"] == 0.0
    assert decode_block(128, words, family=Family.SMT)["bypass_voltage"] is None
    assert decode_block(128, words, family=Family.SRT)["output_voltage_phase2"] is None


def test_raw_value() -> None:
    assert raw_value("ups_status", [0x0020, 0x2044], 0) == 0x00202044
    assert raw_value("battery_temperature", [0xFB40], 135) == 0xFB40
    with pytest.raises(ValueError, match="not in"):
        raw_value("battery_temperature", [0xFB40], 136)


@pytest.mark.parametrize(
    ("sku", "family"),
    [
        ("SMT1500RM2UC", Family.SMT),
        ("smtl1000rm ", Family.SMT),
        ("SMX750I", Family.SMX),
        ("SMC1500I-2UC", Family.SMC),
        ("SRT1000XLA", Family.SRT),
        ("SURTD5000RMXLI", Family.SURTD),
        ("Smart-UPS 1500", Family.UNKNOWN),
        ("", Family.UNKNOWN),
    ],
)
def test_family_by_sku(sku: str, family: Family) -> None:
    assert family_of(sku) is family


def test_groups_present() -> None:
    assert groups_present(frozenset({"mog", "sog0"})) == ("mog", "sog0")
    assert groups_present(frozenset()) == ("mog",)
    assert groups_present(frozenset({"sog3", "sog1"})) == ("mog", "sog1", "sog3")


def test_unknown_codes_and_bits_have_numbers() -> None:
    assert decode_register(BY_NAME["status_change_cause"], (99,)) == "code_99"
    assert decode_register(BY_NAME["efficiency"], (0xFF00,)) == "code_-256"
    assert decode_register(BY_NAME["sensitivity"], (0x8001,)) == frozenset({"normal", "bit_15"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("state_of_charge", 128.0),
        ("state_of_charge", -1.0),
        ("state_of_charge", math.nan),
        ("state_of_charge", None),
        ("state_of_charge", "full"),
        ("state_of_charge", True),
        ("battery_temperature", 256.0),
        ("efficiency", -3.0),
        ("efficiency", "lazy"),
        ("status_change_cause", "sunshine"),
        ("sensitivity", frozenset({"high"})),
        ("sensitivity", frozenset({"bit_16"})),
        ("battery_install_date", date(1999, 12, 31)),
        ("ups_name", "seventeen letters"),
        ("ups_name", "Zürich"),
        ("ups_name", "a\tb"),
        ("ups_name", 5),
    ],
)
def test_what_a_row_cannot_hold(name: str, value: Value) -> None:
    with pytest.raises(ValueError, match=r"fit|value|name|characters|below|cannot"):
        encode_value(name, value)


def test_not_applicable_is_encoded_where_a_row_can_say_it() -> None:
    assert encode_value("input_voltage", None) == (0xFFFF,)
    assert encode_value("battery_negative_voltage", None) == (0xFFFF,)
    assert encode_value("battery_install_date", None) == (0xFFFF,)


@pytest.mark.parametrize("position", range(12))
def test_verification_needs_every_word(position: int) -> None:
    words = [0x3132, 0x3334, 0x3536, 0x3738, 0x1234, 0x5678, 0xFFFF, 0xFFFB, 0x1234, 0xFFFB, 0x2020, 0xDFE0]
    assert verification_ok(words)
    assert verification_ok([0, 0, *words])
    assert not verification_ok([0, *words])
    words[position] ^= 1
    assert not verification_ok(words)


def test_write_allow_list() -> None:
    check_write("transfer_high", (268,))
    check_write("sensitivity", (2,))
    check_write("ups_name", encode_value("ups_name", "Rack 7"))
    for name, words in (
        ("ups_status", (0, 0)),
        ("ups_command", (0, 8)),
        ("acceptable_frequency_setting", (1,)),
        ("transfer_high", (40000,)),
        ("sensitivity", (3,)),
        ("mog_stay_off_delay", (8,)),
        ("ups_name", (0x0041,) * 8),
        ("transfer_high", (70000,)),
    ):
        with pytest.raises(ValueError, match=name):
            check_write(name, words)


def test_outlet_commands() -> None:
    assert outlet_command_words("output_shutdown", ["sog0"], ["mod_use_off_delay"]) == (0, 648)
    assert outlet_command_words("output_off", ["sog0"], low_word_first=True) == (0x204, 0)
    for action, targets, modifiers in (
        ("output_off", ["sog0"], ["mod_use_on_delay"]),
        ("output_off", [], []),
        ("explode", ["mog"], []),
    ):
        with pytest.raises(ValueError, match="outlet command"):
            outlet_command_words(action, targets, modifiers)
