"""One connection of one device: obeys what the cloud says, and publishes what waits, in order.

A loop for each kind shares the connection: announcements, `now`, events, telemetry. Of what has a place in an
order, one message is on its way at a time, because what is refused must not be overtaken by what follows.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING, Final

import structlog

from agent.core import commanding
from agent.core.backoff import Backoff
from agent.core.delivery import Verdict, judge
from agent.core.enrollment import Greeted, HelloRefusedError
from agent.errors import UplinkDownError
from agent.logs import Repeats
from agent.results import publish_results
from agent.settings_report import publish_reports
from protocol import topics
from protocol.codec import ENTRY_BYTES, encode, pack_batch
from protocol.errors import ProtocolError
from protocol.messages import Command, Desired, Event, Hello, Watch
from protocol.signing import is_key_set, open_control, open_key_set

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.core.commanding import HelloTime
    from agent.device import Device
    from agent.identity import Label
    from agent.uplink import Heard, Uplink
    from protocol.messages import ControlMessage

HELLO_TIMEOUT_S: Final = 30.0  # a gateway whose database is slow may need some
BATCH_BYTES: Final = 64_000  # about 400 samples: a round trip each still drains a day in half a minute
BATCH_SAMPLES: Final = BATCH_BYTES // ENTRY_BYTES
NOW_EVERY_S: Final = 10.0  # while a backlog drains
RETRY: Final = Backoff(first_s=1.0, max_s=30.0)  # after "not now"
ANNOUNCE_RETRY: Final = Backoff(first_s=5.0, max_s=60.0)  # a session without owner has a small quota


class Session:
    """What happens on one connection. ``greeted`` is called at its first accepted hello."""

    def __init__(
        self, device: Device, uplink: Uplink, label: Label, root_pub: bytes, greeted: Callable[[], None]
    ) -> None:
        self._device = device
        self._uplink = uplink
        self._label = label
        self._root_pub = root_pub
        self._greeted: Callable[[], None] | None = greeted
        self._kid = device.identity.kid
        self._events_rest = asyncio.Event()  # no event is on its way: telemetry may go on
        self._held_at_n = -1  # the hello after which 0x87 came; wait for the next one
        self._asked_ms = device.clock.mono_ms()  # for a hello
        self._hello_time: HelloTime | None = None
        self._log = structlog.get_logger(__name__).bind(ups=device.settings.name)
        self._repeats = Repeats(self._log)

    async def run(self) -> None:
        """Work until the connection ends: UplinkDownError, or OSError of the disk."""
        device = self._device
        loops = [
            asyncio.create_task(work, name=f"{name} of {device.settings.name}")
            for name, work in (
                ("control", self._listen()),
                ("hello", self._expect_hello()),
                ("announcements", self._announce()),
                ("now", self._show()),
                ("events", self._publish_events()),
                ("results", publish_results(device, device.commander, self._uplink)),
                ("settings", publish_reports(device, self._uplink)),
                ("telemetry", self._publish_telemetry()),
                ("end", self._end()),
            )
        ]
        try:
            self._asked_ms = device.clock.mono_ms()
            await self._uplink.subscribe(topics.control(self._kid))
            waiting = set(loops)
            while waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            for task in loops:
                task.cancel()
            await asyncio.gather(*loops, return_exceptions=True)

    async def _end(self) -> None:
        await self._uplink.closed.wait()
        raise UplinkDownError(self._uplink.close_reason)

    async def _expect_hello(self) -> None:
        await asyncio.sleep(HELLO_TIMEOUT_S)
        if self._greeted is not None:
            raise UplinkDownError(f"no hello came within {HELLO_TIMEOUT_S:g} s")

    # --- from the cloud ------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        while True:
            heard = await self._uplink.messages.get()
            try:
                await self._obey(heard)
            except ProtocolError as error:
                self._device.commander.ignore(error.code.value, str(error))
            except HelloRefusedError as error:
                self._log.warning("a control message was refused", reason=str(error))

    async def _obey(self, heard: Heard) -> None:
        device, payload = self._device, heard.payload
        received_ms = device.clock.mono_ms()
        if heard.kept:
            device.commander.ignore(commanding.Ignored.KEPT.value)
            return
        if is_key_set(payload):
            await device.learn_key_set(open_key_set(payload, self._root_pub), payload)
            return
        key_set = device.key_set
        if key_set is None:
            self._log.warning("a control message came before any key set")
            return
        message: ControlMessage = open_control(payload, key_set, device.trusted_ms())
        match message:
            case Hello():
                await self._obey_hello(message, received_ms)
            case Watch():
                device.watched(message)
            case Desired():
                device.keeper.receive(message)
            case Command():
                await device.commander.receive(message, self._hello_time)
            case _:
                self._log.warning("this agent cannot do that yet", kind=type(message).__name__)

    async def _obey_hello(self, hello: Hello, received_ms: int) -> None:
        before = self._device.enrollment
        await self._device.step(Greeted(hello, received_ms))
        self._device.keeper.greeted(hello)
        self._hello_time = commanding.heard(
            self._hello_time, hello.server_time_ms, self._asked_ms, received_ms
        )
        if self._greeted is not None:
            self._greeted()
            self._greeted = None
            self._log.info("connected", owned=hello.owned)
        elif before.owned != hello.owned:
            self._log.info("the UPS has an owner" if hello.owned else "the UPS has no owner any more")

    # --- to the cloud --------------------------------------------------------------------------------------

    async def _announce(self) -> None:
        device, retry = self._device, ANNOUNCE_RETRY
        while True:
            device.has_announcement.clear()
            if device.identity.label is not self._label:
                raise UplinkDownError("the UPS has another label now")
            device.tick()
            if device.want_announcement and device.enrollment.nonce:
                device.want_announcement = False
                if await self._publish_announcement():
                    retry = ANNOUNCE_RETRY
                else:
                    retry = retry.failed()
                    await asyncio.sleep(retry.delay_s(random.random()))  # noqa: S311  jitter, no secret
                    device.want_announcement = True
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(device.seconds_to_tick()):
                    await device.has_announcement.wait()

    async def _show(self) -> None:
        device = self._device
        while True:
            device.has_now.clear()
            payload = device.now_payload() if device.want_now and device.publishes else None
            if payload is not None:  # else the next reading brings it
                device.want_now = False
                self._uplink.publish_once(topics.now(self._kid), payload)
            await device.has_now.wait()

    async def _publish_announcement(self) -> bool:
        """Whether it need not be sent again before the next one is due."""
        device = self._device
        sealed = device.identity.announcement(
            self._label,
            device.inventory,
            boot=device.clock.boot_id,
            nonce=device.enrollment.nonce,
            ts_ms=max(0, device.corrected_ms()),
            smartconnect=device.enrollment.smartconnect,
            release=device.enrollment.release,
        )
        reason = await self._uplink.publish(topics.announce(self._kid), sealed)
        verdict = judge(reason)
        if verdict is Verdict.STORED:
            self._log.debug("announced", smartconnect=device.enrollment.smartconnect)
        else:
            self._log.warning("the announcement was refused", reason=f"{reason:#04x}")
        return verdict is not Verdict.LATER

    async def _publish_events(self) -> None:
        device, retry = self._device, RETRY
        while True:
            device.has_events.clear()
            event = device.spool.next_event() if self._may_publish(events=True) else None
            if event is None:
                self._events_rest.set()
                await device.has_events.wait()
                continue
            ts_ms, uncertain = device.spool.event_ts(event)
            message = Event(
                stream=event.stream,
                seq=event.seq,
                ts_ms=ts_ms,
                kind=event.kind,
                values=event.values,
                time_uncertain=uncertain,
            )
            last_n = device.enrollment.last_n
            self._events_rest.clear()
            reason = await self._uplink.publish(topics.event(self._kid, event.epoch), encode(message))
            if judge(reason) is Verdict.LATER:
                self._events_rest.set()
            verdict = await self._take(reason, retry, f"event {event.kind}", last_n)
            retry = retry.failed() if verdict is Verdict.LATER else RETRY
            if verdict in {Verdict.STORED, Verdict.REFUSED}:
                number = event.number
                await device.background.run(lambda number=number: device.spool.event_done(number))  # type: ignore[misc]  # a lambda with a default has no type for mypy

    async def _publish_telemetry(self) -> None:
        device, retry = self._device, RETRY
        loop = asyncio.get_running_loop()
        show_at_s = loop.time() + NOW_EVERY_S
        while True:
            device.has_samples.clear()
            outgoing = None
            if self._may_publish():
                outgoing = await device.background.run(lambda: device.spool.next_samples(BATCH_SAMPLES))
            if outgoing is None:
                await device.has_samples.wait()
                continue
            await self._events_rest.wait()
            if not self._may_publish() or outgoing.epoch != device.enrollment.epoch:
                continue  # a hello came while the disk was read
            topic = topics.telemetry(self._kid, outgoing.epoch, outgoing.stream)
            last_n = device.enrollment.last_n
            reason = await self._uplink.publish(topic, pack_batch(outgoing.samples))
            verdict = await self._take(reason, retry, f"{len(outgoing.samples)} samples", last_n)
            retry = retry.failed() if verdict is Verdict.LATER else RETRY
            if verdict is Verdict.STORED:
                sent = outgoing
                await device.background.run(lambda sent=sent: device.spool.acknowledged(sent))  # type: ignore[misc]  # as above
            elif verdict is Verdict.REFUSED:
                sent = outgoing
                await device.background.run(lambda sent=sent: device.spool.refused(sent))  # type: ignore[misc]  # as above
            if loop.time() >= show_at_s and not device.spool.is_empty():
                show_at_s = loop.time() + NOW_EVERY_S
                device.show()

    def _may_publish(self, *, events: bool = False) -> bool:
        """Whether the last hello lets spooled things out, and none of them came back since with 0x87."""
        device = self._device
        allowed = device.publishes_events if events else device.publishes
        return allowed and device.enrollment.last_n > self._held_at_n

    async def _take(self, reason: int, retry: Backoff, what: str, last_n: int) -> Verdict:
        """The verdict on what was published after the hello ``last_n``; waits if it has to be sent again."""
        verdict = judge(reason)
        text = f"{reason:#04x}"
        match verdict:
            case Verdict.STORED:
                self._repeats.worked("the cloud takes it again")
            case Verdict.REFUSED:
                self._log.error("the cloud cannot use it; deleted here", what=what, reason=text)
            case Verdict.AWAIT_HELLO:
                self._repeats.failed("not allowed now; kept until the next hello", what=what, reason=text)
                self._held_at_n = last_n
            case Verdict.LATER:
                self._repeats.failed("the cloud cannot take it now; kept", what=what, reason=text)
                await asyncio.sleep(retry.delay_s(random.random()))  # noqa: S311  jitter, no secret
        return verdict
