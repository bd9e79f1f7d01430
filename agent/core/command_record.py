"""What must outlive a crash about commands: the counter, the one that was begun, results nobody has yet.

::

    (nothing) ── begun: counter and start in one write ──▶ started ── finished ──▶ waiting ── PUBACK ──▶ gone
        └────── answered: counter and result in one write ─────────────────────────▶┘
                                    after a crash: started ── interrupted: unknown ─▶┘
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from protocol.commands import CommandCode
from protocol.messages import Command, CommandResult, CommandState

if TYPE_CHECKING:
    from collections.abc import Callable

    Change = Callable[["CommandRecord"], "CommandRecord"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRecord:
    """``counter`` is the highest ever taken; it is never lowered, whoever owns the device."""

    version: int = 1
    counter: int = 0
    started: Command | None = None
    waiting: tuple[CommandResult, ...] = ()


def begun(record: CommandRecord, command: Command) -> CommandRecord:
    """Before the UPS is told. ValueError while another one is begun.

    A later command may have been answered meanwhile, so the counter may be above this one's.
    """
    if record.started is not None:
        raise ValueError("a command is begun alone")
    return replace(record, counter=max(record.counter, command.counter), started=command)


def answered(record: CommandRecord, result: CommandResult) -> CommandRecord:
    """A command that is not acted on has its result, and its counter is used up."""
    counter = max(record.counter, result.counter)
    return replace(record, counter=counter, waiting=(*record.waiting, result))


def finished(record: CommandRecord, result: CommandResult) -> CommandRecord:
    """What was begun has its result."""
    return replace(record, started=None, waiting=(*record.waiting, result))


def interrupted(record: CommandRecord, ts_ms: int) -> CommandRecord:
    """After a crash: what was begun may have been done or not, and is not repeated."""
    if record.started is None:
        return record
    result = result_of(record.started, CommandState.UNKNOWN, ts_ms, CommandCode.INTERRUPTED)
    return finished(record, result)


def delivered(record: CommandRecord, result: CommandResult) -> CommandRecord:
    """The cloud has this result, or never takes it."""
    return replace(record, waiting=tuple(one for one in record.waiting if one != result))


def of_epoch(record: CommandRecord, epoch: int) -> CommandRecord:
    """Without results of other ownerships: they are not the present owner's to see."""
    return replace(record, waiting=tuple(one for one in record.waiting if one.epoch == epoch))


def result_of(
    command: Command, state: CommandState, ts_ms: int, code: CommandCode | None = None, detail: str = ""
) -> CommandResult:
    """The outcome of a command, at unix ms."""
    return CommandResult(
        command_id=command.command_id,
        epoch=command.epoch,
        counter=command.counter,
        state=state,
        ts_ms=ts_ms,
        code="" if code is None else code.value,
        detail=detail[:200],
    )
