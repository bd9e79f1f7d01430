"""Accounts: what an e-mail address and a password may be, and how guessing gets slower and slower.

Password policy ``seed``: at least 8 characters, three of four kinds (upper case, lower case, digits,
symbols; a blank is a symbol), neither first nor last name, neither the e-mail address nor a part of it, and
none of the passwords that everybody tries first. Long passwords and any Unicode are welcome.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from cloud.core.language import N_, gettext
from cloud.core.refusal import RefusalCode, RefusedError

PASSWORD_MIN_CHARS = 8
PASSWORD_MAX_CHARS = 256
PASSWORD_KINDS = 3
PART_MIN_CHARS = 3  # of the e-mail address; two letters would forbid half of all words
NAME_MIN_CHARS = 2
EMAIL_MAX_CHARS = 254  # RFC 5321 section 4.5.3.1.3, less its brackets
NAME_MAX_CHARS = 100

_EMAIL = re.compile(r"[^\s@\x00-\x1f\x7f\"(),:;<>\[\\\]]{1,64}@(?:[^\s@.\x00-\x20]+\.)*[^\s@.\x00-\x20]+")

# Passwords that fulfil the rules and are still among the first that anybody tries, folded for comparison.
_COMMON_TEXT = """
password1! password1 password12 password123 password123! passw0rd passw0rd! p@ssw0rd p@ssw0rd1 p@ssword1
p@ssword123 pa$$w0rd pa$$word1 welcome1 welcome1! welcome123 welcome123! welcome@123 qwerty123 qwerty123!
qwerty1! qwertyuiop1 1q2w3e4r 1q2w3e4r! 1qaz2wsx 1qaz2wsx! 1qaz@wsx zaq12wsx zaq1@wsx abc12345 abcd1234
abcd1234! abc123456 admin123 admin123! admin@123 administrator1 changeme1 changeme1! changeme123 letmein1
letmein1! letmein123 iloveyou1 iloveyou1! monkey123 dragon123 football1 baseball1 sunshine1 princess1
superman1 batman123 master123 trustno1 trustno1! secret123 secret123! test1234 test1234! summer2024
summer2025 summer2026 summer2026! winter2025 winter2026 winter2026! spring2026 spring2026! autumn2026
autumn2026! company1 company123 company123! default1 default123 temp1234 temp1234! login123 hello123
hello123! smartups1 smartups1! smart-ups1 smart-ups123 smartconnect1 smartconnect1! smartconnect123
apcapc123 apc12345 apc12345! schneider1 schneider1! schneider123 schneider123! schneider@123 a1b2c3d4
a1b2c3d4! aa123456 aa123456! q1w2e3r4 q1w2e3r4! asdf1234 asdf1234! zxcvbnm1 qazwsx123 qazwsxedc1 1234qwer
1234qwer! 123qweasd 123qwe!@# 12345678a 12345678a! 123456789a a12345678 a123456789 pass1234 pass1234!
pass@123 pass@1234 root1234 user1234 guest123 office365 microsoft1
"""
_COMMON = frozenset(_COMMON_TEXT.split())


class AccountError(RefusedError):
    """Something typed cannot be used for an account; ``field`` names it, the text tells the person why."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(RefusalCode.FIELD_INVALID, text=message, field=field)


def fold_email(address: str) -> str:
    """An address for comparison only: mail to the folded one may reach another mailbox. Folding twice changes
    nothing more.
    """
    return address.casefold()


@dataclass(frozen=True, slots=True)
class Email:
    """An e-mail address as it was typed, and folded for comparison."""

    value: str
    folded: str

    @classmethod
    def parse(cls, text: str) -> "Email":
        """Address with blanks around it removed; AccountError when it cannot be one."""
        value = unicodedata.normalize("NFC", text.strip())
        if not value:
            raise AccountError("email", gettext("Please enter email address"))
        if len(value) > EMAIL_MAX_CHARS or not _EMAIL.fullmatch(value):
            message = gettext("You have entered an invalid email address. Please re-enter the email address.")
            raise AccountError("email", message)
        return cls(value, fold_email(value))


