"""Tables of words in the language that is spoken: labels, roles, what lists offer, and countries."""

import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from typing import TypeVar

from babel import Locale

from cloud.core.language import ENGLISH, gettext, spoken
from cloud.core.location import LOCATIONS
from cloud.core.sign_up import Choices

Key = TypeVar("Key")


def said(table: Mapping[Key, str]) -> dict[Key, str]:
    """The same table in the language that is spoken."""
    return {key: gettext(text) for key, text in table.items()}


def said_choices(choices: Choices) -> dict[str, list[tuple[str, str]]]:
    """Field → (value, words) of each thing to choose; an installation's own things are said as they are."""
    return {field: [(one, gettext(one)) for one in offered] for field, offered in choices.items()}


def locations() -> Mapping[str, str]:
    """Country code → name, in the order of the names."""
    return _locations(spoken())


@lru_cache(maxsize=8)
def _locations(language: str) -> Mapping[str, str]:
    """English as it stands in :data:`LOCATIONS`; other languages by the names of Unicode's CLDR."""
    if language == ENGLISH:
        return LOCATIONS
    territories = Locale.parse(language).territories
    names = {code: territories.get(code, english) for code, english in LOCATIONS.items()}
    return dict(sorted(names.items(), key=lambda pair: _place(pair[1])))


def _place(name: str) -> tuple[str, str]:
    """Where a name stands in a list: Ä with A, as in the dictionaries of German and French."""
    letters = unicodedata.normalize("NFKD", name.casefold())
    return "".join(char for char in letters if not unicodedata.combining(char)), name
