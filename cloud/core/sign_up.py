"""The two pages of a sign-up: which fields there are, which are required, what they may hold.

Page one: email, first and last name, password, location. Page two: Company Name*, Business Type*, Area of
Focus, Industry Segment, Address*, City*, Zip Code*, Location*, State/Province*. Whoever was invited belongs
to the inviting company and sees no page two. Field names here are those of the forms.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

from cloud.core.account import (
    NAME_MAX_CHARS,
    AccountError,
    Email,
    password_faults,
    told,
)
from cloud.core.language import N_, gettext
from cloud.core.location import LOCATIONS, WITH_STATES, WITHOUT_STATES

SIGN_UP_LIFE_MS: Final = 3_600_000
TEXT_MAX_CHARS: Final = 200

BUSINESS_TYPES: Final = (
    N_("Business user"),
    N_("Consultant or designer"),
    N_("Contractor or installer"),
    N_("Distributor or wholesaler"),
    N_("Education or research"),
    N_("Government"),
    N_("IT reseller or service provider"),
    N_("Manufacturer"),
    N_("System integrator"),
    N_("Other"),
)
AREAS_OF_FOCUS: Final = (
    N_("Buildings"),
    N_("Data centers and server rooms"),
    N_("Edge and network closets"),
    N_("Energy and infrastructure"),
    N_("Industrial automation"),
    N_("Office and workplace"),
    N_("Other"),
)
INDUSTRY_SEGMENTS: Final = (
    N_("Banking and insurance"),
    N_("Education"),
    N_("Energy and utilities"),
    N_("Government"),
    N_("Healthcare"),
    N_("Hotels"),
    N_("Information technology"),
    N_("Manufacturing"),
    N_("Retail"),
    N_("Telecommunications"),
    N_("Transportation"),
    N_("Other"),
)
Choices = Mapping[str, tuple[str, ...]]
"""Field → what its list offers."""
CHOICES: Final[Choices] = {
    "business_type": BUSINESS_TYPES,
    "area_of_focus": AREAS_OF_FOCUS,
    "industry_segment": INDUSTRY_SEGMENTS,
}
"""The lists as they come; an installation has its own by its settings."""
NOT_APPLICABLE: Final = N_("Not applicable")
"""The State/Province of a country that has none, as it is stored; pages say it in their language."""
_NO_STATE: Final = frozenset({"not applicable", "n/a", "na", "none", "-", "–"})
LABELS: Final[Mapping[str, str]] = {
    "company_name": N_("Company Name"),
    "business_type": N_("Business Type"),
    "area_of_focus": N_("Area of Focus"),
    "industry_segment": N_("Industry Segment"),
    "address": N_("Address"),
    "city": N_("City"),
    "zip_code": N_("Zip Code"),
    "location": N_("Location"),
    "state_province": N_("State/Province"),
}
"""The fields of page two, with their names on the page."""
CONTACT: Final[Mapping[str, str]] = {
    "contact_name": N_("Contact Name"),
    "contact_email": N_("Contact Email"),
    "contact_phone": N_("Contact Phone"),
}
"""The company's contact, for a personalized service and faster technical support."""
REQUIRED: Final = frozenset(LABELS) - {"area_of_focus", "industry_segment"}


@dataclass(frozen=True, slots=True)
class PageOne:
    """A checked page one."""

    email: Email
    first_name: str
    last_name: str
    password: str
    location: str


@dataclass(frozen=True, slots=True)
class PageTwo:
    """A checked page two: the company."""

    company_name: str
    business_type: str
    area_of_focus: str
    industry_segment: str
    address: str
    city: str
    zip_code: str
    location: str
    state_province: str

    def as_dict(self) -> dict[str, str]:
        """Field name → value, as it is stored."""
        return asdict(self)


class FormError(AccountError):
    """Several fields cannot be used; ``faults`` maps each to its text, ``field`` is the first."""

    def __init__(self, faults: Mapping[str, str]) -> None:
        field, text = next(iter(faults.items()))
        super().__init__(field, text)
        self.faults = dict(faults)


