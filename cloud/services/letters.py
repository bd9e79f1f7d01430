"""The mails about accounts: plain sentences, one purpose each. ``brand`` comes from the one setting.

Links carry their secret in the fragment, which no server log and no referrer ever holds.
"""

from datetime import UTC, datetime

from cloud.core.mail import Mail
from cloud.core.membership import INVITATION_LIFE_MS
from cloud.core.one_time_code import LIFE_MS
from cloud.services.kit import Kit

RESET_LIFE_MS = 3_600_000


def sign_up_code(kit: Kit, to: str, code: str, now_ms: int) -> Mail:
    """The six digits of a sign-up."""
    return Mail(
        to,
        f"{code} is your {kit.brand} verification code",
        f"Your verification code is {code}.\n\nEnter it on the page Verify your account within 10 minutes.\n"
        "If you did not sign up, you can ignore this email: without the code nothing happens.\n",
        "sign_up_code",
        now_ms,
        expires_ms=now_ms + LIFE_MS,
    )


def sign_up_known(kit: Kit, to: str, now_ms: int, account_id: int | None = None) -> Mail:
    """To somebody who signs up with an address that has an account."""
    return Mail(
        to,
        f"You already have a {kit.brand} account",
        "Somebody, probably you, has just tried to sign up with this email address. It has an account"
        f" already.\n\nLog in at {kit.portal_url}/login, or choose a new password at"
        f" {kit.portal_url}/reset.\nIf it was not you, there is nothing to do: nothing was changed.\n",
        "sign_up_known",
        now_ms,
        account_id=account_id,
        expires_ms=now_ms + LIFE_MS,
    )


def welcome(kit: Kit, to: str, now_ms: int, account_id: int) -> Mail:
    """The account is there."""
    return Mail(
        to,
        f"Welcome to {kit.brand}",
        f"Your account is ready. Log in at {kit.portal_url}/login with this email address.\n\nWe recommend"
        " Two-Factor Authentication; it is needed to switch outlet groups remotely.\n",
        "welcome",
        now_ms,
        account_id=account_id,
    )


def password_reset(kit: Kit, to: str, token: str, now_ms: int, account_id: int | None) -> Mail:
    """The link to a new password."""
    return Mail(
        to,
        f"Choose a new {kit.brand} password",
        "Somebody, probably you, has asked for a new password for this account.\n\nOpen this link within one"
        f" hour:\n{kit.portal_url}/reset/new#{token}\n\nIt works once. If it was not you, ignore this email:"
        " the password stays as it is.\n",
        "password_reset",
        now_ms,
        account_id=account_id,
        expires_ms=now_ms + RESET_LIFE_MS,
    )


def notice(kit: Kit, to: str, kind: str, what: str, now_ms: int, account_id: int | None) -> Mail:
    """Tells that something about the account's safety has changed; ``what`` is a whole sentence."""
    return Mail(
        to,
        f"Your {kit.brand} account: {what.rstrip('.')}",
        f"{what}\n\nIf it was not you, choose a new password at {kit.portal_url}/reset and tell your"
        " administrator.\n",
        kind,
        now_ms,
        account_id=account_id,
    )


def email_change_code(kit: Kit, to: str, code: str, now_ms: int, account_id: int) -> Mail:
    """The six digits that prove a new address."""
    return Mail(
        to,
        f"{code} confirms your new {kit.brand} email address",
        f"The code is {code}. Enter it within 10 minutes where you changed your email address.\n"
        "If you did not, ignore this email: without the code nothing happens.\n",
        "email_change_code",
        now_ms,
        account_id=account_id,
        expires_ms=now_ms + LIFE_MS,
    )


def email_change_known(kit: Kit, to: str, now_ms: int) -> Mail:
    """To an address that somebody wanted to change to and that has an account."""
    return Mail(
        to,
        f"This address has a {kit.brand} account already",
        "Somebody has just tried to use this email address for another account. Each address has one account"
        " only, and nothing was changed.\n",
        "email_change_known",
        now_ms,
        expires_ms=now_ms + LIFE_MS,
    )


def invitation(kit: Kit, to: str, *, inviter: str, company: str, token: str, now_ms: int) -> Mail:
    """The link into a company."""
    days = INVITATION_LIFE_MS // 86_400_000
    return Mail(
        to,
        f"{inviter} invites you to {kit.brand}",
        f"{inviter} invites you to join {company} on {kit.brand}.\n\nOpen this link within {days} days to"
        f" register or, if you have an account, to log in:\n{kit.portal_url}/join#{token}\n\nAfter joining"
        " you will belong to the same company and see its devices.\n",
        "invitation",
        now_ms,
        expires_ms=now_ms + INVITATION_LIFE_MS,
    )


def factor_required(kit: Kit, to: str, company: str, due_ms: int, now_ms: int, account_id: int) -> Mail:
    """To a member without a second factor, when the company begins to ask for one."""
    due = datetime.fromtimestamp(due_ms / 1000, UTC)
    return Mail(
        to,
        f"{company} requires Two-Factor Authentication on {kit.brand}",
        f"{company} requires Two-Factor Authentication of all its members.\n\nPlease turn it on before"
        f" {due:%Y-%m-%d %H:%M} UTC: {kit.portal_url}/account/two-factor\nAfter that you can log in only to"
        " turn it on.\n",
        "factor_required",
        now_ms,
        account_id=account_id,
    )


def account_deleted(kit: Kit, to: str, now_ms: int) -> Mail:
    """The last mail."""
    return Mail(
        to,
        f"Your {kit.brand} account was deleted",
        "The account of this email address was deleted, as was asked for. Nothing personal is kept.\n",
        "account_deleted",
        now_ms,
    )
