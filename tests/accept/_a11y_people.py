"""Flows of people: registration, log-in, one's account, company, invitations, help."""

import re
import time
from typing import Any, Final

import msgspec
import pyotp
from playwright.async_api import Page

from cloud.postgres import outbox
from cloud.services.second_factor import PURPOSE
from cloud.web import tickets
from cloud.web.partner_provider import PARTNER
from cloud.web.state import KIT
from protocol.identity import b64url
from tests.accept import CheckError
from tests.accept._a11y_site import OTHER, OWNER, Site
from tests.accept._a11y_step import Flow, Step
from tests.support.portal import PASSWORD
from tests.support.rooms import PAGE_ONE, PAGE_TWO

MOVING: Final = "moving@example.org"
NEW: Final = "grace.new@example.org"
NEW_PASSWORD: Final = "Another horse 9 battery"
EMPTY: Final = {"privacy", "promotions", "area_of_focus", "industry_segment"}
COMPANY: Final = {name: one for name, one in PAGE_TWO.items() if name not in EMPTY}


async def mailed(site: Site, to: str, pattern: str) -> str:
    """What the newest mail that has it says to somebody."""
    for letter in await outbox.newest(site.portal.pool, to_address=to):
        found = re.search(pattern, letter.text or "")
        if found is not None:
            return found[1]
    raise CheckError(f"no mail to {to} says {pattern}")


def code_of(to: str) -> Any:
    """The six digits of the newest mail become ``{code}``."""

    async def prepare(site: Site, _page: Page) -> None:
        site.ids["code"] = await mailed(site, to, r"\b(\d{6})\b")

    return prepare


def link_of(to: str) -> Any:
    """The secret in the newest mail becomes ``{link}``."""

    async def prepare(site: Site, _page: Page) -> None:
        site.ids["link"] = await mailed(site, to, r"#(\S+)")

    return prepare


async def a_minute_later(site: Site, _page: Page) -> None:
    """Another mail may be asked for."""
    await site.sql("UPDATE mailed_code SET made_ms = made_ms - 120000")


REGISTER: Final = Flow(
    "register",
    "",
    (
        Step(
            route="/signup",
            page="/signup",
            wrong={**PAGE_ONE, "email": "no address", "password": "grace1"},
            right={**PAGE_ONE, "email": NEW},
            fault="The password must be at least 8 characters",
            says="Step 2 of 3",
        ),
        Step(
            route="/signup/company",
            page="/signup/company",
            wrong={**COMPANY, "city": "", "privacy": "yes"},
            right={**COMPANY, "privacy": "yes", "human": "yes"},
            fault="City is required",
            says="Verify your account",
        ),
        Step(route="/signup/resend", page="/signup/verify", prepare=a_minute_later, says="sent"),
        Step(
            route="/signup/verify",
            page="/signup/verify",
            prepare=code_of(NEW),
            wrong={"code": "000000"},
            right={"code": "{code}"},
            says="Enable Two-Factor Authentication?",
        ),
        Step(route="/logout", page="/devices", says="Log in"),
    ),
)


async def totp_of_guarded(site: Site, page: Page) -> None:
    """Somebody with an authenticator app is asked for its code."""
    secret = pyotp.random_base32()
    account = site.people["guarded@example.org"].account_id
    sealed = site.portal.app[KIT].vault.seal(PURPOSE, account, secret.encode())
    async with site.portal.pool.connection() as connection:
        await connection.execute(
            "UPDATE totp SET secret_sealed = %s, last_step = 0 WHERE account_id = %s", [sealed, account]
        )
    await page.goto(f"{site.url}/login")
    site.ids["code"] = pyotp.TOTP(secret).now()


LOG_IN: Final = Flow(
    "log in",
    "",
    (
        Step(
            route="/login",
            page="/login",
            wrong={"email": OTHER, "password": "wrong"},
            right={"email": "guarded@example.org", "password": PASSWORD},
            says="code",
        ),
        Step(
            route="/login/verify",
            page="/login/verify",
            prepare=totp_of_guarded,
            wrong={"code": "000000"},
            right={"code": "{code}"},
            says="Devices",
        ),
    ),
)
LANGUAGE: Final = Flow(
    "language",
    "",
    (
        Step(route="/language", page="/privacy", button="[value=en]", says="Skip to content"),
        Step(route="/language", page="/privacy", button="[value=de]", says="Zum Inhalt springen"),
    ),
)
RESET: Final = Flow(
    "forgotten password",
    "",
    (
        Step(
            route="/reset",
            page="/reset",
            wrong={"email": "no address", "human": "yes"},
            right={"email": "grace@example.org", "human": "yes"},
            says="Check your email account",
        ),
        open_link := Step(
            route="/reset/new/open",
            page="/reset/new",
            prepare=link_of("grace@example.org"),
            wrong={"link": "nonsense"},
            right={"link": "{link}"},
            lost=frozenset({"link"}),
            says="New password",
        ),
        Step(
            route="/reset/new",
            via=open_link,
            wrong={"password": "short"},
            right={"password": NEW_PASSWORD},
            fault="at least 8 characters",
            says="password",
        ),
    ),
)


