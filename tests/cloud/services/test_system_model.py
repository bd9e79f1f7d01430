"""Random lives of building systems: the services on PostgreSQL and plain rules say and hold the same."""

import secrets

import pytest

from tests.support.system_lives import live
from tests.support.system_world import SystemWorld


@pytest.mark.timeout(240)
def test_the_services_follow_the_rules(database: str) -> None:
    """80 steps, other ones in every run; a difference prints the seed that replays it."""
    world = SystemWorld(database)
    try:
        tally, _ = live(world, 80, 2, secrets.randbelow(1_000_000_000), print)
    finally:
        world.close()
    assert tally.total() >= 80
