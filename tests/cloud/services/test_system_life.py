"""What is registered of a system: rights, slots, lead and shadow, attached servers, its UPSs."""

import re

import pytest

from cloud.core.authz import Actor, NotAllowedError, Role
from cloud.core.refusal import RefusalCode
from cloud.core.system import Slot
from cloud.core.system_data import Part
from cloud.postgres.system_strangers import forget_strangers
from cloud.services import claiming, system_editing, system_looking, system_slots
from cloud.services.kit import Kit
from cloud.services.system_exchange import ExchangeCode, ExchangeError, exchange
from protocol.system import Source, Stand, System, UpsUnder
from protocol.system_code import Operation
from protocol.system_keys import sign_ups
from tests.support.claiming import TestDevice
from tests.support.kit import newest_letter, refusal_of
from tests.support.system_scene import DAY, FORM, NOW, Scene, make_scene
from tests.support.systems import TestCloudKeys, TestServer


@pytest.fixture
async def scene(kit: Kit) -> Scene:
    return await make_scene(kit)


async def test_rights_follow_the_slots_and_every_change_is_in_the_history(scene: Scene) -> None:
    server = scene.server()
    number = await scene.registered(scene.ada, server)
    both = frozenset({Part.DATA, Part.CONTACTS})
    kit = scene.kit
    await system_editing.save(kit, scene.ada, number, both, FORM, NOW + 1)
    mail = await newest_letter(kit.pool, "ada@example.org")
    assert "Site or building name: North" in mail.text
    token = await system_slots.offer(
        kit, scene.ada, number, Slot.END_USER, "bob@example.org", NOW + 2, fresh=False
    )
    assert token in (await newest_letter(kit.pool, "bob@example.org")).text
    row = await system_slots.see_offer(kit.pool, scene.bob, token, NOW + 2)
    assert (row.site_name, row.kind, row.secret_hash) == ("North", "invite", b"")
    elsewhere = system_slots.take_offer(kit, scene.eve, token, NOW + 3, fresh=True)
    assert await refusal_of(elsewhere) is RefusalCode.OTHER_ADDRESS
    stale = system_slots.take_offer(kit, scene.bob, token, NOW + 3, fresh=False)
    assert await refusal_of(stale) is RefusalCode.FRESH_NEEDED
    assert await system_slots.take_offer(kit, scene.bob, token, NOW + 3, fresh=True) == number
    assert await system_slots.take_offer(kit, scene.bob, token, NOW + 3, fresh=True) == number
    await system_editing.save(kit, scene.ada, number, both, {**FORM, "city": "Second"}, NOW + 4)
    await system_editing.save(kit, scene.bob, number, both, {**FORM, "city": "Third"}, NOW + 5)
    late = system_editing.save(kit, scene.ada, number, both, FORM, NOW + 6)
    assert await refusal_of(late) is RefusalCode.OTHER_SLOT
    warranty = system_editing.save(kit, scene.bob, number, frozenset({Part.WARRANTY}), {}, NOW + 6)
    assert await refusal_of(warranty) is RefusalCode.OTHER_SLOT
    terms = {"warranty_terms": "Parts"}
    await system_editing.save(kit, scene.ada, number, frozenset({Part.WARRANTY}), terms, NOW + 7)
    history = (await scene.see(scene.ada, number)).history
    cities = [(one.before, one.after, one.ts_ms) for one in history if one.field == "city"]
    assert cities == [
        ("Second", "Third", NOW + 5),
        ("Exampleton", "Second", NOW + 4),
        ("", "Exampleton", NOW + 1),
    ]
    seen_by_bob = (await scene.see(scene.bob, number)).history
    assert min(one.ts_ms for one in seen_by_bob) == NOW + 3  # nothing from before its time
    state = await server.ask(kit, NOW + 8)
    assert state.registration is not None
    assert state.registration.data["city"] == "Third"
    assert state.registration.warranty == terms


async def test_a_registration_is_confirmed_by_the_end_users_two_consents(scene: Scene) -> None:
    server = scene.server()
    number = await scene.registered(scene.bob, server, Slot.END_USER)
    kit = scene.kit
    one = await system_editing.consent(
        kit, scene.bob, number, information=True, personal=False, share_ups=False, now_ms=NOW
    )
    assert not one.confirmed
    assert (await server.ask(kit, NOW)).stand is Stand.PENDING
    await system_editing.consent(
        kit, scene.bob, number, information=True, personal=True, share_ups=False, now_ms=NOW
    )
    assert (await server.ask(kit, NOW)).stand is Stand.REGISTERED
    assert "confirmed" in (await newest_letter(kit.pool, "bob@example.org")).subject
    await system_editing.consent(
        kit, scene.bob, number, information=True, personal=False, share_ups=True, now_ms=NOW
    )
    given = [(one.kind, one.before, one.after) for one in (await scene.see(scene.bob, number)).history]
    assert given[:4] == [
        ("share_ups", "", "yes"),
        ("consent_personal", "yes", ""),
        ("consent_personal", "", "yes"),
        ("consent_information", "", "yes"),
    ]


