import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.core.register_image import RegisterImage
from simulators.core.rtu import Receiver, answer, crc16, is_intact, seal
from simulators.core.smart_ups import SmartUps

# Examples with CRC as printed in public Modbus documents.
READ_KNOWN = bytes.fromhex("01 03 00 00 00 0A C5 CD")
READ_STATUS = seal(bytes.fromhex("01 03 00 00 00 1B"))


def images() -> dict[int, RegisterImage]:
    return {1: RegisterImage(SmartUps())}


def ask(text: str) -> bytes | None:
    return answer(images(), seal(bytes.fromhex(text)))


def test_crc_of_a_known_frame() -> None:
    assert crc16(b"123456789") == 0x4B37
    assert is_intact(READ_KNOWN)
    assert not is_intact(READ_KNOWN[:-1] + b"\x00")
    assert not is_intact(b"\x01")


def test_frame_in_pieces() -> None:
    receiver = Receiver()
    assert receiver.feed(READ_KNOWN[:3], 0.0) is None
    assert receiver.feed(READ_KNOWN[3:], 0.02) == READ_KNOWN
    assert receiver.feed(READ_KNOWN, 0.03) == READ_KNOWN


def test_silence_ends_half_a_frame() -> None:
    receiver = Receiver()
    assert receiver.feed(READ_KNOWN[:5], 0.0) is None
    assert receiver.feed(READ_KNOWN, 0.034) is None
    assert receiver.feed(READ_KNOWN, 0.07) == READ_KNOWN


@given(st.binary(min_size=1, max_size=300))
def test_garbage_spoils_nothing_after_35_ms(garbage: bytes) -> None:
    receiver = Receiver()
    receiver.feed(garbage, 0.0)
    assert receiver.feed(READ_KNOWN, 0.035) == READ_KNOWN


@given(st.integers(0, 255), st.binary(max_size=250))
def test_any_intact_frame_is_answered_or_ignored(unit: int, body: bytes) -> None:
    frame = seal(bytes((unit,)) + body)
    received = Receiver().feed(frame, 0.0)
    if received is not None:
        reply = answer(images(), received)
        assert reply is None or is_intact(reply)


def test_reads() -> None:
    reply = ask("01 03 00 00 00 1B")
    assert reply is not None
    assert reply[:7] == bytes.fromhex("01 03 36 00 00 20 02")
    assert ask("01 04 08 02 00 04") == seal(bytes.fromhex("01 04 08") + b"12345678")
    assert ask("01 03 00 01 00 01") == seal(bytes.fromhex("01 83 02"))
    assert ask("01 03 00 00 00 7E") == seal(bytes.fromhex("01 83 03"))


def test_writes() -> None:
    assert ask("01 06 06 05 00 01") == seal(bytes.fromhex("01 06 06 05 00 01"))
    assert ask("01 10 06 05 00 01 02 00 01") == seal(bytes.fromhex("01 10 06 05 00 01"))
    assert ask("01 06 00 00 00 01") == seal(bytes.fromhex("01 86 02"))
    assert ask("01 10 06 05 00 02 02 00 01") == seal(bytes.fromhex("01 90 03"))


@pytest.mark.parametrize("function", ["01", "05", "07", "2B"])
def test_other_functions_are_illegal(function: str) -> None:
    reply = ask(f"01 {function} 00 00 00 01")
    assert reply == seal(bytes((1, int(function, 16) | 0x80, 1)))


def test_other_units_are_not_answered() -> None:
    assert ask("02 03 00 00 00 1B") is None
    assert ask("00 03 00 00 00 1B") is None
