"""Flows of proofs: log-ins, API tokens, the second factor by app and by passkey."""

from typing import Final

import pyotp
from playwright.async_api import Page

from cloud.postgres import passkeys
from tests.accept import expect
from tests.accept._a11y_site import OTHER, OWNER, Site
from tests.accept._a11y_step import Flow, Step
from tests.browser.test_passkeys import with_authenticator
from tests.support.portal import PASSWORD

HOLDER: Final = "holder@example.org"


async def another_log_in(site: Site, _page: Page) -> None:
    """The same person is logged in elsewhere."""
    await site.portal.log_in(OWNER)


async def read_secret(site: Site, page: Page) -> None:
    """What an authenticator app would scan becomes ``{code}``."""
    secret = await page.text_content(".secret") or ""
    site.ids["code"] = pyotp.TOTP(secret.replace(" ", "").strip()).now()


LOG_INS: Final = Flow(
    "log-ins and tokens",
    OWNER,
    (
        Step(
            route="/account/tokens/new",
            page="/account/tokens/new",
            wrong={"name": "", "scopes": "devices:read"},
            right={"name": "Nightly report", "scopes": "devices:read", "days": "30"},
            says="Your new token",
        ),
        Step(route="/account/tokens/{token_id}/revoke", page="/account/tokens", says="API tokens"),
        Step(route="/account/log-ins/end", page="/account/log-ins", says="Log-ins"),
        Step(
            route="/account/log-ins/end-others",
            page="/account/log-ins",
            prepare=another_log_in,
            says="Log-ins",
        ),
    ),
)


async def give_key(site: Site, who: str, credential_id: bytes) -> None:
    """A passkey that nobody holds."""
    new = passkeys.NewPasskey(
        account_id=site.people[who].account_id,
        credential_id=credential_id,
        public_key=b"",
        sign_count=0,
        transports=[],
        name="A phone",
        rp_id="localhost",
        now_ms=1,
    )
    async with site.portal.pool.connection() as connection:
        expect(await passkeys.insert(connection, new), "the passkey is new")


async def own_passkey(site: Site, _page: Page) -> None:
    """A passkey beside the app."""
    await give_key(site, OTHER, b"beside the app")


async def another_passkey(site: Site, _page: Page) -> None:
    """One that stays."""
    await give_key(site, OTHER, b"another beside it")


async def with_key(site: Site, page: Page) -> None:
    """The browser has an authenticator that its person holds and unlocks; without scripts it is of no use."""
    if site.scripts:
        await with_authenticator(page)
    else:
        await give_key(site, HOLDER, b"not to be used")


async def logged_out(site: Site, page: Page) -> None:
    """Somebody with a passkey comes to the second step of a log-in."""
    await page.context.clear_cookies()
    await page.goto(f"{site.url}/login")
    await page.fill("#email", HOLDER)
    await page.fill("#password", PASSWORD)
    await page.click("main button[type=submit]")


SECOND_FACTOR: Final = Flow(
    "second factor by app",
    OTHER,
    (
        Step(
            route="/account/two-factor/start",
            page="/account/two-factor/method",
            right={"method": "app"},
            says="authenticator app",
        ),
        Step(
            route="/account/two-factor/confirm",
            prepare=read_secret,
            wrong={"code": "000000"},
            right={"code": "{code}"},
            says="Recovery codes",
        ),
        Step(
            route="/account/two-factor/recovery-codes",
            page="/account/two-factor",
            says="Recovery codes",
        ),
        Step(
            route="/account/two-factor/passkeys/rename",
            page="/account/two-factor",
            prepare=own_passkey,
            wrong={"name": ""},
            right={"name": "My phone"},
            says="My phone",
        ),
        Step(
            route="/account/two-factor/passkeys/remove",
            page="/account/two-factor",
            says="Two-Factor Authentication",
        ),
        Step(
            route="/company/second-factor",
            page="/company",
            at="[name=grace_days]",
            right={"grace_days": "30"},
            says="required",
        ),
        Step(
            route="/company/second-factor", page="/company", at="[value=no]", says="Require it of all members"
        ),
        Step(
            route="/account/two-factor/app/remove",
            page="/account/two-factor",
            prepare=another_passkey,
            says="Two-Factor Authentication",
        ),
        Step(route="/account/two-factor/off", page="/account/two-factor", says="Turn On"),
    ),
)
NO_SCRIPT: Final = "Passkeys need JavaScript"
PASSKEYS: Final = Flow(
    "second factor by passkey",
    HOLDER,
    (
        Step(
            route="/account/two-factor/passkeys",
            page="/account/two-factor/passkeys/new",
            prepare=with_key,
            right={"name": "My phone"},
            says="Recovery codes",
            fault=NO_SCRIPT,
            only_scripted=True,
        ),
        Step(
            route="/account/confirm/passkey",
            page="/account/confirm?next=/account",
            prepare=None,
            says="My Profile",
            fault=NO_SCRIPT,
            only_scripted=True,
        ),
        Step(
            route="/login/passkey",
            prepare=logged_out,
            page="/login/verify",
            says="Devices",
            fault=NO_SCRIPT,
            only_scripted=True,
        ),
    ),
)


FLOWS: Final = (LOG_INS, SECOND_FACTOR, PASSKEYS)
