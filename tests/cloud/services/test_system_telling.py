"""Who gets a mail about a registered system, and what closing a company does to its slots."""

import gettext as standard

import pytest

from cloud import catalogs
from cloud.core import language
from cloud.core.authz import Role
from cloud.core.refusal import RefusalCode
from cloud.core.system import Slot
from cloud.core.system_data import Part
from cloud.postgres import accounts, companies, outbox
from cloud.services import account_deletion, exporting, system_editing, system_slots
from cloud.services.accounts import Identity
from cloud.services.kit import Kit
from cloud.services.mail_pace import TOLD
from protocol.system import Source, System
from protocol.system_code import Operation, written_number
from tests.support.kit import log_in, newest_letter, refusal_of
from tests.support.system_scene import FORM, NOW, Scene, make_scene

BOTH = frozenset({Part.DATA, Part.CONTACTS})


@pytest.fixture
async def scene(kit: Kit) -> Scene:
    return await make_scene(kit)


async def shared(scene: Scene) -> int:
    """A system with Ada as its integrator and Bob as its end-user."""
    server = scene.server()
    number = await scene.registered(scene.ada, server)
    await scene.register(scene.bob, await server.link(scene.kit, NOW), Slot.END_USER)
    return number


async def subjects(scene: Scene, name: str) -> list[str]:
    """The subjects of all mails to somebody, oldest first, without the brand."""
    letters = await outbox.newest(scene.kit.pool, to_address=f"{name}@example.org")
    return [letter.subject.partition(": ")[2] for letter in reversed(letters)]


async def last(scene: Scene, name: str) -> str:
    """What the last mail to somebody says."""
    return (await newest_letter(scene.kit.pool, f"{name}@example.org")).text


async def test_the_other_end_is_told_what_has_changed_and_who_did_it_is_not(scene: Scene) -> None:
    kit = scene.kit
    number = await shared(scene)
    assert await subjects(scene, "bob") == []
    assert "End-user: " in await last(scene, "ada")
    await system_editing.save(kit, scene.bob, number, BOTH, FORM, NOW)
    text = await last(scene, "ada")
    assert "Site or building name" in text
    assert "1 Example Street" not in text  # which fields, not what
    before = len(await subjects(scene, "bob"))
    lead = await scene.registered(scene.bob, scene.server(), Slot.END_USER)
    await system_editing.follow(kit, scene.bob, number, lead, NOW)
    assert f"lead now, system {written_number(lead)}" in await last(scene, "ada")
    await system_editing.stand_alone(kit, scene.bob, number, NOW)
    assert "its own registration again" in await last(scene, "ada")
    for agreed, words in ((True, "is confirmed"), (False, "no longer confirmed")):
        await system_editing.consent(
            kit, scene.bob, number, information=agreed, personal=agreed, share_ups=agreed, now_ms=NOW
        )
        assert words in await last(scene, "ada")
    assert await subjects(scene, "bob") == [
        *(await subjects(scene, "bob"))[:before],
        "a registration is confirmed",
    ]
    old = (await scene.see(scene.ada, number)).system.system_id
    await scene.associate(scene.ada, scene.server().request(Operation.ASSOCIATE), number, old)
    assert "A new System ID" in await last(scene, "bob")
    assert await subjects(scene, "eve") == []


async def test_a_slot_that_is_handed_over_is_told_to_all_who_held_one(scene: Scene) -> None:
    kit = scene.kit
    number = await shared(scene)
    token = await system_slots.offer(
        kit, scene.ada, number, Slot.INTEGRATOR, "eve@example.org", NOW, fresh=True
    )
    assert "hands its place" in await last(scene, "eve")
    await system_slots.decline_offer(kit, scene.eve, token, NOW)
    assert (await subjects(scene, "ada"))[-1] == "your offer was declined"
    token = await system_slots.offer(
        kit, scene.ada, number, Slot.INTEGRATOR, "eve@example.org", NOW, fresh=True
    )
    await system_slots.take_offer(kit, scene.eve, token, NOW, fresh=True)
    for name, page in (("ada", False), ("bob", True)):
        text = await last(scene, name)
        assert "System integrator (Branch/Partner): " in text
        assert (f"/systems/{written_number(number)}" in text) is page, "only who may open it gets the link"
    await system_slots.leave(kit, scene.eve, number, Slot.INTEGRATOR, NOW, fresh=True)
    assert "nobody any more" in await last(scene, "bob")
    await system_slots.end(kit, scene.bob, number, NOW, fresh=True)
    assert (await subjects(scene, "eve"))[-1] != "a registration has changed"


async def test_who_typed_a_system_id_is_told_what_the_server_said(scene: Scene) -> None:
    first, second = scene.server(), scene.server()
    typed = await scene.register(scene.ada, first.id)
    await first.ask(scene.kit, NOW, accept=typed.intent_id)
    assert "is registered now" in await last(scene, "ada")
    refused = await scene.register(scene.bob, first.id, Slot.INTEGRATOR)
    await first.ask(scene.kit, NOW, accept=refused.intent_id)
    assert "could not be taken" in await last(scene, "bob")
    declined = await scene.register(scene.ada, second.id)
    await second.ask(scene.kit, NOW, decline=declined.intent_id)
    assert "said no" in await last(scene, "ada")


