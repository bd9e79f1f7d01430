"""Commands from a gateway to the registers of a simulated UPS and back: real TLS, MQTT, Modbus and disk."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import commander, modbus, results
from agent.command_file import RECORD, CommandFile
from agent.config import ModbusAddress
from agent.core import commanding
from agent.core.backoff import Backoff
from agent.core.command_record import begun
from agent.disk import OsDisk
from agent.modbus import Lines
from agent.poller import Poller
from cloud.provision import Signer
from protocol.errors import Reason
from protocol.messages import CommandResult, CommandState
from protocol.signing import seal_control
from protocol.topics import UpKind
from simulators.unit import Simulator, UnitSpec, build
from tests.agent.desk import Desk
from tests.agent.gateway_peer import GatewayPeer
from tests.agent.modbus_peer import READ, ModbusPeer, Trouble
from tests.golden.register_images import CAPTURES, IMAGES

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agent.commander import Commander
    from simulators.core.smart_ups import SmartUps

EPOCH = 1_700_000_000_000
TEST_STATUS, IN_PROGRESS = 23, 0x42
THEIRS = CommandResult(command_id="theirs", epoch=EPOCH - 1, counter=1, state=CommandState.DONE, ts_ms=1)


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for nothing as long as one has to for a real UPS."""
    monkeypatch.setattr(commanding, "READ_BACK_S", 0.3)
    monkeypatch.setattr(commanding, "READ_BACK_EVERY_S", 0.1)
    monkeypatch.setattr(modbus, "TCP_TIMEOUT_S", 0.3)
    monkeypatch.setattr(modbus, "REOPEN_EVERY_S", 0.0)


def serve(ups: ModbusPeer) -> None:
    """A UPS on mains with all that a poll reads."""
    for image in (*IMAGES, *CAPTURES):
        if image.start in {0, 128, 516, 2048}:
            ups.load(image.start, image.words)
    ups.load(128, [0] * 44)
    ups.load(0, [0, 2, 8, 0, 1, 0, 0, 1, *(0 for _ in range(19))])


