"""Random lives of devices: the services on PostgreSQL and a plain model say and hold the same."""

from collections import Counter
from typing import ClassVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.support.ownership_model import OwnershipLife
from tests.support.postgres_world import PostgresWorld


def test_the_services_follow_the_model(database: str) -> None:
    their_world = PostgresWorld(database)

    class Life(OwnershipLife):
        world = their_world
        tally: ClassVar[Counter[tuple[str, str]]] = Counter()

    try:
        run_state_machine_as_test(
            Life,
            settings=settings(
                max_examples=8,
                stateful_step_count=25,
                deadline=None,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        their_world.close()
    assert sum(Life.tally.values()) > 100
