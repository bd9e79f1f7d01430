"""Names of claims."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.core.claim_id import RANDOM_BITS, device_id_of_claim, make_claim_id


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**RANDOM_BITS - 1))
def test_the_device_is_found_again(device_id: int, random_bits: int) -> None:
    name = make_claim_id(device_id, random_bits)
    assert device_id_of_claim(name) == device_id
    assert UUID(name).version == 8
    assert UUID(name).variant == "specified in RFC 4122"


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**RANDOM_BITS - 1), st.integers(0, 2**RANDOM_BITS - 1))
def test_different_bits_are_different_names(device_id: int, one: int, other: int) -> None:
    assert (make_claim_id(device_id, one) == make_claim_id(device_id, other)) == (one == other)


@given(st.text(max_size=40))
def test_other_texts_are_no_names(text: str) -> None:
    assert device_id_of_claim(text) is None


def test_other_uuids_and_numbers_are_refused() -> None:
    assert device_id_of_claim("6ba7b810-9dad-41d1-80b4-00c04fd430c8") is None
    for device_id, random_bits in ((-1, 0), (2**63, 0), (0, 2**RANDOM_BITS), (0, -1)):
        with pytest.raises(ValueError, match="63 and 59 bits"):
            make_claim_id(device_id, random_bits)
