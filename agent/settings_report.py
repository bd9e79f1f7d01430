"""Publishes the report of settings on one connection, whenever the cloud does not have the newest one."""

from __future__ import annotations

import random
from asyncio import sleep
from typing import TYPE_CHECKING, Final

import structlog

from agent.core.backoff import Backoff
from agent.core.delivery import Verdict, judge
from agent.logs import Repeats
from protocol import topics
from protocol.codec import encode

if TYPE_CHECKING:
    from agent.device import Device
    from agent.uplink import Uplink

RETRY: Final = Backoff(first_s=1.0, max_s=30.0)  # after "not now"


async def publish_reports(device: Device, uplink: Uplink) -> None:
    """Until cancelled. What is not allowed now waits for the next hello, and holds up nothing else."""
    keeper, topic = device.keeper, topics.reported(device.identity.kid)
    repeats = Repeats(structlog.get_logger(__name__).bind(ups=device.settings.name))
    held_at_n, retry = -1, RETRY
    while True:
        device.has_report.clear()
        may = device.publishes and device.enrollment.last_n > held_at_n
        report = keeper.next_report() if may else None
        if report is None:
            await device.has_report.wait()
            continue
        last_n = device.enrollment.last_n
        reason = await uplink.publish(topic, encode(report))
        verdict = judge(reason)
        if verdict in {Verdict.STORED, Verdict.REFUSED}:
            repeats.worked("the cloud takes settings again")
            retry = RETRY
            keeper.reported(report.revision)
            continue
        repeats.failed("the cloud does not take settings now", reason=f"{reason:#04x}")
        if verdict is Verdict.AWAIT_HELLO:
            held_at_n = last_n
            continue
        retry = retry.failed()
        await sleep(retry.delay_s(random.random()))  # noqa: S311  jitter, no secret
