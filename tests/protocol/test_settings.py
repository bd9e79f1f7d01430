"""The catalogue of settings against the register map, and what may be said of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.codec import encode
from protocol.errors import DecodeError, ErrorCode
from protocol.messages import Reported
from protocol.registers import BY_NAME, WRITABLE, Access, decode_register
from protocol.settings import (
    BY_SETTING,
    CATALOGUE,
    OF_DEVICE,
    OF_REGISTER,
    Home,
    Kind,
    SettingCode,
    SettingError,
    address_of,
    check,
    decode_reported,
    facts_of_registers,
    of_registers,
    words_of,
)


def test_every_register_setting_is_a_row_that_may_be_written() -> None:
    for name in OF_REGISTER:
        assert BY_NAME[name].access is Access.READ_WRITE
        assert name in WRITABLE
        assert address_of(name) == BY_NAME[name].address
    assert len(BY_SETTING) == len(CATALOGUE)


@pytest.mark.parametrize("name", OF_REGISTER)
def test_what_is_written_reads_back_as_the_same(name: str) -> None:
    setting = BY_SETTING[name]
    values: list[str | int] = {
        Kind.CHOICE: list(setting.choices),
        Kind.NUMBER: [setting.low, 208, setting.high],
        Kind.TEXT: ["", "Rack 4", "x" * 16],
        Kind.SWITCH: [],
    }[setting.kind]  # type: ignore[assignment]  # lists of one kind each
    for value in values:
        row = {name: decode_register(BY_NAME[name], words_of(name, value))}
        assert of_registers(row, ("mog", "sog0", "sog1", "sog2")) == {name: value}


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("bypass", 1, SettingCode.UNKNOWN),
        ("transfer_low", 69, SettingCode.OUT_OF_RANGE),
        ("transfer_low", True, SettingCode.WRONG_TYPE),
        ("transfer_low", 190.5, SettingCode.WRONG_TYPE),
        ("sensitivity", "high", SettingCode.NOT_A_CHOICE),
        ("notifications", 1, SettingCode.WRONG_TYPE),
        ("ups_name", "a name of 17 char", SettingCode.TOO_LONG),
        ("ups_name", "Schrank für Ada", SettingCode.NOT_PRINTABLE),
        ("name", "a\u202eb", SettingCode.NOT_PRINTABLE),
        ("name", 5, SettingCode.WRONG_TYPE),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_a_code(name: str, value: object, code: SettingCode) -> None:
    with pytest.raises(SettingError) as refused:
        check(name, value)
    assert refused.value.code is code
    assert refused.value.name == name


def test_what_is_in_no_register_is_never_written() -> None:
    for setting in CATALOGUE:
        if setting.home is not Home.REGISTER:
            value = {"notifications": True, "device_sensitivity_s": 5, "report_interval_s": 5}
            with pytest.raises(SettingError):
                words_of(setting.name, value.get(setting.name, "text"))


def test_absent_groups_and_rows_are_no_settings() -> None:
    rows = {"mog_name": "All", "sog0_name": "Servers", "sog1_name": "", "sensitivity": None}
    assert of_registers(rows, ("mog", "sog0")) == {"mog_name": "All", "sog0_name": "Servers"}
    assert of_registers({"sensitivity": frozenset()}, ()) == {"sensitivity": "none"}
    undefined = {name: decode_register(BY_NAME[name], [0xFFFF]) for name in ("transfer_low", "sensitivity")}
    assert of_registers(undefined, ("mog",)) == {}


def test_a_report_keeps_what_is_known_and_a_devices() -> None:
    said = Reported(
        epoch=1, base_version=2, revision=3, settings={"transfer_low": 190, "name": "x", "new": 1}
    )
    assert decode_reported(encode(said)).settings == {"transfer_low": 190}


def test_a_report_tells_the_days_of_the_battery_beside_its_settings() -> None:
    days = {"battery_install_date": "2024-05-17", "battery_replace_by": "2029-05-17"}
    said = Reported(epoch=1, base_version=2, revision=3, settings={**days, "transfer_low": 190})
    assert decode_reported(encode(said)).settings == {**days, "transfer_low": 190}
    for wrong in ("soon", 20290517, "2029-05-17x", None):
        said = Reported(epoch=1, base_version=2, revision=3, settings={"battery_replace_by": wrong})
        assert decode_reported(encode(said)).settings == {}


def test_days_are_read_from_their_rows() -> None:
    rows = {
        "battery_install_date": decode_register(BY_NAME["battery_install_date"], [8902]),
        "battery_replace_by": None,
    }
    assert facts_of_registers(rows) == {"battery_install_date": "2024-05-16"}


@pytest.mark.parametrize(
    "said",
    [
        Reported(epoch=-1, base_version=0, revision=1, settings={}),
        Reported(epoch=1, base_version=0, revision=2**60, settings={}),
        Reported(epoch=1, base_version=0, revision=1, settings={"ups_name": "a\0b"}),
        Reported(epoch=1, base_version=0, revision=1, settings={"ups_name": "x" * 201}),
        Reported(epoch=1, base_version=0, revision=1, settings={"transfer_low": 2**60}),
        Reported(epoch=1, base_version=0, revision=1, settings={}, changed={"transfer_low": -5}),
        Reported(epoch=1, base_version=0, revision=1, settings={f"s{i}": 1 for i in range(65)}),
    ],
)
def test_an_impossible_report_is_refused(said: Reported) -> None:
    with pytest.raises(DecodeError) as refused:
        decode_reported(encode(said))
    assert refused.value.code is ErrorCode.OUT_OF_RANGE


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode(errors="replace")))
def test_no_bytes_break_the_decoder(payload: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_reported(payload)


@given(
    st.sampled_from([*BY_SETTING, "other"]),
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300),
)
def test_every_value_is_taken_or_refused_with_a_code(name: str, value: object) -> None:
    try:
        kept = check(name, value)
    except SettingError as error:
        code: SettingCode | None = error.code
    else:
        code = None
        assert check(name, kept) == kept
        assert name in OF_DEVICE or BY_SETTING[name].home is Home.CLOUD
    assert code is None or code in SettingCode