async def test_a_mailbox_is_not_flooded_by_the_other_end(scene: Scene) -> None:
    kit = scene.kit
    number = await shared(scene)
    for city in range(TOLD + 3):
        await system_editing.save(kit, scene.bob, number, BOTH, {**FORM, "city": f"Town {city}"}, NOW)
    assert (await subjects(scene, "ada")).count("a registration has changed") == TOLD + 1  # and Bob's slot
    await system_slots.leave(kit, scene.bob, number, Slot.END_USER, NOW, fresh=True)
    assert "nobody any more" in await last(scene, "ada")
    for _ in range(30):
        await system_slots.offer(kit, scene.ada, number, Slot.END_USER, "x@example.org", NOW, fresh=True)
        (opened,) = (await scene.see(scene.ada, number)).offers
        await system_slots.withdraw(kit.pool, scene.ada, number, opened.offer_id, NOW)
    crowd = system_slots.offer(kit, scene.ada, number, Slot.END_USER, "x@example.org", NOW, fresh=True)
    assert await refusal_of(crowd) is RefusalCode.TOO_FAST


async def test_offers_of_who_holds_no_slot_any_more_are_void(scene: Scene) -> None:
    kit = scene.kit
    number = await scene.registered(scene.ada, scene.server())
    invited = await system_slots.offer(
        kit, scene.ada, number, Slot.END_USER, "bob@example.org", NOW, fresh=True
    )
    handed = await system_slots.offer(
        kit, scene.ada, number, Slot.INTEGRATOR, "eve@example.org", NOW, fresh=True
    )
    await system_slots.take_offer(kit, scene.eve, handed, NOW, fresh=True)
    gone = system_slots.see_offer(kit.pool, scene.bob, invited, NOW)
    assert await refusal_of(gone) is RefusalCode.LINK_INVALID
    await system_slots.offer(kit, scene.eve, number, Slot.END_USER, "bob@example.org", NOW, fresh=True)


async def test_deleting_an_account_gives_its_companys_slots_up(scene: Scene) -> None:
    kit = scene.kit
    number = await shared(scene)
    alone = await scene.registered(scene.ada, scene.server())
    await scene.register(scene.ada, scene.server().id)
    session = await log_in(kit, Identity(scene.ada.account_id, scene.ada.company_id), NOW)
    outlook = await account_deletion.foresee(kit, session)
    (part,) = outlook.closing
    assert (part.company_id, part.systems) == (scene.ada.company_id, 2)
    await account_deletion.delete(kit, session, fresh=True, now_ms=NOW + 1)
    detail = await scene.see(scene.bob, number)
    assert [one.slot for one in detail.holders] == ["end_user"]
    assert "nobody any more" in await last(scene, "bob")
    async with kit.pool.connection() as connection:
        cursor = await connection.execute("SELECT ended_ms FROM registration WHERE number = %s", [alone])
        assert await cursor.fetchone() == (NOW + 1,)
        cursor = await connection.execute("SELECT DISTINCT state FROM system_intent")
        assert await cursor.fetchall() == [("cancelled",)]


async def test_slots_may_be_handed_to_another_company_of_the_person(scene: Scene) -> None:
    kit = scene.kit
    number = await shared(scene)
    async with kit.pool.connection() as connection:
        await companies.add_member(connection, scene.eve.company_id, scene.ada.account_id, Role.OPERATOR, NOW)
    session = await log_in(kit, Identity(scene.ada.account_id, scene.ada.company_id), NOW)
    await account_deletion.delete(kit, session, fresh=True, hand_to=scene.eve.company_id, now_ms=NOW + 1)
    holders = {one.slot: one.company_id for one in (await scene.see(scene.bob, number)).holders}
    assert holders == {"integrator": scene.eve.company_id, "end_user": scene.bob.company_id}


async def test_my_data_has_the_systems_and_what_i_wrote_there(scene: Scene) -> None:
    kit = scene.kit
    number = await shared(scene)
    await system_editing.save(kit, scene.ada, number, BOTH, FORM, NOW)
    await system_slots.leave(kit, scene.bob, number, Slot.END_USER, NOW, fresh=True)
    await system_slots.offer(kit, scene.ada, number, Slot.END_USER, "x@example.org", NOW, fresh=True)
    waiting = scene.server()
    await scene.register(scene.ada, waiting.id)
    mine = await exporting.about_person(kit, scene.ada.account_id)
    (system,) = mine["systems"]
    assert (system["number"], system["slot"], system["by_you"]) == (
        written_number(number),
        "integrator",
        True,
    )
    assert system["data"]["site_name"] == "North"
    changes = [(one["field"], one["after"]) for one in mine["system_changes"]]
    assert ("city", "Exampleton") in changes
    assert [one["to_email"] for one in mine["system_offers"]] == ["x@example.org"]
    assert [(one["system_id"], one["operation"]) for one in mine["awaited_systems"]] == [
        (waiting.id, "register")
    ]
    theirs = await exporting.about_person(kit, scene.bob.account_id)
    (left,) = theirs["systems"]
    assert (left["until_ms"], left["system_id"], left["data"]) == (NOW, None, None)
    assert "Exampleton" not in str(theirs)
    assert (await exporting.about_person(kit, scene.eve.account_id))["systems"] == []


