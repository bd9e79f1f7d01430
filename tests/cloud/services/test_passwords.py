"""Hashing passwords in a bounded queue."""

import asyncio

import pytest

from cloud.services.passwords import BusyError, Passwords


@pytest.fixture(autouse=True)
def _full_price(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloud.services.passwords.MEMORY_KIB", 19 * 1024)


async def test_only_the_right_password_verifies() -> None:
    with Passwords() as passwords:
        stored = await passwords.hash("Correct horse 7")
        assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
        assert "Correct" not in stored
        assert await passwords.verify(stored, "Correct horse 7")
        assert not await passwords.verify(stored, "correct horse 7")
        assert not await passwords.verify(None, "Correct horse 7")
        assert stored != await passwords.hash("Correct horse 7")


async def test_a_flood_is_told_to_come_back() -> None:
    with Passwords() as passwords:
        found = await asyncio.gather(
            *(passwords.verify(None, "x") for _ in range(500)), return_exceptions=True
        )
        refused = [one for one in found if isinstance(one, BusyError)]
        assert 0 < len(refused) < 500
        assert await passwords.verify(await passwords.hash("y"), "y")


async def test_a_broken_hash_verifies_nothing() -> None:
    with Passwords() as passwords:
        assert not await passwords.verify("$argon2id$nonsense", "x")


@pytest.mark.parametrize("text", ["Pa\u0308ss", "P\u00e4ss"])
async def test_both_forms_of_a_letter_are_the_same(text: str) -> None:
    with Passwords() as passwords:
        assert await passwords.verify(await passwords.hash("P\u00e4ss"), text)
