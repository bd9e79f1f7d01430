"""Rules and settings in sentences, in English and in another language."""

import pytest

from cloud.core.language import speaking
from cloud.core.rule import SUBJECTS, Condition, Side
from cloud.web.rule_words import INSIDE, deed_text, sentence
from cloud.web.setting_words import fault_text
from protocol.settings import BY_SETTING, SettingError, check
from tests.support.tongue import knowing_german

GERMAN = {
    "Load": "Last",
    "load": "Last",
    "{what} above {level} for {time}.": "{what} {time} lang über {level}.",
    "Ends at {level} or less.": "Endet bei {level} und darunter.",
    "{measured} (above {level})": "{measured} (über {level})",
    "lasted {time}": "dauerte {time}",
    "Mains sensitivity": "Netzempfindlichkeit",
    "{label} is one of: {choices}.": "{label} muss sein: {choices}.",
    "Reduced": "Verringert",
}


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        (
            Condition(subject="load_w", side=Side.ABOVE, threshold=80),
            "Load in watts above 80 W. Ends at 80 W or less.",
        ),
        (
            Condition(
                subject="output_real_power_pct",
                side=Side.ABOVE,
                threshold=80,
                hysteresis=5,
                hold_ms=300_000,
                clear_ms=60_000,
            ),
            "Load above 80 % for 5 min. Ends at 75 % or less for 1 min.",
        ),
        (
            Condition(subject="runtime_remaining", side=Side.BELOW, threshold=750, hysteresis=150),
            "Runtime below 12.5 min. Ends at 15 min or more.",
        ),
        (
            Condition(
                subject="battery_age_days", side=Side.BELOW, threshold=9, hold_ms=45_000, clear_ms=3_600_000
            ),
            "Battery age below 9 days for 45 s. Ends at 9 days or more for 1 h.",
        ),
        (
            Condition(subject="on_battery", side=Side.ABOVE, threshold=0.5),
            "On battery. Ends when it is over.",
        ),
        (
            Condition(subject="overload", side=Side.ABOVE, threshold=0.5, hold_ms=60_000, clear_ms=60_000),
            "Overload for 1 min. Ends when it is over for 1 min.",
        ),
    ],
)
def test_a_rule_in_a_sentence(condition: Condition, said: str) -> None:
    assert sentence(condition) == said


def test_what_rules_watch_has_a_name_within_sentences() -> None:
    assert {name: one.label.lower() for name, one in SUBJECTS.items() if not one.is_state} == INSIDE


def test_rules_and_what_they_did_in_another_language() -> None:
    condition = Condition(subject="output_real_power_pct", side=Side.ABOVE, threshold=80, hold_ms=60_000)
    detail = {
        "subject": "output_real_power_pct",
        "value": 91,
        "threshold": 80,
        "side": "above",
        "lasted_s": 40,
    }
    with knowing_german(GERMAN), speaking("de"):
        assert sentence(condition) == "Last 1 min lang über 80 %. Endet bei 80 % und darunter."
        assert deed_text(detail) == "Last 91 % (über 80 %) · dauerte 40 s"
    assert deed_text(detail) == "load 91 % (above 80 %) · lasted 40 s"


def test_a_fault_of_a_setting_in_another_language() -> None:
    with pytest.raises(SettingError) as raised:
        check("sensitivity", "x")
    assert str(raised.value) == "Mains sensitivity is one of: Normal, Reduced, Low."
    assert fault_text(raised.value) == str(raised.value)
    with knowing_german(GERMAN), speaking("de"):
        assert fault_text(raised.value) == "Netzempfindlichkeit muss sein: Normal, Verringert, Low."


@pytest.mark.parametrize("name", [*BY_SETTING, "n{o}ne"])
def test_every_fault_of_a_setting_is_said(name: str) -> None:
    with pytest.raises(SettingError) as raised:
        check(name, object())
    assert fault_text(raised.value) == str(raised.value)
    assert "{" not in str(raised.value) or name == "n{o}ne"
