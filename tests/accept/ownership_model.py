"""Acceptance ``ownership-model``: random lives of devices, in the core and on PostgreSQL, and a model.

``OWNERSHIP_STEPS`` asks for more steps on the core than the 20 000 of every run (a million took what
docs/owning.md says), ``OWNERSHIP_STORED_STEPS`` for more than 2 000 on PostgreSQL. A step is one act,
announcement or sweep, compared with the model. Each round of lives has a seed; ``OWNERSHIP_SEED`` names
the first one. A difference tells its seed, its whole life and both states; that seed replays it at once.
"""

import logging
import os
import secrets
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Final

import structlog
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from cloud.embedded import EmbeddedPostgres
from cloud.postgres.admin import create_database
from cloud.postgres.migrate import migrate
from tests.accept import expect, passed, progress
from tests.support.core_world import CoreWorld
from tests.support.ownership_model import OwnershipLife
from tests.support.postgres_world import PostgresWorld

CORE_STEPS: Final = 20_000
POSTGRES_STEPS: Final = 2_000
MOST: Final = 4
"""It goes on up to so many times the steps until every act has succeeded once."""
ROUND: Final = 100
"""Lives at once; Hypothesis chooses better within a larger round."""

Tally = Counter[tuple[str, str]]


def live(world: CoreWorld | PostgresWorld, steps: int, lives: int, first: int) -> tuple[Tally, float]:
    """Lives until so many steps and all acts were made; what was answered how often, and the seconds.

    ``first`` is the seed of the first round. A difference is told with the seed of its round.
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
            progress(f"OWNERSHIP_SEED={number} replays what failed, as the first round")
            raise
        number += 1
        if counted.total() - told > steps / 10:
            told = counted.total()
            progress(f"{told} steps, seeds {first} to {number - 1}")
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


def main() -> int:
    """Run the check."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    wanted = int(os.environ.get("OWNERSHIP_STEPS", CORE_STEPS))
    wanted_stored = int(os.environ.get("OWNERSHIP_STORED_STEPS", POSTGRES_STEPS))
    first = int(os.environ.get("OWNERSHIP_SEED", secrets.randbelow(1_000_000_000)))
    progress(f"{wanted} steps on the core, from seed {first}")
    core, core_s = live(CoreWorld(), wanted, ROUND, first)
    expect(not kinds_missing(core), f"never done on the core: {kinds_missing(core)}")
    progress(f"{wanted_stored} steps on PostgreSQL")
    with tempfile.TemporaryDirectory(prefix="sc-model-") as name, EmbeddedPostgres(Path(name)) as server:
        create_database(server.dsn("postgres"), "model")
        migrate(server.dsn("model"))
        world = PostgresWorld(server.dsn("model"))
        try:
            stored, stored_s = live(world, wanted_stored, 10, first)
        finally:
            world.close()
    expect(not kinds_missing(stored), f"never done on PostgreSQL: {kinds_missing(stored)}")
    refused = sum(count for (_what, said), count in core.items() if said == "illegal")
    return passed(
        "ownership-model",
        f"""core {core.total()} steps in {core_s:.0f} s, {len({what for what, _ in core})} kinds, {refused}
        refused; PostgreSQL {stored.total()} steps in {stored_s:.0f} s, from seed {first}; no
        difference""",
    )