async def test_shadows_are_told_when_their_lead_is_gone(scene: Scene) -> None:
    shadow_server = scene.server()
    lead = await scene.registered(scene.ada, scene.server())
    shadow = await scene.registered(scene.ada, shadow_server)
    await system_editing.save(scene.kit, scene.ada, lead, frozenset({Part.DATA}), FORM, NOW)
    await system_editing.follow(scene.kit, scene.ada, shadow, lead, NOW)
    state = await shadow_server.ask(scene.kit, NOW)
    assert (state.source, state.registration and state.registration.data["site_name"]) == (
        Source.LEAD,
        "North",
    )
    assert state.own is not None
    detail = await scene.see(scene.ada, shadow)
    assert (detail.source, detail.shown_number, detail.own) == (Source.LEAD, lead, {})
    needs = system_slots.end(scene.kit, scene.ada, lead, NOW, fresh=False)
    assert await refusal_of(needs) is RefusalCode.FRESH_NEEDED
    await system_slots.end(scene.kit, scene.ada, lead, NOW, fresh=True)
    state = await shadow_server.ask(scene.kit, NOW)
    assert (state.source, state.notices[-1].code) == (Source.OWN, "lead_gone")
    assert "stands alone" in (await newest_letter(scene.kit.pool, "ada@example.org")).text


async def test_attachment_needs_the_word_of_both(scene: Scene) -> None:
    over, under = scene.server(System.ENTERPRISE_SERVER), scene.server()
    top = await scene.registered(scene.ada, over)
    own = await scene.registered(scene.bob, under)
    word = under.attachment(over)
    await under.ask(scene.kit, NOW, attachment=word)
    assert (await under.ask(scene.kit, NOW)).source is Source.OWN  # the Enterprise Server says nothing of it
    state = await over.ask(scene.kit, NOW, attached=(word,))
    assert state.attached == (under.id,)
    told = await under.ask(scene.kit, NOW)
    assert (told.source, told.source_id, told.own is None) == (Source.ATTACHED, over.id, False)
    detail = await scene.see(scene.bob, own)
    assert (detail.source, detail.shown_number, detail.shown_is_mine) == (Source.ATTACHED, top, False)
    assert [one.system_id for one in (await scene.see(scene.ada, top)).attached] == [under.id]
    stranger = scene.server(System.ENTERPRISE_SERVER)
    forged = await stranger.ask(scene.kit, NOW, attached=(word, b"nonsense", under.report()))
    assert forged.attached == ()
    await under.ask(scene.kit, NOW, attachment=under.attachment(None))
    assert (await under.ask(scene.kit, NOW)).source is Source.OWN
    await over.ask(scene.kit, NOW, attached=(word,))  # an old word said again
    assert (await under.ask(scene.kit, NOW)).source is Source.OWN


async def test_reports_count_by_their_seal_and_once(scene: Scene) -> None:
    server, stranger = scene.server(), scene.server()
    private = scene.keys.private
    first = server.report()
    await exchange(scene.kit, private, 1, first, NOW)

    async def code_of(payload: bytes) -> ExchangeCode:
        with pytest.raises(ExchangeError) as caught:
            await exchange(scene.kit, private, 1, payload, NOW)
        return caught.value.code

    assert await code_of(first) is ExchangeCode.REPORT_OLD
    assert await code_of(b"{}") is ExchangeCode.MALFORMED
    in_anothers_name = server.report().replace(server.id.encode(), stranger.id.encode())
    assert await code_of(in_anothers_name) is ExchangeCode.PROOF_INVALID
    assert await code_of(TestServer(TestCloudKeys.make()).report()) is ExchangeCode.PROOF_INVALID
    other_key = re.sub(rb'"key_number":1', b'"key_number":7', server.report())
    assert await code_of(other_key) is ExchangeCode.PROOF_INVALID
    server.name = "x" * 201
    assert await code_of(server.report()) is ExchangeCode.MALFORMED
    server.name = "a\0b"
    assert await code_of(server.report()) is ExchangeCode.MALFORMED


