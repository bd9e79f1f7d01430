"""Commands from a gateway to the registers of a simulated UPS and back: real TLS, MQTT, Modbus and disk."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import results
from agent.command_file import CommandFile
from agent.core.backoff import Backoff
from cloud.provision import Signer
from protocol.errors import Reason
from protocol.messages import CommandState
from protocol.signing import seal_control
from protocol.topics import UpKind
from tests.agent.command_bench import EPOCH, Bench, bench_of, hurry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


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


async def test_a_serial_line_has_its_rests_between_reads_and_writes(tmp_path: Path) -> None:
    async with bench_of(tmp_path, serial=True) as bench:
        assert (await bench.ask("outlet_off", group="sog0")).state is CommandState.DONE
        assert (await bench.ask("self_test")).state is CommandState.DONE
        assert bench.writes == {"outlet_command": 1, "battery_test_command": 1}
        assert bench.simulator.line_figures()["early_requests"] == 0


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
