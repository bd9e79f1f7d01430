"""Acceptance ``outlet-safety``: no command that is wrong in any way writes anything, and no valid one twice.

A simulated UPS counts every write request; the agent is the real program on a real connection.

1. A gateway that signs whatever it is told to sends 100 000 commands to an agent that allows outlet control:
   malformed, duplicated, late, unsigned, wrong-epoch, wrong-kid, retained, meaningless, and before the
   connection's hello. Each is counted as refused by the agent itself, and the UPS has seen no write.
2. The agent is killed at each named fault point of a valid reboot, started again, and sent the same bytes
   again and again: at most one write, and a result that says the truth or ``unknown``.
3. The same with the real cloud, by the row of the command: what the portal shows is the truth or ``unknown``.

``SAFETY_SEED=n`` repeats a run; ``SAFETY_COUNT`` sends another number.
"""

import asyncio
import contextlib
import os
import random
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from protocol.codec import encode
from protocol.messages import CommandState
from protocol.signing import seal_control
from protocol.topics import UpKind
from tests.accept import CheckError, expect, passed, progress
from tests.accept._command_crash import crash_at_each_point, crash_with_the_cloud, figures, until, writes
from tests.accept._hostile_commands import ANSWERED, SHARES, Attacker, Hostile
from tests.agent.gateway_peer import GatewayPeer
from tests.agent.house import House, built_house

NAME: Final = "outlet-safety"
COUNT: Final = 100_000
EARLY: Final = 500  # of them come before the hello of a connection
ROUND: Final = 100  # a queue of the agent holds 256
EPOCH: Final = 1_700_000_000_000
WAIT_S: Final = 60.0


async def valid(peer: GatewayPeer, kind: str) -> bytes:
    """A command that is obeyed; its bytes."""
    command = peer.command(kind, arguments={"group": "sog0", "force": True})
    sealed = seal_control(command, peer.orders.key_id, peer.orders.key)
    peer.say_bytes(sealed)
    result = await peer.result_of(command, WAIT_S)
    expect(result.state is CommandState.DONE, f"a valid {kind} was not done: {result}")
    return sealed


async def attack(house: House, peer: GatewayPeer, count: int, dice: random.Random) -> str:
    """The 100 000; what came of them."""
    peer.hello = peer.owned(EPOCH)
    house.agent.start()
    await until(peer, "the agent is connected", lambda: peer.of(UpKind.NOW))
    acted_on = [await valid(peer, kind) for kind in ("outlet_off", "outlet_on", "outlet_off", "outlet_on")]
    before, known = writes(house), figures(house)
    expect(before == len(acted_on), f"{len(acted_on)} commands were obeyed with {before} writes")
    attacker = Attacker(peer, acted_on, dice)
    sent = dict.fromkeys((*SHARES, "before the hello"), 0)
    began = time.monotonic()
    pending: list[Hostile] = []
    for hostile in attacker.stream(count - EARLY):
        sent[hostile.sort] += 1
        pending.append(hostile)
        if len(pending) == ROUND:
            await say(peer, pending)
            pending.clear()
        if sum(sent.values()) % 10_000 == 0:
            progress(f"{sum(sent.values())} sent, {writes(house) - before} writes")
    await say(peer, pending)
    sent["before the hello"] = await early(peer, attacker)
    lasted_s = time.monotonic() - began
    expect(writes(house) == before, f"{writes(house) - before} of {count} wrong commands wrote something")
    text = check_figures(sent, known, figures(house))
    await valid(peer, "outlet_off")  # it is alive, and obeys what is right
    await valid(peer, "outlet_on")
    expect(writes(house) == before + 2, "a valid command was not written once")
    return f"{sum(sent.values())} wrong commands in {lasted_s:.0f} s, 0 writes; {text}"