async def test_ups_under_a_server_show_its_site_to_who_holds_both(scene: Scene) -> None:
    server = scene.server()
    number = await scene.registered(scene.bob, server, Slot.END_USER)
    await scene.register(scene.ada, await server.link(scene.kit, NOW), Slot.INTEGRATOR)
    both = frozenset({Part.DATA, Part.CONTACTS})
    await system_editing.save(scene.kit, scene.bob, number, both, FORM, NOW)
    device = TestDevice()
    await device.announce(scene.kit.pool, NOW)
    await claiming.submit(scene.kit.pool, scene.bob, device.product_id, device.label_pub, NOW)
    word = UpsUnder(
        device_id=str(device.device_id),
        kid=device.kid,
        signature=sign_ups(device.key, server.system_id),
    )
    wrong = UpsUnder(device_id=str(device.device_id), kid=device.kid, signature=b"x" * 64)
    pool = scene.kit.pool
    await server.ask(scene.kit, NOW, ups=(wrong,))
    assert await system_looking.site_of_ups(pool, scene.bob, device.device_id) is None
    await server.ask(scene.kit, NOW, ups=(word,))
    site = await system_looking.site_of_ups(pool, scene.bob, device.device_id)
    assert site is not None
    assert (site.number, site.data["contact_email"]) == (number, "ada@example.org")
    assert await system_looking.site_of_ups(pool, scene.eve, device.device_id) is None
    assert [one.device_id for one in (await scene.see(scene.bob, number)).ups] == [device.device_id]
    assert (await scene.see(scene.ada, number)).ups == []
    await system_editing.consent(
        scene.kit, scene.bob, number, information=False, personal=False, share_ups=True, now_ms=NOW
    )
    assert [one.device_id for one in (await scene.see(scene.ada, number)).ups] == [device.device_id]
    await server.ask(scene.kit, NOW)
    assert (await scene.see(scene.bob, number)).ups == []


async def test_offers_are_withdrawn_declined_and_made_once(scene: Scene) -> None:
    kit = scene.kit
    number = await scene.registered(scene.ada, scene.server())
    token = await system_slots.offer(
        kit, scene.ada, number, Slot.END_USER, "bob@example.org", NOW, fresh=False
    )
    twice = system_slots.offer(kit, scene.ada, number, Slot.END_USER, "eve@example.org", NOW, fresh=False)
    assert await refusal_of(twice) is RefusalCode.ALREADY_INVITED
    (open_one,) = (await scene.see(scene.ada, number)).offers
    foreign = system_slots.withdraw(kit.pool, scene.eve, number, open_one.offer_id, NOW)
    assert await refusal_of(foreign) is RefusalCode.NOT_FOUND
    await system_slots.withdraw(kit.pool, scene.ada, number, open_one.offer_id, NOW)
    gone = system_slots.see_offer(kit.pool, scene.bob, token, NOW)
    assert await refusal_of(gone) is RefusalCode.LINK_INVALID
    own = system_slots.offer(kit, scene.ada, number, Slot.INTEGRATOR, "bob@example.org", NOW, fresh=False)
    assert await refusal_of(own) is RefusalCode.FRESH_NEEDED
    token = await system_slots.offer(
        kit, scene.ada, number, Slot.INTEGRATOR, "bob@example.org", NOW, fresh=True
    )
    await system_slots.decline_offer(kit, scene.bob, token, NOW)
    for text in (token, "", "x.y.z", token[:-1] + ("A" if token[-1] != "A" else "B")):
        refused = system_slots.take_offer(kit, scene.bob, text, NOW, fresh=True)
        assert await refusal_of(refused) is RefusalCode.LINK_INVALID
    last = await system_slots.offer(
        kit, scene.ada, number, Slot.INTEGRATOR, "bob@example.org", NOW, fresh=True
    )
    await system_slots.take_offer(kit, scene.bob, last, NOW, fresh=True)
    assert await refusal_of(scene.see(scene.ada, number)) is RefusalCode.NOT_FOUND
    await system_slots.leave(kit, scene.bob, number, Slot.INTEGRATOR, NOW, fresh=True)
    assert await refusal_of(scene.see(scene.bob, number)) is RefusalCode.NOT_FOUND


async def test_a_viewer_looks_and_changes_nothing(scene: Scene) -> None:
    server = scene.server()
    number = await scene.registered(scene.ada, server)
    viewer = Actor(scene.ada.account_id, scene.ada.company_id, Role.VIEWER)
    assert (await scene.see(viewer, number)).system.number == number
    for work in (
        scene.register(viewer, server.id),
        scene.associate(viewer, server.id, number, server.id),
        system_editing.save(scene.kit, viewer, number, frozenset({Part.DATA}), FORM, NOW),
        system_slots.end(scene.kit, viewer, number, NOW, fresh=True),
    ):
        with pytest.raises(NotAllowedError):
            await work


async def test_servers_that_nobody_registers_are_forgotten_after_a_while(scene: Scene) -> None:
    stranger, known, retired = scene.server(), scene.server(), scene.server()
    await stranger.ask(scene.kit, NOW)
    number = await scene.registered(scene.ada, retired)
    await scene.associate(scene.ada, known.request(Operation.ASSOCIATE), number, retired.id)
    pool = scene.kit.pool
    assert await forget_strangers(pool, NOW + 30 * DAY) == 0
    assert await forget_strangers(pool, NOW + 30 * DAY + 1) == 1
    async with pool.connection() as connection:
        cursor = await connection.execute("SELECT system_id FROM system_server")
        assert {row[0] for row in await cursor.fetchall()} == {known.id, retired.id}
    assert (await stranger.ask(scene.kit, NOW + 31 * DAY)).stand is Stand.UNREGISTERED
