"""Medians, ratios and goals of made-up runs."""

import json
from typing import Any

import pytest

from bench import report
from bench.candidates import Run

RATES = {
    "plain": (4_000.0, 5_000.0, 1_000.0),
    "careful": (32_000.0, 30_000.0, 34_000.0),
    "ours": (200_000.0, 260_000.0, 240_000.0),
    "ours-json": (100_000.0, 100_000.0, 100_000.0),
}


def run(name: str, rate: float, p99_ms: float = 1.0, others: float = 0.0) -> Run:
    return Run(name, 10, rate, 0.5, p99_ms, 2.0, 1.0, {"gateway": 0.5, "others": others}, 150)


def runs() -> list[Run]:
    return [run(name, RATES[name][number]) for number in range(3) for name in RATES]


def result(*p99_ms: float) -> dict[str, Any]:
    latency = [run("ours", 10_000.0, value, others=0.25) for value in p99_ms]
    return report.result_of(runs(), latency, {"python": "3"}, {"cores": 2})


def test_a_ratio_is_median_over_median() -> None:
    found = result(3.0)
    assert found["rows_per_s"] == {
        "plain": 4_000,
        "careful": 32_000,
        "ours": 240_000,
        "ours-json": 100_000,
    }
    assert found["ratios"] == {
        "ours/plain": 60.0,
        "ours-json/plain": 25.0,
        "ours/careful": 7.5,
        "careful/plain": 8.0,
    }


def test_the_range_of_a_ratio_is_within_rounds() -> None:
    assert result(3.0)["ratios_lowest_highest"]["ours/plain"] == (50.0, 240.0)


def test_the_p99_is_the_median_of_the_rounds() -> None:
    goal = result(3.0, 30.0, 9.5)["goals"][report.P99]
    assert goal == {"goal": 10, "seen": 9.5, "met": True}


@pytest.mark.parametrize(("p99_ms", "met"), [(10.0, True), (10.1, False)])
def test_a_latency_may_not_be_above_its_goal(p99_ms: float, met: bool) -> None:
    assert result(p99_ms)["goals"][report.P99]["met"] is met


def test_a_ratio_may_not_be_below_its_goal() -> None:
    goals = report.goals_of({"ours/plain": 39.9, "ours-json/plain": 25.0, "ours/careful": 5.0}, runs())
    assert [name for name, goal in goals.items() if not goal["met"]] == ["ours/plain"]


def test_the_result_is_json_and_its_summary_names_what_fell_short() -> None:
    found = json.loads(json.dumps(result(12.0)))
    text = report.summary(found)
    assert "<= 10 SHORT" in text
    assert ">= 40 ok" in text
    assert "at most 0.25 cores" in text


def test_versions_and_machine_are_told() -> None:
    assert report.versions().keys() >= {"python", "psycopg", "uvloop", "measured_at", "revision"}
    assert report.machine().keys() >= {"processor", "cores", "memory_gib", "kernel"}