class BrokenDisk(OsDisk):
    """Takes or does not take the next writes of the command record, as ``plan`` says; then all of them."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.plan: deque[bool] = deque()

    def replace(self, name: str, data: bytes) -> None:
        if name == RECORD and self.plan and not self.plan.popleft():
            raise OSError(errno.ENOSPC, "this disk is full")
        super().replace(name, data)


class Bench:
    """A gateway, a desk and a simulated UPS, all connected."""

    def __init__(self, peer: GatewayPeer, desk: Desk, simulator: Simulator) -> None:
        self.peer = peer
        self.desk = desk
        self.image = simulator.images[1]

    @property
    def ups(self) -> SmartUps:
        return self.image.ups

    @property
    def writes(self) -> Counter[str]:
        return self.image.writes

    @property
    def commander(self) -> Commander:
        return self.desk.device.commander

    async def ask(self, kind: str, **arguments: str | bool) -> CommandResult:
        """Its result."""
        command = self.peer.command(kind, arguments=arguments)
        self.peer.say_command(command)
        return await self.peer.result_of(command)


@contextlib.asynccontextmanager
async def bench_of(folder: Path, profile: str = "ups_serial", *, allow: bool = True) -> AsyncIterator[Bench]:
    simulator = Simulator({1: build(UnitSpec(profile=profile, points=(("load_pct", "40"),)))})
    _, port = await simulator.listen_tcp("127.0.0.1", 0)
    stop, lines = asyncio.Event(), Lines()
    running = asyncio.create_task(simulator.run(stop))
    async with (
        GatewayPeer(folder / "cloud") as peer,
        at_desk(folder / "ups", lines, port, allow=allow) as desk,
    ):
        peer.hello = peer.owned(EPOCH)
        async with desk.online(peer.installation):
            await peer.until("owned", lambda: desk.device.publishes)
            yield Bench(peer, desk, simulator)
    await lines.close()
    stop.set()
    await running


@contextlib.asynccontextmanager
async def at_desk(
    folder: Path, lines: Lines, port: int, *, allow: bool = True, disk: OsDisk | None = None
) -> AsyncIterator[Desk]:
    """A device that reads and acts on what is at this port."""
    desk = Desk(folder, disk=disk)
    device = desk.device
    device.settings = replace(device.settings, allow_outlet_control=allow)
    link = lines.link(ModbusAddress.parse(f"tcp://127.0.0.1:{port}"), 1, 9600)
    device.commander.link = link
    await Poller(link, desk.clock, device, name="ups", interval_s=1.0).poll()
    await device.switch(on=True)
    acting = asyncio.create_task(device.commander.run())
    try:
        yield desk
    finally:
        acting.cancel()
        await asyncio.gather(acting, return_exceptions=True)
        desk.close()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench_of(tmp_path) as opened:
        yield opened


@pytest.mark.parametrize("profile", ["ups_serial", "smt_word_swap"])
async def test_outlets_off_on_and_rebooted(tmp_path: Path, profile: str) -> None:
    async with bench_of(tmp_path, profile) as bench:
        off = await bench.ask("outlet_off", group="sog0")
        assert (off.state, off.code, off.detail) == (CommandState.DONE, "", "off")
        assert not bench.ups.outlets["sog0"].on
        assert bench.ups.outlets["mog"].on
        on = await bench.ask("outlet_on", group="sog0")
        assert (on.state, on.detail) == (CommandState.DONE, "on")
        assert bench.ups.outlets["sog0"].on
        reboot = await bench.ask("outlet_reboot", group="sog0")
        assert (reboot.state, reboot.detail) == (CommandState.DONE, "rebooting")
        assert bench.ups.outlets["sog0"].comes_back
        assert bench.writes == {"outlet_command": 3}
        assert [one.counter for one in bench.peer.results()] == sorted(
            one.counter for one in bench.peer.results()
        )


async def test_self_test_calibration_mute_and_identify(bench: Bench) -> None:
    test = await bench.ask("self_test")
    assert (test.state, test.detail) == (CommandState.DONE, "in progress")
    refused = await bench.ask("calibration_start")
    assert (refused.state, refused.code) == (CommandState.REFUSED, "on_battery")
    bench.ups.step(30.0)
    assert bench.ups.test_status >= {"passed"}
    bench.ups.set_charge(1.0)
    assert (await bench.ask("calibration_start")).state is CommandState.DONE
    assert (await bench.ask("calibration_abort")).state is CommandState.DONE
    assert bench.ups.calibration_status >= {"aborted"}
    nothing = await bench.ask("calibration_abort")
    assert (nothing.state, nothing.code) == (CommandState.FAILED, "ups_refused")
    assert bench.writes == {"battery_test_command": 1, "runtime_calibration_command": 3}


async def test_an_alarm_is_muted_and_a_ups_found_by_ear(bench: Bench) -> None:
    bench.ups.plug(into_mains=False)
    assert bench.ups.alarm_sounding
    assert (await bench.ask("mute")).state is CommandState.DONE
    assert not bench.ups.alarm_sounding
    assert (await bench.ask("identify")).state is CommandState.DONE
    assert bench.ups.beeps == 1


async def test_on_battery_outlets_are_switched_only_by_force(bench: Bench) -> None:
    bench.ups.plug(into_mains=False)
    assert (await bench.ask("outlet_off", group="sog0")).code == "on_battery"
    assert not bench.writes
    assert (await bench.ask("outlet_off", group="sog0", force=True)).state is CommandState.DONE
    assert (await bench.ask("outlet_on", group="sog0", force=True)).state is CommandState.DONE
    assert bench.ups.outlets["sog0"].on


async def test_outlets_are_left_alone_where_the_agent_does_not_allow_it(tmp_path: Path) -> None:
    async with bench_of(tmp_path, allow=False) as bench:
        for kind in ("outlet_off", "outlet_on", "outlet_reboot"):
            result = await bench.ask(kind, group="sog0", force=True)
            assert (result.state, result.code) == (CommandState.REFUSED, "outlet_control_off")
        assert (await bench.ask("identify")).state is CommandState.DONE
        assert bench.writes == {"user_interface_command": 1}


async def test_a_unit_that_refuses_outlet_commands_is_not_signalled_instead(tmp_path: Path) -> None:
    async with bench_of(tmp_path, "srt_16_5") as bench:
        result = await bench.ask("outlet_reboot", group="sog0")
        assert (result.state, result.code) == (CommandState.FAILED, "ups_refused")
        assert "exception 4" in result.detail
        assert bench.writes == {"outlet_command": 1}
        assert all(outlet.on for outlet in bench.ups.outlets.values())


async def test_a_calibration_that_the_ups_refuses_says_why(bench: Bench) -> None:
    bench.ups.set_load_pct(5.0)
    result = await bench.ask("calibration_start")
    assert (result.state, result.code, result.detail) == (CommandState.FAILED, "ups_refused", "load_too_low")


async def test_a_test_refused_like_the_last_one_is_seen_at_the_end(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch)
    bench.ups.set_charge(0.05)
    for _ in range(2):
        result = await bench.ask("self_test")
        assert (result.state, result.code, result.detail) == (
            CommandState.FAILED,
            "ups_refused",
            "state_of_charge",
        )


async def test_a_ups_that_takes_it_and_does_nothing_leaves_it_unknown(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch)
    monkeypatch.setattr(bench.ups, "change_outlets", lambda *_: None)
    result = await bench.ask("outlet_off", group="sog0")
    assert (result.state, result.code) == (CommandState.UNKNOWN, "no_effect")
    assert bench.writes == {"outlet_command": 1}


async def test_ten_a_minute_and_one_at_a_time(bench: Bench) -> None:
    commands = [bench.peer.command("identify") for _ in range(12)]
    for command in commands[:2]:
        bench.peer.say_command(command)
    codes = [(await bench.peer.result_of(command)).code for command in commands[:2]]
    for command in commands[2:]:
        bench.peer.say_command(command)
        codes.append((await bench.peer.result_of(command)).code)
    assert codes == ["", "busy", *[""] * 9, "rate_limited"]
    assert bench.ups.beeps == 10


async def test_nothing_false_is_acted_on(bench: Bench) -> None:
    """What comes back here is in the order of the reasons; the acceptance check does it 100 000 times."""
    peer = bench.peer
    stranger = Signer(peer.orders.key_id, Ed25519PrivateKey.generate())
    sound = peer.command("identify")
    peer.say_command(sound)
    assert (await peer.result_of(sound)).state is CommandState.DONE
    peer.say_command(sound)
    peer.say_command(peer.command("identify", counter=sound.counter - 1))
    peer.say_command(peer.command("identify", kid="j" * 43))
    peer.say_command(peer.command("identify", epoch=EPOCH - 1))
    peer.say(peer.command("identify"), stranger)
    peer.say(peer.command("identify"), peer.signer)  # by the key a gateway holds
    peer.say_bytes(b"{")
    peer.say_bytes(seal_control(peer.command("identify"), peer.orders.key_id, peer.orders.key), retain=True)
    late = peer.command("identify", issued_ms=sound.issued_ms - 90_000, expires_ms=sound.issued_ms - 31_000)
    peer.say_command(late)
    assert (await peer.result_of(late)).state is CommandState.EXPIRED
    assert bench.commander.ignored == {
        "replayed": 2,
        "other_device": 1,
        "other_epoch": 1,
        "signature_invalid": 1,
        "key_set_invalid": 1,
        "malformed": 1,
        "kept": 1,
    }
    assert (await bench.ask("identify")).state is CommandState.DONE
    assert bench.ups.beeps == 2
    assert bench.commander.figures()["results"] == {"done": 2, "expired": 1}


async def test_before_its_own_hello_a_connection_commands_nothing(bench: Bench) -> None:
    peer, hello = bench.peer, bench.peer.hello
    assert hello is not None
    early = peer.command("identify")
    peer.hello = None
    peer.cut()
    await peer.until("connected again", lambda: peer.subscriptions == 2)
    peer.say_command(early)
    await peer.until("it was ignored", lambda: bench.commander.ignored["no_hello"])
    peer.hello = hello
    peer.say_hello(hello)
    assert (await bench.ask("identify")).state is CommandState.DONE
    assert bench.writes == {"user_interface_command": 1}


async def test_results_wait_for_a_cloud_that_takes_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(results, "RETRY", Backoff(first_s=0.05, max_s=0.1))
    async with bench_of(tmp_path) as bench:
        peer, disk = bench.peer, bench.desk.disk
        assert peer.hello is not None
        kept = (Reason.QUOTA_EXCEEDED, Reason.UNSPECIFIED, Reason.NOT_AUTHORIZED)
        peer.reasons[UpKind.RESULT] = deque(kept)
        await bench.ask("identify")
        await peer.until("asked for patience", lambda: len(peer.results()) == len(kept))
        assert CommandFile(disk).value.waiting
        peer.say_hello(peer.hello)
        await peer.until("sent again", lambda: len(peer.results()) == len(kept) + 1)
        await peer.until("forgotten", lambda: not CommandFile(disk).value.waiting)
        assert len({one.command_id for one in peer.results()}) == 1


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
        async with at_desk(tmp_path / "ups", lines, ups.port) as desk, desk.online(peer.installation):
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
        async with at_desk(tmp_path / "ups", lines, ups.port) as desk, desk.online(peer.installation):
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
        async with at_desk(tmp_path / "ups", lines, ups.port) as desk, desk.online(peer.installation):
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
            at_desk(tmp_path / "ups", lines, ups.port, disk=disk) as desk,
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
