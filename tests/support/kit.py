"""The kit of the account services over a test's database, and readers of its outbox."""

import contextlib
import re
import secrets
from collections.abc import AsyncIterator, Awaitable

from cloud.core.refusal import RefusalCode, RefusedError
from cloud.postgres import accounts, outbox
from cloud.postgres.accounts import Session
from cloud.postgres.outbox import Letter
from cloud.postgres.pool import Pool, make_pool
from cloud.services.accounts import Identity, create_account
from cloud.services.kit import Kit
from cloud.services.passwords import Passwords
from cloud.services.vault import Vault

PASSWORD = "Correct horse 7 battery"
PAGE_TWO = {
    "company_name": "Example Works",
    "business_type": "Business user",
    "area_of_focus": "",
    "industry_segment": "Healthcare",
    "address": "1 Example Street",
    "city": "Exampleton",
    "zip_code": "12345",
    "location": "DE",
    "state_province": "Example State",
}


@contextlib.asynccontextmanager
async def opened_kit(dsn: str) -> AsyncIterator[Kit]:
    """A kit while the block runs."""
    async with make_pool(dsn, name="test", max_size=6) as pool:
        with Passwords() as passwords:
            yield Kit(pool, passwords, Vault(b"k" * 32), "SmartConnect", "https://portal.example.org")


async def newest_letter(pool: Pool, to_address: str) -> Letter:
    """The last mail to an address."""
    letters = await outbox.newest(pool, limit=1, to_address=to_address)
    if not letters:
        raise AssertionError(f"no mail to {to_address}")
    return letters[0]


async def mailed_code(pool: Pool, to_address: str) -> str:
    """The six digits of the last mail to an address."""
    found = re.search(r"\b\d{6}\b", (await newest_letter(pool, to_address)).text)
    if found is None:
        raise AssertionError("no code in the mail")
    return found[0]


async def mailed_token(pool: Pool, to_address: str) -> str:
    """The secret in the link of the last mail to an address: what stands behind the #."""
    found = re.search(r"https://\S+#([A-Za-z0-9_-]{43})", (await newest_letter(pool, to_address)).text)
    if found is None:
        raise AssertionError("no link in the mail")
    return found[1]


async def never_a_robot() -> None:
    """A proof of work that was done."""


async def add_person(kit: Kit, email: str, now_ms: int, *, first_name: str = "Ada") -> Identity:
    """An account with a company of its own; its password is ``PASSWORD``."""
    return await create_account(
        kit.pool,
        kit.passwords,
        email=email,
        password=PASSWORD,
        first_name=first_name,
        last_name="North",
        now_ms=now_ms,
    )


async def log_in(kit: Kit, identity: Identity, now_ms: int, *, fresh: bool = True) -> Session:
    """A session as the portal writes it."""
    session_hash = secrets.token_bytes(32)
    new = accounts.NewSession(
        session_hash=session_hash,
        account_id=identity.account_id,
        company_id=identity.company_id,
        csrf_key=b"k" * 32,
        now_ms=now_ms,
        expires_ms=now_ms + 86_400_000,
        address="192.0.2.1",
        user_agent="a browser",
        factor_ms=now_ms if fresh else None,
    )
    await accounts.insert_session(kit.pool, new, None)
    found = await session_of(kit, session_hash, now_ms)
    if found is None:
        raise AssertionError("no session")
    return found


async def session_of(kit: Kit, session_hash: bytes, now_ms: int) -> Session | None:
    """A session as a request finds it."""
    return await accounts.find_session(kit.pool, session_hash, now_ms=now_ms, idle_ms=86_400_000)


async def refusal_of(work: Awaitable[object]) -> RefusalCode:
    """Why something is refused; AssertionError where it is not."""
    try:
        await work
    except RefusedError as error:
        return error.code
    raise AssertionError("it was not refused")


async def audit_kinds(kit: Kit, account_id: int) -> list[str]:
    """The audit trail of an account, oldest first."""
    async with kit.pool.connection() as connection:
        cursor = await connection.execute(
            "SELECT kind FROM account_audit WHERE account_id = %s ORDER BY audit_id", [account_id]
        )
        return [kind for (kind,) in await cursor.fetchall()]
