"""When sessions are polled: each of them in time, never many at once."""

import time
from collections import Counter

import pytest

from cloud.core.session import Standing
from cloud.gateway.hub import FEW, POLL_S, TICK_S, Hub
from cloud.gateway.session import Session
from cloud.postgres.pool import make_pool
from protocol.mqtt import V5

LATEST_S = 2.0
"""Within this long each session's standing is asked for, whether or not anything hints at it."""


class Watched(Hub):
    """Notes who is looked at instead of asking the database."""

    def __init__(self) -> None:
        super().__init__(make_pool("", name="none"), "")
        self.looked_at: list[Session] = []

    def look_at(self, session: Session) -> None:
        """Note it."""
        self.looked_at.append(session)


def session(number: int, now_s: float) -> Session:
    return Session(
        link=None,  # type: ignore[arg-type]  # not looked at here
        voice=None,  # type: ignore[arg-type]  # the same
        kid=f"k{number}",
        device_id=number,
        login_ms=1,
        version=V5,
        keep_alive_s=60,
        peer="127.0.0.1:1",
        nonce=b"",
        standing=Standing(),
        heard_s=now_s,
    )


@pytest.mark.parametrize("count", [1, 7, 1_000])
async def test_each_has_its_turn_in_time_and_not_all_at_once(count: int) -> None:
    hub = Watched()
    began_s = time.monotonic()
    sessions = [session(number, began_s) for number in range(count)]
    for one in sessions:
        hub.add(one)
    now_s = time.monotonic()
    seen_s = dict.fromkeys(sessions, now_s)
    for _ in range(round(10 / TICK_S)):
        now_s += TICK_S
        hub.looked_at.clear()
        hub.look_around(now_s)
        assert len(hub.looked_at) <= max(FEW, count / 10)
        for one in hub.looked_at:
            assert now_s - seen_s[one] <= LATEST_S
            seen_s[one] = now_s
    assert all(now_s - at_s <= LATEST_S for at_s in seen_s.values())


async def test_one_that_comes_late_waits_no_longer_and_one_that_left_is_forgotten() -> None:
    hub = Watched()
    began_s = time.monotonic()
    first, gone, late = (session(number, began_s) for number in range(3))
    hub.add(first)
    hub.add(gone)
    hub.look_around(began_s + 1.0)
    hub.add(late)
    hub.remove(gone)
    for tick in range(round(10 / TICK_S)):
        hub.look_around(began_s + 1.0 + tick * TICK_S)
    looked_at = Counter(hub.looked_at)
    assert looked_at[gone] == 0
    assert min(looked_at[first], looked_at[late]) >= round(9 / POLL_S) - 1