async def partner_waits(site: Site, page: Page) -> None:
    """Somebody has come back from the partner, and is to say that the two accounts are theirs."""
    content = {
        "issuer": site.portal.app[PARTNER][0].issuer,
        "subject": "ada",
        "email": OWNER,
        "until_ms": int(time.time() * 1000) + 600_000,
    }
    sealed = site.portal.app[KIT].vault.seal(
        f"cookie {tickets.Ticket.PARTNER_LINK}", 0, msgspec.json.encode(content)
    )
    name = f"smartconnect_{tickets.Ticket.PARTNER_LINK}_{site.portal.settings.portal_port}"
    await page.context.add_cookies([{"name": name, "value": b64url(sealed), "url": site.url}])


async def partner_is_connected(site: Site, _page: Page) -> None:
    """An account of the partner's portal leads in."""
    await site.sql(
        "INSERT INTO partner_identity (issuer, subject, account_id, email, connected_ms, used_ms)"
        " VALUES (%s, 'ada', %s, %s, 1, 1) ON CONFLICT DO NOTHING",
        *(site.portal.app[PARTNER][0].issuer, site.people[OWNER].account_id, OWNER),
    )


ACCOUNT: Final = Flow(
    "account",
    OWNER,
    (
        Step(
            route="/account",
            page="/account",
            wrong={"first_name": "", "city": "Exampleville"},
            right={"city": "Exampleville", "time_zone": "Europe/Berlin", "promotions": "yes"},
            says="Your profile was saved",
        ),
        Step(
            route="/account/confirm",
            page="/account/confirm?next=/account",
            wrong={"password": "wrong"},
            right={"password": PASSWORD},
            says="My Profile",
        ),
        Step(
            route="/account/password",
            page="/account/password",
            wrong={"current": "wrong", "password": NEW_PASSWORD},
            right={"current": PASSWORD, "password": NEW_PASSWORD},
            says="Your password was changed",
        ),
        Step(
            route="/account/password",
            page="/account/password",
            wrong={"current": NEW_PASSWORD, "password": "short"},
            right={"current": NEW_PASSWORD, "password": PASSWORD},
            fault="at least 8 characters",
            says="Your password was changed",
        ),
        Step(route="/account/partner/connect", page="/account/partner", prepare=partner_waits, says=OWNER),
        Step(
            route="/account/partner/disconnect",
            page="/account/partner",
            prepare=partner_is_connected,
            says="Partner",
        ),
        Step(
            route="/help/{page}",
            page="/help/camera",
            wrong={"comment": "It helped."},
            right={"rating": "4", "comment": "It helped."},
            says="Thank you",
        ),
    ),
)


MOVE: Final = Flow(
    "another address",
    MOVING,
    (
        Step(
            route="/account/email",
            page="/account/email",
            wrong={"email": "no address"},
            right={"email": "moved@example.org"},
            says="code",
        ),
        Step(
            route="/account/email/verify",
            page="/account/email/verify",
            prepare=code_of("moved@example.org"),
            wrong={"code": "000000"},
            right={"code": "{code}"},
            says="Your email address was changed",
        ),
    ),
)


async def second_company(site: Site, _page: Page) -> None:
    """Somebody belongs to another company, too."""
    await site.sql(
        "INSERT INTO membership (company_id, account_id, role, created_ms) VALUES (%s, %s, 'viewer', 0)"
        " ON CONFLICT DO NOTHING",
        *(site.people[OTHER].company_id, site.people[MOVING].account_id),
    )


SWITCH: Final = Flow(
    "another company",
    MOVING,
    (Step(route="/company/switch", page="/company", prepare=second_company, says="Devices"),),
)
COMPANY_FLOW: Final = Flow(
    "company",
    OWNER,
    (
        Step(
            route="/company/details",
            page="/company/details",
            wrong={**COMPANY, "company_name": ""},
            right={**COMPANY, "contact_email": "office@example.org"},
            says="saved",
        ),
        Step(
            route="/company/invite",
            page="/company/invite",
            wrong={"email": "no address"},
            right={"email": "newcomer@example.org", "role": "operator"},
            says="Invitation Sent",
        ),
        Step(route="/company/resend", page="/company", at="[value='{invitation}']", says="Invitation Sent"),
        Step(route="/company/withdraw", page="/company", at="[value='{invitation}']", says="Members"),
        Step(
            route="/company/role",
            page="/company",
            at="[value='{member}']",
            right={"role": "operator"},
            says="Members",
        ),
        Step(route="/company/remove", page="/company", at="[value='{member}']", says="Members"),
    ),
)
INVITED: Final = Flow(
    "invitation",
    "newcomer@example.org",
    (
        Step(
            route="/join",
            page="/join",
            prepare=link_of("newcomer@example.org"),
            wrong={"link": "nonsense"},
            right={"link": "{link}"},
            lost=frozenset({"link"}),
            says="Example Works",
        ),
        Step(route="/join/accept", page="/join/accept", says="Devices"),
    ),
)
UNSUBSCRIBE: Final = Flow(
    "unsubscribe",
    "",
    (
        Step(
            route="/unsubscribe/{token}",
            page="/unsubscribe/{unsubscribe}",
            fault="This link is not complete",
            says="no more",
        ),
    ),
)
DELETE: Final = Flow(
    "delete an account",
    "newcomer@example.org",
    (
        Step(
            route="/account/delete",
            page="/account/delete",
            wrong={},
            right={"sure": "yes"},
            says="Your account was deleted",
        ),
    ),
)
FLOWS: Final = (
    *(REGISTER, LOG_IN, LANGUAGE, RESET, ACCOUNT, SWITCH, MOVE, COMPANY_FLOW, INVITED),
    UNSUBSCRIBE,
)
"""``DELETE`` comes after everything else."""