async def say(peer: GatewayPeer, messages: list[Hostile]) -> None:
    """Send them, and wait until the agent has looked at all: it shows itself after the watch behind them.

    What is to be answered has been by then; else results would pile up, and the rest not be looked at.
    """
    peer.received.clear()
    for message in messages:
        peer.say_bytes(message.payload, retain=message.retain)
    peer.say_watch(0)
    await until(peer, "the agent shows itself", lambda: peer.of(UpKind.NOW))
    answers = sum(message.sort in ANSWERED for message in messages)
    await until(peer, "every answer has come", lambda: len(peer.of(UpKind.RESULT)) >= answers)


async def early(peer: GatewayPeer, attacker: Attacker) -> int:
    """Sound and fresh commands on a connection whose hello has not come; how many."""
    hello, peer.hello = peer.hello, None
    assert hello is not None
    peer.hello = hello
    waiting = [attacker.sound() for _ in range(EARLY)]
    peer.hello = None
    seen = peer.subscriptions
    peer.cut()
    await until(peer, "the agent is connected again", lambda: peer.subscriptions > seen)
    for at in range(0, EARLY, ROUND):
        for command in waiting[at : at + ROUND]:
            peer.say_command(command)
        await asyncio.sleep(0.2)  # there is no marker before a hello; the count shows whether any was dropped
    peer.received.clear()
    peer.hello = peer.owned(EPOCH)
    peer.say_hello(peer.hello)
    await until(peer, "the agent is owned again", lambda: peer.of(UpKind.NOW))
    return EARLY


def check_figures(sent: dict[str, int], before: dict[str, Any], after: dict[str, Any]) -> str:
    """Every single one was refused or answered by the agent itself; how."""
    ignored = {
        reason: number - before["ignored"].get(reason, 0) for reason, number in after["ignored"].items()
    }
    answers = {
        state: number - before["results"].get(state, 0)
        for state, number in after["results"].items()
        if number != before["results"].get(state, 0)
    }
    answered = sum(sent[sort] for sort in ANSWERED)
    progress(f"sent {sent}; ignored {ignored}; answered {answers}")
    expect(set(answers) <= {"refused", "expired"}, f"wrong commands have results: {answers}")
    total = sum(ignored.values()) + sum(answers.values())
    expect(total == sum(sent.values()), f"{sum(sent.values())} were sent, the agent knows of {total}")
    expect(sum(answers.values()) == answered, f"{answered} were to be answered, {answers} were")
    kinds = ", ".join(f"{number} {sort}" for sort, number in sent.items())
    reasons = ", ".join(f"{number} {reason}" for reason, number in sorted({**ignored, **answers}.items()))
    return f"{kinds}; by the agent's own count {reasons}"


@contextlib.contextmanager
def house_of(folder: Path) -> Iterator[House]:
    """A house whose outlets may be switched, and are off for four seconds only."""
    folder.mkdir()
    with built_house(folder, allow_outlet_control=True, poll_interval_s=0.5) as house:
        house.order("set", "sog0_stay_off_delay", "4")
        yield house


async def check_with_a_hostile_gateway(folder: Path, count: int, seed: int) -> str:
    """The first two parts."""
    with house_of(folder / "one") as house:
        async with GatewayPeer(folder / "peer") as peer:
            (house.folder / "installation.json").write_bytes(encode(peer.installation))
            attacked = await attack(house, peer, count, random.Random(seed))
            house.agent.kill()
            progress(attacked)
            crashed = await crash_at_each_point(house, peer)
    progress(crashed)
    return f"{attacked}; {crashed}"


def main() -> int:
    """Run the check; the exit status."""
    seed = int(os.environ.get("SAFETY_SEED") or secrets.randbelow(1_000_000))
    count = int(os.environ.get("SAFETY_COUNT") or COUNT)
    folder = Path(tempfile.mkdtemp(prefix="outlet-safety-"))
    try:
        found = asyncio.run(check_with_a_hostile_gateway(folder, count, seed))
        with house_of(folder / "two") as house:
            clouded = crash_with_the_cloud(house)
        return passed(NAME, f"{found}; {clouded}; SAFETY_SEED={seed}")
    except CheckError as error:
        raise CheckError(f"{error} (SAFETY_SEED={seed})") from error
    finally:
        shutil.rmtree(folder)