async def test_attaching_and_standing_alone_is_in_the_history_and_told(scene: Scene) -> None:
    kit = scene.kit
    enterprise, server = scene.server(System.ENTERPRISE_SERVER), scene.server()
    over = await scene.registered(scene.bob, enterprise)
    number = await scene.registered(scene.ada, server)
    word = server.attachment(enterprise)
    await enterprise.ask(kit, NOW, attached=(word,))
    assert "shows that one's registration" in await last(scene, "ada")
    told = len(await subjects(scene, "ada"))
    await enterprise.ask(kit, NOW, attached=(word,))  # said again, it is no news
    assert len(await subjects(scene, "ada")) == told
    new = scene.server(System.ENTERPRISE_SERVER)
    assert (await server.ask(kit, NOW)).gone_id == ""
    await scene.associate(scene.bob, new.request(Operation.ASSOCIATE), over, enterprise.id)
    state = await server.ask(kit, NOW)
    assert (state.source, state.gone_id) == (Source.OWN, enterprise.id)
    state = await server.ask(kit, NOW, attachment=server.attachment(None))
    assert (state.source, state.gone_id) == (Source.OWN, "")
    assert "its own registration again" in await last(scene, "ada")
    lines = [one for one in (await scene.see(scene.ada, number)).history if one.kind == "attached"]
    assert [(one.before, one.after, one.person) for one in lines] == [
        (enterprise.id, "", ""),
        ("", enterprise.id, ""),
    ]
    assert await subjects(scene, "eve") == []


class Said(standard.NullTranslations):
    """Says every text in brackets."""

    def gettext(self, message: str) -> str:
        return f"«{message}»"


async def test_an_offer_is_in_the_language_of_whoever_it_is_for(scene: Scene) -> None:
    kit = scene.kit
    number = await scene.registered(scene.ada, scene.server())
    await accounts.set_language(kit.pool, scene.bob.account_id, "de")
    language.learn({"de": Said()})
    try:
        for name in ("x", "bob"):
            token = await system_slots.offer(
                kit, scene.ada, number, Slot.END_USER, f"{name}@example.org", NOW, fresh=True
            )
            await system_slots.withdraw(kit.pool, scene.ada, number, token.split(".")[1], NOW)
    finally:
        catalogs.load()
    assert "invites you to a place at a registered system: End-user" in await last(scene, "x")
    assert "«Open this link within seven days" in await last(scene, "bob")
    assert "«End-user»" in await last(scene, "bob")


async def test_a_lead_that_changes_hands_leaves_its_shadows_alone_and_they_are_told(scene: Scene) -> None:
    kit, server = scene.kit, scene.server()
    lead = await scene.registered(scene.ada, scene.server())
    shadow = await scene.registered(scene.ada, server)
    await system_editing.save(kit, scene.ada, lead, BOTH, FORM, NOW)
    await system_editing.follow(kit, scene.ada, shadow, lead, NOW)
    assert (await server.ask(kit, NOW)).source is Source.LEAD
    token = await system_slots.offer(
        kit, scene.ada, lead, Slot.INTEGRATOR, "eve@example.org", NOW, fresh=True
    )
    await system_slots.take_offer(kit, scene.eve, token, NOW, fresh=True)
    state = await server.ask(kit, NOW)
    assert (state.source, state.notices[-1].code) == (Source.OWN, "lead_apart")
    texts = [one.text for one in await outbox.newest(kit.pool, to_address="ada@example.org")]
    assert any(f"system {written_number(shadow)} and its lead" in text for text in texts)
    token = await system_slots.offer(
        kit, scene.ada, shadow, Slot.INTEGRATOR, "eve@example.org", NOW, fresh=True
    )
    await system_slots.take_offer(kit, scene.eve, token, NOW, fresh=True)
    assert (await server.ask(kit, NOW)).source is Source.LEAD  # one account holds both again
    token = await system_slots.offer(
        kit, scene.eve, shadow, Slot.INTEGRATOR, "bob@example.org", NOW, fresh=True
    )
    await system_slots.take_offer(kit, scene.bob, token, NOW, fresh=True)
    state = await server.ask(kit, NOW)
    assert (state.source, [one.code for one in state.notices].count("lead_apart")) == (Source.OWN, 2)
    assert "it shows its own registration" in await last(scene, "bob")
