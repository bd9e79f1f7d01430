"""Claiming on a real PostgreSQL: both orders, races, faults, and what everybody is told."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from cloud.core.authz import Actor, NotAllowedError, Role
from cloud.core.device import LIVE_MS
from cloud.embedded import EmbeddedPostgres
from cloud.postgres.claims import DeviceMismatchError
from cloud.postgres.migrate import migrate
from cloud.postgres.pool import Pool, make_pool
from cloud.services import claiming, owning
from cloud.services.claim_view import ALREADY_YOURS, ClaimView, ViewState
from cloud.services.claiming import Noted
from cloud.web.housekeeping import keeping_house
from tests.support.claiming import NOW, TestDevice, make_actors

DAY = 86_400_000


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Pool]:
    async with make_pool(database, name="test", max_size=8) as opened:
        yield opened


@pytest.fixture
def people(database: str) -> list[Actor]:
    return make_actors(database, 3)


async def claim(pool: Pool, actor: Actor, device: TestDevice, now_ms: int = NOW) -> ClaimView:
    return await claiming.submit(pool, actor, device.product_id, device.label_pub, now_ms)


def rows(dsn: str, statement: str, *values: object) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(statement, values).fetchall()


async def test_announce_first(database: str, pool: Pool, people: list[Actor]) -> None:
    device = TestDevice()
    assert await device.announce(pool, iat_ms=77) is Noted.RECORDED
    won = await claim(pool, people[0], device, NOW + 5)
    assert (won.state, won.reason, won.epoch) == (ViewState.WON, "", NOW + 5)
    assert won.device_id == device.device_id
    assert rows(database, "SELECT company_id, account_id, kid, epoch FROM v_ownership") == [
        (people[0].company_id, people[0].account_id, device.kid, NOW + 5)
    ]
    assert rows(database, "SELECT kid, session_no, epoch, smartconnect FROM latest") == [
        (device.kid, 77, NOW + 5, True)
    ]
    assert rows(database, "SELECT model, serial, rated_apparent_power_va, last_epoch FROM device") == [
        ("Smart-UPS 1500", "AS1234567890", 1500, NOW + 5)
    ]
    kinds = [row[0] for row in rows(database, "SELECT kind FROM v_audit ORDER BY ts_ms, kind")]
    assert kinds == ["announced", "bound", "claimed"]


async def test_claim_first(database: str, pool: Pool, people: list[Actor]) -> None:
    device = TestDevice()
    waiting = await claim(pool, people[0], device)
    assert (waiting.state, waiting.keys) == (ViewState.WAITING_FOR_DEVICE, ())
    with psycopg.connect(database, autocommit=True) as listener:
        listener.execute("LISTEN device")
        assert await device.announce(pool, NOW + 3 * DAY) is Noted.BOUND
        heard = {notify.payload for notify in listener.notifies(timeout=5, stop_after=1)}
    assert heard == {str(device.device_id)}
    won = await claiming.view(pool, people[0], claim_id=waiting.claim_id, now_ms=NOW + 3 * DAY)
    assert (won.state, won.decided_ms) == (ViewState.WON, NOW + 3 * DAY)
    assert await device.announce(pool, NOW + 3 * DAY + 1) is Noted.BOUND


async def test_the_same_company_has_one_claim_however_often_it_asks(
    database: str, pool: Pool, people: list[Actor]
) -> None:
    device = TestDevice()
    first = await claim(pool, people[0], device)
    assert await claim(pool, people[0], device, NOW + 60_000) == first
    await device.announce(pool, NOW + 70_000)
    again = await claim(pool, people[0], device, NOW + 80_000)
    assert (again.state, again.reason, again.claim_id) == (ViewState.WON, ALREADY_YOURS, first.claim_id)
    assert len(rows(database, "SELECT 1 FROM claim")) == 1


async def test_who_comes_second_is_told_so_and_leaves_one_row(
    database: str, pool: Pool, people: list[Actor]
) -> None:
    device = TestDevice()
    waiting = [await claim(pool, person, device, NOW + number) for number, person in enumerate(people[:2])]
    await device.announce(pool, NOW + 9)
    lost = await claiming.view(pool, people[1], claim_id=waiting[1].claim_id, now_ms=NOW + 9)
    assert (lost.state, lost.reason, lost.keys) == (ViewState.REFUSED, "owned_elsewhere", ())
    tries = [await claim(pool, people[2], device, NOW + 20 + number) for number in range(3)]
    assert {(one.state, one.reason, one.claim_id) for one in tries} == {
        (ViewState.REFUSED, "owned_elsewhere", tries[0].claim_id)
    }
    assert len(rows(database, "SELECT 1 FROM claim WHERE state = 'refused'")) == 2
    retry = await claim(pool, people[1], device, NOW + 40)
    assert retry.claim_id == lost.claim_id


async def test_a_wrong_key_an_unknown_id_and_an_unseen_device_look_the_same(
    pool: Pool, people: list[Actor]
) -> None:
    device, unseen = TestDevice(), TestDevice()
    await device.announce(pool)
    wrong_key = TestDevice(product_id=device.product_id)
    answers = []
    for one in (wrong_key, unseen):
        answer = await claim(pool, people[0], one)
        answers.append(replace(answer, claim_id="", device_id=0, product_id=""))
        assert len(str(answer.claim_id)) == 36
    assert answers[0] == answers[1]
    assert answers[0].state is ViewState.WAITING_FOR_DEVICE
    right = await claim(pool, people[1], device)
    assert right.state is ViewState.WON
    wrong_again = await claim(pool, people[2], wrong_key)
    assert replace(wrong_again, claim_id="", device_id=0, product_id="", created_ms=NOW) == answers[0]


async def test_smartconnect_off_waits_and_prompts(database: str, pool: Pool, people: list[Actor]) -> None:
    device = TestDevice()
    await device.announce(pool, smartconnect=False)
    prompted = await claim(pool, people[0], device)
    assert prompted.state is ViewState.SMARTCONNECT_OFF
    assert [key.smartconnect for key in prompted.keys] == [False]
    await device.announce(pool, NOW + 5, smartconnect=True)
    assert (await claiming.view(pool, people[0], device_id=device.device_id, now_ms=NOW + 5)).state is (
        ViewState.WON
    )
    await device.announce(pool, NOW + 6, smartconnect=False)
    assert rows(database, "SELECT smartconnect FROM latest") == [(False,)]


async def test_of_several_keys_the_claimant_picks_one(database: str, pool: Pool, people: list[Actor]) -> None:
    device = TestDevice()
    twin = device.twin()
    await device.announce(pool)
    await twin.announce(pool)
    choice = await claim(pool, people[0], device)
    assert choice.state is ViewState.SEVERAL_KEYS
    assert {key.kid for key in choice.keys} == {device.kid, twin.kid}
    assert choice.claim_id is not None
    with pytest.raises(claiming.UnknownKeyError):
        await claiming.pick(pool, people[0], choice.claim_id, TestDevice().kid, NOW)
    with pytest.raises(claiming.UnknownClaimError):
        await claiming.pick(pool, people[1], choice.claim_id, device.kid, NOW)
    won = await claiming.pick(pool, people[0], choice.claim_id, device.kid, NOW)
    assert won.state is ViewState.WON
    assert rows(database, "SELECT kid FROM v_ownership") == [(device.kid,)]
    assert rows(database, "SELECT model FROM device") == [("Smart-UPS 1500",)]
    assert (await claiming.pick(pool, people[0], choice.claim_id, twin.kid, NOW)).state is ViewState.WON


async def test_another_key_on_an_owned_device_changes_nothing(
    database: str, pool: Pool, people: list[Actor]
) -> None:
    device = TestDevice()
    await device.announce(pool)
    await claim(pool, people[0], device)
    before = rows(database, "SELECT o, l, d.model, d.serial FROM ownership o, latest l, device d")
    assert await device.twin().announce(pool, NOW + 1000, smartconnect=False) is Noted.RECORDED
    assert rows(database, "SELECT o, l, d.model, d.serial FROM ownership o, latest l, device d") == before


async def test_an_announcement_of_an_older_login_is_refused_whole(pool: Pool, people: list[Actor]) -> None:
    device = TestDevice()
    await device.announce(pool, iat_ms=20, smartconnect=False)
    waiting = await claim(pool, people[0], device)
    assert await device.announce(pool, iat_ms=19) is Noted.SUPERSEDED
    seen = await claiming.view(pool, people[0], claim_id=waiting.claim_id, now_ms=NOW)
    assert seen.state is ViewState.SMARTCONNECT_OFF
    assert await device.announce(pool, iat_ms=20) is Noted.BOUND


async def test_a_revoked_key_announces_in_vain(database: str, pool: Pool, people: list[Actor]) -> None:
    device = TestDevice()
    await device.announce(pool)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("UPDATE device_key SET state = 'revoked'")
    assert await device.announce(pool, NOW + 1) is Noted.REVOKED
    assert (await claim(pool, people[0], device)).state is ViewState.WAITING_FOR_DEVICE


async def test_a_stale_announcement_is_not_enough(pool: Pool, people: list[Actor]) -> None:
    device = TestDevice()
    await device.announce(pool)
    stale = await claim(pool, people[0], device, NOW + LIVE_MS + 1)
    assert stale.state is ViewState.WAITING_FOR_DEVICE
    assert await device.announce(pool, NOW + LIVE_MS + 2) is Noted.BOUND


async def test_claims_expire_with_or_without_housekeeping(
    database: str, pool: Pool, people: list[Actor]
) -> None:
    device, other = TestDevice(), TestDevice()
    waiting = await claim(pool, people[0], device)
    await claim(pool, people[1], other)
    late = waiting.expires_ms
    assert (await claiming.view(pool, people[0], claim_id=waiting.claim_id, now_ms=late - 1)).state is (
        ViewState.WAITING_FOR_DEVICE
    )
    assert (await claiming.view(pool, people[0], claim_id=waiting.claim_id, now_ms=late)).state is (
        ViewState.EXPIRED
    )
    await device.announce(pool, late)  # comes too late: the claim ends in its transaction
    assert rows(database, "SELECT state FROM claim WHERE device_id = %s", device.device_id) == [("expired",)]
    assert await claiming.expire(pool, late) == 1
    assert await claiming.expire(pool, late) == 0
    assert {row[0] for row in rows(database, "SELECT state FROM claim")} == {"expired"}
    assert await claiming.expire(pool, late + DAY + 1) == 1  # the announcement is forgotten after a day
    assert rows(database, "SELECT 1 FROM device_key") == []
    fresh = await claim(pool, people[0], device, late + DAY + 2)
    assert fresh.state is ViewState.WAITING_FOR_DEVICE
    assert fresh.claim_id != waiting.claim_id


async def test_cancelling(pool: Pool, people: list[Actor]) -> None:
    device = TestDevice()
    waiting = await claim(pool, people[0], device)
    assert waiting.claim_id is not None
    with pytest.raises(claiming.UnknownClaimError):
        await claiming.cancel(pool, people[1], waiting.claim_id, NOW)
    for _ in range(2):
        assert (await claiming.cancel(pool, people[0], waiting.claim_id, NOW)).state is ViewState.CANCELLED
    assert await device.announce(pool) is Noted.RECORDED
    assert (await claim(pool, people[1], device)).state is ViewState.WON


async def test_other_companies_claims_do_not_exist(pool: Pool, people: list[Actor]) -> None:
    device = TestDevice()
    waiting = await claim(pool, people[0], device)
    for name in (waiting.claim_id, "no-such-claim", "6ba7b810-9dad-41d1-80b4-00c04fd430c8"):
        with pytest.raises(claiming.UnknownClaimError):
            await claiming.view(pool, people[1], claim_id=name, now_ms=NOW)
    with pytest.raises(claiming.UnknownClaimError):
        await claiming.view(pool, people[1], device_id=device.device_id, now_ms=NOW)
    for name in ("x", "00000000-0000-8000-8000-000000000000"):
        with pytest.raises(claiming.UnknownClaimError):
            await claiming.cancel(pool, people[0], name, NOW)


async def test_a_viewer_may_not_claim(pool: Pool, people: list[Actor]) -> None:
    viewer = replace(people[0], role=Role.VIEWER)
    with pytest.raises(NotAllowedError):
        await claim(pool, viewer, TestDevice())


async def test_strange_texts_and_numbers_of_a_device_are_stored_harmlessly(database: str, pool: Pool) -> None:
    device = TestDevice(model="a\0b\r\n\x1b[31m" + "x" * 500)
    assert await device.announce(pool, watts=2**40) is Noted.RECORDED
    assert rows(database, "SELECT model, rated_real_power_w FROM device") == [
        (("ab[31m" + "x" * 500)[:64], 0)
    ]


async def test_two_devices_with_one_number_are_refused(
    database: str, pool: Pool, people: list[Actor]
) -> None:
    device = TestDevice()
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO device (device_id, product_id, label_pub, created_ms) VALUES (%s, %s, %s, 1)",
            (device.device_id, device.product_id.value, bytes(32)),
        )
    with pytest.raises(DeviceMismatchError):
        await device.announce(pool)
    with pytest.raises(DeviceMismatchError):
        await claim(pool, people[0], device)


async def test_the_caller_checks_kid_and_size(pool: Pool) -> None:
    device = TestDevice()
    for kid, sealed in ((TestDevice().kid, b""), (device.kid, bytes(4000))):
        with pytest.raises(ValueError, match="the caller checks"):
            await claiming.announced(
                pool, kid=kid, announcement=device.announcement(), sealed=sealed, iat_ms=1, now_ms=NOW
            )


@pytest.mark.parametrize("announce_first", [True, False])
async def test_32_companies_race_for_one_device(database: str, pool: Pool, announce_first: bool) -> None:
    racers = make_actors(database, 32)
    device = TestDevice()
    if announce_first:
        await device.announce(pool)
        answers = await asyncio.gather(*(claim(pool, racer, device) for racer in racers))
    else:
        waiting = await asyncio.gather(
            *(claim(pool, racer, device) for racer in racers), device.announce(pool)
        )
        assert waiting.pop() in {Noted.BOUND, Noted.RECORDED}
        answers = [
            await claiming.view(pool, racer, device_id=device.device_id, now_ms=NOW) for racer in racers
        ]
    winners = [racer for racer, answer in zip(racers, answers, strict=True) if answer.state is ViewState.WON]
    assert len(winners) == 1
    assert sum((one.state, one.reason) == (ViewState.REFUSED, "owned_elsewhere") for one in answers) == 31
    assert rows(database, "SELECT company_id FROM v_ownership") == [(winners[0].company_id,)]
    assert rows(database, "SELECT 1 FROM v_pending") == []


async def test_a_claim_outlives_a_restart_of_everything(tmp_path: Path) -> None:
    device = TestDevice()
    with EmbeddedPostgres(tmp_path) as server:
        migrate(server.dsn("postgres"))
        actor = make_actors(server.dsn("postgres"), 1)[0]
        async with make_pool(server.dsn("postgres"), name="test") as pool:
            waiting = await claim(pool, actor, device)
    with EmbeddedPostgres(tmp_path) as server:
        async with make_pool(server.dsn("postgres"), name="test") as pool:
            assert await device.announce(pool, NOW + 1) is Noted.BOUND
            won = await claiming.view(pool, actor, claim_id=waiting.claim_id, now_ms=NOW + 1)
            assert won.state is ViewState.WON


async def test_a_running_portal_ends_claims_by_itself(database: str, pool: Pool, people: list[Actor]) -> None:
    device = TestDevice()
    await claim(pool, people[0], device)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("UPDATE claim SET expires_ms = 1")
        connection.execute("LISTEN device")
        async with keeping_house(pool, 30, period_s=0.01):
            heard = await asyncio.to_thread(lambda: list(connection.notifies(timeout=20, stop_after=1)))
    assert [notify.payload for notify in heard] == [str(device.device_id)]
    assert rows(database, "SELECT state FROM claim") == [("expired",)]


async def test_the_answer_is_that_of_this_claim_whatever_the_clock_says(
    pool: Pool, people: list[Actor]
) -> None:
    """Claims on one device are a millisecond apart at least, so the refusal of a lost race may look newer."""
    device = TestDevice()
    for person in people:
        assert (await claim(pool, person, device)).state is ViewState.WAITING_FOR_DEVICE
    await device.announce(pool)
    for winner, loser in ((0, 1), (1, 2)):
        assert (await claim(pool, people[loser], device)).state is ViewState.REFUSED
        await owning.release(pool, people[winner], device.device_id, NOW, fresh=True)
        assert (await claim(pool, people[loser], device)).state is ViewState.WON
        assert (await claim(pool, people[winner], device)).state is ViewState.REFUSED
    await owning.release(pool, people[2], device.device_id, NOW, fresh=True)
    assert (await claim(pool, people[1], device, NOW - 1000)).state is ViewState.WON
