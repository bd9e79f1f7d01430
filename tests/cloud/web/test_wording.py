"""Numbers, times, sentences and events in words."""

import math
import re
from collections.abc import Iterator
from gettext import NullTranslations
from pathlib import Path

import pytest

from cloud import catalogs
from cloud.core import language
from cloud.core.cloud_event import CloudEventKind
from cloud.core.device_state import FACES, Condition
from cloud.web import wording
from cloud.web.sentences import EVENTS, SENTENCES, detail_text, event_words, summary_of
from protocol.messages import EventKind
from tests.cloud.core.test_device_state import NOW, ON_BATTERY, view


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (2460, "41 min"),
        (3600, "1 h"),
        (3660, "1 h 1 min"),
        (86_400, "1 day"),
        (200_000, "2 days 7 h"),
        (-5, "0 s"),
    ],
)
def test_span(seconds: float, words: str) -> None:
    assert wording.span(seconds) == words


@pytest.mark.parametrize(
    ("age_s", "words"),
    [
        (-10, "just now"),
        (4, "just now"),
        (59, "59 s ago"),
        (60, "1 min ago"),
        (7200, "2 h ago"),
        (86_400, "1 day ago"),
        (200_000, "2 days ago"),
    ],
)
def test_ago(age_s: int, words: str) -> None:
    assert wording.ago(NOW - age_s * 1000, NOW) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [(230.44, "230.4 V"), (None, "–"), (math.nan, "–"), (-0.01, "0.0 V"), (-3.0, "−3.0 V")],
)
def test_number(value: float | None, words: str) -> None:
    assert wording.number(value, "V", 1) == words


def test_times_are_utc_until_the_browser_knows_better() -> None:
    assert wording.iso(NOW) == "2027-01-15T08:00:00.000Z"
    assert wording.clock(NOW) == "2027-01-15 08:00:00 UTC"


def test_the_sentence_of_an_outage_says_how_long_and_how_much_is_left() -> None:
    device = view(bits=ON_BATTERY, on_battery_since_ms=NOW - 180_000)
    summary = summary_of(device, NOW)
    assert (summary.face.word, summary.sentence) == (
        "On battery",
        "On battery for 3 min, 40 min left.",
    )
    assert summary.tail == "for 3 min, 40 min left"
    assert summary.current


def test_nothing_known_is_nothing_claimed() -> None:
    device = view(bits=ON_BATTERY, values={"runtime_remaining": None})
    assert summary_of(device, NOW).sentence == "The load runs on the battery."
    assert summary_of(view(values={"runtime_remaining": None}), NOW).sentence == "All is well."


def test_the_last_known_state_is_said_to_be_that() -> None:
    for device in (view(connected=False), view(contact_lost=True), view(ts_ms=NOW - 600_000)):
        summary = summary_of(device, NOW)
        assert not summary.current
        assert "last known state" in summary.sentence
    assert "does not answer" in summary_of(view(contact_lost=True), NOW).sentence


def test_every_condition_has_a_sentence() -> None:
    computed = {Condition.ON_BATTERY, Condition.LOW_BATTERY, Condition.ON_MAINS, Condition.OVERLOAD}
    assert set(SENTENCES) | computed == set(FACES)


def test_every_event_has_words() -> None:
    assert set(EVENTS) == set(EventKind) | set(CloudEventKind)
    assert event_words("brand_new").word == "Brand new"


def test_values_of_an_event_are_told_in_order() -> None:
    detail = {
        "input_voltage": 229.6,
        "cause": "high_line",
        "lasted_s": 61.0,
        "runtime_remaining": None,
        "state_of_charge": 97.5,
        "imported": True,
        "on": False,
        "x": 1.5,
        "y": math.nan,
    }
    assert (
        detail_text(detail)
        == "lasted 1 min · high line · switched off · battery 98 % · imported · x 1.5 · y nan"
    )
    assert detail_text({**detail, "runtime_remaining": 60.0}).startswith(
        "lasted 1 min · high line · switched off · battery 98 % · imported"
    )
    assert detail_text({"cause": "rapid_input_change"}) == "the mains failed"
    changed = {"setting": "transfer_low", "before": 208, "after": 196, "by": "front panel"}
    assert detail_text(changed) == "setting Transfer below · before 208 · after 196 · by front panel"
    assert detail_text({"group": "sog1", "on": True}) == "outlet group 2 · switched on"
    assert detail_text({"dropped": 12, "dropped_events": 0, "dropped_total": 40}) == (
        "12 readings lost · dropped total 40"
    )
    assert len(detail_text({"reason": "x" * 500})) == 200


class Marked(NullTranslations):
    """A language of marks: what was translated stands between them, and its plural begins at two."""

    def gettext(self, message: str) -> str:
        return f"<{message}>"

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return f"<{msgid1 if n < 2 else msgid2}>"


@pytest.fixture
def _french() -> Iterator[None]:
    language.learn({"fr": Marked()})
    with language.speaking("fr"):
        yield
    catalogs.load()


@pytest.mark.usefixtures("_french")
def test_what_is_said_is_said_in_the_language_that_is_spoken() -> None:
    assert wording.number(-230.44, "V", 1) == "−230,4 V"
    assert wording.span(86_400) == "<1 day>"
    assert wording.span(5460) == "<1 h 31 min>"
    assert wording.ago(NOW - 200_000_000, NOW) == "<2 days ago>"
    assert summary_of(view(bits=ON_BATTERY), NOW).face.word == "<On battery>"
    assert event_words("fault").word == "<Fault>"
    assert event_words("brand_new").word == "Brand new"
    told = detail_text({"result": "failed", "why": "load_too_low", "x": 1.5, "dropped": 1, "imported": True})
    assert told == "<1 reading lost> · <result> <failed> · <why> <load too low> · x 1,5 · <imported>"


@pytest.mark.usefixtures("_french")
def test_every_state_has_a_marked_sentence() -> None:
    states = [
        view(bits=ON_BATTERY, on_battery_since_ms=NOW - 180_000),
        view(contact_lost=True),
        view(connected=False),
        view(smartconnect=False),
        view(),
    ]
    for one in states:
        assert summary_of(one, NOW).sentence.startswith("<")


def test_the_browser_counts_on_in_the_words_of_the_server() -> None:
    web = Path(wording.__file__).parent
    said = set(re.findall(r'"([^"]* ago|just now)"', (web / "frontend" / "times.ts").read_text()))
    assert said == set(re.findall(r'"([^"]* ago|just now)"', (web / "wording.py").read_text()))
    assert len(said) == 6
