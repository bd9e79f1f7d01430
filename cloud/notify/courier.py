"""Takes messages to channels: what is due, some at a time, each tried until it is taken or a day has gone.

A message that a receiver took while we died is sent again with the same delivery number: the lease ends, and
somebody else takes it. What it says is looked up right before it is sent.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from cloud.core.language import N_
from cloud.core.mail import pause_ms
from cloud.notify.apprise_process import notify
from cloud.notify.webhook import ChannelError, post
from cloud.postgres import notice_policies, notices
from cloud.postgres.notice_policies import ChannelRow
from cloud.postgres.notices import Delivery
from cloud.services.channels import open_channel
from cloud.services.notice_letters import Desk, channel_words, payload, present
from cloud.services.vault import VaultError
from protocol import faults

ROUND: Final = 20
AT_ONCE: Final = 8
LEASE_MS: Final = 120_000
"""Longer than a round can take."""
GIVE_UP_MS: Final = 86_400_000

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Courier:
    """Any number of processes may run one. ``private``: addresses beyond the public internet are called."""

    desk: Desk
    clock: Callable[[], int]
    private: bool = False

    async def round(self) -> int:
        """Take what is due; how many messages there were."""
        due = await notices.take(self.desk.pool, now_ms=self.clock(), lease_ms=LEASE_MS, limit=ROUND)
        places = asyncio.Semaphore(AT_ONCE)

        async def carry(delivery: Delivery) -> None:
            async with places:
                await self._carry(delivery)

        async with asyncio.TaskGroup() as group:
            for delivery in due:
                group.create_task(carry(delivery), name=f"delivery {delivery.delivery_id}")
        return len(due)

    async def _carry(self, delivery: Delivery) -> None:
        pool = self.desk.pool
        async with pool.connection() as connection:
            fresh = await present(connection, delivery)
            channels = await notice_policies.channels(connection, delivery.company_id)
        channel = next((one for one in channels if one.channel_id == delivery.channel_id), None)
        if fresh is None or channel is None:
            why = N_("nothing is left to tell") if fresh is None else N_("the channel was removed")
            await notices.give_up(pool, delivery.delivery_id, self.clock(), why)
            return
        faults.reach("notify.channel.before")
        try:
            await self._send(channel, fresh)
        except ChannelError as error:
            log.warning(
                "a channel did not take a message",
                channel=channel.channel_id,
                delivery=delivery.delivery_id,
                tries=delivery.tries,
                reason=str(error)[:200],
            )
            now_ms = self.clock()
            if error.final or now_ms - delivery.notice_ms > GIVE_UP_MS:
                await notices.give_up(pool, delivery.delivery_id, now_ms, str(error))
            else:
                next_ms = now_ms + pause_ms(delivery.tries)
                await notices.postpone(pool, delivery.delivery_id, next_ms, str(error))
        else:
            faults.reach("notify.channel.after")
            await notices.mark_sent(pool, delivery.delivery_id, self.clock())

    async def _send(self, channel: ChannelRow, delivery: Delivery) -> None:
        try:
            address, secret = open_channel(self.desk.vault, channel)
        except VaultError as error:
            raise ChannelError(str(error), final=True) from error
        if channel.kind == "webhook":
            body = json.dumps(payload(self.desk, delivery), separators=(",", ":")).encode()
            await post(
                address,
                secret,
                body,
                delivery_id=delivery.delivery_id,
                timestamp_s=self.clock() // 1000,
                private=self.private,
            )
        else:
            title, text = channel_words(self.desk, delivery)
            await notify(address, title, text, private=self.private)
