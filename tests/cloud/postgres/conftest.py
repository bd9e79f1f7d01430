"""A database where two devices are owned, and a writer's connection to it."""

from collections.abc import Iterator

import pytest

from cloud.postgres.telemetry import Store
from protocol import faults
from tests.support.ingest import ONE, TWO, own_devices


@pytest.fixture
def owned(database: str) -> str:
    """A database where ONE and TWO are owned."""
    own_devices(database, [ONE, TWO])
    return database


@pytest.fixture
def store(owned: str) -> Iterator[Store]:
    """Connected; no fault point stays armed after it."""
    made = Store(owned, "test")
    made.connect()
    yield made
    faults.disarm()
    made.close()
