"""Carries out what the cloud tells one UPS to do: once at the most, and says truly what came of it.

::

    receive ─ judge ─▶ ignored, answered, or given to `run`
    run: read the status ─▶ refuse, or ─▶ make counter and start durable ─▶ write once ─▶ read back
         ─▶ make the result durable

A crash between the durable start and the durable result makes the result *unknown*; nothing is tried again.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

import structlog

from agent.core import command_record, commanding
from agent.core.command_record import result_of
from agent.core.commanding import Answer, Effect, Ignored, Order, Situation
from agent.core.register_write import outlet_write, plain_write
from agent.errors import LinkError, LinkRefusedError, LinkUnsureError
from agent.logs import Repeats
from protocol.commands import OUTLET_KINDS, CommandCode
from protocol.faults import reach
from protocol.messages import CommandState
from protocol.registers import BLOCKS

if TYPE_CHECKING:
    from agent.command_file import CommandFile
    from agent.core.command_record import Change
    from agent.core.commanding import HelloTime, Status
    from agent.core.ports import Link
    from agent.device import Device
    from protocol.messages import Command, CommandResult

SAVE_AGAIN_S: Final = 2.0  # while the disk fails; nothing else is begun meanwhile
_STATUS: Final = BLOCKS["status"]


class _Told(Enum):
    """What became of the write."""

    TAKEN = auto()
    UNSURE = auto()


class Commander:
    """The commands of one UPS. ``receive`` is called by its session, ``run`` is a loop of its own."""

    def __init__(self, device: Device, file: CommandFile) -> None:
        self.link: Link | None = None  # to the UPS; given by whoever has one
        self._device = device
        self._file = file
        self._log = structlog.get_logger(__name__).bind(ups=device.settings.name)
        self._trouble = Repeats(self._log)
        self._refusals = Repeats(self._log)
        self._given: asyncio.Queue[tuple[Command, Order]] = asyncio.Queue(1)
        self._acting = False
        self._taken = 0  # highest counter seen by this process, durable or not
        self._taken_ms: deque[int] = deque(maxlen=commanding.RATE_LIMIT)
        self.ignored: Counter[str] = Counter()
        self.results: Counter[str] = Counter()

    # --- from the cloud ------------------------------------------------------------------------------------

    async def receive(self, command: Command, hello_time: HelloTime | None) -> None:
        """A command whose signature holds. Returns as soon as it is answered, or given to `run`."""
        verdict = commanding.judge(command, self._situation(hello_time))
        if isinstance(verdict, Ignored):
            self.ignore(verdict.value)
            return
        self._taken = command.counter
        if isinstance(verdict, Answer):
            await self._answer(command, verdict.state, verdict.code)
            return
        self._refusals.worked("a control message is taken again")
        self._taken_ms.append(self._device.clock.mono_ms())
        self._acting = True
        self._given.put_nowait((command, verdict))

    def ignore(self, why: str, detail: str = "") -> None:
        """A control message that is no command for us, and gets no answer."""
        self.ignored[why] += 1
        self._refusals.failed("a control message was refused", reason=why, detail=detail)

    def _situation(self, hello_time: HelloTime | None) -> Situation:
        enrollment, record = self._device.enrollment, self._file.value
        return Situation(
            kid=enrollment.kid,
            owned=enrollment.publishes_events,
            epoch=enrollment.epoch,
            smartconnect=enrollment.smartconnect,
            counter=max(record.counter, self._taken),
            hello_time=hello_time,
            mono_ms=self._device.clock.mono_ms(),
            allow_outlet_control=self._device.settings.allow_outlet_control,
            groups=self._device.inventory.groups,
            busy=self._acting or record.started is not None,
            waiting=len(record.waiting),
            taken_ms=tuple(self._taken_ms),
        )

    def figures(self) -> dict[str, dict[str, int]]:
        """Results by state and messages ignored by reason, since this process began; and what waits."""
        waiting = len(self._file.value.waiting)
        return {
            "results": dict(self.results),
            "ignored": dict(self.ignored),
            "waiting": {"results": waiting},
        }

    # --- results -------------------------------------------------------------------------------------------

    async def next_result(self) -> CommandResult | None:
        """The oldest result that waits; those of other ownerships are forgotten. OSError."""
        epoch = self._device.enrollment.epoch
        await self._save(lambda record: command_record.of_epoch(record, epoch))
        return next(iter(self._file.value.waiting), None)

    async def delivered(self, result: CommandResult) -> None:
        """The cloud has it, or will never take it. OSError."""
        await self._save(lambda record: command_record.delivered(record, result))

    async def _save(self, change: Change) -> None:
        try:
            await self._device.background.run(lambda: self._file.update(change))
        except OSError as error:
            self._trouble.failed("the disk cannot be written", reason=str(error))
            raise
        self._trouble.worked("the disk can be written again")

    # --- acting --------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Act on one command after the other until cancelled."""
        await self._say_what_was_interrupted()
        while True:
            command, order = await self._given.get()
            try:
                await self._act(command, order)
            finally:
                self._acting = False

    async def _say_what_was_interrupted(self) -> None:
        started = self._file.value.started
        if started is None:
            return
        ts_ms = self._now_ms()
        await self._save(lambda record: command_record.interrupted(record, ts_ms))
        self._log.error("interrupted in the middle of a command", kind=started.kind, id=started.command_id)
        self.results[CommandState.UNKNOWN] += 1
        self._device.has_results.set()

    async def _act(self, command: Command, order: Order) -> None:
        refused = CommandState.REFUSED
        try:
            before = await self._look()
        except LinkError as error:
            await self._answer(command, refused, CommandCode.UPS_UNREACHABLE, str(error))
            return
        code = commanding.obstacle(order, before)
        if code is not None:
            await self._answer(command, refused, code)
        elif self._device.clock.mono_ms() >= order.until_mono_ms:
            await self._answer(command, CommandState.EXPIRED, CommandCode.EXPIRED)
        elif not self._is_ours(command):
            self.ignore(Ignored.OTHER_EPOCH.value)
        elif await self._begin(command):
            state, why, detail = await self._do(order, before)
            await self._finish(result_of(command, state, self._now_ms(), why, detail))

    def _is_ours(self, command: Command) -> bool:
        enrollment = self._device.enrollment
        return enrollment.owned and not enrollment.release and enrollment.epoch == command.epoch

    async def _begin(self, command: Command) -> bool:
        """Make counter and start durable; without that nothing is done, and nothing said."""
        reach("agent.command.persist")
        try:
            await self._save(lambda record: command_record.begun(record, command))
        except OSError:
            return False
        reach("agent.command.started")
        return True

    async def _do(self, order: Order, before: Status) -> tuple[CommandState, CommandCode | None, str]:
        """Write, once, and read back."""
        try:
            told = await self._tell(order, before)
        except LinkRefusedError as error:
            return CommandState.FAILED, CommandCode.UPS_REFUSED, str(error)
        except LinkError as error:
            return CommandState.FAILED, CommandCode.UPS_UNREACHABLE, str(error)
        reach("agent.command.written")
        outcome = await self._read_back(order, before, answered=told is _Told.TAKEN)
        reach("agent.command.read_back")
        return outcome

    async def _tell(self, order: Order, before: Status) -> _Told:
        if order.kind in OUTLET_KINDS:
            swapped = bool(before.low_word_first)
            write = outlet_write(order.kind, order.group, force=order.force, low_word_first=swapped)
        else:
            write = plain_write(order.kind)
        self._log.warning("the UPS is told", kind=order.kind.value, group=order.group, force=order.force)
        try:
            await self._wire().write(write.address, write.words)
        except LinkUnsureError as error:
            self._log.warning("the UPS did not answer a write", reason=str(error))
            return _Told.UNSURE
        return _Told.TAKEN

    async def _read_back(
        self, order: Order, before: Status, *, answered: bool
    ) -> tuple[CommandState, CommandCode | None, str]:
        loop = asyncio.get_running_loop()
        until_s = loop.time() + commanding.READ_BACK_S
        again: str | None = None
        while True:
            try:
                after = await self._look()
                found, detail = commanding.effect(order, before, after, answered=answered)
                again = commanding.refused_again(order, after) if answered else None
            except LinkError as error:
                found, detail = Effect.NOT_YET, str(error)
            if found is Effect.SHOWN:
                return CommandState.DONE, None, detail
            if found is Effect.REFUSED:
                return CommandState.FAILED, CommandCode.UPS_REFUSED, detail
            if loop.time() >= until_s:
                break
            await asyncio.sleep(commanding.READ_BACK_EVERY_S)
        if again is not None:
            return CommandState.FAILED, CommandCode.UPS_REFUSED, again
        return CommandState.UNKNOWN, CommandCode.NO_EFFECT if answered else CommandCode.NO_ANSWER, detail

    async def _look(self) -> Status:
        words = await self._wire().read(_STATUS.start, _STATUS.count)
        return commanding.status_of(words, self._device.inventory.groups)

    def _wire(self) -> Link:
        if self.link is None:
            raise LinkError("there is no line to the UPS")
        return self.link

    async def _answer(
        self, command: Command, state: CommandState, code: CommandCode, detail: str = ""
    ) -> None:
        """A result without anything done. Where it cannot be made durable, none is given."""
        result = result_of(command, state, self._now_ms(), code, detail)
        try:
            await self._save(lambda record: command_record.answered(record, result))
        except OSError:
            return
        self._tell_result(command.kind, result)

    async def _finish(self, result: CommandResult) -> None:
        """The result of what was done; it is not published before it is durable."""
        while True:
            try:
                await self._save(lambda record: command_record.finished(record, result))
            except OSError:
                await asyncio.sleep(SAVE_AGAIN_S)
                continue
            break
        reach("agent.command.result")
        self._tell_result("", result)

    def _tell_result(self, kind: str, result: CommandResult) -> None:
        self.results[result.state.value] += 1
        self._log.info("command", id=result.command_id, kind=kind, state=result.state.value, code=result.code)
        self._device.has_results.set()

    def _now_ms(self) -> int:
        return max(0, self._device.corrected_ms())
