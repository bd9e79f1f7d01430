"""Keeps one device connected to its cloud: log in, obey, publish; after every end, wait and log in again."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Final

import structlog

from agent.core.backoff import Backoff
from agent.core.enrollment import Connected, Disconnected, login_ms
from agent.errors import StateError, UplinkDownError, UplinkError, UplinkRefusedError
from agent.logs import Repeats
from agent.session import Session
from agent.uplink import Uplink

if TYPE_CHECKING:
    import ssl

    from agent.device import Device
    from protocol.messages import Installation

STARTED: Final = "not connected yet"


class Talker:
    """The line of one device to the cloud. ``gate`` bounds how many devices connect at the same time."""

    def __init__(
        self, device: Device, installation: Installation, tls: ssl.SSLContext, gate: asyncio.Semaphore
    ) -> None:
        self._device = device
        self._installation = installation
        self._tls = tls
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
            except UplinkRefusedError as error:
                self._backoff = self._backoff.refused()
                self._failed("the cloud refused the log-in", error)
            except UplinkError as error:
                self._backoff = self._backoff.failed()
                self._failed("no connection to the cloud", error)
            except (OSError, StateError) as error:  # the disk: nothing may go out that is not durable
                self._backoff = self._backoff.failed()
                self._failed("the spool cannot be read or written", error)
            await asyncio.sleep(self._backoff.delay_s(random.random()))  # noqa: S311  jitter, no secret

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
        iat_ms = self._last_tried_ms = login_ms(last_ms, device.corrected_ms())
        token = device.identity.token(label, self._installation.audience, iat_ms)
        uplink = Uplink(self._installation, self._tls, device.identity.kid, token)
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
        self._device.uplink_state = "connected"
        self._repeats.worked("connected to the cloud again")
