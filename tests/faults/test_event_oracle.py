"""The judge of ``event-truth`` sees what is missing, invented, told twice or timed wrongly."""

import asyncio
import contextlib
import json
import socket
from pathlib import Path

import pytest

from tests.accept import CheckError
from tests.accept._cut_link import CutLinks
from tests.accept._event_oracle import (
    Line,
    Stored,
    check_script,
    complaints,
    count,
    due_events,
    read_truth,
)
from tests.accept._event_script import EPISODES, make_script

LINES = [
    Line(10_000, 1, "mode", "on_battery"),
    Line(12_000, 1, "cable", False),
    Line(20_000, 1, "mode", "online"),
    Line(30_000, 1, "cable", True),
    Line(60_000, 1, "overloaded", True),
    Line(65_000, 1, "overloaded", False),
    Line(90_000, 1, "mode", "testing"),
    Line(110_000, 1, "test", "passed"),
    Line(110_000, 1, "mode", "online"),
    Line(120_000, 1, "cable", False),
    Line(121_500, 1, "cable", True),
]
TRUE = [
    Stored("on_battery", "", 10_700),
    Stored("communication_lost", "", 18_000),
    Stored("mains_back", "", 34_000),
    Stored("communication_restored", "", 34_000),
    Stored("overload", "", 60_400),
    Stored("overload_cleared", "", 68_800),
    Stored("self_test", "passed", 110_900),
]


def test_the_truth_and_nothing_else_is_right() -> None:
    assert complaints(1, due_events(LINES), TRUE) == []
    assert complaints(1, due_events(LINES), TRUE[::-1]) == []


@pytest.mark.parametrize("missing", range(len(TRUE)))
def test_each_missing_or_repeated_event_is_seen(missing: int) -> None:
    due = due_events(LINES)
    (text,) = complaints(1, due, TRUE[:missing] + TRUE[missing + 1 :])
    assert f"missing {{('{TRUE[missing].kind}'" in text
    (text,) = complaints(1, due, [*TRUE, TRUE[missing]])
    assert f"twice {{('{TRUE[missing].kind}'" in text


def test_an_outage_made_of_silence_is_seen() -> None:
    invented = [Stored("on_battery", "", 13_000), Stored("mains_back", "", 31_000)]
    assert "on_battery" in complaints(1, due_events(LINES), [*TRUE, *invented])[0]


def test_a_failed_test_is_not_a_passed_one() -> None:
    wrong = [*TRUE[:-1], Stored("self_test", "failed", 110_900)]
    assert "('self_test', 'failed')" in complaints(1, due_events(LINES), wrong)[0]


@pytest.mark.parametrize("ts_ms", [9_000, 17_000, 200_000])
def test_a_wrong_time_is_seen(ts_ms: int) -> None:
    late = [Stored("on_battery", "", ts_ms), *TRUE[1:]]
    assert "is timed" in complaints(1, due_events(LINES), late)[0]


def test_a_script_that_did_not_happen_is_seen() -> None:
    due = {1: due_events(LINES)}
    check_script({1: count(due[1])}, due)
    with pytest.raises(CheckError, match="unit 1"):
        check_script({1: count(due[1][1:])}, due)


def test_the_state_in_which_a_unit_begins_is_no_news(tmp_path: Path) -> None:
    path = tmp_path / "truth"
    lines = [{"ms": 1, "unit": 7, "fact": "cable", "value": True}]
    lines += [{"ms": 2, "unit": 7, "fact": "cable", "value": False}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_truth(path) == {7: [Line(2, 7, "cable", False)]}


def test_a_script_has_a_hundred_episodes_and_is_the_same_each_time() -> None:
    script = make_script(3, 24)
    assert script.episodes.total() == EPISODES
    assert script == make_script(3, 24)
    assert script != make_script(4, 24)
    assert all(script.told.values())
    assert [step.at_s for step in script.steps] == sorted(step.at_s for step in script.steps)


async def test_a_link_carries_is_cut_and_carries_again() -> None:
    open_ends: set[asyncio.StreamWriter] = set()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_ends.add(writer)
        with contextlib.suppress(OSError):
            while data := await reader.read(100):
                writer.write(data)
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        open_ends.discard(writer)

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def said(link_port: int, stay: bool = False) -> bytes:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", link_port)
            writer.write(b"x")
            answer = await asyncio.wait_for(reader.read(1), 5)
            if stay:
                links.cut(0)
                answer += await asyncio.wait_for(reader.read(1), 5)
            writer.close()
            await writer.wait_closed()
            return answer
        return b""

    with CutLinks(port, 2) as links:
        assert [await said(one) for one in links.ports] == [b"x", b"x"]
        assert await said(links.ports[0], stay=True) in {b"", b"x"}
        assert (await said(links.ports[0]), await said(links.ports[1])) == (b"", b"x")
        links.mend(0)
        assert await said(links.ports[0]) == b"x"
        assert links.cuts == 1
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", links.ports[0])) != 0
    server.close()
    async with asyncio.timeout(5):
        while open_ends:
            await asyncio.sleep(0.01)
