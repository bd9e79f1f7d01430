"""From events in the database to mails in the outbox."""

import asyncio
from collections.abc import Iterator
from typing import Final

import pytest

from cloud.core.language import speaking
from cloud.postgres import notices, outbox, profiles
from cloud.services import noticing
from cloud.services.kit import Kit
from cloud.services.notice_letters import payload, renew
from cloud.services.notice_words import detail_text
from cloud.services.unsubscribing import read_token, unsubscribe, unsubscribe_token
from tests.support.claiming import make_actors
from tests.support.notice import HOUR, MINUTE, Building
from tests.support.tongue import knowing_german

GERMAN: Final = {
    "on battery": "im Batteriebetrieb",
    "threshold crossed": "Grenzwert überschritten",
    "{rule}: {value}, above {level}": "{rule}: {value}, über {level}",
    "group {group}, on False": "Gruppe {group}, ausgeschaltet",
    "result": "Ergebnis",
    "failed": "durchgefallen",
    "internal fault": "interner Fehler",
    "since {time}": "seit {time}",
    "Site: {site}": "Standort: {site}",
    "{count} UPSs: {what}": "{count} USVs: {what}",
    "No more of these mails: {url}": "Keine solchen Mails mehr: {url}",
}


@pytest.fixture(autouse=True)
def _german() -> Iterator[None]:
    with knowing_german(GERMAN):
        yield


@pytest.fixture
async def building(kit: Kit, database: str) -> Building:
    """A company whose only member is its owner."""
    return Building(kit, make_actors(database, 1)[0])


async def test_a_new_company_tells_its_owner_what_matters(building: Building) -> None:
    (ups,) = await building.add()
    await building.event(ups, "on_battery")
    await building.event(ups, "bypass")
    await building.work(MINUTE)
    (mail,) = await building.mails()
    assert mail.to_address == "p0@example.org"
    assert mail.subject == f"SmartConnect: {ups.name}: on battery"
    assert "since 2027-01-15 08:00:00 UTC" in mail.text
    assert "/alarms" in mail.text
    assert await building.run("SELECT count(*) FROM event WHERE NOT noticed") == [(0,)]


async def test_forty_at_a_site_are_one_mail_and_their_return_another(building: Building) -> None:
    site_id = await building.site("North building")
    many = await building.add(40, site_id)
    await building.events(many, "on_battery")
    await building.work(5 * MINUTE)
    await building.events(many, "mains_back")
    await building.work(5 * MINUTE)
    first, second = await building.mails()
    assert first.subject == "SmartConnect: North building: 40 UPSs: on battery"
    assert second.subject == "SmartConnect: North building: 40 UPSs: mains back"
    assert all(ups.name in first.text for ups in many)


async def test_every_member_gets_one_and_other_companies_none(building: Building, database: str) -> None:
    other, friend = make_actors(database, 2, "q")
    await building.run(
        "INSERT INTO membership VALUES (%s, %s, 'owner', 1)", building.actor.company_id, friend.account_id
    )
    elsewhere = Building(building.desk, other)
    await elsewhere.add()
    await building.events(await building.add(3), "overload")
    await building.work(MINUTE)
    assert sorted(mail.to_address for mail in await building.mails()) == ["p0@example.org", "q1@example.org"]


async def test_old_owners_and_imported_history_are_not_told_of(building: Building, database: str) -> None:
    one, two = await building.add(2)
    await building.event(one, "on_battery", imported=True)
    await building.event(two, "on_battery")
    (buyer,) = make_actors(database, 1, "buyer")
    moved = "SELECT move_ownership(%s, %s, %s, %s, 'transferred', %s)"
    await building.run(moved, two.device_id, two.epoch, buyer.company_id, buyer.account_id, building.now_ms)
    await building.work(HOUR)
    assert await building.mails() == []


