r"""The language of the devices list: which devices are shown, as people type it and as addresses carry it.

``rack is:on_battery -model:SRT runtime:<15`` finds devices of which *all* terms hold. A word is looked for in
what a device is called and what it is; ``filter:value`` asks one thing; ``-`` in front turns a term round;
quotation marks keep blanks together (``"server room"``, ``\"`` and ``\\`` inside of them). :func:`parse`
reads it, :func:`text_of` writes a query in its one usual form, so that parsing it gives the same query.

A number that a device does not say is neither less nor more than any other, so ``runtime:<15`` does not find
it, and ``-runtime:<15`` does.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final

from cloud.core.device_filters import FILTERS, STATES, NumberField, TextField
from cloud.core.language import gettext

MAX_CHARS: Final = 500
MAX_TERMS: Final = 20
MAX_VALUE: Final = 10**9
NOWHERE: Final = "none"
"""``site:none``: devices that are at no site."""


class QueryError(ValueError):
    """A query that cannot be read. The text says what is wrong and what to do; ``at`` is where (from 0)."""

    def __init__(self, text: str, at: int = 0) -> None:
        super().__init__(text)
        self.at = at


class Compare(StrEnum):
    """How."""

    LESS = "<"
    AT_MOST = "<="
    MORE = ">"
    AT_LEAST = ">="


@dataclass(frozen=True, slots=True)
class Word:
    """Stands in the name, model, SKU, serial number, Product ID or site of a device."""

    text: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Holds:
    """One of its texts holds this one."""

    field: TextField
    text: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Is:
    """It is in one of these states, by name: those of ``Condition`` and of ``GROUPS``."""

    states: tuple[str, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class At:
    """It is at a site of this name or path, or at one below; None: at no site."""

    site: str | None
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Measured:
    """A number of it compares like this."""

    field: NumberField
    compare: Compare
    value: Decimal
    negated: bool = False


Term = Word | Holds | Is | At | Measured


@dataclass(frozen=True, slots=True)
class Query:
    """All of these terms hold; none: every device."""

    terms: tuple[Term, ...] = ()


_TIMES: Final[Mapping[str, int]] = {"": 60, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}
_PERCENT: Final[Mapping[str, int]] = {"": 1, "%": 1}
_UNITS: Final[Mapping[NumberField, Mapping[str, int]]] = {
    NumberField.RUNTIME: _TIMES,
    NumberField.CHARGE: _PERCENT,
    NumberField.LOAD: _PERCENT,
    NumberField.WATTS: {"": 1, "w": 1, "kw": 1000},
    NumberField.TEMPERATURE: {"": 1, "c": 1, "°c": 1},
    NumberField.LASTSEEN: _TIMES,
}
"""Units that may stand behind a number, folded; the empty one is meant where none is given."""


_NUMBER: Final = re.compile(
    r"(<=|>=|<|>)(-?[0-9]{1,10}(?:\.[0-9]{1,6})?)\s?([a-z%°]{0,3})", re.ASCII | re.IGNORECASE
)
_BARE_WORD: Final = re.compile(r'[^\s":\\-][^\s":\\]*')
_BARE_VALUE: Final = re.compile(r'[^\s"\\]+')


def parse(text: str) -> Query:
    """A query from its text. QueryError."""
    if len(text) > MAX_CHARS:
        raise QueryError(
            gettext("This search is longer than {limit} characters. Use fewer terms.", limit=MAX_CHARS),
            MAX_CHARS,
        )
    reader = _Reader(text)
    terms: list[Term] = []
    while (term := reader.next_term()) is not None:
        terms.append(term)
        if len(terms) > MAX_TERMS:
            raise QueryError(
                gettext("A search has {limit} terms at most. Leave some out.", limit=MAX_TERMS), reader.at
            )
    return Query(tuple(terms))


class _Reader:
    """Takes a text apart, term by term; ``at`` is where it has come to."""

    def __init__(self, text: str) -> None:
        for at, character in enumerate(text):
            if not character.isprintable() and not character.isspace():
                raise QueryError(
                    gettext(
                        "Character {place} of the search cannot be looked for. Take it out.", place=at + 1
                    ),
                    at,
                )
        self._text = text
        self.at = 0

    def next_term(self) -> Term | None:
        """The next one; None at the end."""
        while self._peek().isspace():
            self.at += 1
        began = self.at
        if not self._peek():
            return None
        negated = self._peek() == "-"
        self.at += negated
        if self._peek() == '"':
            return Word(self._quoted(), negated)
        head = self._bare(until_colon=True)
        if self._peek() == ":":
            self.at += 1
            if head.lower() not in FILTERS:
                raise _unknown_filter(head, began)
            quoted = self._peek() == '"'
            return _filter(head.lower(), self._value(head), negated, quoted, began)
        if not head:
            raise QueryError(gettext("Behind “-” stands what is not wanted, as in -is:offline."), began)
        return Word(head, negated)

    def _peek(self) -> str:
        return self._text[self.at : self.at + 1]

    def _bare(self, *, until_colon: bool) -> str:
        began = self.at
        while (
            (character := self._peek()) and not character.isspace() and not (until_colon and character == ":")
        ):
            if character == '"':
                raise QueryError(
                    gettext("A quotation mark opens in the middle of a word. Put a space in front of it."),
                    self.at,
                )
            self.at += 1
        return self._text[began : self.at]

    def _value(self, name: str) -> str:
        began = self.at
        value = self._quoted() if self._peek() == '"' else self._bare(until_colon=False)
        if not value:
            example = FILTERS[name.lower()].example
            raise QueryError(
                gettext("“{name}:” needs a value, as in {example}.", name=name, example=example), began
            )
        return value

    def _quoted(self) -> str:
        began = self.at
        self.at += 1
        found: list[str] = []
        while (character := self._peek()) != '"':
            if character == "\\" and self._text[self.at + 1 : self.at + 2] in {'"', "\\"}:
                self.at += 1
                character = self._peek()
            if not character:
                raise QueryError(
                    gettext("The quotation mark at character {place} is not closed.", place=began + 1), began
                )
            found.append(character)
            self.at += 1
        self.at += 1
        if self._peek() and not self._peek().isspace():
            raise QueryError(gettext("Behind a closing quotation mark comes a space."), self.at)
        if not found:
            raise QueryError(gettext("There is nothing between the quotation marks."), began)
        return "".join(found)


def _unknown_filter(name: str, at: int) -> QueryError:
    close = difflib.get_close_matches(name.lower(), [str(one) for one in FILTERS], 1)
    if close:
        return QueryError(
            gettext("There is no filter “{name}:”. Did you mean “{close}:”?", name=name, close=close[0]), at
        )
    text = gettext(
        "There is no filter “{name}:”. There are {known}; to look for a text with a colon, put it in"
        " quotation marks.",
        name=name,
        known=", ".join(FILTERS),
    )
    return QueryError(text, at)


def _filter(name: str, value: str, negated: bool, quoted: bool, at: int) -> Term:
    if name == "is":
        return Is(_states(value, at), negated)
    if name == "site":
        return At(None if value.lower() == NOWHERE and not quoted else value, negated)
    if name in set(TextField):
        return Holds(TextField(name), value, negated)
    return _measured(NumberField(name), value, negated, at)


def _states(value: str, at: int) -> tuple[str, ...]:
    states = [one.strip().lower() for one in value.split(",")]
    for state in states:
        if state not in STATES:
            close = difflib.get_close_matches(state, STATES, 1)
            raise QueryError(_unknown_state(state, close), at)
    return tuple(dict.fromkeys(states))


def _unknown_state(state: str, close: Sequence[str]) -> str:
    if close:
        return gettext("There is no state “{state}”. Did you mean “is:{close}”?", state=state, close=close[0])
    return gettext("There is no state “{state}”. There are {known}.", state=state, known=", ".join(STATES))


def _measured(field: NumberField, value: str, negated: bool, at: int) -> Measured:
    found = _NUMBER.fullmatch(value)
    units = _UNITS[field]
    if found is None or found[3].lower() not in units:
        text = gettext(
            "“{field}:” takes <, <=, > or >= and a number, as in {example}; units: {known}.",
            field=field,
            example=FILTERS[field].example,
            known=", ".join(unit for unit in units if unit),
        )
        raise QueryError(text, at)
    number = Decimal(found[2]) * units[found[3].lower()]
    if abs(number) > MAX_VALUE:
        raise QueryError(
            gettext("The number of “{field}:” is larger than anything there is.", field=field), at
        )
    return Measured(field, Compare(found[1]), number, negated)


# --- writing ------------------------------------------------------------------------------------------------


def text_of(query: Query) -> str:
    """The query in its usual form: ``parse`` makes the same query of it."""
    return " ".join(map(term_text, query.terms))


def term_text(term: Term) -> str:
    """One term in its usual form."""
    return ("-" if term.negated else "") + _plain(term)


def _plain(term: Term) -> str:
    match term:
        case Word(text):
            return text if _BARE_WORD.fullmatch(text) else _in_quotes(text)
        case Holds(field, text):
            return f"{field}:{_value_text(text)}"
        case Is(states):
            return f"is:{','.join(states)}"
        case At(site):
            if site is None:
                return f"site:{NOWHERE}"
            return f"site:{_in_quotes(site) if site.lower() == NOWHERE else _value_text(site)}"
        case Measured(field, compare, value):
            return f"{field}:{compare}{_number_text(field, value)}"


def _value_text(text: str) -> str:
    return text if _BARE_VALUE.fullmatch(text) else _in_quotes(text)


def _in_quotes(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _number_text(field: NumberField, value: Decimal) -> str:
    """The number in the largest unit in which it is whole."""
    if _UNITS[field] is not _TIMES:
        return f"{value:f}"
    units = (("d", 86_400), ("h", 3600), ("min", 60))
    for unit, factor in units:
        if value and value % factor == 0:
            return f"{value // factor:f}{unit}"
    return f"{value:f}s"


# --- changing -----------------------------------------------------------------------------------------------


def with_states(query: Query, states: Sequence[str]) -> Query:
    """The same query about these states instead of those it asked for; none: about all."""
    others = tuple(term for term in query.terms if not (isinstance(term, Is) and not term.negated))
    return Query((*others, Is(tuple(states))) if states else others)


def with_site(query: Query, site: str | None) -> Query:
    """The same query about another site, by name or path; an empty one: about all, None: about none."""
    others = tuple(term for term in query.terms if not (isinstance(term, At) and not term.negated))
    return Query(others if site == "" else (*others, At(site)))


def site_of(query: Query) -> At | None:
    """The site that it asks for, where it is one."""
    asked = [term for term in query.terms if isinstance(term, At) and not term.negated]
    return asked[0] if len(asked) == 1 else None


def states_of(query: Query) -> frozenset[str]:
    """The states that it asks for by name."""
    return frozenset(
        state for term in query.terms if isinstance(term, Is) and not term.negated for state in term.states
    )
