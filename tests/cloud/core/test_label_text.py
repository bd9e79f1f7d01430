"""Product codes in the text of a QR code."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.core.label_text import MAX_CHARS, SHOWN_CHARS, find_label, shown
from protocol.identity import ProductId, ProductKey, qr_link
from tests.support.label_texts import HOLDING, HOLDING_NONE, ID, KEY, LETTERS

CODE = string.ascii_uppercase + string.digits


@pytest.mark.parametrize("text", HOLDING)
def test_texts_that_hold_the_codes(text: str) -> None:
    label = find_label(text)
    assert label is not None
    assert (label.product_id.value, label.product_key.value) == (ID, KEY)
    assert KEY not in repr(label)


def test_codes_may_have_no_digit() -> None:
    text, product_id, product_key = LETTERS
    label = find_label(text)
    assert label is not None
    assert (label.product_id.value, label.product_key.value) == (product_id, product_key)


@pytest.mark.parametrize("text", HOLDING_NONE)
def test_texts_that_do_not(text: str) -> None:
    assert find_label(text) is None


@given(st.text(CODE, min_size=12, max_size=12), st.text(CODE, min_size=14, max_size=14))
def test_every_link_of_ours_is_read(product_id: str, product_key: str) -> None:
    codes = ProductId(product_id), ProductKey(product_key)
    label = find_label(qr_link("https://smartconnect.example.org", *codes))
    assert label is not None
    assert (label.product_id, label.product_key) == codes


@given(st.text(max_size=200) | st.text(CODE + " .%/:#", max_size=200))
def test_no_text_is_a_fault_of_ours(text: str) -> None:
    label = find_label(text)
    assert label is None or label.product_id.value in text.upper() or "%" in text
    said = shown(text)
    assert len(said) <= SHOWN_CHARS
    assert said.isprintable()


def test_what_is_shown_of_a_long_text() -> None:
    assert shown("a\n b\x1b[31m") == "a b [31m"
    assert shown("x" * MAX_CHARS) == "x" * (SHOWN_CHARS - 1) + "…"
