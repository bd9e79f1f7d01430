"""What is registered of a system: its fields, what they may hold, and which slot may change which.

The integrator looks after the warranty and its own contact. System data and the end-user's contact are
written by either until the end-user has written some; from then on by the end-user alone. The end-user never
writes the warranty. These rights are a table, not branches.
"""

from collections.abc import Mapping
from datetime import date
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from cloud.core.account import AccountError, Email
from cloud.core.language import N_, gettext
from cloud.core.location import LOCATIONS
from cloud.core.sign_up import FormError, line_of
from cloud.core.system import Slot, System
from protocol.system import FIELDS

MAX_CHARS: Final = 200


class Part(StrEnum):
    """Fields that go together, on a page and in rights."""

    DATA = "data"
    CONTACTS = "contacts"
    INTEGRATOR = "integrator"
    WARRANTY = "warranty"


PARTS: Final[Mapping[Part, tuple[str, ...]]] = MappingProxyType(
    {
        Part.DATA: (
            *("site_name", "company", "address", "address2", "country", "state", "city", "zip"),
            *("application", "transition"),
        ),
        Part.CONTACTS: ("contact_name", "contact_email", "contact_phone"),
        Part.INTEGRATOR: ("integrator_contact", "integrator_email", "integrator_phone"),
        Part.WARRANTY: ("warranty_start", "warranty_end", "warranty_terms"),
    }
)
REQUIRED: Final = frozenset(
    {
        "site_name",
        "company",
        "address",
        "country",
        "city",
        "zip",
        "application",
        "contact_name",
        "contact_email",
    }
)
"""Starred in the form."""
APPLICATIONS: Final = (
    N_("Airport or station"),
    N_("Commercial office"),
    N_("Data center"),
    N_("Education"),
    N_("Government"),
    N_("Healthcare"),
    N_("Hotel"),
    N_("Industry"),
    N_("Laboratory or life science"),
    N_("Residential"),
    N_("Retail"),
    N_("Other"),
)
TRANSITIONS: Final = (
    N_("None: a new installation"),
    N_("From an earlier version of this product"),
    N_("From another building management system"),
    N_("From stand-alone controls"),
)
CHOICES: Final[Mapping[str, tuple[str, ...]]] = {"application": APPLICATIONS, "transition": TRANSITIONS}
DATES: Final = frozenset({"warranty_start", "warranty_end"})
EMAILS: Final = frozenset({"contact_email", "integrator_email"})

_EITHER: Final = frozenset(Slot)
_WRITERS: Final[Mapping[Part, frozenset[Slot]]] = MappingProxyType(
    {
        Part.DATA: _EITHER,
        Part.CONTACTS: _EITHER,
        Part.INTEGRATOR: frozenset({Slot.INTEGRATOR}),
        Part.WARRANTY: frozenset({Slot.INTEGRATOR}),
    }
)
_END_USERS_ONCE_EDITED: Final = frozenset({Part.DATA, Part.CONTACTS})


def writable(system: System, slots: frozenset[Slot]) -> frozenset[Part]:
    """The parts that a holder of these slots may write now."""
    found = {part for part, writers in _WRITERS.items() if writers & slots}
    if system.end_user_edited and Slot.END_USER not in slots:
        found -= _END_USERS_ONCE_EDITED
    return frozenset(found)


def part_of(field: str) -> Part:
    """The part a field of :data:`protocol.system.FIELDS` belongs to."""
    return next(part for part, fields in PARTS.items() if field in fields)


def fields_of(parts: frozenset[Part]) -> tuple[str, ...]:
    """The fields of these parts, in the order of a page."""
    return tuple(name for part, names in PARTS.items() if part in parts for name in names)


def parse(form: Mapping[str, str], parts: frozenset[Part]) -> dict[str, str]:
    """Every field of these parts, checked; what the form lacks is empty. FormError with all that is wrong."""
    values = {name: line_of(form.get(name, "")) for name in fields_of(parts)}
    faults: dict[str, str] = {}
    for name, value in values.items():
        fault = _fault_of(name, value)
        if fault:
            faults[name] = fault
    start, finish = values.get("warranty_start", ""), values.get("warranty_end", "")
    if start and finish and not faults and finish < start:
        faults["warranty_end"] = gettext("The warranty cannot end before it begins.")
    if faults:
        raise FormError(faults)
    return values


def _fault_of(name: str, value: str) -> str:
    label = gettext(FIELDS[name])
    if not value:
        return gettext("Please enter: {field}.", field=label) if name in REQUIRED else ""
    if len(value) > MAX_CHARS:
        return gettext("{field} may have {count} characters at most.", field=label, count=MAX_CHARS)
    if not value.isprintable():
        return gettext("{field} has a character that cannot be shown.", field=label)
    if name == "country" and value not in LOCATIONS:
        return gettext("Please choose a country.")
    if name in CHOICES and value not in CHOICES[name]:
        return gettext("Please choose: {field}.", field=label)
    if name in EMAILS:
        try:
            Email.parse(value)
        except AccountError as error:
            return str(error)
    if name in DATES:
        try:
            date.fromisoformat(value)
        except ValueError:
            return gettext("{field}: please enter a date as YYYY-MM-DD.", field=label)
        if len(value) != len("2026-01-01"):
            return gettext("{field}: please enter a date as YYYY-MM-DD.", field=label)
    return ""


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Field → what it was and what it is, of those that differ."""
    return {
        name: (before.get(name, ""), value) for name, value in after.items() if before.get(name, "") != value
    }


def complete(data: Mapping[str, str]) -> bool:
    """Whether everything required is there."""
    return all(data.get(name, "") for name in REQUIRED)