class PasswordFault(StrEnum):
    """Why a password is refused; the text for people is in ``PASSWORD_TEXTS``. Append only."""

    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    TOO_FEW_KINDS = "too_few_kinds"
    HAS_NAME = "has_name"
    HAS_EMAIL = "has_email"
    COMMON = "common"


PASSWORD_TEXTS: dict[PasswordFault, str] = {
    PasswordFault.TOO_SHORT: N_("The password must be at least 8 characters in length."),
    PasswordFault.TOO_LONG: N_("The password may have {count} characters at most."),
    PasswordFault.TOO_FEW_KINDS: N_(
        "The password must use at least 3 of four character types: upper case "
        "letters, lower case letters, numbers and symbols."
    ),
    PasswordFault.HAS_NAME: N_("The password cannot contain your first name or last name."),
    PasswordFault.HAS_EMAIL: N_("Cannot contain email or part of email."),
    PasswordFault.COMMON: N_(
        "This password is one of the first that anybody tries. Please choose another one."
    ),
}


def password_faults(password: str, *, email: Email, first_name: str, last_name: str) -> list[PasswordFault]:
    """Everything that policy ``seed`` has against this password; empty when it is fine."""
    text = normalise_password(password)
    folded = text.casefold()
    names = [name.strip().casefold() for name in (first_name, last_name)]
    parts = [part for part in re.split(r"[\W_]+", email.folded) if len(part) >= PART_MIN_CHARS]
    faults = {
        PasswordFault.TOO_SHORT: len(text) < PASSWORD_MIN_CHARS,
        PasswordFault.TOO_LONG: len(text) > PASSWORD_MAX_CHARS,
        PasswordFault.TOO_FEW_KINDS: len({_kind(char) for char in text}) < PASSWORD_KINDS,
        PasswordFault.HAS_NAME: any(len(name) >= NAME_MIN_CHARS and name in folded for name in names),
        PasswordFault.HAS_EMAIL: email.folded in folded or any(part in folded for part in parts),
        PasswordFault.COMMON: folded in _COMMON,
    }
    return [fault for fault, found in faults.items() if found]


def told(faults: Iterable[PasswordFault]) -> str:
    """The faults for people, in the language that is spoken."""
    return " ".join(gettext(PASSWORD_TEXTS[fault], count=PASSWORD_MAX_CHARS) for fault in faults)


def normalise_password(password: str) -> str:
    """The form that is hashed: NFC, so that two keyboards give the same bytes. Nothing is stripped."""
    return unicodedata.normalize("NFC", password)


def _kind(char: str) -> str:
    """One of the four character types; letters without case (as in Chinese) count as lower case."""
    if char.isupper() or char.istitle():
        return "upper"
    if char.isalpha():
        return "lower"
    return "digit" if char.isdecimal() else "symbol"


# --- guessing ----------------------------------------------------------------------------------------------

FORGET_MS = 3_600_000
"""A row of failures is forgotten an hour after its last one, where its pace does not say otherwise."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How a kind of guesser is slowed down: free failures, then a delay that doubles up to a bound.

    The delay only ever postpones an answer. It never refuses a right password, so nobody can lock out
    somebody else by failing on purpose.
    """

    free: int
    first_ms: int
    longest_ms: int
    forget_ms: int = FORGET_MS


PACES: dict[str, Pace] = {
    # One guesser at one account; a person who forgot the password is not bothered at first.
    "pair": Pace(free=3, first_ms=500, longest_ms=8_000),
    # One account from everywhere: short, because its owner waits, too.
    "account": Pace(free=20, first_ms=250, longest_ms=2_000),
    # One address at many accounts: a hospital behind one address mistypes often.
    "address": Pace(free=50, first_ms=250, longest_ms=8_000),
}


def delay_ms(pace: Pace, failures: int, last_ms: int, now_ms: int) -> int:
    """How long the next attempt waits after so many failures, the last of them at ``last_ms``."""
    if failures < pace.free or now_ms - last_ms >= pace.forget_ms:
        return 0
    doublings = min(failures - pace.free, 30)
    return min(pace.first_ms << doublings, pace.longest_ms)
