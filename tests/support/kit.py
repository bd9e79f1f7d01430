"""The kit of the account services over a test's database, and readers of its outbox."""

import contextlib
import re
from collections.abc import AsyncIterator

from cloud.postgres import outbox
from cloud.postgres.outbox import Letter
from cloud.postgres.pool import Pool, make_pool
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
