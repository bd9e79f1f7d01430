"""Countries, and whether a State/Province belongs to their addresses."""

import pytest

from cloud.core.location import LOCATIONS, WITH_STATES, WITHOUT_STATES
from cloud.core.sign_up import CHOICES, NOT_APPLICABLE, FormError, choices_with, parse_company, parse_page_two
from tests.support.kit import PAGE_TWO


def test_the_sets_name_countries_and_nobody_is_in_both() -> None:
    assert WITHOUT_STATES.issubset(LOCATIONS)
    assert WITH_STATES.issubset(LOCATIONS)
    assert WITHOUT_STATES.isdisjoint(WITH_STATES)


@pytest.mark.parametrize(
    ("location", "typed", "stored"),
    [
        ("SG", "", NOT_APPLICABLE),  # a city
        ("SG", "n/a", NOT_APPLICABLE),
        ("MC", "Monte Carlo", "Monte Carlo"),
        ("DK", "Not Applicable", NOT_APPLICABLE),  # has regions, which no address names
        ("DE", "Hessen", "Hessen"),
        ("US", "Ohio", "Ohio"),
    ],
)
def test_a_state_or_that_there_is_none(location: str, typed: str, stored: str) -> None:
    page = parse_page_two({**PAGE_TWO, "location": location, "state_province": typed})
    assert page.state_province == stored


@pytest.mark.parametrize(
    ("location", "typed"), [("DE", ""), ("US", ""), ("US", "n/a"), ("US", "Not applicable")]
)
def test_a_state_that_is_missing(location: str, typed: str) -> None:
    with pytest.raises(FormError) as caught:
        parse_page_two({**PAGE_TWO, "location": location, "state_province": typed})
    assert caught.value.faults == {"state_province": "State/Province is required."}


def test_the_lists_may_be_others() -> None:
    own = {**CHOICES, "business_type": ("Hospital", "School")}
    assert parse_page_two({**PAGE_TWO, "business_type": "School"}, own).business_type == "School"
    with pytest.raises(FormError) as caught:
        parse_page_two(PAGE_TWO, own)
    assert set(caught.value.faults) == {"business_type"}


def test_what_a_company_chose_before_stays_possible() -> None:
    own = {**CHOICES, "business_type": ("Hospital", "School")}
    offered = choices_with(
        own, {"business_type": "Business user", "area_of_focus": "", "industry_segment": "Other"}
    )
    assert offered == {**own, "business_type": ("Hospital", "School", "Business user")}
    assert parse_company(PAGE_TWO, offered)["business_type"] == "Business user"
