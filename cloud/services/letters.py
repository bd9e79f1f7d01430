"""The mails about accounts: plain sentences, one purpose each. ``brand`` comes from the one setting.

Each is written in the language that is spoken: who sends one speaks its reader's (``with speaking(…)``).

Links carry their secret in the fragment, which no server log and no referrer ever holds.
"""

from datetime import UTC, datetime

from cloud.core.language import gettext
from cloud.core.mail import Mail
from cloud.core.membership import INVITATION_LIFE_MS
from cloud.core.one_time_code import LIFE_MS
from cloud.services.kit import Kit

RESET_LIFE_MS = 3_600_000


def sign_up_code(kit: Kit, to: str, code: str, now_ms: int) -> Mail:
    """The six digits of a sign-up."""
    return Mail(
        to,
        gettext("{code} is your {brand} verification code", code=code, brand=kit.brand),
        gettext(
            "Your verification code is {code}.\n\nEnter it on the page Verify your account within 10"
            " minutes.\n"
            "If you did not sign up, you can ignore this email: without the code nothing happens.\n",
            code=code,
        ),
        "sign_up_code",
        now_ms,
        expires_ms=now_ms + LIFE_MS,
    )


def sign_up_known(kit: Kit, to: str, now_ms: int, account_id: int | None = None) -> Mail:
    """To somebody who signs up with an address that has an account."""
    return Mail(
        to,
        gettext("You already have a {brand} account", brand=kit.brand),
        gettext(
            "Somebody, probably you, has just tried to sign up with this email address. It has an account"
            " already.\n\nLog in at {url}/login, or choose a new password at"
            " {url}/reset.\nIf it was not you, there is nothing to do: nothing was changed.\n",
            url=kit.portal_url,
        ),
        "sign_up_known",
        now_ms,
        account_id=account_id,
        expires_ms=now_ms + LIFE_MS,
    )


def welcome(kit: Kit, to: str, now_ms: int, account_id: int) -> Mail:
    """The account is there."""
    return Mail(
        to,
        gettext("Welcome to {brand}", brand=kit.brand),
        gettext(
            "Your account is ready. Log in at {url}/login with this email address.\n\nWe recommend"
            " Two-Factor Authentication; it is needed to switch outlet groups remotely.\n",
            url=kit.portal_url,
        ),
        "welcome",
        now_ms,
        account_id=account_id,
    )


def password_reset(kit: Kit, to: str, token: str, now_ms: int, account_id: int | None) -> Mail:
    """The link to a new password."""
    return Mail(
        to,
        gettext("Choose a new {brand} password", brand=kit.brand),
        gettext(
            "Somebody, probably you, has asked for a new password for this account.\n\nOpen this link within"
            " one hour:\n{link}\n\nIt works once. If it was not you, ignore this email:"
            " the password stays as it is.\n",
            link=f"{kit.portal_url}/reset/new#{token}",
        ),
        "password_reset",
        now_ms,
        account_id=account_id,
        expires_ms=now_ms + RESET_LIFE_MS,
    )


def notice(kit: Kit, to: str, kind: str, what: str, now_ms: int, account_id: int | None) -> Mail:
    """Tells that something about the account's safety has changed; ``what`` is a whole sentence, said
    already in the reader's language.
    """
    return Mail(
        to,
        gettext("Your {brand} account: {what}", brand=kit.brand, what=what.rstrip(".")),
        gettext(
            "{what}\n\nIf it was not you, choose a new password at {url}/reset and tell your"
            " administrator.\n",
            what=what,
            url=kit.portal_url,
        ),
        kind,
        now_ms,
        account_id=account_id,
    )


def email_change_code(kit: Kit, to: str, code: str, now_ms: int, account_id: int) -> Mail:
    """The six digits that prove a new address."""
    return Mail(
        to,
        gettext("{code} confirms your new {brand} email address", code=code, brand=kit.brand),
        gettext(
            "The code is {code}. Enter it within 10 minutes where you changed your email address.\n"
            "If you did not, ignore this email: without the code nothing happens.\n",
            code=code,
        ),
        "email_change_code",
        now_ms,
        account_id=account_id,
        expires_ms=now_ms + LIFE_MS,
    )


def email_change_known(kit: Kit, to: str, now_ms: int) -> Mail:
    """To an address that somebody wanted to change to and that has an account."""
    return Mail(
        to,
        gettext("This address has a {brand} account already", brand=kit.brand),
        gettext(
            "Somebody has just tried to use this email address for another account. Each address has one"
            " account only, and nothing was changed.\n"
        ),
        "email_change_known",
        now_ms,
        expires_ms=now_ms + LIFE_MS,
    )


def invitation(kit: Kit, to: str, *, inviter: str, company: str, token: str, now_ms: int) -> Mail:
    """The link into a company."""
    return Mail(
        to,
        gettext("{inviter} invites you to {brand}", inviter=inviter, brand=kit.brand),
        gettext(
            "{inviter} invites you to join {company} on {brand}.\n\nOpen this link within {days} days to"
            " register or, if you have an account, to log in:\n{link}\n\nAfter joining"
            " you will belong to the same company and see its devices.\n",
            inviter=inviter,
            company=company,
            brand=kit.brand,
            days=INVITATION_LIFE_MS // 86_400_000,
            link=f"{kit.portal_url}/join#{token}",
        ),
        "invitation",
        now_ms,
        expires_ms=now_ms + INVITATION_LIFE_MS,
    )


def factor_required(kit: Kit, to: str, company: str, due_ms: int, now_ms: int, account_id: int) -> Mail:
    """To a member without a second factor, when the company begins to ask for one."""
    due = datetime.fromtimestamp(due_ms / 1000, UTC)
    return Mail(
        to,
        gettext("{company} requires Two-Factor Authentication on {brand}", company=company, brand=kit.brand),
        gettext(
            "{company} requires Two-Factor Authentication of all its members.\n\nPlease turn it on before"
            " {due}: {link}\nAfter that you can log in only to turn it on.\n",
            company=company,
            due=f"{due:%Y-%m-%d %H:%M} UTC",
            link=f"{kit.portal_url}/account/two-factor",
        ),
        "factor_required",
        now_ms,
        account_id=account_id,
    )


def account_deleted(kit: Kit, to: str, now_ms: int) -> Mail:
    """The last mail."""
    return Mail(
        to,
        gettext("Your {brand} account was deleted", brand=kit.brand),
        gettext(
            "The account of this email address was deleted, as was asked for. Nothing personal is kept.\n"
        ),
        "account_deleted",
        now_ms,
    )
