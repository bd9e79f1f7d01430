"""Making accounts and checking who somebody is."""

import asyncio
import hashlib
import ipaddress
from dataclasses import dataclass

from cloud.core.account import (
    FORGET_MS,
    PACES,
    PASSWORD_MAX_CHARS,
    AccountError,
    Email,
    delay_ms,
    password_faults,
    told,
)
from cloud.core.language import gettext
from cloud.core.sign_up import person_name
from cloud.postgres import accounts
from cloud.postgres.pool import Pool
from cloud.services.passwords import BusyError, Passwords

__all__ = ["AccountError", "Authenticator", "BusyError", "Identity", "TooFastError", "create_account"]

SCOPE = "login"
MAX_WAIT_MS = 10_000
"""Longer than this no request is held; a guesser who sends many at once is told when to come back."""
MAX_QUEUES = 100_000


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a password proved. ``needs_factor``: no session may begin before the second factor was shown, see
    :mod:`cloud.services.second_factor`. ``fresh``: that was in the last 5 minutes.
    """

    account_id: int
    company_id: int
    needs_factor: bool = False
    fresh: bool = True


class TooFastError(Exception):
    """The guesser has attempts waiting already; ``after_s`` says when the next one is worth sending."""

    def __init__(self, after_s: int) -> None:
        super().__init__(f"try again in {after_s} s")
        self.after_s = after_s


async def create_account(
    pool: Pool,
    passwords: Passwords,
    *,
    email: str,
    password: str,
    first_name: str,
    last_name: str,
    company_name: str = "",
    now_ms: int,
    verified: bool = True,
) -> Identity:
    """Make an account with a company of its own; AccountError says what cannot be used and why."""
    address = Email.parse(email)
    first, last = person_name("first_name", first_name), person_name("last_name", last_name)
    faults = password_faults(password, email=address, first_name=first, last_name=last)
    if faults:
        raise AccountError("password", told(faults))
    password_hash = await passwords.hash(password)
    try:
        account_id, company_id = await accounts.insert_account(
            pool,
            email=address,
            password_hash=password_hash,
            first_name=first,
            last_name=last,
            company_name=company_name.strip() or f"{first} {last}",
            now_ms=now_ms,
            verified=verified,
        )
    except accounts.EmailTakenError as error:
        raise AccountError("email", gettext("An account with this email address exists already.")) from error
    await accounts.audit(pool, "account_created", now_ms=now_ms, account_id=account_id, company_id=company_id)
    return Identity(account_id, company_id)


class Authenticator:
    """Checks e-mail address and password: same answer, same time and same delays for unknown and wrong.

    After failures each further attempt waits in line, so that sending many at once gains nothing; the line is
    kept per process, the failures in the database. Nothing is ever locked: an attempt with the right password
    from another address does not stand in a guesser's line, nor does one from the same address that is the
    first of its account there. So whoever shares an address with a guesser, be it that of a proxy, waits as
    long as the account's own failures ask for; a guesser has one such attempt per account, one at a time.
    """

    def __init__(self, pool: Pool, passwords: Passwords) -> None:
        self._pool = pool
        self._passwords = passwords
        self._lines: dict[str, int] = {}
        self._checking: set[str] = set()

    async def authenticate(self, email: str, password: str, *, address: str, now_ms: int) -> Identity | None:
        """Whom this proves, or None. TooFastError and BusyError ask to come back later."""
        try:
            known = Email.parse(email)
        except AccountError:
            known = Email("", "")  # takes the same way as an address that nobody has
        subjects = _subjects(known, address)
        pair = subjects["pair"]
        alone = pair not in self._checking
        self._checking.add(pair)
        try:
            return await self._check(known, password, subjects, now_ms, alone=alone)
        finally:
            if alone:
                self._checking.discard(pair)

    async def _check(
        self, known: Email, password: str, subjects: dict[str, str], now_ms: int, *, alone: bool
    ) -> Identity | None:
        await self._wait(subjects, now_ms, alone=alone)
        usable = len(password) <= PASSWORD_MAX_CHARS
        found = await accounts.find_credentials(self._pool, known)
        proved = await self._passwords.verify(
            found.password_hash if found and usable else None, password[:PASSWORD_MAX_CHARS]
        )
        if not proved or found is None:
            await accounts.add_failure(self._pool, SCOPE, list(subjects.values()), now_ms)
            return None
        await accounts.clear_failures(self._pool, SCOPE, [subjects["pair"]])
        return Identity(found.account_id, found.company_id, found.two_factor)

    async def _wait(self, subjects: dict[str, str], now_ms: int, *, alone: bool) -> None:
        recorded = await accounts.read_failures(self._pool, SCOPE, list(subjects.values()))
        before = recorded.get(subjects["pair"])
        first = alone and (before is None or now_ms - before.last_ms >= FORGET_MS)
        wait_ms = 0
        for kind, subject in subjects.items():
            record = recorded.get(subject)
            if record is None or (first and kind == "address"):
                continue
            pause_ms = delay_ms(PACES[kind], record.failures, record.last_ms, now_ms)
            # Only the guesser stands in line; the account's owner waits a moment at most.
            starts_ms = now_ms if kind == "account" else max(now_ms, self._lines.get(subject, 0))
            ends_ms = starts_ms + pause_ms
            if ends_ms - now_ms > MAX_WAIT_MS:
                raise TooFastError(-(-(ends_ms - now_ms) // 1000))
            if kind != "account" and pause_ms:
                self._remember(subject, ends_ms, now_ms)
            wait_ms = max(wait_ms, ends_ms - now_ms)
        if wait_ms:
            await asyncio.sleep(wait_ms / 1000)

    def _remember(self, subject: str, ends_ms: int, now_ms: int) -> None:
        if len(self._lines) >= MAX_QUEUES:
            self._lines = {name: end for name, end in self._lines.items() if end > now_ms}
        self._lines[subject] = ends_ms


def _subjects(email: Email, address: str) -> dict[str, str]:
    """Who guesses at what, as the table ``attempt`` names it; e-mail addresses appear as hashes only."""
    account = hashlib.sha256(email.folded.encode()).hexdigest()[:32]
    network = network_of(address)
    return {
        "pair": f"pair {account} {network}",
        "account": f"account {account}",
        "address": f"address {network}",
    }


def network_of(address: str) -> str:
    """The network one guesser has: the IPv4 address itself, the /64 of an IPv6 address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
