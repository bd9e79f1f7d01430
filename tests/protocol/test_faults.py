"""Fault points are silent until one is armed, and then act once, on the passing asked for."""

from collections.abc import Iterator

import pytest

from protocol import faults


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    faults.disarm()


def test_acts_on_the_nth_passing_once() -> None:
    seen: list[str] = []
    faults.arm("agent.publish", 2, seen.append)
    for _ in range(4):
        faults.reach("agent.publish")
        faults.reach("agent.puback")
    assert seen == ["agent.publish"]


def test_unknown_point() -> None:
    with pytest.raises(KeyError):
        faults.arm("no.such.point", 1, print)
