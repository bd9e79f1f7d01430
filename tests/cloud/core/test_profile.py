"""The fields of a profile."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.core.profile import FIELDS, parse_profile
from cloud.core.sign_up import FormError

ZONES = frozenset({"UTC", "Europe/Berlin"})


def test_only_the_fields_of_a_profile_are_taken() -> None:
    values = parse_profile({"first_name": " Ada ", "role": "owner", "language": "de"}, ZONES)
    assert values == {"first_name": "Ada", "language": "de"}


def test_a_location_may_be_left_out() -> None:
    assert parse_profile({"location": ""}, ZONES) == {"location": ""}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("first_name", " "),
        ("last_name", "x" * 101),
        ("language", "german"),
        ("time_zone", "Berlin"),
        ("location", "Germany"),
        ("phone", "1" * 201),
    ],
)
def test_what_cannot_be_used(field: str, value: str) -> None:
    with pytest.raises(FormError) as caught:
        parse_profile({field: value}, ZONES)
    assert set(caught.value.faults) == {field}


@given(st.dictionaries(st.sampled_from(FIELDS), st.text()))
def test_any_form_is_parsed_or_refused(form: dict[str, str]) -> None:
    faults: set[str] = set()
    values: dict[str, str] = {}
    try:
        values = parse_profile(form, ZONES)
    except FormError as error:
        faults = set(error.faults)
    assert faults <= set(form)
    assert bool(faults) or set(values) == set(form)
