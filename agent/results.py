"""Publishes the results of commands on one connection, the oldest first, each until the cloud has it."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Final

import structlog

from agent.core.backoff import Backoff
from agent.core.delivery import Verdict, judge
from agent.logs import Repeats
from protocol import topics
from protocol.codec import encode
from protocol.faults import reach

if TYPE_CHECKING:
    from agent.commander import Commander
    from agent.device import Device
    from agent.uplink import Uplink

RETRY: Final = Backoff(first_s=1.0, max_s=30.0)  # after "not now"


async def publish_results(device: Device, commander: Commander, uplink: Uplink) -> None:
    """Until cancelled. What is not allowed now waits for the next hello, and holds up nothing else."""
    topic = topics.result(device.identity.kid)
    repeats = Repeats(structlog.get_logger(__name__).bind(ups=device.settings.name))
    held_at_n, retry = -1, RETRY
    while True:
        device.has_results.clear()
        may = device.publishes_events and device.enrollment.last_n > held_at_n
        result = await commander.next_result() if may else None
        if result is None:
            await device.has_results.wait()
            continue
        last_n = device.enrollment.last_n
        reach("agent.command.publish")
        reason = await uplink.publish(topic, encode(result))
        reach("agent.command.puback")
        verdict = judge(reason)
        if verdict in {Verdict.STORED, Verdict.REFUSED}:
            repeats.worked("the cloud takes results again")
            retry = RETRY
            await commander.delivered(result)
            continue
        repeats.failed("the cloud does not take a result now; kept", reason=f"{reason:#04x}")
        if verdict is Verdict.AWAIT_HELLO:
            held_at_n = last_n
            continue
        retry = retry.failed()
        await asyncio.sleep(retry.delay_s(random.random()))  # noqa: S311  jitter, no secret
