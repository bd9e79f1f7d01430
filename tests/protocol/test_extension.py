import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.extension import (
    COUNT,
    ENABLE_ADDRESS,
    END,
    PRESENCE_ADDRESS,
    PRODUCT_ID_ADDRESS,
    PRODUCT_KEY_ADDRESS,
    ROWS,
    START,
    WRITABLE_ADDRESSES,
    Extension,
    decode_extension,
    encode_extension,
)

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
extensions = st.builds(
    Extension,
    enabled=st.booleans(),
    product_id=st.text(ALPHABET, min_size=12, max_size=12),
    product_key=st.text(ALPHABET, min_size=14, max_size=14),
    presence=st.integers(0, 0xFFFF),
    layout_version=st.integers(1, 0xFFFF),
)


@given(extensions)
def test_round_trip(extension: Extension) -> None:
    assert decode_extension(encode_extension(extension)) == extension


@given(st.lists(st.integers(0, 0xFFFF), max_size=30))
def test_random_words_never_raise(words: list[int]) -> None:
    decode_extension(words)
    decode_extension([0x5343, 0x5842, 1, 1, *words])


def test_absent_or_unsound_blocks_are_none() -> None:
    good = list(encode_extension(Extension(enabled=False, product_id="A" * 12, product_key="B" * 14)))
    assert decode_extension(good) is not None
    assert decode_extension([0xFFFF] * COUNT) is None
    assert decode_extension([0] * COUNT) is None
    assert decode_extension(good[:-1]) is None
    for position, word in ((0, 0), (2, 0), (3, 2), (4, 0x2020), (10, 0xFFFF)):
        assert decode_extension([*good[:position], word, *good[position + 1 :]]) is None


def test_the_product_key_does_not_show() -> None:
    extension = Extension(enabled=True, product_id="A" * 12, product_key="SECRETSECRET00")
    assert "SECRET" not in repr(extension)


def test_codes_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="12 letters"):
        encode_extension(Extension(enabled=True, product_id="A", product_key="B" * 14))


def test_rows_cover_the_block_without_gaps() -> None:
    assert [address for address, _ in ROWS] == [
        START,
        START + 2,
        ENABLE_ADDRESS,
        PRODUCT_ID_ADDRESS,
        PRODUCT_KEY_ADDRESS,
        PRESENCE_ADDRESS,
    ]
    assert sum(count for _, count in ROWS) == COUNT == END - START
    assert {ENABLE_ADDRESS} == WRITABLE_ADDRESSES
