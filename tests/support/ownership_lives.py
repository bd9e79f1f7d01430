"""Rounds of random lives of devices, each from a seed, until enough steps were compared with the model."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.support.core_world import CoreWorld
from tests.support.ownership_model import OwnershipLife
from tests.support.postgres_world import PostgresWorld

MOST: Final = 4
"""It goes on up to so many times the steps until every act has succeeded once."""
ROUND: Final = 100
"""Lives at once; Hypothesis chooses better within a larger round."""
STORED_ROUND: Final = 10

Tally = Counter[tuple[str, str]]


def live(
    world: CoreWorld | PostgresWorld, steps: int, lives: int, first: int, tell: Callable[[str], None]
) -> tuple[Tally, float]:
    """Lives until so many steps and all acts were made; what was answered how often, and the seconds.

    ``first`` is the seed of the first round. A difference is told with the seed of its round; ``tell`` takes
    that, and how far it is.
    """
    their_world = world
    counted: Tally = Counter()

    class Life(OwnershipLife):
        world = their_world
        tally = counted

    began, told = time.monotonic(), 0
    number = first
    while counted.total() < steps or (kinds_missing(counted) and counted.total() < MOST * steps):
        try:
            round_of(Life, number, lives, shrink=isinstance(world, CoreWorld))
        except BaseException:
            tell(f"OWNERSHIP_SEED={number} replays what failed, as the first round")
            raise
        number += 1
        if counted.total() - told > steps / 10:
            told = counted.total()
            tell(f"{told} steps, seeds {first} to {number - 1}")
    return counted, time.monotonic() - began


def round_of(life: type[OwnershipLife], number: int, lives: int, *, shrink: bool) -> None:
    """So many lives from this seed."""
    phases = [Phase.generate, Phase.shrink] if shrink else [Phase.generate]
    run_state_machine_as_test(
        seed(number)(life),
        settings=settings(
            max_examples=lives,
            stateful_step_count=50,
            deadline=None,
            database=None,
            phases=phases,
            suppress_health_check=list(HealthCheck),
        ),
    )


def kinds_missing(tally: Tally) -> list[str]:
    """Acts that never succeeded: a life that never gets there compares nothing."""
    tried = {what for what, _said in tally}
    done = {what for what, said in tally if said not in {"illegal", "nothing", "revoked"}}
    return sorted(tried - done)
