"""Rules as people type them."""

import math
from dataclasses import replace

import pytest

from cloud.core.rule import SUBJECTS, Side
from cloud.core.rule_draft import TEMPLATES, Draft, condition_of
from cloud.core.sign_up import FormError

RUNTIME = Draft(
    name=" Short  runtime ", subject="runtime_remaining", side="below", threshold=15, hysteresis=2
)


def test_numbers_are_kept_in_the_measured_unit() -> None:
    name, says = condition_of(replace(RUNTIME, hold_s=60, clear_s=30), 7)
    assert (name, says.side, says.threshold, says.clear_level) == ("Short runtime", Side.BELOW, 900, 1020)
    assert (says.hold_ms, says.clear_ms, says.gap_ms, says.from_ms) == (60_000, 30_000, 180_000, 7)


def test_a_state_needs_no_threshold() -> None:
    _, says = condition_of(replace(RUNTIME, subject="on_battery", threshold=math.nan, hysteresis=9), 0)
    assert (says.side, says.threshold, says.hysteresis) == (Side.ABOVE, 0.5, 0)


@pytest.mark.parametrize("key", sorted(TEMPLATES))
def test_every_template_is_a_rule(key: str) -> None:
    draft = TEMPLATES[key].draft
    name, says = condition_of(draft, 0)
    assert name == draft.name
    assert says.threshold == pytest.approx(draft.threshold * SUBJECTS[draft.subject].factor)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "  "),
        ("name", "x" * 61),
        ("name", "a\u202eb"),
        ("subject", "nothing"),
        ("side", "beside"),
        ("threshold", math.nan),
        ("threshold", -1),
        ("threshold", math.inf),
        ("hysteresis", -1),
        ("hysteresis", math.nan),
        ("hold_s", -1),
        ("clear_s", 604_801),
        ("gap_s", 59),
    ],
)
def test_what_cannot_be_used_is_named(field: str, value: object) -> None:
    with pytest.raises(FormError) as caught:
        condition_of(replace(RUNTIME, **{field: value}), 0)  # type: ignore[arg-type]  # wrong on purpose
    assert list(caught.value.faults) == [field]
