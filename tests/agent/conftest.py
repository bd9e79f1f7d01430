"""One cloud for all tests of a session that watch an agent from outside; each brings a UPS of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.parts import running_parts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.parts import CloudParts

SHARED = ("postgres", "gateway")


@pytest.fixture(scope="session")
def _started_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudParts]:
    with running_parts(tmp_path_factory.mktemp("shared") / "cloud", SHARED) as parts:
        yield parts


@pytest.fixture
def cloud(_started_cloud: CloudParts) -> CloudParts:
    """PostgreSQL and gateway; they run, even if the test before killed them and broke off."""
    for name in SHARED:
        if not _started_cloud.parts[name].alive:
            _started_cloud.start(name)
    return _started_cloud
