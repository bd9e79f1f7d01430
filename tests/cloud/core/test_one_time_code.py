"""Six digits: shape, life, tries, pauses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.core import one_time_code as code
from cloud.core.refusal import RefusalCode


@given(st.integers(min_value=0, max_value=code.CODES - 1))
def test_a_code_survives_being_typed(number: int) -> None:
    text = code.text_of(number)
    assert len(text) == 6
    assert int(text) == number
    assert code.parse(f" {text[:3]}-{text[3:]} ") == text


@pytest.mark.parametrize("number", [-1, code.CODES])
def test_a_number_outside_is_no_code(number: int) -> None:
    with pytest.raises(ValueError, match="six digits"):
        code.text_of(number)


@given(st.text(max_size=12))
def test_anything_typed_is_a_code_or_none(text: str) -> None:
    found = code.parse(text)
    assert found is None or (len(found) == 6 and found.isascii() and found.isdigit())


@given(
    st.integers(min_value=0, max_value=2**41),
    st.integers(min_value=0, max_value=10),
    st.none() | st.integers(min_value=0, max_value=2**41),
    st.integers(min_value=0, max_value=2**41),
)
def test_a_code_is_compared_only_while_it_is_good(
    made_ms: int, tries: int, used_ms: int | None, now_ms: int
) -> None:
    reason = code.refusal_before_try(made_ms=made_ms, tries=tries, used_ms=used_ms, now_ms=now_ms)
    if used_ms is not None or tries >= 5:
        assert reason is RefusalCode.CODE_SPENT
    elif now_ms >= made_ms + 600_000:
        assert reason is RefusalCode.CODE_EXPIRED
    else:
        assert reason is None


def test_the_pause_doubles() -> None:
    assert [code.resend_after_ms(sends) // 1000 for sends in range(1, 6)] == [30, 60, 120, 240, 480]