def parse_page_one(*, email: str, first_name: str, last_name: str, password: str, location: str) -> PageOne:
    """The checked page, or FormError with everything that is wrong with it."""
    faults: dict[str, str] = {}
    address: Email | None = None
    try:
        address = Email.parse(email)
    except AccountError as error:
        faults["email"] = str(error)
    names = {"first_name": first_name, "last_name": last_name}
    for field, text in names.items():
        try:
            names[field] = person_name(field, text)
        except AccountError as error:
            faults[field] = str(error)
    complaints = password_faults(
        password, email=address or Email("@", "@"), first_name=first_name, last_name=last_name
    )
    if complaints:
        faults["password"] = told(complaints)
    if location not in LOCATIONS:
        faults["location"] = gettext("Please choose a location.")
    if faults or address is None:
        raise FormError(faults)
    return PageOne(address, names["first_name"], names["last_name"], password, location)


def parse_page_two(form: Mapping[str, str], choices: Choices = CHOICES) -> PageTwo:
    """The checked page, or FormError with everything that is wrong with it. Unknown fields are ignored."""
    values, faults = _page_two(form, choices)
    if faults:
        raise FormError(faults)
    return PageTwo(**values)


def choices_with(choices: Choices, present: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The lists with what a company has chosen already, which may be on none of them any more."""
    return {
        field: listed if present.get(field, "") in {"", *listed} else (*listed, present[field])
        for field, listed in choices.items()
    }


def parse_company(form: Mapping[str, str], choices: Choices = CHOICES) -> dict[str, str]:
    """Page two with the company's contact, as it is changed later: column → value.

    FormError with everything that is wrong with it.
    """
    values, faults = _page_two(form, choices)
    for field in CONTACT:
        values[field] = line_of(form.get(field, ""))
        if len(values[field]) > TEXT_MAX_CHARS:
            faults[field] = too_long(CONTACT[field])
    if values["contact_email"]:
        try:
            Email.parse(values["contact_email"])
        except AccountError as error:
            faults["contact_email"] = str(error)
    if faults:
        raise FormError(faults)
    values["name"] = values.pop("company_name")
    return values


def _page_two(form: Mapping[str, str], choices: Choices) -> tuple[dict[str, str], dict[str, str]]:
    """Values, and what is wrong with them."""
    values = {field: line_of(form.get(field, "")) for field in LABELS}
    faults: dict[str, str] = {}
    if values["state_province"].casefold() in {"", *_NO_STATE, gettext(NOT_APPLICABLE).casefold()}:
        if values["location"] in WITHOUT_STATES or values["state_province"]:
            values["state_province"] = NOT_APPLICABLE
        if values["location"] in WITH_STATES:
            values["state_province"] = ""
    for field, value in values.items():
        if not value and field in REQUIRED:
            faults[field] = gettext("{field} is required.", field=gettext(LABELS[field]))
        elif len(value) > TEXT_MAX_CHARS:
            faults[field] = too_long(LABELS[field])
        elif "://" in value:  # it stands in invitations
            faults[field] = gettext("{field} cannot hold a link.", field=gettext(LABELS[field]))
        elif value and field in choices and value not in choices[field]:
            faults[field] = gettext(
                "Please choose one of the list for {field}.", field=gettext(LABELS[field])
            )
    if values["location"] and values["location"] not in LOCATIONS:
        faults["location"] = gettext("Please choose a location.")
    return values, faults


def too_long(label: str) -> str:
    """Said of a field of this name whose value is too long."""
    return gettext("{field} may have {count} characters at most.", field=gettext(label), count=TEXT_MAX_CHARS)


def person_name(field: str, text: str) -> str:
    """A first or last name with single blanks; AccountError when it cannot be one.

    Names stand in mails to people who did not ask for them, so what makes a link of a text is refused.
    """
    value = " ".join(text.split())
    bad = not value.isprintable() or any(char in "/\\<>@:" for char in value)
    if not value or len(value) > NAME_MAX_CHARS or bad:
        raise AccountError(
            field, gettext("Please enter a name of 1 to {count} characters.", count=NAME_MAX_CHARS)
        )
    return value


def line_of(text: str) -> str:
    """One line of printable characters with single blanks."""
    return "".join(char for char in " ".join(text.split()) if char.isprintable())
