"""Keeps one device connected to its cloud: log in, obey, publish; after every end, wait and log in again."""

from __future__ import annotations

import asyncio
import random
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from agent.core.backoff import Backoff
from agent.core.enrollment import Connected, Disconnected, login_ms
from agent.errors import StateError, UplinkDatesError, UplinkDownError, UplinkError, UplinkRefusedError
from agent.logs import Repeats
from agent.session import Session
from agent.time_service import check_dates
from agent.uplink import Uplink

if TYPE_CHECKING:
    import ssl

    from agent.device import Device
    from agent.time_service import TimeService
    from protocol.messages import Installation

STARTED: Final = "not connected yet"
NO_CONNECTION: Final = "no connection to the cloud"


class Talker:
    """The line of one device to the cloud. ``gate`` bounds how many devices connect at the same time."""

    def __init__(
        self,
        device: Device,
        installation: Installation,
        tls: ssl.SSLContext,
        gate: asyncio.Semaphore,
        time_service: TimeService,
    ) -> None:
        self._device = device
        self._installation = installation
        self._tls = tls
        self._time = time_service
        self._may_ask_time = True  # once after each success
        self._gate = gate
        self._backoff = Backoff()
        self._last_tried_ms = 0
        self._log = structlog.get_logger(__name__).bind(ups=device.settings.name)
        self._repeats = Repeats(self._log)
        device.uplink_state = STARTED

    async def run(self) -> None:
        """Connect again and again until cancelled."""
        if self._device.identity.label is None:
            self._device.uplink_state = "waits for the product codes"
            await self._device.labelled.wait()
        while True:
            try:
                await self._connect()
            except (UplinkRefusedError, UplinkDatesError) as error:
                self._last_tried_ms = 0  # a token that was refused used nothing up
                if await self._has_better_time():
                    continue
                self._backoff = self._backoff.refused()
                refused = isinstance(error, UplinkRefusedError)
                self._failed("the cloud refused the log-in" if refused else NO_CONNECTION, error)
            except UplinkError as error:
                self._backoff = self._backoff.failed()
                self._failed(NO_CONNECTION, error)
            except (OSError, StateError) as error:  # the disk: nothing may go out that is not durable
                self._backoff = self._backoff.failed()
                self._failed("the spool cannot be read or written", error)
            await asyncio.sleep(self._backoff.delay_s(random.random()))  # noqa: S311  jitter, no secret

    async def _has_better_time(self) -> bool:
        """Whether another try is worth while at once, because the cloud's time is known now."""
        if not self._may_ask_time:
            return False
        self._may_ask_time = False
        return await self._time.fetch()

    def _failed(self, event: str, error: Exception) -> None:
        self._device.uplink_state = str(error)
        self._repeats.failed(event, reason=str(error))

    async def _connect(self) -> None:
        """One connection, from log-in to its end, which is always an exception."""
        device = self._device
        label = device.identity.label
        if label is None:
            raise UplinkDownError("there is no label")
        last_ms = max(device.state.value.last_login_ms, self._last_tried_ms)
        trusted_ms = device.trusted_ms() or self._time.now_ms()
        iat_ms = self._last_tried_ms = login_ms(last_ms, trusted_ms or device.corrected_ms())
        token = device.identity.token(label, self._installation.audience, iat_ms)
        tls, check = self._tls, None
        if trusted_ms is not None:  # dates are compared with the cloud's clock, not with the machine's
            tls, check = self._time.tls, partial(check_dates, now_ms=trusted_ms)
        uplink = Uplink(
            self._installation,
            tls,
            device.identity.kid,
            token,
            check_certificate=check,
            way=self._time.way,
        )
        try:
            async with self._gate:
                await uplink.open()
            await device.accepted(iat_ms)
            await device.step(Connected(iat_ms))
            session = Session(device, uplink, label, self._installation.root_pub, self._greeted)
            await session.run()
        finally:
            await device.step(Disconnected())
            await uplink.close()

    def _greeted(self) -> None:
        """The cloud's first hello came: this connection counts as a success."""
        self._backoff = self._backoff.succeeded()
        self._may_ask_time = True
        self._device.uplink_state = "connected"
        self._repeats.worked("connected to the cloud again")
