"""Log-in, standings and presence on a real PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import psycopg
import pytest

from cloud.core.session import Standing
from cloud.postgres import sessions
from cloud.postgres.pool import Pool, make_pool
from cloud.postgres.safety import DatabaseUnavailableError
from cloud.postgres.sessions import (
    StoredKey,
    find_key,
    find_standings,
    listen,
    log_in,
    note_come,
    note_gone,
    note_heard,
)
from tests.support.ingest import KID, own_devices, run

DEVICE: Final = 41
OTHER: Final = "o" * 27


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Pool]:
    async with make_pool(database, name="test", max_size=8) as opened:
        yield opened


@pytest.fixture
def owned(database: str) -> str:
    """A database where DEVICE is owned, its bound key KID last logged in at 1."""
    own_devices(database, [DEVICE], session_no=1, epoch=7)
    return database


def add_candidate(dsn: str, kid: str = OTHER, device_id: int = DEVICE) -> None:
    run(
        dsn,
        "INSERT INTO device_key (device_id, kid, device_pub, state, login_ms, announced_ms, smartconnect,"
        " announcement, created_ms) VALUES (%s, %s, 'pub', 'candidate', 1, 1, true, '', 1)",
        device_id,
        kid,
    )


def latest(dsn: str, device_id: int = DEVICE) -> tuple[Any, ...]:
    """(session_no, connected, seen_ms)"""
    return run(dsn, "SELECT session_no, connected, seen_ms FROM latest WHERE device_id = %s", device_id)[0]


# --- log-in -------------------------------------------------------------------------------------------------


async def test_a_key_is_known_once_it_has_announced_itself(pool: Pool, owned: str) -> None:
    assert await find_key(pool, DEVICE, KID) == StoredKey(b"pub", revoked=False)
    assert await find_key(pool, DEVICE, OTHER) is None
    assert await find_key(pool, DEVICE + 1, KID) is None
    run(owned, "UPDATE device_key SET state = 'revoked'")
    assert await find_key(pool, DEVICE, KID) == StoredKey(b"pub", revoked=True)


async def test_the_log_in_of_the_bound_key_raises_the_fence(pool: Pool, owned: str) -> None:
    assert await log_in(pool, DEVICE, KID, 100, 5_000)
    assert latest(owned) == (100, True, 5_000)


async def test_a_token_is_good_once_and_none_after_a_newer_one(pool: Pool, owned: str) -> None:
    assert await log_in(pool, DEVICE, KID, 100, 5_000)
    for iat_ms in (100, 99, 1, 0, -5):
        assert not await log_in(pool, DEVICE, KID, iat_ms, 6_000)
    assert latest(owned) == (100, True, 5_000)


@pytest.mark.usefixtures("owned")
async def test_of_racing_log_ins_with_one_token_one_succeeds(pool: Pool) -> None:
    outcomes = await asyncio.gather(*(log_in(pool, DEVICE, KID, 100, 5_000) for _ in range(8)))
    assert sorted(outcomes) == [False] * 7 + [True]


async def test_of_racing_log_ins_the_newest_holds_the_fence(pool: Pool, owned: str) -> None:
    outcomes = await asyncio.gather(*(log_in(pool, DEVICE, KID, iat, iat) for iat in range(101, 117)))
    assert outcomes[-1]
    assert latest(owned)[0] == 116
    assert run(owned, "SELECT login_ms FROM device_key") == [(116,)]


async def test_a_key_that_is_not_bound_never_touches_the_fence(pool: Pool, owned: str) -> None:
    add_candidate(owned)
    assert await log_in(pool, DEVICE, OTHER, 100, 5_000)
    assert latest(owned) == (1, False, 0)


async def test_a_revoked_or_unknown_key_does_not_log_in(pool: Pool, owned: str) -> None:
    assert not await log_in(pool, DEVICE, OTHER, 100, 5_000)
    run(owned, "UPDATE device_key SET state = 'revoked'")
    assert not await log_in(pool, DEVICE, KID, 100, 5_000)
    assert latest(owned) == (1, False, 0)


# --- standings ----------------------------------------------------------------------------------------------


async def test_standings_come_in_the_order_asked(pool: Pool, owned: str) -> None:
    add_candidate(owned)
    run(owned, "UPDATE latest SET stream = 5, seq = 6, watch_until_ms = 9")
    bound = Standing(
        known=True,
        owned=True,
        epoch=7,
        stream=5,
        seq=6,
        login_ms=1,
        session_no=1,
        watch_until_ms=9,
        since_ms=1,
    )
    # The position is the device's, whoever asks; whose watch it is, is not.
    candidate = Standing(known=True, epoch=7, stream=5, seq=6, login_ms=1, session_no=1)
    stranger = Standing(epoch=7, stream=5, seq=6, session_no=1)
    asked = [(DEVICE, OTHER), (DEVICE, KID), (DEVICE, "s" * 27), (DEVICE + 1, KID), (DEVICE, KID)]
    assert await find_standings(pool, asked) == [candidate, bound, stranger, Standing(), bound]
    assert await find_standings(pool, []) == []


CHANGES: Final[tuple[tuple[str, dict[str, object]], ...]] = (
    ("UPDATE ownership SET until_ms = 5", {"owned": False, "epoch": 7}),
    ("UPDATE latest SET revoked = true", {"owned": False, "epoch": 7}),
    ("UPDATE latest SET kid = 'x'", {"owned": False, "epoch": 7}),
    ("UPDATE ownership SET kid = 'x'", {"owned": False, "epoch": 7}),
    ("UPDATE device_key SET state = 'revoked'", {"owned": False, "revoked": True, "epoch": 7}),
    ("UPDATE device_key SET state = 'candidate'", {"owned": False, "epoch": 7}),
    ("UPDATE device_key SET login_ms = 50", {"owned": True, "login_ms": 50}),
    ("UPDATE latest SET session_no = 50", {"owned": True, "session_no": 50}),
    ("DELETE FROM latest", {"owned": False, "epoch": 7, "session_no": 0}),
)


async def test_only_the_bound_key_of_an_owned_device_is_owned(pool: Pool, database: str) -> None:
    devices = list(range(1, len(CHANGES) + 1))
    own_devices(database, devices, epoch=7)
    for device, (change, _expected) in zip(devices, CHANGES, strict=True):
        run(database, f"{change} WHERE device_id = %s", device)
    found = await find_standings(pool, [(device, KID) for device in devices])
    for standing, (change, expected) in zip(found, CHANGES, strict=True):
        assert {name: getattr(standing, name) for name in expected} == expected, change


# --- presence -----------------------------------------------------------------------------------------------


async def test_what_is_heard_moves_forward_only_and_for_the_present_session_only(
    pool: Pool, owned: str
) -> None:
    await note_heard(pool, [(DEVICE, 1, 500)])
    await note_heard(pool, [(DEVICE, 1, 400), (DEVICE + 1, 1, 900)])
    await note_heard(pool, [(DEVICE, 2, 900)])
    await note_heard(pool, [])
    assert latest(owned) == (1, False, 500)


async def test_what_is_heard_waits_for_no_writer(pool: Pool, owned: str) -> None:
    with psycopg.connect(owned) as writer:
        writer.execute("UPDATE latest SET seen_ms = 700")
        async with asyncio.timeout(4):  # below the lock time-out
            await note_heard(pool, [(DEVICE, 1, 600)])
    assert latest(owned)[2] == 700


async def test_a_session_whose_device_was_given_an_owner_is_connected(pool: Pool, owned: str) -> None:
    await note_come(pool, [(DEVICE, 2, 500), (DEVICE + 1, 1, 500)])
    await note_come(pool, [])
    assert latest(owned) == (1, False, 0)
    await note_come(pool, [(DEVICE, 1, 500)])
    assert latest(owned) == (1, True, 500)
    await note_gone(pool, [(DEVICE, 1)])
    assert latest(owned) == (1, False, 500)


async def test_a_session_that_has_gone_does_not_take_a_newer_one_with_it(pool: Pool, owned: str) -> None:
    assert await log_in(pool, DEVICE, KID, 100, 5_000)
    assert await log_in(pool, DEVICE, KID, 101, 6_000)
    await note_gone(pool, [(DEVICE, 100)])
    assert latest(owned)[1] is True
    await note_gone(pool, [(DEVICE, 101), (DEVICE + 1, 5)])
    assert latest(owned)[1] is False
    await note_gone(pool, [])


async def test_sessions_of_many_devices_go_while_others_are_noted(pool: Pool, database: str) -> None:
    """The same rows from both ends, many times over: nobody is told to try again over a deadlock."""
    devices = list(range(1, 201))
    own_devices(database, devices)
    for _ in range(10):
        await asyncio.gather(
            note_gone(pool, [(device, 1) for device in devices]),
            note_heard(pool, [(device, 1, 5) for device in reversed(devices)]),
            note_gone(pool, [(device, 1) for device in reversed(devices)]),
            note_heard(pool, [(device, 1, 6) for device in devices]),
        )
    assert run(database, "SELECT DISTINCT connected FROM latest") == [(False,)]


# --- hints --------------------------------------------------------------------------------------------------


class Hints:
    """What ``listen`` has told so far, to be waited for."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self._new = asyncio.Event()

    def __call__(self, device_id: int) -> None:
        self.seen.append(device_id)
        self._new.set()

    async def until(self, device_id: int) -> None:
        async with asyncio.timeout(10):
            while device_id not in self.seen:
                self._new.clear()
                await self._new.wait()


