"""Lists of product codes as people paste them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.core.bulk import MAX_ROWS, Result, TooManyRowsError, parse

ID, KEY = "ABCDEFGHJKLM", "NPQRSTUVWXYZ23"


@pytest.mark.parametrize(
    "line",
    [
        f"{ID},{KEY}",
        f"{ID};{KEY};Rack 7",
        f"{ID}\t{KEY}",
        f"  {ID.lower()}   {KEY}",
        f'"{ID}","{KEY}","a, b"',
        f"https://ups.example.org/r#{ID}.{KEY}",
        f"ABCD-EFGH-JKLM, {KEY}",
    ],
)
def test_codes_in_any_usual_form(line: str) -> None:
    (row,) = parse(f"\ufeffProduct ID,Product Key\n\n{line}\n")
    assert row.fault is None
    assert (row.line, str(row.product_id)) == (3, ID)
    assert row.product_key is not None
    assert row.product_key.value == KEY


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (ID, Result.NO_CODES),
        ("short," + KEY, Result.PRODUCT_ID_INVALID),
        (f"{KEY},{ID}", Result.PRODUCT_ID_INVALID),
        (f"{ID},short", Result.PRODUCT_KEY_INVALID),
    ],
)
def test_faulty_lines_say_why(line: str, fault: Result) -> None:
    (row,) = parse(line)
    assert (row.fault, row.product_key) == (fault, None)


def test_the_same_codes_twice_are_checked_once() -> None:
    first, second = parse(f"{ID},{KEY}\n{ID.lower()} {KEY}")
    assert (first.fault, second.fault) == (None, Result.REPEATED)


def test_a_list_is_bounded() -> None:
    assert len(parse("x\n" * MAX_ROWS)) == MAX_ROWS
    with pytest.raises(TooManyRowsError):
        parse("x\n" * (MAX_ROWS + 1))


@given(st.text())
def test_no_text_breaks_it_and_no_key_is_shown(text: str) -> None:
    for row in parse(text):
        assert (row.product_key is None) == (row.fault is not None)
        assert row.product_key is None or row.product_key.value not in repr(row)
