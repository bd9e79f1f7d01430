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
from pathlib import Path
from typing import Final

import structlog

from cloud.embedded import EmbeddedPostgres
from cloud.postgres.admin import create_database
from cloud.postgres.migrate import migrate
from tests.accept import expect, passed, progress
from tests.support.core_world import CoreWorld
from tests.support.ownership_lives import ROUND, STORED_ROUND, kinds_missing, live
from tests.support.postgres_world import PostgresWorld

CORE_STEPS: Final = 20_000
POSTGRES_STEPS: Final = 2_000


def main() -> int:
    """Run the check."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    wanted = int(os.environ.get("OWNERSHIP_STEPS", CORE_STEPS))
    wanted_stored = int(os.environ.get("OWNERSHIP_STORED_STEPS", POSTGRES_STEPS))
    first = int(os.environ.get("OWNERSHIP_SEED", secrets.randbelow(1_000_000_000)))
    progress(f"{wanted} steps on the core, from seed {first}")
    core, core_s = live(CoreWorld(), wanted, ROUND, first, progress)
    expect(not kinds_missing(core), f"never done on the core: {kinds_missing(core)}")
    progress(f"{wanted_stored} steps on PostgreSQL")
    with tempfile.TemporaryDirectory(prefix="sc-model-") as name, EmbeddedPostgres(Path(name)) as server:
        create_database(server.dsn("postgres"), "model")
        migrate(server.dsn("model"))
        world = PostgresWorld(server.dsn("model"))
        try:
            stored, stored_s = live(world, wanted_stored, STORED_ROUND, first, progress)
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