async def listening(dsn: str, hints: Hints) -> "asyncio.Task[None]":
    """A listener that hears: the hint 0 has come through."""
    task = asyncio.create_task(listen(dsn, hints))
    async with asyncio.timeout(10):
        while 0 not in hints.seen:
            run(dsn, "NOTIFY device, '0'")
            await asyncio.sleep(0.01)
    return task


async def test_hints_tell_which_device_has_changed(pool: Pool, owned: str) -> None:
    hints = Hints()
    task = await listening(owned, hints)
    run(owned, "NOTIFY device, 'no number'")
    run(owned, "NOTIFY device, '-9223372036854775808'")
    await hints.until(-(2**63))
    assert await log_in(pool, DEVICE, KID, 100, 5_000)
    await hints.until(DEVICE)
    hints.seen.clear()
    await note_gone(pool, [(DEVICE, 100)])
    await hints.until(DEVICE)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_hints_end_with_their_connection(owned: str) -> None:
    task = await listening(owned, Hints())
    run(
        owned,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s",
        "smartconnect gateway hints",
    )
    async with asyncio.timeout(10):
        with pytest.raises(DatabaseUnavailableError):
            await task


# --- the database is away -----------------------------------------------------------------------------------


async def test_a_database_that_is_away_is_said_to_be_away_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "CHECKOUT_TIMEOUT_S", 0.2)
    pool = make_pool("host=127.0.0.1 port=1 user=nobody", name="test")
    await pool.open()
    try:
        for call in (
            find_key(pool, 1, KID),
            log_in(pool, 1, KID, 1, 1),
            find_standings(pool, [(1, KID)]),
            note_heard(pool, [(1, 1, 1)]),
            note_gone(pool, [(1, 1)]),
            listen("host=127.0.0.1 port=1 user=nobody", print),
        ):
            async with asyncio.timeout(5):
                with pytest.raises(DatabaseUnavailableError):
                    await call
    finally:
        await pool.close()


