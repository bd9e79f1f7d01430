"""Random lives of devices: the core and a plain model of the rules say and hold the same."""

from collections import Counter
from typing import ClassVar

from hypothesis import HealthCheck, settings

from tests.support.core_world import CoreWorld
from tests.support.ownership_model import OwnershipLife


class CoreLife(OwnershipLife):
    """The core alone."""

    world = CoreWorld()
    tally: ClassVar[Counter[tuple[str, str]]] = Counter()


TestCoreLife = CoreLife.TestCase
TestCoreLife.settings = settings(
    max_examples=100, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)
