"""Making accounts and proving who somebody is, on a real PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from cloud.core.account import PACES, AccountError
from cloud.postgres import accounts
from cloud.postgres.pool import Pool, make_pool
from cloud.services.accounts import SCOPE, Authenticator, Identity, TooFastError, create_account, network_of
from cloud.services.passwords import Passwords

NOW = 1_800_000_000_000
PASSWORD = "Correct horse 7 battery"


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Pool]:
    """Connections to this test's database."""
    async with make_pool(database, name="test", max_size=4) as opened:
        yield opened


async def make(pool: Pool, email: str = "ada@example.org", password: str = PASSWORD) -> Identity:
    """An account."""
    with Passwords() as passwords:
        return await create_account(
            pool,
            passwords,
            email=email,
            password=password,
            first_name=" Ada ",
            last_name="North",
            now_ms=NOW,
        )


async def test_an_account_gets_a_company_of_its_own(pool: Pool) -> None:
    ada = await make(pool)
    eve = await make(pool, "eve@example.org")
    assert ada.company_id != eve.company_id
    async with pool.connection() as connection:
        cursor = await connection.execute(
            "SELECT company.name, role FROM membership JOIN company USING (company_id) WHERE account_id = %s",
            [ada.account_id],
        )
        assert await cursor.fetchall() == [("Ada North", "owner")]


@pytest.mark.parametrize("email", ["ada@example.org", "ADA@Example.ORG "])
async def test_an_address_has_one_account(pool: Pool, email: str) -> None:
    await make(pool)
    with pytest.raises(AccountError, match="exists already") as caught:
        await make(pool, email)
    assert caught.value.field == "email"


async def test_a_bad_password_makes_no_account(pool: Pool) -> None:
    with pytest.raises(AccountError, match="at least 8") as caught:
        await make(pool, password="Ab1!")
    assert caught.value.field == "password"
    async with pool.connection() as connection:
        cursor = await connection.execute("SELECT count(*) FROM account")
        assert await cursor.fetchone() == (0,)


async def test_a_password_proves_its_account_only(pool: Pool) -> None:
    ada = await make(pool)
    await make(pool, "eve@example.org", "Another horse 8")
    with Passwords() as passwords:
        check = Authenticator(pool, passwords)

        async def prove(email: str, password: str) -> Identity | None:
            return await check.authenticate(email, password, address="192.0.2.1", now_ms=NOW)

        assert await prove(" ADA@example.org", PASSWORD) == ada
        assert await prove("ada@example.org", "Another horse 8") is None
        assert await prove("nobody@example.org", PASSWORD) is None
        assert await prove("", "") is None
        assert await prove("ada@example.org", PASSWORD * 100) is None
        assert await prove("ada@example.org\0", PASSWORD) is None


async def test_failures_are_counted_and_the_right_password_clears_its_own(pool: Pool) -> None:
    ada = await make(pool)
    with Passwords() as passwords:
        check = Authenticator(pool, passwords)
        for _ in range(2):
            assert await check.authenticate("ada@example.org", "x", address="192.0.2.1", now_ms=NOW) is None
        async with pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT subject, failures FROM attempt WHERE scope = %s", [SCOPE]
            )
            found: dict[str, int] = {subject: count async for subject, count in cursor}
        assert sorted(found.values()) == [2, 2, 2]
        assert not any("ada" in subject for subject in found)
        assert await check.authenticate("ada@example.org", PASSWORD, address="192.0.2.1", now_ms=NOW) == ada
        left = await accounts.read_failures(pool, SCOPE, list(found))
        assert all(not subject.startswith("pair") for subject in left)


async def test_a_guesser_is_slowed_and_the_owner_elsewhere_is_not_locked_out(pool: Pool) -> None:
    ada = await make(pool)
    with Passwords() as passwords:
        check = Authenticator(pool, passwords)
        await check.authenticate("ada@example.org", "x", address="192.0.2.66", now_ms=NOW)
        async with pool.connection() as connection:
            await connection.execute(
                "UPDATE attempt SET failures = 1000 WHERE subject LIKE 'pair %%' OR subject LIKE 'address %%'"
            )
        longest = PACES["pair"].longest_ms + PACES["address"].longest_ms
        assert longest > 10_000
        # The first guess stands in line; a second one at the same moment is told to come back.
        check._remember(next(iter(_lines(check, "192.0.2.66"))), NOW + 9_000, NOW)
        with pytest.raises(TooFastError) as caught:
            await check.authenticate("ada@example.org", "x", address="192.0.2.66", now_ms=NOW)
        assert 10 < caught.value.after_s <= 20
        assert await check.authenticate("ada@example.org", PASSWORD, address="192.0.2.7", now_ms=NOW) == ada


async def test_who_shares_an_address_with_a_guesser_is_not_refused(pool: Pool) -> None:
    """Behind one proxy everybody has one address; the guesser goes on waiting in its line."""
    ada = await make(pool)
    await make(pool, "eve@example.org")
    here = "192.0.2.66"
    with Passwords() as passwords:
        check = Authenticator(pool, passwords)
        await check.authenticate("eve@example.org", "x", address=here, now_ms=NOW)
        async with pool.connection() as connection:
            await connection.execute("UPDATE attempt SET failures = 1000 WHERE subject LIKE 'address %%'")
        check._remember(next(iter(_lines(check, here))), NOW + 9_000, NOW)
        assert await check.authenticate("ada@example.org", PASSWORD, address=here, now_ms=NOW) == ada
        with pytest.raises(TooFastError):
            await check.authenticate("eve@example.org", "x", address=here, now_ms=NOW)
        # One free attempt for an account at a time, however many are sent at once; none after it failed.
        guesses = [check.authenticate("nobody@example.org", "x", address=here, now_ms=NOW) for _ in range(20)]
        found = await asyncio.gather(*guesses, return_exceptions=True)
        assert [type(one) for one in found].count(TooFastError) == 19
        with pytest.raises(TooFastError):
            await check.authenticate("nobody@example.org", "x", address=here, now_ms=NOW)
        assert not check._checking


def _lines(check: Authenticator, address: str) -> set[str]:
    """The name of an address's line."""
    assert not check._lines
    return {f"address {network_of(address)}"}


async def test_a_disabled_account_cannot_log_in(pool: Pool) -> None:
    await make(pool)
    async with pool.connection() as connection:
        await connection.execute("UPDATE account SET disabled_ms = 1")
    with Passwords() as passwords:
        check = Authenticator(pool, passwords)
        assert await check.authenticate("ada@example.org", PASSWORD, address="", now_ms=NOW) is None


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("", "unknown"),
        ("x", "unknown"),
    ],
)
def test_network_of(address: str, network: str) -> None:
    assert network_of(address) == network
