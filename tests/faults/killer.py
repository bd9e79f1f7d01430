"""Kills programs by a plan that a seed makes, starts them again, and counts.

A `Strike` says when, whom and how. Half of the programs that are started again are given a fault point to die
at by themselves (`protocol.faults`), so that deaths do not only fall where most of the time is spent. The
plan is a function of the seed; which sample it hits is not, since real programs do not run twice alike.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from tests.faults.processes import Part, PartError

POLL_S: Final = 0.02
POSTPONE_S: Final = 0.5
REVIVE_S: Final = 0.3  # as a supervisor does
LONGEST_DOWN_S: Final = 3.0
QUIET_S: Final = 2.0  # the first strike: not into the start
SETTLE_S: Final = 60.0


class How(StrEnum):
    """What is killed at once."""

    ALL = "all"
    """The process and everything below it."""
    BELOW = "below"
    """Only what runs below it: a server under its launcher."""


@dataclass(frozen=True, slots=True, order=True)
class Strike:
    """One kill of the plan; ``fault`` is what the program is started again with."""

    at_s: float
    name: str
    how: How = How.ALL
    down_s: float = 0.0
    fault: str = ""


@dataclass
class Victim:
    """A program to kill, with the ways it can die, and what became of it."""

    part: Part
    hows: Sequence[How] = (How.ALL,)
    points: Sequence[str] = ()
    """Fault points it passes through."""
    passings: int = 20
    """A fault point strikes within so many passings."""
    kills: int = 0
    at_points: Counter[str] = field(default_factory=Counter)
    """Kills of which a fault point was the cause."""
    unplanned: list[int] = field(default_factory=list)
    """Exit statuses of the times it ended by itself."""
    fault: str = ""


def make_plan(
    rng: random.Random, victims: Mapping[str, Victim], *, kills: int, duration_s: float
) -> list[Strike]:
    """Every victim so often, at a random moment in each of as many equal parts of the time."""
    strikes = []
    slot_s = (duration_s - QUIET_S - LONGEST_DOWN_S) / kills
    for name, victim in victims.items():
        for number in range(kills):
            armed = victim.points and rng.random() < 0.5
            strikes.append(
                Strike(
                    QUIET_S + (number + rng.random() * 0.8) * slot_s,
                    name,
                    victim.hows[number % len(victim.hows)],
                    min(LONGEST_DOWN_S, slot_s / 4) * rng.random(),
                    f"{rng.choice(victim.points)}:{rng.randint(1, victim.passings)}:kill" if armed else "",
                )
            )
    return sorted(strikes)


class Killer:
    """Carries out a plan. Runs in the main thread, and starts every program again that has ended."""

    def __init__(self, victims: Mapping[str, Victim], plan: Sequence[Strike]) -> None:
        self._victims = victims
        self._plan = sorted(plan)
        self._starts: dict[str, tuple[float, str]] = {}  # name → when it is started again, with which fault

    def run(self, duration_s: float, look: Callable[[float], None]) -> None:
        """Kill by plan for so long, at least until the plan is over; ``look`` is called about once a second.

        On return every victim runs, with nothing armed.
        """
        began = looked = time.monotonic()
        while (now := time.monotonic()) - began < duration_s or self._plan:
            if now - began > duration_s + SETTLE_S:
                raise PartError(f"{len(self._plan)} planned kills found nothing to kill: {self._plan[:3]}")
            self._strike(now - began)
            self._revive(now)
            if now - looked >= 1.0:
                looked = now
                look(now - began)
            time.sleep(POLL_S)
        self._settle()

    def _strike(self, at_s: float) -> None:
        while self._plan and self._plan[0].at_s <= at_s:
            strike = self._plan.pop(0)
            victim = self._victims[strike.name]
            if not victim.part.alive or not (victim.part.ready is None or victim.part.ready()):
                later = Strike(at_s + POSTPONE_S, strike.name, strike.how, strike.down_s, strike.fault)
                self._plan = sorted([*self._plan, later])
                continue
            if strike.how is How.ALL:
                victim.part.kill()
            else:
                victim.part.kill_below()
                victim.part.wait(10.0)  # a launcher ends with its server
            victim.kills += 1
            victim.fault = ""
            self._starts[strike.name] = (time.monotonic() + strike.down_s, strike.fault)

    def _revive(self, now: float) -> None:
        for name, victim in self._victims.items():
            if victim.part.alive:
                continue
            if name not in self._starts:
                self._note_end(victim)
                self._starts[name] = (now + REVIVE_S, "")
            when, fault = self._starts[name]
            if now >= when:
                del self._starts[name]
                victim.fault = fault
                victim.part.start(fault=fault)

    def _note_end(self, victim: Victim) -> None:
        status = victim.part.status
        if victim.fault and status == -9:
            victim.kills += 1
            victim.at_points[victim.fault.partition(":")[0]] += 1
        else:
            victim.unplanned.append(status if status is not None else 0)
        victim.fault = ""

    def _settle(self) -> None:
        """What is armed still is killed once more; then everything is started plainly."""
        for name, victim in self._victims.items():
            if victim.fault and victim.part.alive:
                victim.part.kill()
                victim.kills += 1
                victim.fault = ""
                self._starts[name] = (0.0, "")
        deadline = time.monotonic() + SETTLE_S
        while not all(self._is_up(victim.part) for victim in self._victims.values()):
            self._starts = {name: (when, "") for name, (when, _) in self._starts.items()}
            self._revive(time.monotonic())
            if time.monotonic() > deadline:
                down = [name for name, victim in self._victims.items() if not self._is_up(victim.part)]
                raise PartError(f"not up again within {SETTLE_S:.0f} s: {', '.join(down)}")
            time.sleep(POLL_S)

    @staticmethod
    def _is_up(part: Part) -> bool:
        return part.alive and (part.ready is None or part.ready())


def kill_figures(victims: Mapping[str, Victim]) -> str:
    """Kills of each program for the last line of a check, fault points and unplanned ends named."""
    points = sum((victim.at_points for victim in victims.values()), Counter[str]())
    unplanned = {name: victim.unplanned for name, victim in victims.items() if victim.unplanned}
    text = "kills: " + ", ".join(f"{name} {victim.kills}" for name, victim in victims.items())
    if points:
        text += f"; {points.total()} of them at fault points ({', '.join(sorted(points))})"
    if unplanned:
        text += f"; ended by themselves: {unplanned}"
    return text
