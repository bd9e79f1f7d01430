"""The driver's manners, against a server that misbehaves and against the simulated UPS."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import itertools
import os
from typing import TYPE_CHECKING

import pytest

from agent import modbus
from agent.config import ModbusAddress
from agent.errors import LinkDownError, LinkError, LinkRefusedError, LinkUnsureError, LinkUntrustedError
from agent.modbus import GAP_S, QUIET_S, Lines, UnitLink
from protocol import extension
from simulators.core.smart_ups import SmartUps
from simulators.unit import Simulator, UnitSpec, build
from tests.agent.modbus_peer import READ, ModbusPeer, Trouble
from tests.golden.register_images import IMAGES

if TYPE_CHECKING:
    from pathlib import Path

    from simulators.core.register_image import RegisterImage

VERIFICATION = next(image for image in IMAGES if image.name == "verification block")


def sound_peer(*, rtu: bool = False) -> ModbusPeer:
    peer = ModbusPeer(rtu=rtu)
    peer.load(VERIFICATION.start, VERIFICATION.words)
    peer.load(128, range(1, 45))
    return peer


def link_to(lines: Lines, peer: ModbusPeer, unit: int = 1) -> UnitLink:
    return lines.link(ModbusAddress.parse(peer.address), unit, 9600)


async def test_the_verification_block_is_read_before_anything_else() -> None:
    async with sound_peer() as peer:
        lines = Lines()
        link = link_to(lines, peer)
        assert list(await link.read(128, 44)) == list(range(1, 45))
        assert list(await link.read(128, 2)) == [1, 2]
        assert list(peer.reads()) == [(2048, 14), (128, 44), (128, 2)]
        await lines.close()


async def test_a_unit_whose_constants_are_wrong_is_not_believed() -> None:
    async with sound_peer() as peer:
        peer.words[2052] ^= 1
        lines = Lines()
        with pytest.raises(LinkUntrustedError):
            await link_to(lines, peer).read(128, 44)
        await lines.close()


@pytest.mark.parametrize("rtu", [False, True])
async def test_an_answer_of_another_length_is_refused_and_asked_again(*, rtu: bool) -> None:
    async with sound_peer(rtu=rtu) as peer:
        peer.troubles.extend([Trouble(), Trouble(cut_words=1)])
        lines = Lines()
        assert list(await link_to(lines, peer).read(128, 44)) == list(range(1, 45))
        assert list(peer.reads()).count((128, 44)) == 2
        await lines.close()


async def test_a_late_answer_is_never_taken_for_the_next_one() -> None:
    """On a line without transaction ids: silence until it has passed, then the constants again."""
    async with sound_peer(rtu=True) as peer:
        peer.load(160, [7, 7])
        lines = Lines()
        link = link_to(lines, peer)
        await link.read(128, 2)
        peer.troubles.append(Trouble(delay_s=2.0 + QUIET_S / 2))
        assert list(await link.read(160, 2)) == [7, 7]
        assert list(peer.reads())[-3:] == [(160, 2), (2048, 14), (160, 2)]
        late, after = peer.requests[-3:-1]
        assert after.at_s - late.at_s >= 2.0 + QUIET_S
        await lines.close()


async def test_a_cancelled_caller_leaves_no_answer_behind() -> None:
    async with sound_peer(rtu=True) as peer:
        peer.load(160, [7, 7])
        lines = Lines()
        link = link_to(lines, peer)
        await link.read(128, 2)
        peer.troubles.append(Trouble(delay_s=0.3))
        asking = asyncio.create_task(link.read(128, 2))
        while len(peer.requests) < 3:
            await asyncio.sleep(0.005)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert list(await link.read(160, 2)) == [7, 7]
        await lines.close()


async def test_closing_waits_for_the_request_under_way_and_for_no_other() -> None:
    async with sound_peer(rtu=True) as peer:
        lines = Lines()
        link = link_to(lines, peer)
        await link.read(128, 2)
        before = len(peer.requests)
        peer.troubles.append(Trouble(delay_s=0.3))
        asking = [asyncio.create_task(link.read(128, 2)) for _ in range(5)]
        while len(peer.requests) == before:
            await asyncio.sleep(0.005)
        await lines.close()
        assert len(peer.requests) == before + 1
        first, *others = await asyncio.gather(*asking, return_exceptions=True)
        assert isinstance(first, list)
        assert [type(other) for other in others] == [LinkDownError] * 4


async def test_units_on_one_line_ask_in_turn_with_silence_between() -> None:
    async with sound_peer(rtu=True) as peer:
        peer.units = frozenset({1, 2, 3})
        lines = Lines()
        links = [link_to(lines, peer, unit) for unit in (1, 2, 3)]
        await asyncio.gather(*(link.read(128, 2) for link in links for _ in range(3)))
        times = [request.at_s for request in peer.requests]
        assert min(later - earlier for earlier, later in itertools.pairwise(times)) >= GAP_S * 0.9
        await lines.close()


async def test_a_wrong_unit_id_says_so_and_costs_the_others_one_try() -> None:
    async with sound_peer() as peer:
        lines = Lines()
        link = link_to(lines, peer, 9)
        with pytest.raises(LinkDownError, match="unit id"):
            await link.read(128, 2)
        before = len(peer.requests)
        with pytest.raises(LinkDownError):
            await link.read(128, 2)
        assert len(peer.requests) == before + 1
        await lines.close()


async def test_exceptions_of_the_unit_are_answers() -> None:
    async with sound_peer() as peer:
        lines = Lines()
        link = link_to(lines, peer)
        with pytest.raises(LinkRefusedError) as refused:
            await link.read(5000, 2)
        assert refused.value.code == 2
        assert list(await link.read(128, 2)) == [1, 2]
        await lines.close()


async def test_a_broken_connection_is_opened_again() -> None:
    async with sound_peer() as peer:
        lines = Lines()
        link = link_to(lines, peer)
        await link.read(128, 2)
        peer.troubles.append(Trouble(hang_up=True))
        assert list(await link.read(128, 2)) == [1, 2]
        assert peer.connections == 2
        await lines.close()


@pytest.mark.parametrize(
    ("address", "words"),
    [("serial:/nonexistent/tty", "does not exist"), ("tcp://127.0.0.1:1", "nothing accepts a connection")],
)
async def test_a_line_that_cannot_be_opened_says_why(address: str, words: str) -> None:
    lines = Lines()
    link = lines.link(ModbusAddress.parse(address), 1, 9600)
    for _ in range(2):  # the second time it is not even tried
        with pytest.raises(LinkDownError, match=words):
            await link.read(128, 2)
    await lines.close()


async def test_a_serial_line_says_what_keeps_it_closed_and_is_tried_again(tmp_path: Path) -> None:
    """A link that leads nowhere, to a file, to a terminal that another program has; then it is free."""
    path = tmp_path / "tty"
    lines = Lines()
    link = lines.link(ModbusAddress.parse(f"serial:{path}"), 1, 9600)

    async def refusal(words: str) -> None:
        async with asyncio.timeout(20):
            while True:
                with pytest.raises(LinkDownError) as refused:
                    await link.read(128, 2)
                if words in str(refused.value):
                    return
                await asyncio.sleep(0.05)

    path.symlink_to(tmp_path / "gone")
    await refusal("does not exist; is it plugged in?")
    (tmp_path / "gone").write_text("")
    await refusal("is no serial line")
    path.unlink()
    simulator = Simulator({1: build(UnitSpec(profile="ups_serial"))})
    simulator.open_line(path)
    stop = asyncio.Event()
    running = asyncio.create_task(simulator.run(stop))
    other = os.open(path, os.O_RDWR | os.O_NOCTTY)
    fcntl.flock(other, fcntl.LOCK_EX)
    await refusal("another program has it")
    os.close(other)
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(LinkDownError):
                assert await link.read(VERIFICATION.start, len(VERIFICATION.words))
                break
            await asyncio.sleep(0.05)
    await lines.close()
    stop.set()
    await running


async def test_only_the_list_is_written() -> None:
    async with sound_peer() as peer:
        lines = Lines()
        link = link_to(lines, peer)
        await link.write(extension.ENABLE_ADDRESS, [1])
        assert peer.words[extension.ENABLE_ADDRESS] == 1
        for address, words in ((extension.ENABLE_ADDRESS, [2]), (130, [1]), (4, [1])):
            with pytest.raises(ValueError):  # noqa: PT011 - each of them says it in other words
                await link.write(address, words)
        written = [request.address for request in peer.requests if request.function != READ]
        assert written == [extension.ENABLE_ADDRESS]
        await lines.close()


@pytest.mark.parametrize(
    ("trouble", "error"),
    [
        (Trouble(exception=4), LinkRefusedError),
        (Trouble(exception=5), LinkUnsureError),  # it has taken it, and works on it
        (Trouble(exception=11), LinkUnsureError),  # a go-between got no answer
        (Trouble(hang_up=True), LinkUnsureError),
    ],
)
async def test_only_a_clear_no_means_that_nothing_was_written(
    trouble: Trouble, error: type[LinkError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modbus, "TCP_TIMEOUT_S", 0.3)
    async with sound_peer() as peer:
        lines = Lines()
        link = link_to(lines, peer)
        await link.read(VERIFICATION.start, len(VERIFICATION.words))
        peer.troubles.append(trouble)
        with pytest.raises(LinkError) as raised:
            await link.write(1541, [1])
        assert type(raised.value) is error
        assert sum(request.function != READ for request in peer.requests) == 1
        await lines.close()


async def test_a_write_has_its_rest_even_when_it_was_refused() -> None:
    async with sound_peer() as peer:
        lines = Lines()
        link = link_to(lines, peer)
        await link.read(VERIFICATION.start, len(VERIFICATION.words))
        peer.troubles.append(Trouble(exception=4))
        with pytest.raises(LinkRefusedError):
            await link.write(1541, [1])
        await link.read(VERIFICATION.start, len(VERIFICATION.words))
        write, read = peer.requests[-2:]
        assert read.at_s - write.at_s >= 0.2
        await lines.close()


async def test_the_simulated_ups_over_its_serial_line_and_tcp(tmp_path: Path) -> None:
    image: RegisterImage = build(UnitSpec(profile="ups_serial"))
    assert isinstance(image.ups, SmartUps)
    simulator = Simulator({1: image})
    _, port = await simulator.listen_tcp("127.0.0.1", 0)
    simulator.open_line(tmp_path / "line")
    stop = asyncio.Event()
    running = asyncio.create_task(simulator.run(stop))
    lines = Lines()
    try:
        for address in (f"tcp://127.0.0.1:{port}", f"serial:{tmp_path / 'line'}"):
            link = lines.link(ModbusAddress.parse(address), 1, 9600)
            words = await link.read(128, 44)
            assert words[2] == pytest.approx(image.ups.battery.charge * 100 * 512, abs=600)
        assert simulator.line_figures()["early_requests"] == 0
    finally:
        await lines.close()
        stop.set()
        await running
