"""What is known of commands after a crash: no counter falls, nothing is begun twice, no result is lost."""

from __future__ import annotations

import contextlib
import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from agent.command_file import RECORD, CommandFile
from agent.core.command_record import (
    CommandRecord,
    answered,
    begun,
    delivered,
    finished,
    interrupted,
    of_epoch,
    result_of,
)
from agent.errors import StateError
from protocol.commands import CommandCode
from protocol.messages import Command, CommandState
from tests.fakes.disk import FakeDisk, PowerCut

if TYPE_CHECKING:
    from agent.core.command_record import Change

REBOOT = Command(
    command_id="one",
    kid="k",
    epoch=7,
    counter=100,
    issued_ms=1,
    expires_ms=2,
    kind="outlet_reboot",
    arguments={"group": "sog0"},
)
DONE = result_of(REBOOT, CommandState.DONE, 3)


def test_a_command_is_begun_alone_and_no_counter_falls() -> None:
    record = begun(CommandRecord(), REBOOT)
    assert (record.counter, record.started) == (100, REBOOT)
    with pytest.raises(ValueError, match="alone"):
        begun(record, replace(REBOOT, counter=101))
    assert begun(CommandRecord(counter=200), REBOOT).counter == 200


def test_what_was_begun_and_not_finished_is_unknown() -> None:
    record = interrupted(begun(CommandRecord(), REBOOT), 9)
    (result,) = record.waiting
    assert (result.state, result.code, result.ts_ms) == (CommandState.UNKNOWN, "interrupted", 9)
    assert (result.command_id, result.epoch, result.counter) == ("one", 7, 100)
    assert interrupted(record, 10) == record
    assert record.counter == 100


def test_an_answer_takes_the_counter_with_it() -> None:
    refused = result_of(REBOOT, CommandState.REFUSED, 3, CommandCode.ON_BATTERY, "x" * 300)
    record = answered(CommandRecord(counter=5), refused)
    assert (record.counter, record.started, len(record.waiting[0].detail)) == (100, None, 200)
    assert answered(replace(record, counter=200), refused).counter == 200


def test_results_wait_until_they_are_delivered_or_another_owner_comes() -> None:
    other = replace(DONE, command_id="two", epoch=8)
    record = CommandRecord(waiting=(DONE, other))
    assert delivered(record, DONE).waiting == (other,)
    assert of_epoch(record, 8).waiting == (other,)
    assert of_epoch(record, 9).waiting == ()


def test_a_power_cut_at_any_write_leaves_the_one_or_the_other() -> None:
    changes: tuple[Change, ...] = (
        lambda record: begun(record, REBOOT),
        lambda record: finished(record, DONE),
        lambda record: delivered(record, DONE),
    )
    states = [CommandRecord()]
    for change in changes:
        states.append(change(states[-1]))
    for seed in range(30):
        disk = FakeDisk(random.Random(seed))
        disk.cut_at = 1 + seed % 3
        file, done = CommandFile(disk), 0
        with contextlib.suppress(PowerCut):
            for change in changes:
                file.update(change)
                done += 1
        assert done < len(changes)
        assert CommandFile(disk.after_power_cut()).value in states[done : done + 2]


def test_what_the_disk_did_not_take_did_not_happen() -> None:
    disk = FakeDisk(random.Random(1))
    file = CommandFile(disk)
    disk.errors_at = {1}
    with pytest.raises(OSError, match="full or broken"):
        file.update(lambda record: begun(record, REBOOT))
    assert file.value == CommandRecord()
    file.update(lambda record: begun(record, REBOOT))
    assert CommandFile(disk).value == file.value
    steps = disk.steps
    file.update(lambda record: record)
    assert disk.steps == steps


def test_a_damaged_record_is_not_taken_for_an_empty_one() -> None:
    disk = FakeDisk(random.Random(1))
    disk.replace(RECORD, b"{")
    with pytest.raises(StateError, match="damaged"):
        CommandFile(disk)
