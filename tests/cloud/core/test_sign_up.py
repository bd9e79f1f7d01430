"""The two pages of a sign-up: what is required, what may be chosen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.core.account import AccountError
from cloud.core.location import LOCATIONS
from cloud.core.sign_up import (
    CHOICES,
    LABELS,
    FormError,
    PageTwo,
    parse_page_one,
    parse_page_two,
    person_name,
)
from tests.support.kit import PAGE_TWO, PASSWORD


def test_the_required_fields_are_those_of_the_seed() -> None:
    with pytest.raises(FormError) as caught:
        parse_page_two({})
    assert [LABELS[field] for field in caught.value.faults] == [
        "Company Name",
        "Business Type",
        "Address",
        "City",
        "Zip Code",
        "Location",
        "State/Province",
    ]
    assert caught.value.faults["zip_code"] == "Zip Code is required."
    assert caught.value.field == "company_name"


def test_a_page_two_is_tidied_up() -> None:
    page = parse_page_two({**PAGE_TWO, "city": "  New \t Example\x00ton ", "unknown": "x"})
    assert page.city == "New Exampleton"
    assert page.as_dict()["company_name"] == "Example Works"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("business_type", "Pirate"),
        ("area_of_focus", "Sea"),
        ("industry_segment", "Gold"),
        ("location", "XX"),
        ("city", "x" * 201),
        ("company_name", "Win at https://example.org"),
    ],
)
def test_what_is_not_on_the_list_is_refused(field: str, value: str) -> None:
    with pytest.raises(FormError) as caught:
        parse_page_two({**PAGE_TWO, field: value})
    assert set(caught.value.faults) == {field}


@given(st.dictionaries(st.sampled_from(sorted(LABELS)), st.text()))
def test_any_form_is_parsed_or_refused(form: dict[str, str]) -> None:
    faults: set[str] = set()
    page = None
    try:
        page = parse_page_two(form)
    except FormError as error:
        faults = set(error.faults)
    assert faults <= set(LABELS)
    assert isinstance(page, PageTwo) is not bool(faults)


@given(st.text(), st.text(), st.text(), st.text(), st.text())
def test_any_page_one_is_parsed_or_refused(
    email: str, first_name: str, last_name: str, password: str, location: str
) -> None:
    faults: dict[str, str] = {}
    page = None
    try:
        page = parse_page_one(
            email=email, first_name=first_name, last_name=last_name, password=password, location=location
        )
    except FormError as error:
        faults = error.faults
    assert (page is not None and page.location in LOCATIONS) is not bool(faults)


@pytest.mark.parametrize("name", ["", "x" * 101, "https://example.org", "a@example.org", "<b>", "a\x07b"])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(AccountError) as caught:
        person_name("first_name", name)
    assert caught.value.field == "first_name"


@pytest.mark.parametrize("name", ["Ada", "O’Neil-Smith", "María José", "李", "St. John", "J. R."])
def test_what_is_a_name(name: str) -> None:
    assert person_name("first_name", f" {name} ") == name


def test_a_good_page_one() -> None:
    page = parse_page_one(
        email=" Ada@example.org", first_name=" Ada ", last_name="North", password=PASSWORD, location="DE"
    )
    assert (page.email.folded, page.first_name, page.password) == ("ada@example.org", "Ada", PASSWORD)


def test_the_lists_have_no_doubles() -> None:
    assert len(LOCATIONS) == 249
    assert len(set(LOCATIONS.values())) == 249
    for choices in CHOICES.values():
        assert len(set(choices)) == len(choices)
