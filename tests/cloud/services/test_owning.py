"""Release, transfer, re-key and the mails about them on a real PostgreSQL."""

import asyncio
import gettext as standard
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import psycopg
import pytest

from cloud import catalogs
from cloud.core import language
from cloud.core.authz import Actor, NotAllowedError, Role
from cloud.core.device import MatterKind
from cloud.core.effects import Notice
from cloud.core.tenure import DRAIN_MS
from cloud.postgres.pool import Pool, make_pool
from cloud.services import claiming, offering, owning
from cloud.services.acting import OwningCode, OwningError
from cloud.services.claim_view import ViewState
from cloud.services.kit import Kit
from cloud.services.ownership_letters import TEXTS, deliver
from cloud.services.passwords import Passwords
from cloud.services.vault import Vault
from protocol.messages import Request
from tests.support.claiming import NOW, TestDevice, make_actors

DAY = 86_400_000


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Pool]:
    async with make_pool(database, name="test", max_size=4) as opened:
        yield opened


@pytest.fixture
def people(database: str) -> list[Actor]:
    return make_actors(database, 3)


@pytest.fixture
def kit(pool: Pool) -> Iterator[Kit]:
    with Passwords() as passwords:
        yield Kit(pool, passwords, Vault(bytes(32)), "Brand", "https://portal.example.org")


def rows(dsn: str, statement: str, *values: object) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(statement, values).fetchall()


async def owned(pool: Pool, person: Actor) -> TestDevice:
    device = TestDevice()
    await device.announce(pool, iat_ms=77)
    won = await claiming.submit(pool, person, device.product_id, device.label_pub, NOW)
    assert won.state is ViewState.WON
    return device


