"""Looks after alarms: new events are folded in, what is due is decided, and channels get their messages."""

import time
from typing import Final

from cloud.jobs.beat import keep
from cloud.jobs.metrics import Metrics
from cloud.notify.courier import Courier
from cloud.postgres import notices
from cloud.services import noticing
from cloud.services.notice_letters import Desk

PERIOD_S: Final = 0.25
"""Part of the way from the mains plug to the mail; a round with nothing to do is two index look-ups."""
MOST_COMPANIES: Final = 100
FORGET_EVERY_S: Final = 3600.0
KEEP_MS: Final = 30 * 86_400_000
"""As long as the mails themselves."""


def now_ms() -> int:
    """The clock of this machine in unix ms."""
    return time.time_ns() // 1_000_000


async def run(desk: Desk, metrics: Metrics) -> None:
    """Until cancelled."""

    async def work() -> int:
        done = await noticing.take_in(desk, now_ms())
        for _ in range(MOST_COMPANIES):
            if not await noticing.decide_one(desk, now_ms()):
                break
            done += 1
        return done

    await keep("notices", PERIOD_S, work, metrics)


async def carry(desk: Desk, metrics: Metrics, *, private: bool) -> None:
    """Take messages to channels, until cancelled."""
    await keep("courier", PERIOD_S, Courier(desk, now_ms, private).round, metrics)


async def forget(desk: Desk, metrics: Metrics) -> None:
    """Remove old notices, until cancelled."""
    await keep("notice_log", FORGET_EVERY_S, lambda: notices.forget(desk.pool, now_ms() - KEEP_MS), metrics)
