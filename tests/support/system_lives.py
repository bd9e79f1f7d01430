"""Rounds of random lives of building systems, each from a seed, until enough steps were compared."""

import time
from collections import Counter
from collections.abc import Callable

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.support.system_model import SystemLife
from tests.support.system_world import SystemWorld


def live(
    world: SystemWorld, steps: int, lives: int, first: int, tell: Callable[[str], None]
) -> tuple[Counter[tuple[str, str]], float]:
    """Lives until so many steps were compared; what was answered how often, and the seconds."""
    counted: Counter[tuple[str, str]] = Counter()
    their_world = world

    class Life(SystemLife):
        world = their_world
        tally = counted

    began, number = time.monotonic(), first
    while counted.total() < steps:
        try:
            run_state_machine_as_test(
                seed(number)(Life),
                settings=settings(
                    max_examples=lives,
                    stateful_step_count=40,
                    deadline=None,
                    database=None,
                    phases=[Phase.generate],
                    suppress_health_check=list(HealthCheck),
                ),
            )
        except BaseException:
            tell(f"SYSTEM_SEED={number} replays what failed, as the first round")
            raise
        number += 1
    return counted, time.monotonic() - began