async def test_a_transfer_before_the_mail_leaves_takes_its_device_out(
    building: Building, database: str, kit: Kit
) -> None:
    one, two = await building.add(2)
    await building.events([one, two], "on_battery")
    await building.work(MINUTE)
    (buyer,) = make_actors(database, 1, "buyer")
    moved = "SELECT move_ownership(%s, %s, %s, %s, 'transferred', %s)"
    await building.run(moved, two.device_id, two.epoch, buyer.company_id, buyer.account_id, building.now_ms)
    await building.run("UPDATE account SET email = 'new@example.org' WHERE email = 'p0@example.org'")
    (parcel,) = await outbox.take(kit.pool, now_ms=building.now_ms, lease_ms=1, limit=9)
    renewed = await renew(kit, parcel)
    assert renewed is not None
    assert renewed.to_address == "new@example.org", "addresses follow the profile"
    assert one.name in renewed.text
    assert two.name not in renewed.text + renewed.subject
    assert dict(renewed.headers)["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    await building.run(
        moved, one.device_id, one.epoch, buyer.company_id, buyer.account_id, building.now_ms + 1
    )
    assert await renew(kit, parcel) is None


async def test_unsubscribing_works_once_for_all_and_for_nobody_else(building: Building, kit: Kit) -> None:
    (ups,) = await building.add()
    await building.event(ups, "on_battery")
    await building.work(MINUTE)
    ((policy_id,),) = await building.run("SELECT policy_id FROM notice_policy")
    assert isinstance(policy_id, int)
    token = unsubscribe_token(kit.vault, policy_id, building.actor.account_id)
    assert token in (await building.mails())[0].text
    for changed in (token[:-2] + "AA", token[2:], "", "ü", token + "A"):
        assert read_token(kit.vault, changed) is None
        assert not await unsubscribe(kit.pool, kit.vault, changed, building.now_ms)
    assert await unsubscribe(kit.pool, kit.vault, token, building.now_ms)
    assert await unsubscribe(kit.pool, kit.vault, token, building.now_ms)
    await building.event(ups, "overload")
    await building.work(MINUTE)
    assert len(await building.mails()) == 1


async def test_workers_at_once_decide_everything_once(building: Building, database: str, kit: Kit) -> None:
    actors = [building.actor, *make_actors(database, 9, "q")]
    buildings = [Building(kit, actor) for actor in actors]
    for one in buildings:
        await one.events(await one.add(5), "on_battery")

    async def worker() -> None:
        for moment in range(0, 5_000, 500):
            await noticing.take_in(kit, building.now_ms + moment)
            while await noticing.decide_one(kit, building.now_ms + moment):
                pass

    await asyncio.gather(*(worker() for _ in range(4)))
    addresses = [mail.to_address for mail in await building.mails()]
    assert len(addresses) == len(set(addresses)) == 10


async def test_a_channel_and_the_escalation_get_theirs(building: Building, database: str) -> None:
    (boss,) = make_actors(database, 1, "boss")
    await building.run(
        "INSERT INTO membership VALUES (%s, %s, 'viewer', 1)", building.actor.company_id, boss.account_id
    )
    (ups,) = await building.add()
    await building.event(ups, "self_test")
    await building.work(MINUTE)
    ((policy_id,),) = await building.run(
        "UPDATE notice_policy SET escalate_after_s = 300 RETURNING policy_id"
    )
    await building.run(
        "INSERT INTO notice_target VALUES (%s, 1, 'account', %s)", policy_id, str(boss.account_id)
    )
    await building.event(ups, "fault")
    await building.work(4 * MINUTE)
    assert [mail.to_address for mail in await building.mails()] == ["p0@example.org"]
    await building.work(2 * MINUTE)
    mails = await building.mails()
    assert [mail.to_address for mail in mails] == ["p0@example.org", "boss0@example.org"]
    assert "not acknowledged" in mails[1].subject


async def test_each_reader_gets_their_own_language(building: Building, database: str) -> None:
    (friend,) = make_actors(database, 1, "q")
    await building.run(
        "INSERT INTO membership VALUES (%s, %s, 'owner', 1)", building.actor.company_id, friend.account_id
    )
    await building.run("UPDATE account SET language = 'de' WHERE account_id = %s", friend.account_id)
    site_id = await building.site("Halle 3")
    await building.events(await building.add(2, site_id), "on_battery")
    with speaking("fr"):  # what the process happens to speak decides nothing
        await building.work(MINUTE)
    english, german = await building.mails()
    assert (english.to_address, german.to_address) == ("p0@example.org", "q0@example.org")
    assert english.subject == "SmartConnect: Halle 3: 2 UPSs: on battery"
    assert german.subject == "SmartConnect: Halle 3: 2 USVs: im Batteriebetrieb"
    assert ": since 2027-01-15 08:00:00 UTC" in english.text
    assert "No more of these mails: http" in english.text
    assert german.text.startswith("Standort: Halle 3\n\nIm Batteriebetrieb (2)\n")
    assert ": seit 2027-01-15 08:00:00 UTC" in german.text
    assert "Keine solchen Mails mehr: http" in german.text
    assert "since" not in german.text


