"""The killer: its plan follows from the seed, it strikes as often as planned, and all is up afterwards."""

import random
import sys
from pathlib import Path

import pytest

from tests.faults.killer import How, Killer, Strike, Victim, kill_figures, make_plan
from tests.faults.processes import Part, PartError, Parts

NAP = "import time; time.sleep(60)"
DIES = (
    "import os, signal; os.environ.get('SMARTCONNECT_FAULT') and os.kill(os.getpid(), signal.SIGKILL);" + NAP
)


def victim_of(parts: Parts, name: str, code: str = NAP) -> Victim:
    return Victim(parts.add(name, [sys.executable, "-c", code]).start())


def test_the_plan_follows_from_the_seed(tmp_path: Path) -> None:
    victims = {
        "a": Victim(Part("a", [], tmp_path / "a.log"), points=["agent.publish"]),
        "b": Victim(Part("b", [], tmp_path / "b.log"), hows=[How.ALL, How.BELOW]),
    }
    plan = make_plan(random.Random(5), victims, kills=6, duration_s=60)
    assert plan == make_plan(random.Random(5), victims, kills=6, duration_s=60)
    assert plan != make_plan(random.Random(6), victims, kills=6, duration_s=60)
    assert [sum(strike.name == name for strike in plan) for name in "ab"] == [6, 6]
    assert all(2 <= strike.at_s + strike.down_s < 60 for strike in plan)
    assert {strike.how for strike in plan if strike.name == "b"} == {How.ALL, How.BELOW}
    assert {strike.fault.split(":")[0] for strike in plan if strike.name == "a"} <= {"", "agent.publish"}


def test_strikes_as_planned_and_leaves_everything_running(tmp_path: Path) -> None:
    with Parts(tmp_path) as parts:
        victims = {"a": victim_of(parts, "a"), "b": victim_of(parts, "b")}
        Killer(victims, [Strike(0.1, "a"), Strike(0.2, "b"), Strike(0.6, "a")]).run(0.8, lambda _: None)
        assert [victim.kills for victim in victims.values()] == [2, 1]
        assert [victim.part.starts for victim in victims.values()] == [3, 2]
        assert all(victim.part.alive for victim in victims.values())
        assert kill_figures(victims) == "kills: a 2, b 1"


def test_counts_deaths_at_fault_points(tmp_path: Path) -> None:
    with Parts(tmp_path) as parts:
        victims = {"a": victim_of(parts, "a", DIES)}
        Killer(victims, [Strike(0.1, "a", fault="agent.publish:1:kill")]).run(1.5, lambda _: None)
        assert victims["a"].kills == 2
        assert victims["a"].at_points == {"agent.publish": 1}
        assert victims["a"].unplanned == []


def test_an_end_nobody_planned_is_told(tmp_path: Path) -> None:
    with Parts(tmp_path) as parts:
        victims = {"a": victim_of(parts, "a", "import sys; sys.exit(3)")}
        with pytest.raises(PartError):
            Killer(victims, [Strike(9.0, "a")]).run(-58.0, lambda _: None)
        assert set(victims["a"].unplanned) == {3}
        assert "ended by themselves: {'a': [3" in kill_figures(victims)
