"""Epochs and the end of an ownership."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.core.ownership import Ownership, ended, next_epoch


@given(st.integers(0, 2**62), st.integers(0, 2**62))
def test_an_epoch_is_new_and_ahead_of_any_backup(last: int, now_ms: int) -> None:
    assert next_epoch(last, now_ms) > last
    assert next_epoch(last, now_ms) >= now_ms


def test_an_ownership_ends_once_and_never_before_it_began() -> None:
    own = Ownership(company_id=1, account_id=2, kid="k", epoch=100, from_ms=100)
    assert own.live
    assert ended(own, 150).until_ms == 150
    assert ended(own, 50).until_ms == 100
    with pytest.raises(ValueError, match="ended already"):
        ended(ended(own, 150), 160)
