"""A person's own data: which fields there are and what they may hold."""

import re
from collections.abc import Mapping
from typing import Final

from cloud.core.account import AccountError
from cloud.core.language import N_, gettext
from cloud.core.location import LOCATIONS
from cloud.core.sign_up import TEXT_MAX_CHARS, FormError, line_of, person_name, too_long

NAMES: Final = ("first_name", "last_name")
ADDRESS: Final[Mapping[str, str]] = {
    "address": N_("Address"),
    "city": N_("City"),
    "zip_code": N_("Zip Code"),
    "state_province": N_("State/Province"),
    "phone": N_("Phone"),
}
FIELDS: Final = (*NAMES, "language", "time_zone", "location", *ADDRESS)
"""The columns of an account that its owner changes here; password and e-mail have ways of their own."""

_LANGUAGE: Final = re.compile(r"[a-z]{2,3}(-[A-Z]{2})?")


def parse_profile(form: Mapping[str, str], time_zones: frozenset[str]) -> dict[str, str]:
    """Those of ``FIELDS`` that the form has, checked; FormError with everything that is wrong."""
    values = {field: line_of(form[field]) for field in FIELDS if field in form}
    faults: dict[str, str] = {}
    for field, value in values.items():
        if field in NAMES:
            try:
                values[field] = person_name(field, value)
            except AccountError as error:
                faults[field] = str(error)
        elif field == "language" and not _LANGUAGE.fullmatch(value):
            faults[field] = gettext("Please choose a language.")
        elif field == "time_zone" and value not in time_zones:
            faults[field] = gettext("Please choose a time zone.")
        elif field == "location" and value and value not in LOCATIONS:
            faults[field] = gettext("Please choose a location.")
        elif field in ADDRESS and len(value) > TEXT_MAX_CHARS:
            faults[field] = too_long(ADDRESS[field])
    if faults:
        raise FormError(faults)
    return values
