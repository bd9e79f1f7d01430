"""Fields of a registration: what they may hold, and who may write them."""

import pytest

from cloud.core.sign_up import FormError
from cloud.core.system import Slot, System
from cloud.core.system_data import (
    CHOICES,
    PARTS,
    REQUIRED,
    Part,
    changes,
    complete,
    fields_of,
    parse,
    part_of,
    writable,
)
from protocol.system import FIELDS

GOOD = {
    "site_name": "  North   wing ",
    "company": "Example Works",
    "address": "1 Example Street",
    "country": "DE",
    "city": "Exampleton",
    "zip": "12345",
    "application": "Other",
    "contact_name": "Ada North",
    "contact_email": "ada@example.org",
    "warranty_start": "2026-01-01",
    "warranty_end": "2028-01-01",
}
EVERYTHING = frozenset(Part)
INTEGRATOR, END_USER = frozenset({Slot.INTEGRATOR}), frozenset({Slot.END_USER})


def test_every_field_is_in_one_part() -> None:
    listed = [name for names in PARTS.values() for name in names]
    assert sorted(listed) == sorted(FIELDS)
    assert set(listed) >= REQUIRED | set(CHOICES)
    assert all(part_of(name) is part for part, names in PARTS.items() for name in names)
    assert fields_of(frozenset({Part.CONTACTS})) == PARTS[Part.CONTACTS]


def test_rights_are_the_slots() -> None:
    fresh, edited = System(1, ""), System(1, "", end_user_edited=True)
    assert writable(fresh, INTEGRATOR) == EVERYTHING
    assert writable(fresh, END_USER) == {Part.DATA, Part.CONTACTS}
    assert writable(edited, INTEGRATOR) == {Part.INTEGRATOR, Part.WARRANTY}
    assert writable(edited, END_USER) == {Part.DATA, Part.CONTACTS}
    assert writable(edited, INTEGRATOR | END_USER) == EVERYTHING
    assert writable(fresh, frozenset()) == frozenset()


def test_a_good_form_is_taken_as_lines() -> None:
    values = parse(GOOD, EVERYTHING)
    assert values["site_name"] == "North wing"
    assert values["transition"] == ""
    assert complete(values)
    assert not complete({})
    assert parse({**GOOD, "warranty_terms": "x"}, frozenset({Part.CONTACTS})) == {
        "contact_name": "Ada North",
        "contact_email": "ada@example.org",
        "contact_phone": "",
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("site_name", " "),
        ("site_name", "x" * 201),
        ("country", "Atlantis"),
        ("application", "Castle"),
        ("contact_email", "nobody"),
        ("warranty_start", "tomorrow"),
        ("warranty_start", "20260101"),
        ("warranty_end", "2025-12-31"),
    ],
)
def test_what_cannot_be_used_is_named(field: str, value: str) -> None:
    with pytest.raises(FormError) as caught:
        parse({**GOOD, field: value}, EVERYTHING)
    assert list(caught.value.faults) == [field]


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(FormError) as caught:
        parse({}, EVERYTHING)
    assert set(caught.value.faults) == REQUIRED


def test_changes_name_what_was_and_what_is() -> None:
    assert changes({"city": "A", "zip": "1"}, {"city": "B", "zip": "1", "state": ""}) == {"city": ("A", "B")}
