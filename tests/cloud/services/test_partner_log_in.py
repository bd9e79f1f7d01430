"""Whom a partner has logged in, here: on a real PostgreSQL, without a provider."""

from dataclasses import replace

import pytest

from cloud.core.account import Email
from cloud.core.partner import PartnerPerson
from cloud.core.refusal import RefusalCode
from cloud.core.second_factor import FRESH_MS
from cloud.postgres.accounts import Session
from cloud.services import account_deletion, partner_log_in, signing_up
from cloud.services.accounts import Authenticator, Identity
from cloud.services.kit import Kit
from tests.support.kit import (
    PAGE_TWO,
    PASSWORD,
    add_person,
    audit_kinds,
    log_in,
    never_a_robot,
    newest_letter,
    refusal_of,
    session_of,
)

NOW = 1_800_000_000_000
ISSUER = "https://id.example.org"
ADA = PartnerPerson(ISSUER, "ada-1", Email.parse("Ada@example.org"), "Ada", "North", NOW)
FORM = {**PAGE_TWO, "first_name": "Ada", "last_name": "North"}


async def register(kit: Kit, person: PartnerPerson = ADA, now_ms: int = NOW) -> Identity:
    """A first log-in, up to the account."""
    met = await partner_log_in.meet(kit, person, now_ms=now_ms)
    identity = await finish(kit, met.sign_up, now_ms)
    assert identity is not None
    return identity


async def finish(kit: Kit, token: str, now_ms: int = NOW) -> Identity | None:
    """Page two."""
    return await signing_up.register(
        kit, token, FORM, privacy=True, promotions=False, check_robot=never_a_robot, now_ms=now_ms
    )


async def connect(kit: Kit, session: Session, person: PartnerPerson, *, fresh: bool = True) -> None:
    """Connect."""
    await partner_log_in.connect(
        kit,
        session,
        issuer=person.issuer,
        subject=person.subject,
        email=person.email.value,
        fresh=fresh,
        now_ms=NOW,
    )


async def test_a_first_log_in_is_a_sign_up_without_a_code(kit: Kit) -> None:
    token = (await partner_log_in.meet(kit, ADA, now_ms=NOW)).sign_up
    seen = await signing_up.look(kit, token, NOW)
    assert (seen.email, seen.first_name, seen.last_name, seen.partner) == (
        "Ada@example.org",
        "Ada",
        "North",
        True,
    )
    identity = await finish(kit, token)
    assert identity is not None
    assert (identity.needs_factor, identity.fresh) == (False, True)
    assert await refusal_of(finish(kit, token)) is RefusalCode.SIGN_UP_GONE
    assert (await newest_letter(kit.pool, "Ada@example.org")).kind == "welcome"
    again = await partner_log_in.meet(kit, replace(ADA, authenticated_ms=None), now_ms=NOW)
    assert again.identity == replace(
        identity, fresh=False
    )  # a log-in there that may be old proves nothing new
    there = replace(ADA, email=Email.parse("another@example.org"))
    assert (await partner_log_in.meet(kit, there, now_ms=NOW)).identity == identity  # known by the subject
    found = await partner_log_in.connection_of(kit, identity.account_id, ISSUER)
    assert found is not None
    assert (found.email, found.connected_ms, found.used_ms) == ("Ada@example.org", NOW, NOW)


async def test_nobody_knows_the_password_of_such_an_account(kit: Kit) -> None:
    await register(kit)
    authenticator = Authenticator(kit.pool, kit.passwords)
    for password in ("", PASSWORD, "ada-1"):
        found = await authenticator.authenticate("ada@example.org", password, address="192.0.2.1", now_ms=NOW)
        assert found is None


async def test_the_first_of_two_sign_ups_at_once_wins(kit: Kit) -> None:
    tokens = [(await partner_log_in.meet(kit, ADA, now_ms=NOW)).sign_up for _ in range(2)]
    assert await finish(kit, tokens[0]) is not None
    assert await refusal_of(finish(kit, tokens[1])) is RefusalCode.EMAIL_TAKEN


async def test_the_address_alone_leads_nowhere(kit: Kit) -> None:
    identity = await add_person(kit, "ada@example.org", NOW)
    met = await partner_log_in.meet(kit, ADA, now_ms=NOW)
    assert (met.known, met.identity, met.sign_up) == (True, None, "")
    session = await log_in(kit, identity, NOW)
    assert await refusal_of(connect(kit, session, ADA, fresh=False)) is RefusalCode.FRESH_NEEDED
    eve = await log_in(kit, await add_person(kit, "eve@example.org", NOW), NOW)
    assert await refusal_of(connect(kit, eve, ADA)) is RefusalCode.OTHER_ADDRESS
    await connect(kit, session, ADA)
    await connect(kit, session, ADA)
    assert (await audit_kinds(kit, identity.account_id)).count("partner_connected") == 1
    assert (await partner_log_in.meet(kit, ADA, now_ms=NOW)).identity == identity


async def test_one_account_there_is_one_here(kit: Kit) -> None:
    session = await log_in(kit, await add_person(kit, "ada@example.org", NOW), NOW)
    await connect(kit, session, ADA)
    other = replace(ADA, subject="ada-2")  # the address was given to somebody else there
    assert (await partner_log_in.meet(kit, other, now_ms=NOW)).known
    assert await refusal_of(connect(kit, session, other)) is RefusalCode.PARTNER_TAKEN
    stale = partner_log_in.disconnect(kit, session, ISSUER, fresh=False, now_ms=NOW)
    assert await refusal_of(stale) is RefusalCode.FRESH_NEEDED
    await partner_log_in.disconnect(kit, session, ISSUER, fresh=True, now_ms=NOW)
    await connect(kit, session, other)
    assert (await partner_log_in.meet(kit, ADA, now_ms=NOW)).known


@pytest.mark.parametrize(
    ("subject", "age_ms", "proved"),
    [("ada-1", 0, True), ("ada-1", FRESH_MS + 1, False), ("eve-1", 0, False)],
)
async def test_proving_oneself_again(kit: Kit, subject: str, age_ms: int, proved: bool) -> None:
    session = await log_in(kit, await register(kit), NOW, fresh=False)
    person = replace(ADA, subject=subject, authenticated_ms=NOW - age_ms)
    if proved:
        await partner_log_in.prove(kit, session, person, NOW)
    else:
        refused = partner_log_in.prove(kit, session, person, NOW)
        assert await refusal_of(refused) is RefusalCode.PARTNER_REFUSED
    now = await session_of(kit, session.session_hash, NOW)
    assert now is not None
    assert now.is_fresh(NOW) is proved


async def test_with_a_second_factor_the_partners_word_is_not_enough(kit: Kit) -> None:
    session = await log_in(kit, await register(kit), NOW)
    with_factor = replace(session, two_factor=True)
    assert await refusal_of(partner_log_in.prove(kit, with_factor, ADA, NOW)) is RefusalCode.PARTNER_REFUSED


async def test_a_deleted_account_is_connected_with_nobody(kit: Kit) -> None:
    identity = await register(kit)
    session = await log_in(kit, identity, NOW)
    await account_deletion.delete(kit, session, fresh=True, now_ms=NOW)
    assert await partner_log_in.connection_of(kit, identity.account_id, ISSUER) is None
    assert (await partner_log_in.meet(kit, ADA, now_ms=NOW)).sign_up


async def test_an_invitation_of_another_address_is_not_taken(kit: Kit) -> None:
    refused = partner_log_in.meet(kit, ADA, invitation="x", now_ms=NOW)
    assert await refusal_of(refused) is RefusalCode.LINK_INVALID
