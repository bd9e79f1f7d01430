"""Commands on a real PostgreSQL: safety steps, counters, time, and what ends with an ownership."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace

import pytest

from cloud.core.authz import Actor, Role
from cloud.core.command import ANSWER_MS, MAX_IN_RATE, RATE_MS, Group, Order, State, Step
from cloud.core.second_factor import FRESH_MS
from cloud.postgres import commands
from cloud.postgres.accounts import Session
from cloud.postgres.pool import Pool, make_pool
from cloud.services import claiming, commanding, offering, owning
from cloud.services.commanding import Commander, CommandRefusedError, UnknownCommandError
from cloud.services.naming import UnknownDeviceError
from protocol import faults
from protocol.commands import MAX_LIFE_MS, CommandKind
from protocol.messages import CloudKey, Command, KeySet, KeyUse
from protocol.signing import open_control, public_bytes
from tests.support.claiming import NOW, TestDevice, make_actors
from tests.support.commanding import REBOOT, ask, commander, log_in, tell

MUTE = Order(CommandKind.MUTE)


@dataclass
class Room:
    """An owned, healthy UPS, and somebody who may do everything."""

    pool: Pool
    commander: Commander
    actor: Actor
    other: Actor
    session: Session
    device: TestDevice

    @property
    def device_id(self) -> int:
        return self.device.device_id

    async def rows(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        async with self.pool.connection() as connection:
            return await (await connection.execute(statement.encode(), list(values))).fetchall()

    async def change(self, statement: str, *values: object) -> None:
        async with self.pool.connection() as connection:
            await connection.execute(statement.encode(), list(values))

    async def refused(self, order: Order = REBOOT, now_ms: int = NOW) -> tuple[Step, ...]:
        """What is missing; and that nothing was written."""
        before = await self.rows("SELECT * FROM v_command, device")
        with pytest.raises(CommandRefusedError) as refusal:
            await ask(self.commander, self.session, self.device_id, now_ms, order)
        assert await self.rows("SELECT * FROM v_command, device") == before
        return refusal.value.missing


@pytest.fixture
async def room(database: str) -> AsyncIterator[Room]:
    actor, other = make_actors(database, 2)
    device = TestDevice()
    async with make_pool(database, name="test", max_size=6) as pool:
        await device.announce(pool)
        await claiming.submit(pool, actor, device.product_id, device.label_pub, NOW)
        await tell(pool, device.device_id, NOW)
        session = await log_in(pool, actor, NOW)
        yield Room(pool, commander(pool), actor, other, session, device)


async def test_with_every_step_done_it_is_signed_for_this_device_and_minute(room: Room) -> None:
    made = await ask(room.commander, room.session, room.device_id, NOW)
    assert (made.state, made.account_id) == ("requested", room.actor.account_id)
    ((sealed, counter, last, audited),) = await room.rows(
        "SELECT c.sealed, c.counter, d.last_counter, a.detail FROM command c JOIN device d USING (device_id)"
        " JOIN device_audit a USING (device_id) WHERE a.kind = 'command'"
    )
    signer = room.commander.signer
    key = CloudKey(
        key_id=signer.key_id,
        use=KeyUse.COMMAND,
        pub=public_bytes(signer.key),
        not_before_ms=0,
        not_after_ms=2 * NOW,
    )
    assert isinstance(sealed, bytes)
    command = open_control(sealed, KeySet(version=1, issued_ms=0, keys=(key,)), NOW)
    assert command == Command(
        command_id=made.command_id,
        kid=room.device.kid,
        epoch=made.epoch,
        counter=NOW,
        issued_ms=NOW,
        expires_ms=NOW + MAX_LIFE_MS,
        kind="outlet_reboot",
        arguments={"group": "sog0", "force": False},
    )
    assert counter == last == NOW
    assert isinstance(audited, dict)
    assert (audited["command"], audited["group"]) == ("outlet_reboot", "sog0")


TOLD: tuple[tuple[dict[str, float], Step], ...] = (
    ({"ups_status": 1 << 2}, Step.ON_BATTERY),
    ({"seen_ms": NOW - 200_000}, Step.OFFLINE),
    ({"ts_ms": NOW - 200_000}, Step.SILENT),
    ({"sog0_outlet_status": 0}, Step.NO_GROUP),
    ({"ups_status": 1 << 1 | 1 << 5}, Step.FAULT),
)


async def test_what_the_device_told_last_can_stop_it(room: Room) -> None:
    for values, missing in TOLD:
        await tell(room.pool, room.device_id, NOW, **values)
        assert await room.refused() == (missing,)
    await ask(room.commander, room.session, room.device_id, NOW, replace(REBOOT, force=True))


async def test_a_disconnected_device_or_one_with_smartconnect_off_gets_none(room: Room) -> None:
    await room.change("UPDATE latest SET connected = false")
    assert await room.refused(MUTE) == (Step.OFFLINE,)
    await room.change("UPDATE latest SET smartconnect = false")
    assert await room.refused(MUTE) == (Step.SMARTCONNECT_OFF,)


RIGHTS = (
    ("UPDATE membership SET role = 'viewer'", Step.ROLE),
    ("UPDATE totp SET confirmed_ms = NULL", Step.TWO_FACTOR),
    (f"UPDATE web_session SET factor_ms = {NOW - FRESH_MS - 1}", Step.FRESH_FACTOR),
    ("UPDATE web_session SET factor_ms = NULL", Step.FRESH_FACTOR),
)


async def test_rights_are_those_of_the_moment_not_of_the_request(room: Room) -> None:
    for statement, missing in RIGHTS:
        await room.change("UPDATE membership SET role = 'owner'")
        await room.change("UPDATE totp SET confirmed_ms = 1")
        await room.change("UPDATE web_session SET factor_ms = %s", NOW)
        await room.change(statement)
        assert await room.refused() == (missing,)


async def test_a_passkey_counts_like_an_app(room: Room) -> None:
    await room.change("DELETE FROM totp")
    assert await room.refused() == (Step.TWO_FACTOR,)
    await room.change(
        "INSERT INTO passkey (account_id, credential_id, public_key, sign_count, name, rp_id, created_ms)"
        " VALUES (%s, 'id', 'key', 0, 'Phone', 'portal.example.org', 1)",
        room.other.account_id,
    )
    assert await room.refused() == (Step.TWO_FACTOR,)  # somebody else's
    await room.change("UPDATE passkey SET account_id = %s", room.actor.account_id)
    await ask(room.commander, room.session, room.device_id, NOW)


async def test_a_log_in_that_has_ended_may_nothing(room: Room) -> None:
    await room.change("DELETE FROM web_session")
    assert await room.refused() == (Step.ROLE, Step.TWO_FACTOR, Step.FRESH_FACTOR)


async def test_an_operator_may_and_the_typed_name_is_that_of_the_ups(room: Room) -> None:
    await room.change("UPDATE membership SET role = %s", Role.OPERATOR.value)
    assert await room.refused(replace(REBOOT, typed="Outlet group 2")) == (Step.GROUP_NAME,)
    await room.change(
        "INSERT INTO device_setting (device_id, epoch, reported)"
        ' SELECT device_id, epoch, \'{"sog0_name": "Printers"}\' FROM latest'
        " ON CONFLICT (device_id) DO UPDATE SET reported = excluded.reported, epoch = excluded.epoch"
    )
    assert await room.refused() == (Step.GROUP_NAME,)
    await ask(room.commander, room.session, room.device_id, NOW, replace(REBOOT, typed="printers"))


async def test_one_outlet_at_a_time_and_a_bound_on_all(room: Room) -> None:
    await ask(room.commander, room.session, room.device_id, NOW)
    assert await room.refused() == (Step.UNDER_WAY,)
    for _ in range(MAX_IN_RATE - 1):
        await ask(room.commander, room.session, room.device_id, NOW, MUTE)
    assert await room.refused(MUTE) == (Step.TOO_MANY,)
    later = NOW + RATE_MS
    await tell(room.pool, room.device_id, later)
    await ask(room.commander, room.session, room.device_id, later)  # the first one's time is over


async def test_the_same_request_again_is_the_same_command(room: Room) -> None:
    name = str(uuid.uuid4())
    made = [
        await commanding.request(room.commander, room.session, room.device_id, REBOOT, name, NOW + at)
        for at in (0, 1)
    ]
    assert made[0] == made[1]
    assert await room.rows("SELECT count(*) FROM command") == [(1,)]


async def test_many_at_once_have_counters_of_their_own_and_one_outlet_wins(room: Room) -> None:
    orders = [REBOOT, REBOOT, MUTE, MUTE]
    done = await asyncio.gather(
        *(ask(room.commander, room.session, room.device_id, NOW, order) for order in orders),
        return_exceptions=True,
    )
    refused = [one for one in done if isinstance(one, CommandRefusedError)]
    assert [one.missing for one in refused] == [(Step.UNDER_WAY,)]
    counters = await room.rows("SELECT counter FROM command ORDER BY counter")
    assert counters == [(NOW,), (NOW + 1,), (NOW + 2,)]


async def test_a_device_that_is_released_or_may_be_two_is_left_alone(room: Room) -> None:
    await owning.release(room.pool, room.actor, room.device_id, NOW, fresh=True)
    assert await room.refused(MUTE) == (Step.RELEASING,)
    await owning.cancel_release(room.pool, room.actor, room.device_id, NOW)
    for at in range(owning.MAX_TAKEOVERS + 1):
        await owning.note_takeover(room.pool, room.device_id, room.device.kid, NOW + at)
    assert await room.refused(MUTE) == (Step.CLONE_SUSPECTED,)


async def test_somebody_elses_device_and_command_do_not_exist(room: Room) -> None:
    made = await ask(room.commander, room.session, room.device_id, NOW)
    eve = await log_in(room.pool, room.other, NOW)
    with pytest.raises(UnknownDeviceError):
        await ask(room.commander, eve, room.device_id, NOW)
    with pytest.raises(UnknownDeviceError):
        await ask(room.commander, room.session, 7, NOW)
    for device_id in (room.device_id, 7):
        with pytest.raises(UnknownDeviceError):
            await commanding.look(room.pool, room.other, device_id, made.command_id)
        with pytest.raises(UnknownDeviceError):
            await commanding.history(room.pool, room.other, device_id)
    with pytest.raises(UnknownCommandError):
        await commanding.look(room.pool, room.actor, room.device_id, str(uuid.uuid4()))
    assert await commanding.look(room.pool, room.actor, room.device_id, made.command_id) == made
    assert await commanding.history(room.pool, room.actor, room.device_id) == [made]


async def test_time_ends_what_nobody_took_and_what_nobody_answered(room: Room) -> None:
    lost = await ask(room.commander, room.session, room.device_id, NOW, MUTE)
    (parcel,) = await commands.take(room.pool, room.device_id, room.device.kid, 1, NOW + 1)
    assert (parcel.command_id, parcel.kind) == (lost.command_id, "mute")
    late = await ask(room.commander, room.session, room.device_id, NOW, MUTE)
    ends = NOW + MAX_LIFE_MS
    assert await commanding.sweep(room.pool, ends - 1) == 0
    assert commanding.state_of(late, ends) is State.EXPIRED
    assert await commands.take(room.pool, room.device_id, room.device.kid, 1, ends) == []
    assert await commanding.sweep(room.pool, ends) == 1
    assert await commanding.sweep(room.pool, ends + ANSWER_MS) == 1
    found = await room.rows("SELECT command_id::text, state, code, due_ms FROM command ORDER BY counter")
    assert found == [
        (lost.command_id, "unknown", "time_over", None),
        (late.command_id, "expired", "time_over", None),
    ]


async def test_it_is_handed_over_once_and_to_the_right_session_only(room: Room) -> None:
    await ask(room.commander, room.session, room.device_id, NOW)
    kid = room.device.kid
    assert await commands.take(room.pool, room.device_id, kid, 2, NOW) == []  # another log-in
    assert await commands.take(room.pool, room.device_id, "x" * 27, 1, NOW) == []
    first = await commands.take(room.pool, room.device_id, kid, 1, NOW)
    assert len(first) == 1
    assert await commands.take(room.pool, room.device_id, kid, 1, NOW) == first  # the same call again
    assert await commands.take(room.pool, room.device_id, kid, 1, NOW + 1) == []


@pytest.mark.parametrize("act", ["transfer", "release", "rekey"])
async def test_what_is_open_ends_with_the_ownership_or_the_key(room: Room, act: str) -> None:
    await ask(room.commander, room.session, room.device_id, NOW, MUTE)
    await commands.take(room.pool, room.device_id, room.device.kid, 1, NOW)
    await ask(room.commander, room.session, room.device_id, NOW)
    kid = room.device.kid
    match act:
        case "transfer":
            offer = await offering.offer(
                room.pool,
                room.actor,
                room.device_id,
                NOW,
                fresh=True,
                to_company_id=room.other.company_id,
            )
            await offering.accept_offer(room.pool, room.other, offer.offer_id, NOW, fresh=True)
        case "release":
            await room.change("UPDATE latest SET connected = false")
            await owning.release(room.pool, room.actor, room.device_id, NOW, fresh=True)
        case _:
            board = room.device.twin()
            await board.announce(room.pool)
            await owning.approve_rekey(room.pool, room.actor, room.device_id, board.kid, NOW, fresh=True)
            kid = board.kid
    assert await room.rows("SELECT state, code FROM command ORDER BY counter") == [
        ("unknown", "owner_changed"),
        ("expired", "owner_changed"),
    ]
    assert await commands.take(room.pool, room.device_id, kid, 1, NOW) == []


async def test_foresee_tells_without_the_name_and_writes_nothing(room: Room) -> None:
    asked = Order(CommandKind.OUTLET_OFF, Group.MOG)
    seen = await commanding.foresee(room.pool, room.session, room.device_id, asked, NOW)
    assert seen.missing == ()
    assert seen.outlet is not None
    assert seen.outlet.name == "Main outlets"
    assert await room.rows("SELECT 1 FROM command") == []


# --- a process that dies ------------------------------------------------------------------------------------


class DeadError(Exception):
    """Stands for the end of the process at a fault point."""


def die(point: str) -> None:
    raise DeadError(point)


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    faults.disarm()


async def test_a_portal_that_dies_while_it_makes_a_command_leaves_one_or_none(room: Room) -> None:
    for made, point in enumerate(("before", "after")):
        name = str(uuid.uuid4())
        faults.arm(f"command.request.{point}", 1, die)
        with pytest.raises(DeadError):
            await commanding.request(room.commander, room.session, room.device_id, MUTE, name, NOW)
        of_this_name = f"SELECT count(*) FROM command WHERE command_id = '{name}'"
        assert await room.rows(of_this_name) == [(made,)]
        await commanding.request(room.commander, room.session, room.device_id, MUTE, name, NOW)
        assert await room.rows(of_this_name) == [(1,)]


async def test_a_gateway_that_dies_while_it_hands_over_never_sends_twice(room: Room) -> None:
    kid = room.device.kid
    for at_ms, (point, later) in enumerate((("before", 1), ("after", 0))):
        await ask(room.commander, room.session, room.device_id, NOW, MUTE)
        faults.arm(f"gateway.command.{point}", 1, die)
        with pytest.raises(DeadError):
            await commands.take(room.pool, room.device_id, kid, 1, NOW + 2 * at_ms)
        again = await commands.take(room.pool, room.device_id, kid, 1, NOW + 2 * at_ms + 1)
        assert len(again) == later
    assert await room.rows("SELECT DISTINCT state FROM command") == [("delivered",)]
    assert await commanding.sweep(room.pool, NOW + MAX_LIFE_MS + ANSWER_MS) == 2
    assert await room.rows("SELECT DISTINCT state FROM command") == [("unknown",)]


async def test_a_sweep_that_dies_is_made_up_for(room: Room) -> None:
    for point, later in (("before", 1), ("after", 0)):
        await ask(room.commander, room.session, room.device_id, NOW, MUTE)
        faults.arm(f"command.end.{point}", 1, die)
        with pytest.raises(DeadError):
            await commanding.sweep(room.pool, NOW + MAX_LIFE_MS)
        assert await commanding.sweep(room.pool, NOW + MAX_LIFE_MS) == later
    assert await room.rows("SELECT DISTINCT state FROM command") == [("expired",)]
