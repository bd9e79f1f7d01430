"""Requests and registration codes: what is refused, with which word, and which group is named."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import ErrorCode, ProtocolError
from protocol.system_code import (
    CODE_GROUPS,
    DAY_MS,
    DAY_ZERO,
    REQUEST_GROUPS,
    CodeRefusal,
    CodeRefusedError,
    MistypedError,
    OpenRequest,
    Operation,
    Registered,
    check_request,
    read_code,
    read_number,
    read_request,
    request_link,
    write_code,
    write_request,
    written_number,
)
from tests.support.systems import TestCloudKeys, TestServer

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
KEYS = TestCloudKeys.make(1, 2)
SERVER, STRANGER = TestServer(KEYS), TestServer(KEYS)
TEXT = SERVER.request(Operation.REGISTER, 1)
REQUEST = SERVER.open_request or OpenRequest(SERVER.system_id, 1, Operation.REGISTER, bytes(10))
SECRET = SERVER.secret(1)
DAY = DAY_ZERO + 2500
NOW_MS = DAY * DAY_MS
ANSWER = Registered(Operation.REGISTER, 123_456_789, DAY)
CODE = write_code(REQUEST, ANSWER, SECRET)
FLAT = CODE.replace("-", "")


def refusal_of(code: str, request: OpenRequest | None = REQUEST, now_ms: int = NOW_MS) -> CodeRefusal:
    """The class a code is refused with."""
    with pytest.raises(CodeRefusedError) as caught:
        read_code(code, request, None if request is None else SECRET, now_ms)
    assert str(caught.value)
    return caught.value.refusal


def test_a_request_is_read_as_it_was_made_by_whom_it_names() -> None:
    for text in (
        TEXT,
        TEXT.lower(),
        TEXT.replace("-", " "),
        request_link("https://portal.example.org/", TEXT),
    ):
        found, given = read_request(text)
        assert found == REQUEST
        check_request(found, given, SECRET)
    assert len(TEXT.replace("-", "")) == REQUEST_GROUPS * 6


def test_a_request_in_another_servers_name_is_refused() -> None:
    forged = replace(REQUEST, system_id=STRANGER.system_id)
    found, given = read_request(write_request(forged, SECRET))
    with pytest.raises(ProtocolError) as caught:
        check_request(found, given, STRANGER.secret(1))
    assert caught.value.code is ErrorCode.REQUEST_INVALID


@given(st.integers(0, REQUEST_GROUPS * 6 - 1), st.sampled_from(ALPHABET))
def test_a_wrong_character_of_a_request_names_its_group(at: int, sign: str) -> None:
    flat = TEXT.replace("-", "")
    if flat[at] == sign:
        return
    with pytest.raises(MistypedError) as caught:
        read_request(flat[:at] + sign + flat[at + 1 :])
    assert caught.value.group == at // 6 + 1


def test_a_code_says_what_was_registered() -> None:
    assert len(FLAT) == CODE_GROUPS * 6
    for text in (CODE, CODE.lower(), f"  {CODE.replace('-', ' ')} "):
        assert read_code(text, REQUEST, SECRET, NOW_MS) == ANSWER
    loose = CODE.replace("0", "O").replace("1", "l")
    assert read_code(loose, REQUEST, SECRET, NOW_MS + DAY_MS - 1) == ANSWER


@pytest.mark.parametrize("at", range(CODE_GROUPS * 6))
def test_every_single_wrong_character_is_mistyped_and_names_its_group(at: int) -> None:
    for sign in ALPHABET:
        if sign == FLAT[at]:
            continue
        with pytest.raises(CodeRefusedError) as caught:
            read_code(FLAT[:at] + sign + FLAT[at + 1 :], REQUEST, SECRET, NOW_MS)
        assert (caught.value.refusal, caught.value.group) == (CodeRefusal.MISTYPED, at // 6 + 1)
        assert caught.value.code is ErrorCode.CODE_MISTYPED


def test_swapped_characters_and_groups_are_mistyped() -> None:
    for at in range(len(FLAT) - 1):
        swapped = FLAT[:at] + FLAT[at + 1] + FLAT[at] + FLAT[at + 2 :]
        if swapped != FLAT and at % 6 != 5:
            assert refusal_of(swapped) is CodeRefusal.MISTYPED
    groups = CODE.split("-")
    groups[1], groups[2] = groups[2], groups[1]
    assert refusal_of("-".join(groups)) is CodeRefusal.MISTYPED


@pytest.mark.parametrize(
    "text",
    ["", "U" * 42, FLAT[:-1], FLAT + "0", "x" * 1000, "é" * 42],
    ids=["empty", "no such character", "short", "long", "much too long", "not ASCII"],
)
def test_what_cannot_be_a_code_is_mistyped(text: str) -> None:
    assert refusal_of(text) is CodeRefusal.MISTYPED


def test_each_class_has_its_word() -> None:
    assert refusal_of(CODE, None) is CodeRefusal.NO_OPEN_REQUEST
    assert refusal_of(CODE, replace(REQUEST, nonce=bytes(10))) is CodeRefusal.NOT_FOR_REQUEST
    assert refusal_of(CODE, replace(REQUEST, system_id=STRANGER.system_id)) is CodeRefusal.NOT_FOR_REQUEST
    assert refusal_of(CODE, now_ms=NOW_MS + DAY_MS) is CodeRefusal.EXPIRED
    other = write_code(REQUEST, replace(ANSWER, operation=Operation.ASSOCIATE), SECRET)
    assert refusal_of(other) is CodeRefusal.WRONG_OPERATION
    assert refusal_of(write_code(REQUEST, ANSWER, SERVER.secret(2))) is CodeRefusal.NOT_FOR_REQUEST
    assert refusal_of(write_code(REQUEST, ANSWER, bytes(32))) is CodeRefusal.NOT_FOR_REQUEST
    assert [one.value for one in CodeRefusal] == [
        "mistyped",
        "expired",
        "wrong operation",
        "no open request",
        "not made for this request",
    ]


def test_numbers_of_registrations_are_read_as_they_are_written() -> None:
    for number in (0, 1, 123_456_789, (1 << 30) - 1):
        assert read_number(written_number(number)) == number
    assert read_number("o0-ilb C") == read_number("00 11BC")
    assert read_number("12345") is None
    assert read_number("12345U") is None
    with pytest.raises(ValueError, match="30 bits"):
        written_number(1 << 30)


@given(st.text(max_size=500))
def test_any_text_is_read_or_refused(text: str) -> None:
    with pytest.raises((MistypedError, ProtocolError)):
        read_request(text)
    with pytest.raises(CodeRefusedError):
        read_code(text, REQUEST, SECRET, NOW_MS)
