"""Commands where agent, disk or UPS fail in the middle: never twice, and what is said is true."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from agent import commander
from agent.command_file import CommandFile
from agent.core.command_record import begun
from agent.disk import OsDisk
from agent.modbus import Lines
from protocol.messages import CommandResult, CommandState
from tests.agent.command_bench import EPOCH, IN_PROGRESS, TEST_STATUS, BrokenDisk, at_desk, hurry, serve
from tests.agent.desk import Desk
from tests.agent.gateway_peer import GatewayPeer
from tests.agent.modbus_peer import READ, ModbusPeer, Trouble

if TYPE_CHECKING:
    from pathlib import Path

THEIRS = CommandResult(command_id="theirs", epoch=EPOCH - 1, counter=1, state=CommandState.DONE, ts_ms=1)


async def test_a_result_of_another_owners_command_is_forgotten(tmp_path: Path) -> None:
    disk = OsDisk(tmp_path)
    CommandFile(disk).update(lambda record: replace(record, waiting=(THEIRS,)))
    desk = Desk(tmp_path)
    desk.device.enrollment = replace(desk.device.enrollment, epoch=EPOCH)
    assert await desk.device.commander.next_result() is None
    assert not CommandFile(disk).value.waiting
    desk.close()


async def test_what_was_begun_before_a_crash_is_unknown_and_not_done_again(tmp_path: Path) -> None:
    async with GatewayPeer(tmp_path / "cloud") as peer, ModbusPeer() as ups:
        serve(ups)
        peer.hello = peer.owned(EPOCH)
        command = peer.command("self_test")
        CommandFile(OsDisk(tmp_path / "ups")).update(lambda record: begun(record, command))
        lines = Lines()
        async with at_desk(tmp_path / "ups", lines, ups.address) as desk, desk.online(peer.installation):
            result = await peer.result_of(command)
            assert (result.state, result.code) == (CommandState.UNKNOWN, "interrupted")
            peer.say_command(replace(command, kid=peer.kid))
            await peer.until("the replay was seen", lambda: desk.device.commander.ignored["replayed"])
            assert all(request.function == READ for request in ups.requests)
        await lines.close()


@pytest.mark.parametrize("trouble", [Trouble(silent=True), Trouble(hang_up=True), Trouble(exception=5)])
async def test_a_write_without_answer_is_read_back_and_never_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: Trouble
) -> None:
    hurry(monkeypatch)
    async with GatewayPeer(tmp_path / "cloud") as peer, ModbusPeer() as ups:
        serve(ups)
        peer.hello = peer.owned(EPOCH)
        lines = Lines()
        async with at_desk(tmp_path / "ups", lines, ups.address) as desk, desk.online(peer.installation):
            await peer.until("owned", lambda: desk.device.publishes)
            ups.troubles = deque([Trouble(), trouble])  # the status is read, then the test is started
            command = peer.command("self_test")
            peer.say_command(command)
            result = await peer.result_of(command)
            assert (result.state, result.code) == (CommandState.UNKNOWN, "no_answer")
            assert [(r.address, r.value) for r in ups.requests if r.function != READ] == [(1541, 1)]
            ups.troubles = deque([Trouble(), trouble])
            ups.words[TEST_STATUS] = IN_PROGRESS  # what it was told before it fell silent, it has done
            started = peer.command("self_test")
            peer.say_command(started)
            assert (await peer.result_of(started)).state is CommandState.DONE
        await lines.close()


async def test_a_ups_that_is_gone_is_not_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)
    async with GatewayPeer(tmp_path / "cloud") as peer, ModbusPeer() as ups:
        serve(ups)
        peer.hello = peer.owned(EPOCH)
        lines = Lines()
        async with at_desk(tmp_path / "ups", lines, ups.address) as desk, desk.online(peer.installation):
            await peer.until("owned", lambda: desk.device.publishes)
            ups.troubles = deque([Trouble(hang_up=True)] * 20)
            command = peer.command("self_test")
            peer.say_command(command)
            result = await peer.result_of(command)
            assert (result.state, result.code) == (CommandState.REFUSED, "ups_unreachable")
            assert all(request.function == READ for request in ups.requests)
        await lines.close()


@pytest.mark.parametrize("plan", [(False,), (True, False, False)])
async def test_a_full_disk_stops_what_is_not_begun_and_holds_back_what_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plan: tuple[bool, ...]
) -> None:
    monkeypatch.setattr(commander, "SAVE_AGAIN_S", 0.05)
    async with GatewayPeer(tmp_path / "cloud") as peer, ModbusPeer() as ups:
        serve(ups)
        ups.words[TEST_STATUS] = IN_PROGRESS
        peer.hello = peer.owned(EPOCH)
        lines, disk = Lines(), BrokenDisk(tmp_path / "ups")
        async with (
            at_desk(tmp_path / "ups", lines, ups.address, disk=disk) as desk,
            desk.online(peer.installation),
        ):
            await peer.until("owned", lambda: desk.device.publishes)
            disk.plan = deque(plan)
            first, second = peer.command("self_test"), peer.command("self_test")
            peer.say_command(first)
            await peer.until("the disk was tried", lambda: not disk.plan)
            if plan[0]:
                assert (await peer.result_of(first)).state is CommandState.DONE
            peer.say_command(second)
            assert (await peer.result_of(second)).state is CommandState.DONE
            assert [one.command_id for one in peer.results()][:-1] == ([first.command_id] if plan[0] else [])
            assert sum(request.function != READ for request in ups.requests) == 1 + plan[0]
        await lines.close()