def connect(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("UPDATE latest SET connected = true")


async def refused(code: OwningCode, act: object) -> None:
    with pytest.raises(OwningError) as caught:
        await act  # type: ignore[misc]  # a coroutine
    assert caught.value.code is code


async def test_a_device_that_is_away_is_released_at_once_and_cut_off(
    database: str, pool: Pool, people: list[Actor]
) -> None:
    device = await owned(pool, people[0])
    after = await owning.release(pool, people[0], device.device_id, NOW + 5, fresh=True)
    assert after.owner is None
    assert rows(database, "SELECT until_ms, ended_by FROM v_ownership") == [(NOW + 5, "released")]
    assert rows(database, "SELECT revoked, connected FROM latest") == [(True, False)]
    assert rows(database, "SELECT state FROM device_key") == [("candidate",)]
    again = await owning.release(pool, people[0], device.device_id, NOW + 6, fresh=True)
    assert again.owner is None
    await refused(
        OwningCode.UNKNOWN_DEVICE, owning.release(pool, people[1], device.device_id, NOW + 7, fresh=True)
    )


async def test_a_connected_device_drains_first(database: str, pool: Pool, people: list[Actor]) -> None:
    device = await owned(pool, people[0])
    connect(database)
    asked = await owning.release(pool, people[0], device.device_id, NOW + 5, fresh=True)
    assert asked.open(MatterKind.RELEASE) is not None
    assert await owning.sweep(pool, NOW + 5 + DRAIN_MS - 1) == 0
    refusal = offering.offer(pool, people[0], device.device_id, NOW + 6, fresh=True, to_email="x@example.org")
    await refused(OwningCode.RELEASING, refusal)
    assert await owning.sweep(pool, NOW + 5 + DRAIN_MS) == 1
    assert rows(database, "SELECT 1 FROM v_ownership WHERE until_ms IS NULL") == []


async def test_an_offer_by_mail_is_taken_by_its_reader_only(
    database: str, pool: Pool, people: list[Actor], kit: Kit
) -> None:
    device = await owned(pool, people[0])
    made = await offering.offer(
        pool, people[0], device.device_id, NOW, fresh=True, to_email="P1@example.org "
    )
    stored = rows(database, "SELECT secret_hash::text, to_email FROM matter")
    secret = made.token.partition(".")[2]
    assert secret not in str(stored)
    assert await deliver(kit, NOW + 1) == 1
    mails = rows(database, "SELECT to_address, text FROM mail WHERE kind = 'ownership_offered'")
    assert [(to, made.token in str(text)) for to, text in mails] == [("P1@example.org", True)]
    assert secret not in str(rows(database, "SELECT detail::text FROM ownership_notice"))
    await refused(OwningCode.OFFER_FOR_ANOTHER, offering.see_offer(pool, people[2], made.token, NOW))
    wrong = f"{made.offer_id}.wrong"
    await refused(OwningCode.UNKNOWN_OFFER, offering.see_offer(pool, people[1], wrong, NOW))
    seen = await offering.see_offer(pool, people[1], made.token, NOW)
    assert (seen.product_id, seen.from_company) == (device.product_id.value, "company 0")
    await refused(
        OwningCode.FACTOR_NEEDED, offering.accept_offer(pool, people[1], made.token, NOW, fresh=False)
    )
    for _ in range(2):
        taken = await offering.accept_offer(pool, people[1], made.token, NOW + 9, fresh=True)
        assert taken.owner is not None
        assert (taken.owner.company_id, taken.owner.epoch) == (people[1].company_id, NOW + 9)
    assert rows(database, "SELECT epoch, session_no, revoked FROM latest") == [(NOW + 9, 77, False)]
    await refused(
        OwningCode.UNKNOWN_OFFER, offering.accept_offer(pool, people[2], made.token, NOW + 10, fresh=True)
    )


async def test_an_offer_is_mailed_to_the_address_as_typed_and_compared_folded(
    database: str, pool: Pool, people: list[Actor], kit: Kit
) -> None:
    typed, folded = "Straße@example.org", "strasse@example.org"  # two mailboxes, perhaps of two people
    with psycopg.connect(database, autocommit=True) as connection:
        account = [typed, folded, people[1].account_id]
        connection.execute("UPDATE account SET email = %s, email_norm = %s WHERE account_id = %s", account)
    device = await owned(pool, people[0])
    made = await offering.offer(pool, people[0], device.device_id, NOW, fresh=True, to_email=typed)
    await deliver(kit, NOW + 1)
    sent = rows(database, "SELECT to_address FROM mail WHERE kind = 'ownership_offered'")
    assert sent == [(typed,)]
    for stored in (typed, folded):  # folded: an offer from before addresses were kept as typed
        with psycopg.connect(database, autocommit=True) as connection:
            changed = connection.execute("UPDATE matter SET to_email = %s WHERE kind = 'offer'", [stored])
            assert changed.rowcount == 1
        assert (await offering.see_offer(pool, people[1], made.token, NOW)).offer_id == made.offer_id
        await refused(OwningCode.OFFER_FOR_ANOTHER, offering.see_offer(pool, people[2], made.token, NOW))


async def test_an_offer_expires(pool: Pool, people: list[Actor]) -> None:
    device = await owned(pool, people[0])
    to = people[1].company_id
    made = await offering.offer(pool, people[0], device.device_id, NOW, fresh=True, to_company_id=to)
    late = NOW + 7 * DAY
    refusal = offering.accept_offer(pool, people[1], made.offer_id, late, fresh=True)
    await refused(OwningCode.UNKNOWN_OFFER, refusal)
    assert await owning.sweep(pool, late) == 1


async def test_a_new_key_takes_over_in_the_same_epoch(database: str, pool: Pool, people: list[Actor]) -> None:
    device = await owned(pool, people[0])
    board = device.twin()
    await board.announce(pool, NOW + 5, iat_ms=99)
    for _ in range(2):
        after = await owning.approve_rekey(pool, people[0], device.device_id, board.kid, NOW + 6, fresh=True)
        assert after.owner is not None
        assert (after.owner.kid, after.owner.epoch) == (board.kid, NOW)
    assert rows(database, "SELECT kid, session_no, epoch FROM latest") == [(board.kid, 99, NOW)]
    assert await device.announce(pool, NOW + 7, iat_ms=100) is claiming.Noted.REVOKED
    assert await board.announce(pool, NOW + 8, iat_ms=100) is claiming.Noted.BOUND


async def test_a_revoked_key_changes_nothing_but_what_was_due(
    database: str, pool: Pool, people: list[Actor]
) -> None:
    """Found by the ownership model (seed 5008005): what time had ended was decided and then not stored."""
    device = await owned(pool, people[0])
    second, third = device.twin(), device.twin()
    await second.announce(pool, NOW + 1)
    await owning.approve_rekey(pool, people[0], device.device_id, second.kid, NOW + 2, fresh=True)
    await third.announce(pool, NOW + 3)
    asked = "SELECT subject, status FROM v_matter WHERE kind = 'rekey' ORDER BY matter_id"
    assert rows(database, asked) == [(second.kid, "done"), (third.kid, "open")]
    before = rows(database, "SELECT * FROM device_key ORDER BY kid")
    assert await device.announce(pool, NOW + 4 + DAY, iat_ms=99) is claiming.Noted.REVOKED
    assert rows(database, asked) == [(second.kid, "done"), (third.kid, "expired")]
    assert rows(database, "SELECT * FROM device_key ORDER BY kid") == before


async def test_a_viewer_may_not_and_a_stolen_device_stays(pool: Pool, people: list[Actor]) -> None:
    device = await owned(pool, people[0])
    viewer = replace(people[0], role=Role.VIEWER)
    with pytest.raises(NotAllowedError):
        await owning.release(pool, viewer, device.device_id, NOW, fresh=True)
    await owning.mark_stolen(pool, people[0], device.device_id, NOW)
    await refused(OwningCode.STOLEN, owning.release(pool, people[0], device.device_id, NOW, fresh=True))
    await owning.lift_stolen(pool, people[0], device.device_id, NOW, fresh=True)
    assert (await owning.release(pool, people[0], device.device_id, NOW, fresh=True)).owner is None


async def test_a_closed_company_leaves_nothing(database: str, pool: Pool, people: list[Actor]) -> None:
    kept, given = await owned(pool, people[0]), TestDevice()
    await claiming.submit(pool, people[0], given.product_id, given.label_pub, NOW)
    to = people[1].company_id
    for moved in (1, 0):
        assert moved == await owning.close_company(
            pool, people[0].company_id, NOW + 1, hand_to_company_id=to, account_id=None
        )
    assert rows(database, "SELECT device_id, company_id FROM v_ownership WHERE until_ms IS NULL") == [
        (kept.device_id, to)
    ]
    assert rows(database, "SELECT 1 FROM v_pending") == []


async def test_both_sides_of_a_dispute_hear_of_its_end(
    database: str, pool: Pool, people: list[Actor], kit: Kit
) -> None:
    device = await owned(pool, people[0])
    lost = await claiming.submit(pool, people[1], device.product_id, device.label_pub, NOW + 1)
    assert lost.state is ViewState.REFUSED
    await owning.dismiss_dispute(pool, people[0], device.device_id, people[1].company_id, NOW + 2)
    await claiming.submit(pool, people[1], device.product_id, device.label_pub, NOW + 3)
    assert await deliver(kit, NOW + 4) == 2
    assert await deliver(kit, NOW + 5) == 0
    assert rows(database, "SELECT to_address, kind FROM mail ORDER BY mail_id") == [
        ("p0@example.org", "ownership_disputed"),
        ("p1@example.org", "ownership_dispute_dismissed"),
    ]
    assert [
        kind for (kind,) in rows(database, "SELECT kind FROM v_audit WHERE starts_with(kind, 'dispute')")
    ] == [
        "dispute_opened",
        "dispute_dismissed",
    ]


def test_every_notice_has_its_words() -> None:
    assert set(TEXTS) == set(Notice)


class Said(standard.NullTranslations):
    """Says every text in brackets."""

    def gettext(self, message: str) -> str:
        return f"«{message}»"


@pytest.fixture
def _german() -> Iterator[None]:
    language.learn({"de": Said()})
    yield
    catalogs.load()


@pytest.mark.usefixtures("_german")
async def test_mails_are_in_the_language_of_whoever_gets_them(
    database: str, pool: Pool, people: list[Actor], kit: Kit
) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("UPDATE account SET language = 'de' WHERE email <> 'p0@example.org'")
    device = await owned(pool, people[0])
    await device.announce(pool, NOW + 1, request=Request.RELEASE, iat_ms=77)
    for place, email in enumerate(("p1@example.org", "nobody@example.org")):
        offer = (pool, people[0], device.device_id, NOW + 2 + place)
        await offering.offer(*offer, fresh=True, to_email=email)
        await deliver(kit, NOW + 3 + place)
        await offering.withdraw_offer(pool, people[0], device.device_id, NOW + 3 + place)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("UPDATE account SET language = 'fr' WHERE email = 'p0@example.org'")
    await owning.sweep(pool, NOW + 1 + 3 * DAY)
    await deliver(kit, NOW + 1 + 3 * DAY)
    mails = {
        (str(to), str(kind)): f"{subject} {text}"
        for to, kind, subject, text in rows(database, "SELECT to_address, kind, subject, text FROM mail")
    }
    english, german = (
        mails["nobody@example.org", "ownership_offered"],
        mails["p1@example.org", "ownership_offered"],
    )
    assert "Brand: You are offered" in english
    assert "«" not in english
    assert "Brand: «You are offered" in german
    assert "«Open https://portal.example.org/transfers#" in german
    assert "«" not in mails["p0@example.org", "ownership_second_hand_asked"]
    assert "by 29 janvier 2027, 08:00 UTC" in mails["p0@example.org", "ownership_second_hand_reminder"]


async def test_reminders_of_a_second_hand_request_go_out_once_each(
    database: str, pool: Pool, people: list[Actor], kit: Kit
) -> None:
    device = await owned(pool, people[0])
    await device.announce(pool, NOW + 1, request=Request.RELEASE, iat_ms=77)
    assert await deliver(kit, NOW + 1) == 1

    async def portal(now_ms: int) -> None:
        """One that has just started, or another one beside it."""
        async with make_pool(database, name="portal", max_size=2) as own_pool:
            await owning.sweep(own_pool, now_ms)
            await deliver(replace(kit, pool=own_pool), now_ms)

    reminders = (
        "SELECT to_address, text FROM mail WHERE kind = 'ownership_second_hand_reminder' ORDER BY mail_id"
    )
    await portal(NOW + 3 * DAY)
    assert rows(database, reminders) == []
    for day, count in ((3, 1), (4, 1), (7, 2), (8, 2), (13, 2)):
        now_ms = NOW + 1 + day * DAY
        await asyncio.gather(portal(now_ms), portal(now_ms + 5), portal(now_ms))
        await portal(now_ms + 10)
        mails = rows(database, reminders)
        assert len(mails) == count, day
    assert {to for to, _text in mails} == {"p0@example.org"}
    assert all("29 January 2027, 08:00 UTC" in str(text) for _to, text in mails)
    assert all(f"/devices/{device.device_id}" in str(text) for _to, text in mails)
    audit = "SELECT epoch FROM device_audit WHERE kind = 'second_hand_reminded'"
    assert len(rows(database, audit)) == 2
    await portal(NOW + 1 + 14 * DAY)
    assert rows(database, "SELECT 1 FROM v_ownership WHERE until_ms IS NULL") == []
