"""Sign-up in two pages with a mailed code, on a real PostgreSQL."""

import asyncio

import pytest

from cloud.core.account import AccountError
from cloud.core.authz import Role
from cloud.core.one_time_code import (
    ADDRESS_FORGET_MS,
    ADDRESS_TRIES,
    FIRST_PAUSE_MS,
    LIFE_MS,
    SENDS,
    TRIES,
    resend_after_ms,
)
from cloud.core.refusal import RefusalCode, RefusedError
from cloud.core.sign_up import SIGN_UP_LIFE_MS, FormError
from cloud.postgres import companies, outbox
from cloud.services import signing_up
from cloud.services.accounts import Authenticator, Identity, network_of
from cloud.services.kit import Kit
from cloud.services.mailed_code import ENOUGH
from cloud.services.signing_up import PACE
from tests.support.kit import PAGE_TWO, PASSWORD, mailed_code, never_a_robot, newest_letter

NOW = 1_800_000_000_000
ADA = "ada@example.org"


async def begin(kit: Kit, email: str = ADA, now_ms: int = NOW, address: str = "") -> str:
    """Page one."""
    return await signing_up.begin(
        kit,
        email=email,
        first_name="Ada",
        last_name="North",
        password=PASSWORD,
        location="DE",
        now_ms=now_ms,
        address=address,
    )


async def register(kit: Kit, token: str, now_ms: int = NOW) -> None:
    """Page two."""
    await signing_up.register(
        kit,
        token,
        PAGE_TWO,
        privacy=True,
        promotions=False,
        check_robot=never_a_robot,
        now_ms=now_ms,
    )


async def sign_up(kit: Kit, email: str = ADA) -> Identity:
    """All of it."""
    token = await begin(kit, email)
    await register(kit, token)
    return await signing_up.verify(kit, token, await mailed_code(kit.pool, email), NOW)


def wrong(code: str) -> str:
    """Another code."""
    return f"{(int(code) + 1) % 1_000_000:06d}"


async def refused(kit: Kit, token: str, code: str, now_ms: int = NOW) -> RefusalCode:
    """Why a code is refused."""
    with pytest.raises(RefusedError) as caught:
        await signing_up.verify(kit, token, code, now_ms)
    return caught.value.code


async def test_two_pages_and_a_code_make_an_account(kit: Kit) -> None:
    token = await begin(kit)
    look = await signing_up.look(kit, token, NOW)
    assert (look.email, look.first_name, look.invited_by, look.code_sent) == (ADA, "Ada", None, False)
    await register(kit, token)
    assert (await signing_up.look(kit, token, NOW)).code_sent
    code = await mailed_code(kit.pool, ADA)
    identity = await signing_up.verify(kit, token, f" {code[:3]} {code[3:]}", NOW + LIFE_MS - 1)
    company = await companies.find(kit.pool, identity.company_id)
    assert company is not None
    assert (company.name, company.zip_code, company.industry_segment) == (
        "Example Works",
        "12345",
        "Healthcare",
    )
    async with kit.pool.connection() as connection:
        people = await companies.members(connection, identity.company_id)
        assert [(person.email, person.role, person.two_factor) for person in people] == [
            (ADA, Role.OWNER, False)
        ]
        row = await connection.execute("SELECT email_verified_ms, privacy_ms, promotions FROM account")
        assert await row.fetchone() == (NOW + LIFE_MS - 1, NOW, False)
    assert (await newest_letter(kit.pool, ADA)).kind == "welcome"
    check = Authenticator(kit.pool, kit.passwords)
    assert await check.authenticate(ADA, PASSWORD, address="192.0.2.1", now_ms=NOW) == identity


async def test_an_account_exists_only_after_the_code(kit: Kit) -> None:
    await register(kit, await begin(kit))
    check = Authenticator(kit.pool, kit.passwords)
    assert await check.authenticate(ADA, PASSWORD, address="192.0.2.1", now_ms=NOW) is None


async def test_a_code_is_good_for_five_tries(kit: Kit) -> None:
    token = await begin(kit)
    await register(kit, token)
    code = await mailed_code(kit.pool, ADA)
    for _ in range(TRIES):
        assert await refused(kit, token, wrong(code)) is RefusalCode.CODE_WRONG
    assert await refused(kit, token, code) is RefusalCode.CODE_SPENT


async def test_tries_made_at_once_are_all_counted(kit: Kit) -> None:
    token = await begin(kit)
    await register(kit, token)
    code = await mailed_code(kit.pool, ADA)
    found = await asyncio.gather(*(refused(kit, token, wrong(code)) for _ in range(4 * TRIES)))
    assert found.count(RefusalCode.CODE_WRONG) == TRIES
    assert found.count(RefusalCode.CODE_SPENT) == 3 * TRIES