async def test_a_row_that_somebody_holds_does_not_hold_a_log_in_for_ever(owned: str) -> None:
    async with make_pool(owned, name="test", lock_timeout_ms=100) as pool:
        with psycopg.connect(owned) as holder:
            holder.execute("UPDATE latest SET seen_ms = 1")
            with pytest.raises(DatabaseUnavailableError, match="lock timeout"):
                await log_in(pool, DEVICE, KID, 100, 5_000)
        assert await log_in(pool, DEVICE, KID, 100, 5_000), "the token was not used up"


async def test_a_server_that_hangs_is_away_too(owned: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It neither answers nor ends; its own time-outs, here longer than our patience, do not help."""
    monkeypatch.setattr(sessions, "ANSWER_TIMEOUT_S", 0.2)
    async with make_pool(owned, name="test", lock_timeout_ms=60_000, statement_timeout_ms=60_000) as pool:
        with psycopg.connect(owned) as holder:
            holder.execute("UPDATE latest SET seen_ms = 1")
            with pytest.raises(DatabaseUnavailableError, match="no answer"):
                await log_in(pool, DEVICE, KID, 100, 5_000)
            async with asyncio.timeout(10):
                while sessions._ending:
                    await asyncio.sleep(0.01)
        monkeypatch.undo()
        assert await log_in(pool, DEVICE, KID, 100, 5_000), "the token was not used up"


async def test_whoever_stops_asking_does_not_wait_for_the_answer(owned: str) -> None:
    async with make_pool(owned, name="test") as pool:
        with psycopg.connect(owned) as holder:
            holder.execute("UPDATE latest SET seen_ms = 1")
            asking = asyncio.create_task(log_in(pool, DEVICE, KID, 100, 5_000))
            async with asyncio.timeout(10):
                while not run(owned, "SELECT 1 FROM pg_locks WHERE NOT granted"):
                    await asyncio.sleep(0.01)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            async with asyncio.timeout(10):
                while sessions._ending:
                    await asyncio.sleep(0.01)
    assert run(owned, "SELECT login_ms FROM device_key") == [(1,)]