async def test_what_is_sent_is_in_the_language_of_that_moment(building: Building, kit: Kit) -> None:
    (ups,) = await building.add()
    await building.event(ups, "self_test")
    await building.work(MINUTE)
    await building.run("UPDATE notice_policy SET topics = '{rule}'")
    await building.event(
        *(ups, "rule_raised"), rule_id=1, rule="Last", value=91.5, side="above", threshold=80
    )
    await building.work(MINUTE)
    assert "Threshold crossed" in (await building.mails())[0].text
    await building.run("UPDATE account SET language = 'de'")
    (parcel,) = await outbox.take(kit.pool, now_ms=building.now_ms, lease_ms=1, limit=9)
    renewed = await renew(kit, parcel)
    assert renewed is not None
    assert renewed.subject.endswith(": Grenzwert überschritten")
    assert "(Last: 91,5, über 80)" in renewed.text
    # Who reads a channel is nobody's account.
    with speaking("de"):
        ((delivery_id,),) = await building.run("SELECT delivery_id FROM notice_delivery")
        assert isinstance(delivery_id, int)
        async with kit.pool.connection() as connection:
            delivery = await notices.find(connection, delivery_id)
        assert delivery is not None
        told = payload(kit, delivery)
    assert told["title"].endswith(": threshold crossed")
    assert "(Last: 91.5, above 80)" in told["text"]


@pytest.mark.parametrize(
    ("topic", "told", "said"),
    [
        ("outlet_group", "group sog1, on False", "Gruppe sog1, ausgeschaltet"),
        ("self_test", "result failed, why internal_fault", "Ergebnis durchgefallen, why interner Fehler"),
        ("self_test", "result mended, mood fine", "Ergebnis mended, mood fine"),
        ("rule", "group sog1, on False", "group sog1, on False"),
        ("rule", "Last: warm: 1e+06, above 80", "Last: warm: 1e+06, über 80"),
        ("rule", "Last", "Last"),
    ],
)
def test_details_are_said_as_far_as_they_are_known(topic: str, told: str, said: str) -> None:
    assert detail_text(topic, told) == told
    with speaking("de"):
        assert detail_text(topic, told) == said


async def test_two_rules_are_two_alarms_and_say_which(building: Building) -> None:
    (ups,) = await building.add()
    await building.event(ups, "self_test")
    await building.work(MINUTE)
    await building.run("UPDATE notice_policy SET topics = '{rule}'")
    await building.event(
        *(ups, "rule_raised"), rule_id=1, rule="Load", value=91.0, side="above", threshold=80
    )
    await building.event(ups, "rule_raised", rule_id=2, rule="Battery age", subject="battery_age")
    await building.work(5_000)
    await building.event(ups, "rule_cleared", rule_id=1, rule="Load", why="rule_removed")
    await building.work(5 * MINUTE)
    raised, cleared = await building.mails()
    assert "(Load: 91, above 80)" in raised.text
    assert "(Battery age)" in raised.text
    assert "back within the threshold" in cleared.subject
    assert await building.run("SELECT subject FROM alarm WHERE ended_ms IS NULL AND topic = 'rule'") == [
        ("2",)
    ]


async def test_a_deleted_person_leaves_no_address(building: Building, kit: Kit) -> None:
    (ups,) = await building.add()
    await building.event(ups, "on_battery")
    await building.work(MINUTE)
    async with kit.pool.connection() as connection, connection.transaction():
        await profiles.erase(connection, building.actor.account_id, building.now_ms)
    assert await building.run("SELECT sent_to, ended_ms FROM notice_delivery") == [("", building.now_ms)]
    assert await building.mails() == []


async def test_a_device_away_from_its_site_is_told_of_without_it(building: Building) -> None:
    """And what a released device leaves behind is settled."""
    site_id = await building.site("South")
    (ups,) = await building.add(1, site_id)
    await building.event(ups, "on_battery")
    await building.run("SELECT end_ownership(%s, %s, 'released', NULL, %s)", ups.device_id, ups.epoch, 1)
    await building.work(MINUTE)
    assert await building.mails() == []
    assert await building.run("SELECT count(*) FROM alarm WHERE NOT settled") == [(0,)]