async def test_many_sign_ups_of_one_address_get_no_more_tries(kit: Kit) -> None:
    """Whoever guesses at an address that is not theirs begins anew for each five tries: 20 are all."""
    await sign_up(kit)
    answers = []
    for email in ("ADA@example.org", "eve@example.org"):
        found = []
        for _ in range(ADDRESS_TRIES // TRIES):
            token = await begin(kit, email)
            await register(kit, token)
            guess = "123456" if email != "eve@example.org" else wrong(await mailed_code(kit.pool, email))
            found += [await refused(kit, token, guess) for _ in range(TRIES)]
        assert set(found) == {RefusalCode.CODE_WRONG}
        token = await begin(kit, email)
        await register(kit, token)
        right = "123456" if email != "eve@example.org" else await mailed_code(kit.pool, email)
        with pytest.raises(RefusedError) as caught:
            await signing_up.verify(kit, token, right, NOW)
        answers.append((caught.value.code, str(caught.value)))
    assert answers[0] == answers[1] == (RefusalCode.CODE_SPENT, ENOUGH)
    await sign_up(kit, "grace@example.org")
    tomorrow = NOW + ADDRESS_FORGET_MS
    token = await begin(kit, "eve@example.org", tomorrow)
    await register(kit, token, tomorrow)
    await signing_up.verify(kit, token, await mailed_code(kit.pool, "eve@example.org"), tomorrow)


async def test_a_right_code_forgives_the_wrong_ones(kit: Kit) -> None:
    token = await begin(kit)
    await register(kit, token)
    code = await mailed_code(kit.pool, ADA)
    await refused(kit, token, wrong(code))
    await signing_up.verify(kit, token, code, NOW)
    async with kit.pool.connection() as connection:
        cursor = await connection.execute("SELECT count(*) FROM attempt WHERE scope = 'code'")
        assert await cursor.fetchone() == (0,)


async def test_what_is_no_code_costs_no_try(kit: Kit) -> None:
    token = await begin(kit)
    await register(kit, token)
    for text in ("", "12345", "1234567", "abcdef", "١٢٣٤٥٦") * 2:
        assert await refused(kit, token, text) is RefusalCode.CODE_WRONG
    await signing_up.verify(kit, token, await mailed_code(kit.pool, ADA), NOW)


async def test_a_code_lives_ten_minutes(kit: Kit) -> None:
    token = await begin(kit)
    await register(kit, token)
    code = await mailed_code(kit.pool, ADA)
    assert await refused(kit, token, code, NOW + LIFE_MS) is RefusalCode.CODE_EXPIRED


async def test_a_code_works_once(kit: Kit) -> None:
    token = await begin(kit)
    await register(kit, token)
    code = await mailed_code(kit.pool, ADA)
    results = await asyncio.gather(
        *(signing_up.verify(kit, token, code, NOW) for _ in range(4)), return_exceptions=True
    )
    assert sum(isinstance(result, Identity) for result in results) == 1
    assert all(isinstance(result, Identity | RefusedError) for result in results)
    assert await refused(kit, token, code) is RefusalCode.SIGN_UP_GONE


async def test_a_resent_code_replaces_the_one_before_after_a_growing_pause(kit: Kit) -> None:
    token = await begin(kit)
    await register(kit, token)
    first = await mailed_code(kit.pool, ADA)
    with pytest.raises(RefusedError) as caught:
        await signing_up.resend(kit, token, NOW + FIRST_PAUSE_MS - 1)
    assert (caught.value.code, caught.value.after_s) == (RefusalCode.RESEND_LATER, 1)
    now_ms = NOW
    for sends in range(1, SENDS):
        now_ms += resend_after_ms(sends)
        await signing_up.resend(kit, token, now_ms)
    with pytest.raises(RefusedError) as caught:
        await signing_up.resend(kit, token, now_ms + resend_after_ms(SENDS))
    assert caught.value.code is RefusalCode.RESEND_ENOUGH
    newest = await mailed_code(kit.pool, ADA)
    if newest != first:
        assert await refused(kit, token, first, now_ms) is RefusalCode.CODE_WRONG
    await signing_up.verify(kit, token, newest, now_ms)


async def test_page_two_again_does_not_shorten_the_pause(kit: Kit) -> None:
    token = await begin(kit)
    await register(kit, token)
    with pytest.raises(RefusedError) as caught:
        await register(kit, token)
    assert caught.value.code is RefusalCode.RESEND_LATER


async def test_a_known_address_is_answered_like_an_unknown_one(kit: Kit) -> None:
    await sign_up(kit)
    token = await begin(kit, " ADA@example.org")
    unknown = await begin(kit, "eve@example.org")
    await register(kit, token)
    await register(kit, unknown)
    letter = await newest_letter(kit.pool, ADA)
    assert letter.kind == "sign_up_known"
    assert "already" in letter.text
    assert not any(part.isdigit() for part in letter.text.split())
    eves = wrong(await mailed_code(kit.pool, "eve@example.org"))
    for _ in range(TRIES):
        assert await refused(kit, token, "123456") is await refused(kit, unknown, eves)
    assert await refused(kit, token, "123456") is await refused(kit, unknown, eves) is RefusalCode.CODE_SPENT


async def test_no_code_at_all_fits_a_known_address(kit: Kit) -> None:
    await sign_up(kit)
    token = await begin(kit)
    await register(kit, token)
    async with kit.pool.connection() as connection:
        found = await connection.execute("SELECT code_hash, holder FROM mailed_code WHERE used_ms IS NULL")
        row = await found.fetchone()
    assert row is not None
    assert all(
        kit.vault.hash_code("sign_up", row[1], f"{number:06d}") != row[0] for number in range(1_000_000)
    )


async def test_who_signs_up_twice_gets_one_account(kit: Kit) -> None:
    one, two = await begin(kit), await begin(kit)
    await register(kit, one)
    first = await mailed_code(kit.pool, ADA)
    await register(kit, two)
    second = await mailed_code(kit.pool, ADA)
    await signing_up.verify(kit, one, first, NOW)
    assert await refused(kit, two, second) is RefusalCode.EMAIL_TAKEN


async def test_page_one_says_everything_that_is_wrong_with_it(kit: Kit) -> None:
    with pytest.raises(FormError) as caught:
        await signing_up.begin(
            kit, email="ada", first_name=" ", last_name="North", password="x", location="", now_ms=NOW
        )
    assert set(caught.value.faults) == {"email", "first_name", "password", "location"}
    assert isinstance(caught.value, AccountError)


async def test_page_two_says_everything_that_is_wrong_with_it(kit: Kit) -> None:
    token = await begin(kit)
    with pytest.raises(FormError) as caught:
        await signing_up.register(
            kit, token, {}, privacy=True, promotions=True, check_robot=never_a_robot, now_ms=NOW
        )
    assert set(caught.value.faults) == {
        "company_name",
        "business_type",
        "address",
        "city",
        "zip_code",
        "location",
        "state_province",
    }
    assert await outbox.newest(kit.pool) == []


async def test_privacy_and_robots(kit: Kit) -> None:
    async def robot() -> None:
        raise LookupError

    token = await begin(kit)
    with pytest.raises(RefusedError) as caught:
        await signing_up.register(
            kit, token, PAGE_TWO, privacy=False, promotions=True, check_robot=never_a_robot, now_ms=NOW
        )
    assert caught.value.code is RefusalCode.PRIVACY_NEEDED
    with pytest.raises(LookupError):
        await signing_up.register(
            kit, token, PAGE_TWO, privacy=True, promotions=True, check_robot=robot, now_ms=NOW
        )
    with pytest.raises(RefusedError) as caught:
        await signing_up.resend(kit, token, NOW)  # no way round the robot check
    assert caught.value.code is RefusalCode.SIGN_UP_GONE
    assert await outbox.newest(kit.pool) == []


async def test_a_sign_up_ends_after_an_hour_and_unknown_tokens_lead_nowhere(kit: Kit) -> None:
    token = await begin(kit)
    for bad, now_ms in ((token, NOW + SIGN_UP_LIFE_MS), ("", NOW), ("x" * 10_000, NOW), ("\ud800", NOW)):
        with pytest.raises(RefusedError) as caught:
            await signing_up.look(kit, bad, now_ms)
        assert caught.value.code is RefusalCode.SIGN_UP_GONE
    await begin(kit, "eve@example.org", NOW + SIGN_UP_LIFE_MS)
    async with kit.pool.connection() as connection:
        cursor = await connection.execute("SELECT email FROM sign_up")
        assert await cursor.fetchall() == [("eve@example.org",)]


async def test_neither_codes_nor_tokens_nor_passwords_are_stored(kit: Kit) -> None:
    token = await begin(kit)
    await register(kit, token)
    code = await mailed_code(kit.pool, ADA)
    async with kit.pool.connection() as connection:
        for table in ("sign_up", "mailed_code", "account_audit"):
            cursor = await connection.execute(f"SELECT t::text FROM {table} t")
            text = str(await cursor.fetchall())
            assert code not in text.replace(str(NOW), "")
            assert token not in text
            assert PASSWORD not in text


async def test_a_network_that_begins_very_many_gets_slower_and_others_do_not(kit: Kit) -> None:
    subject = f"address {network_of('2001:db8::1')}"
    async with kit.pool.connection() as connection:
        await connection.execute(
            "INSERT INTO attempt (scope, subject, failures, last_ms) VALUES (%s, %s, %s, %s)",
            [signing_up.SCOPE, subject, PACE.free - 1, NOW],
        )
    await begin(kit, address="2001:db8::1")
    with pytest.raises(RefusedError) as caught:
        await begin(kit, address="2001:db8::2")
    assert (caught.value.code, caught.value.after_s) == (RefusalCode.TOO_FAST, 1)
    await begin(kit, address="192.0.2.1")
    await begin(kit, address="2001:db8::2", now_ms=NOW + PACE.first_ms)
