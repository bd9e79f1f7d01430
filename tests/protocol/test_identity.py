"""Product codes as people type them, kids and device ids."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import ErrorCode, IdentityError
from protocol.identity import (
    ProductId,
    ProductKey,
    b64url,
    check_kid,
    device_id_of,
    fingerprint_of,
    kid_of,
    qr_link,
    unb64url,
)

CODE = string.ascii_uppercase + string.digits


@given(st.text(CODE, min_size=12, max_size=12), st.data())
def test_product_id_in_any_dress(code: str, data: st.DataObject) -> None:
    dressed = "".join(
        (c.lower() if data.draw(st.booleans()) else c) + data.draw(st.sampled_from(["", " ", "-", "–", "\t"]))
        for c in code
    )
    assert ProductId.parse(dressed).value == code


@pytest.mark.parametrize(
    "text", ["", "ABCDEF12345", "ABCDEF1234567", "ABCDEF12345Ä", "ABCDEF12345!", "A" * 1000, "٠" * 12]
)
def test_what_is_no_product_id(text: str) -> None:
    with pytest.raises(IdentityError) as caught:
        ProductId.parse(text)
    assert caught.value.code is ErrorCode.PRODUCT_ID_INVALID


def test_error_says_how_many_characters_there_are() -> None:
    with pytest.raises(IdentityError, match="12 characters; this one has 11"):
        ProductId.parse("ABCDEF12345")


@given(st.text(CODE, min_size=14, max_size=14))
def test_product_key_is_never_shown(code: str) -> None:
    key = ProductKey.parse(code)
    assert key.value == code
    assert code not in repr(key) + str(key) + f"{key}" + repr([key])


def test_product_key_error_never_quotes_the_text() -> None:
    with pytest.raises(IdentityError) as caught:
        ProductKey.parse("SECRET1234567!")
    assert "SECRET" not in str(caught.value)


def test_kid_is_27_characters_of_the_key_digest() -> None:
    # SHA-256 of 32 zero bytes starts 66687aadf862bd776c8fc18b8e9f8e2008971485…
    assert kid_of(bytes(32)) == b64url(bytes.fromhex("66687aadf862bd776c8fc18b8e9f8e2008971485"))
    assert len(kid_of(bytes(32))) == 27
    assert fingerprint_of("abcdefghijklmnopqrstuvwxyz0") == "abcd efgh ijkl mnop"


@given(st.binary(max_size=40).filter(lambda data: len(data) != 32))
def test_kid_of_something_else(data: bytes) -> None:
    with pytest.raises(IdentityError):
        kid_of(data)


@given(st.text(max_size=30))
def test_check_kid(text: str) -> None:
    good = len(text) == 27 and set(text) <= set(string.ascii_letters + string.digits + "-_")
    if good:
        assert check_kid(text) == text
    else:
        with pytest.raises(IdentityError):
            check_kid(text)


@given(st.binary(max_size=80))
def test_base64url_round_trip(data: bytes) -> None:
    assert unb64url(b64url(data)) == data
    assert "=" not in b64url(data)


@given(st.text(CODE, min_size=12, max_size=12), st.binary(min_size=32, max_size=32))
def test_device_id_is_a_positive_bigint_of_both_halves(code: str, label_pub: bytes) -> None:
    device_id = device_id_of(ProductId(code), label_pub)
    assert 0 <= device_id < 2**63
    other = bytes([label_pub[0] ^ 1]) + label_pub[1:]
    assert device_id_of(ProductId(code), other) != device_id


def test_qr_link_keeps_the_codes_in_the_fragment() -> None:
    link = qr_link("https://portal.example/", ProductId("ABCDEF123456"), ProductKey("ABCDEFGH123456"))
    assert link == "https://portal.example/r#ABCDEF123456.ABCDEFGH123456"
