"""Random lives of devices: the services on PostgreSQL and a plain model say and hold the same."""

import secrets

import pytest

from tests.support.ownership_lives import STORED_ROUND, kinds_missing, live
from tests.support.postgres_world import PostgresWorld


@pytest.mark.timeout(600)  # 17 s on a quiet machine, four times as many steps where an act never succeeds
def test_the_services_follow_the_model(database: str) -> None:
    """2 000 steps, other ones in every run; a difference prints the seed that replays it."""
    world = PostgresWorld(database)
    try:
        tally, _ = live(world, 2_000, STORED_ROUND, secrets.randbelow(1_000_000_000), print)
    finally:
        world.close()
    assert tally.total() >= 2_000
    assert kinds_missing(tally) == []
