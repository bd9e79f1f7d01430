"""The language of the devices list."""

import string
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.core.device_filters import FILTERS, STATES, NumberField, TextField
from cloud.core.device_query import (
    MAX_CHARS,
    MAX_TERMS,
    At,
    Compare,
    Holds,
    Is,
    Measured,
    Query,
    QueryError,
    Term,
    Word,
    parse,
    site_of,
    states_of,
    text_of,
    with_site,
    with_states,
)

TEXTS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cf", "Co", "Cn", "Zl", "Zp", "Zs"])
    | st.just(" "),
    min_size=1,
    max_size=20,
)
STATE_LISTS = st.lists(st.sampled_from(sorted(STATES)), min_size=1, max_size=4, unique=True).map(tuple)
NUMBERS = st.decimals(0, 100_000, places=3)


def terms() -> st.SearchStrategy[Term]:
    """Any term that a person could ask for."""
    negated = st.booleans()
    return st.one_of(
        st.builds(Word, TEXTS, negated),
        st.builds(Holds, st.sampled_from(TextField), TEXTS, negated),
        st.builds(Is, STATE_LISTS, negated),
        st.builds(At, st.none() | TEXTS, negated),
        st.builds(Measured, st.sampled_from(NumberField), st.sampled_from(Compare), NUMBERS, negated),
    )


@given(st.lists(terms(), max_size=8).map(tuple).map(Query))
def test_what_is_written_is_read_as_the_same(query: Query) -> None:
    text = text_of(query)
    if len(text) > MAX_CHARS:
        with pytest.raises(QueryError):
            parse(text)
        return
    assert parse(text) == query
    assert text_of(parse(text)) == text


@given(st.text(max_size=60) | st.text(string.ascii_lowercase + ':"-<>=\\ ,0123456789', max_size=40))
def test_any_text_is_read_or_refused_with_words(text: str) -> None:
    found = outcome(text)
    if isinstance(found, QueryError):
        assert str(found).endswith((".", "?", "”"))
        assert 0 <= found.at <= len(text)
    else:
        assert parse(text_of(found)) == found


def outcome(text: str) -> Query | QueryError:
    """The query, or why there is none."""
    try:
        return parse(text)
    except QueryError as error:
        return error


def test_the_example_of_the_page() -> None:
    query = parse(
        '  rack is:on_battery,fault  -model:"SRT 3000" runtime:<15 site:"Hall 2" lastseen:>1d -offline '
    )
    assert query.terms == (
        Word("rack"),
        Is(("on_battery", "fault")),
        Holds(TextField.MODEL, "SRT 3000", negated=True),
        Measured(NumberField.RUNTIME, Compare.LESS, Decimal(900)),
        At("Hall 2"),
        Measured(NumberField.LASTSEEN, Compare.MORE, Decimal(86_400)),
        Word("offline", negated=True),
    )
    assert text_of(query) == (
        'rack is:on_battery,fault -model:"SRT 3000" runtime:<15min site:"Hall 2" lastseen:>1d -offline'
    )


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("<90s", 90),
        ("<2h", 7200),
        ("<1.5", 90),
        ("<1.5min", 90),
        ("<1M", 60),
        ("<0.5d", 43_200),
        ("<1.5s", "1.5"),
    ],
)
def test_a_length_of_time_has_units(text: str, seconds: int | str) -> None:
    (term,) = parse(f"runtime:{text}").terms
    assert term == Measured(NumberField.RUNTIME, Compare.LESS, Decimal(seconds))
    assert parse(text_of(Query((term,)))).terms == (term,)


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("watts:>=1.5kW", NumberField.WATTS, 1500),
        ("charge:<=50%", NumberField.CHARGE, 50),
        ("load:>80", NumberField.LOAD, 80),
        ("temperature:<-5°C", NumberField.TEMPERATURE, -5),
    ],
)
def test_other_numbers_have_theirs(text: str, field: NumberField, value: int) -> None:
    (term,) = parse(text).terms
    assert isinstance(term, Measured)
    assert (term.field, int(term.value)) == (field, value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("mode:x", "Did you mean “model:”?"),
        ("zzz:x", "put it in quotation marks"),
        ("is:offlin", "Did you mean “is:offline”?"),
        ("is:xyz", "There are"),
        ("is:", "needs a value, as in is:offline"),
        ("model:", "needs a value"),
        ("runtime:15", "takes <, <=, > or >= and a number, as in runtime:<15; units: s, m, min, h, d"),
        ("charge:<5h", "units: %"),
        ("charge:<9999999999", "larger than anything"),
        ('"server', "is not closed"),
        ('""', "nothing between"),
        ('"a"b', "comes a space"),
        ('ab"c"', "in the middle of a word"),
        ("-", "what is not wanted"),
        ("a\0b", "Character 2"),
        ("a " * (MAX_TERMS + 1), "terms at most"),
        ("x" * (MAX_CHARS + 1), "longer than"),
    ],
)
def test_what_is_wrong_is_said_with_what_to_write(text: str, told: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse(text)
    assert told in str(caught.value)


def test_every_filter_is_explained_by_an_example_that_works() -> None:
    for name, one in FILTERS.items():
        (term,) = parse(one.example).terms
        assert text_of(Query((term,))).startswith(f"{name}:")


def test_none_is_no_site_and_a_quoted_one_is_a_name() -> None:
    assert parse("site:None").terms == (At(None),)
    assert parse('site:"none"').terms == (At("none"),)
    assert text_of(Query((At("none"),))) == 'site:"none"'


def test_a_query_is_changed_without_losing_the_rest() -> None:
    query = parse("rack is:fault -is:offline site:North")
    assert text_of(with_states(query, ["offline"])) == "rack -is:offline site:North is:offline"
    assert text_of(with_states(query, [])) == "rack -is:offline site:North"
    assert text_of(with_site(query, "South wing")) == 'rack is:fault -is:offline site:"South wing"'
    assert text_of(with_site(query, "")) == "rack is:fault -is:offline"
    assert text_of(with_site(query, None)) == "rack is:fault -is:offline site:none"
    assert states_of(query) == {"fault"}
    assert site_of(query) == At("North")
    assert site_of(parse("site:A site:B")) is None
