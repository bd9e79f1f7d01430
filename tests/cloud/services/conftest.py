"""The account services' kit over a fresh database."""

from collections.abc import AsyncIterator

import pytest

from cloud.services.kit import Kit
from tests.support.kit import opened_kit


@pytest.fixture
async def kit(database: str) -> AsyncIterator[Kit]:
    """What the account services need."""
    async with opened_kit(database) as made:
        yield made
