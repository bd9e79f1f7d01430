"""Random lives of devices: the core and a plain model of the rules say and hold the same."""

import secrets

from tests.support.core_world import CoreWorld
from tests.support.ownership_lives import ROUND, kinds_missing, live


def test_the_core_follows_the_model() -> None:
    """20 000 steps, other ones in every run; a difference prints the seed that replays it."""
    tally, _ = live(CoreWorld(), 20_000, ROUND, secrets.randbelow(1_000_000_000), print)
    assert tally.total() >= 20_000
    assert kinds_missing(tally) == []
