"""Commands through the gateway to a device, and their results into the database, over real TLS."""

import asyncio
import time
from pathlib import Path

from cloud.core.command import Order
from cloud.postgres.accounts import Session
from cloud.services import commanding, offering
from protocol import topics
from protocol.codec import encode
from protocol.commands import CommandKind
from protocol.errors import Reason
from protocol.messages import Command, CommandResult, CommandState
from tests.cloud.gateway.conftest import Site
from tests.support.commanding import ask, commander, log_in, tell
from tests.support.raw_mqtt import RawDevice

MUTE = Order(CommandKind.MUTE)
QUIET_S = 0.4


def now() -> int:
    return time.time_ns() // 1_000_000


async def person(site: Site) -> Session:
    return await log_in(site.pool, site.actors[0], now())


async def order(site: Site, tmp_path: Path, device: RawDevice, session: Session | None = None) -> str:
    """Ask for a reboot of its outlets; the command's name."""
    await tell(site.pool, device.identity.device_id, now())
    made = await ask(
        commander(site.pool, tmp_path / "state"),
        session or await person(site),
        device.identity.device_id,
        now(),
    )
    return made.command_id


async def command(device: RawDevice) -> Command:
    """The next command that the device gets."""
    while True:
        found = await device.control()
        if isinstance(found, Command):
            return found


async def commands(device: RawDevice, wait_s: float = QUIET_S) -> list[Command]:
    """All it gets within some time."""
    found: list[Command] = []
    try:
        async with asyncio.timeout(wait_s):
            while True:
                found.append(await command(device))
    except TimeoutError:
        return found


def result(taken: Command, state: CommandState, **changes: object) -> bytes:
    """What the device would say of it."""
    values = {"command_id": taken.command_id, "epoch": taken.epoch, "counter": taken.counter, "ts_ms": now()}
    return encode(CommandResult(state=state, **{**values, **changes}))  # type: ignore[arg-type]  # names of fields


async def say(device: RawDevice, payload: bytes) -> int:
    """Reason code of its PUBACK."""
    await device.send(device.publish(topics.result(device.identity.kid), payload))
    return (await device.wait_acks(1))[0].reason


async def test_a_command_comes_at_once_signed_and_once(site: Site, tmp_path: Path) -> None:
    device, epoch = await site.owned()
    began = time.monotonic()
    command_id = await order(site, tmp_path, device)
    taken = await command(device)
    assert time.monotonic() - began < 1.0
    assert (taken.command_id, taken.kid, taken.epoch) == (command_id, device.identity.kid, epoch)
    await device.close()
    await device.greet()
    assert await commands(device) == []
    ((state, session_no),) = await site.rows("SELECT state, session_no FROM v_command")
    assert state == "delivered"
    assert session_no != device.iat_ms


async def test_results_are_stored_once_and_the_first_stays(site: Site, tmp_path: Path) -> None:
    device, _ = await site.owned()
    await order(site, tmp_path, device)
    taken = await command(device)
    unknown = result(taken, CommandState.UNKNOWN, code="interrupted")
    done = result(taken, CommandState.DONE, detail="off and on again")
    failed = result(taken, CommandState.FAILED, code="no_effect")
    for payload in (unknown, done, done, failed):
        assert await say(device, payload) == 0
    assert await site.rows("SELECT state, code, detail FROM v_command") == [("done", "", "off and on again")]
    assert await site.rows("SELECT 1 FROM rejected") == []


async def test_a_result_that_is_none_is_kept_aside_and_changes_nothing(site: Site, tmp_path: Path) -> None:
    device, epoch = await site.owned()
    await order(site, tmp_path, device)
    taken = await command(device)
    for payload in (
        b"nonsense",
        result(taken, CommandState.DONE, command_id="x"),
        result(taken, CommandState.DONE, counter=0),
        result(taken, CommandState.DONE, detail="\0"),
        result(taken, CommandState.DONE, detail="x" * 501),
        result(taken, CommandState.DONE).replace(b'"done"', b'"delivered"'),
    ):
        assert await say(device, payload) == Reason.PAYLOAD_FORMAT_INVALID
    old = result(taken, CommandState.DONE, epoch=epoch - 1)
    assert await say(device, old) == Reason.NO_MATCHING_SUBSCRIBERS
    above = result(taken, CommandState.DONE, epoch=epoch + 1)
    assert await say(device, above) == Reason.NOT_AUTHORIZED
    other = result(taken, CommandState.DONE, counter=taken.counter + 1)
    assert await say(device, other) == 0  # of no command that there is
    assert await site.rows("SELECT state FROM v_command") == [("delivered",)]


async def test_another_device_cannot_answer_for_it(site: Site, tmp_path: Path) -> None:
    device, _ = await site.owned()
    stranger, epoch = await site.owned()
    await order(site, tmp_path, device)
    taken = await command(device)
    assert await say(stranger, result(taken, CommandState.DONE, epoch=epoch)) == 0
    assert await site.rows("SELECT state FROM v_command") == [("delivered",)]


async def test_a_result_tells_also_after_its_time(site: Site, tmp_path: Path) -> None:
    device, _ = await site.owned()
    await order(site, tmp_path, device)
    taken = await command(device)
    assert await commanding.sweep(site.pool, now() + 200_000) == 1
    assert await site.rows("SELECT state FROM v_command") == [("unknown",)]
    assert await say(device, result(taken, CommandState.DONE)) == 0
    assert await site.rows("SELECT state, code, due_ms FROM command") == [("done", "", None)]


async def test_a_transfer_cuts_results_and_leaves_nothing_to_deliver(site: Site, tmp_path: Path) -> None:
    device, _ = await site.owned()
    await order(site, tmp_path, device)
    taken = await command(device)
    old, new = site.actors[:2]
    made = await offering.offer(
        site.pool, old, device.identity.device_id, now(), fresh=True, to_company_id=new.company_id
    )
    await offering.accept_offer(site.pool, new, made.offer_id, now(), fresh=True)
    await device.hello(lambda hello: hello.epoch != taken.epoch)
    assert await say(device, result(taken, CommandState.DONE)) == Reason.NO_MATCHING_SUBSCRIBERS
    assert await site.rows("SELECT state, code FROM v_command") == [("unknown", "owner_changed")]


async def test_a_result_of_a_device_without_owner_is_dropped(site: Site) -> None:
    device = site.device()
    await device.greet()
    nothing = Command(
        command_id="00000000-0000-4000-8000-000000000000",
        kid=device.identity.kid,
        epoch=1,
        counter=1,
        issued_ms=1,
        expires_ms=2,
        kind="mute",
    )
    assert await say(device, result(nothing, CommandState.DONE)) == Reason.NO_MATCHING_SUBSCRIBERS
