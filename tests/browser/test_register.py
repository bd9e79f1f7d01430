"""Registration on a phone: rules while typing, countries without states, and a partner's account."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Page, Route, expect

from tests.browser.conftest import OpenPage
from tests.browser.test_access import SMALL_PHONE, WIDER
from tests.browser.test_link import BARE, link_of
from tests.browser.test_rooms import SIZES, fine, sign_up_from_log_in, tick_robot
from tests.support.partner import ForeignProvider, settings_for, third_party
from tests.support.portal import PASSWORD, Portal, labelled_device, running_portal

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForeignProvider]:
    """A provider that is third-party software."""
    with third_party(tmp_path_factory.mktemp("partner")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def partnered(database: str, tmp_path: Path, provider: ForeignProvider) -> AsyncIterator[Portal]:
    """A portal that lets its accounts in."""
    oidc = settings_for(provider, tmp_path)
    async with running_portal(database, tmp_path / "state", **oidc) as running:
        yield running


async def page_one(page: Page) -> None:
    """All of page one but the password."""
    for label, text in {"Email": "grace@example.org", "First name": "Grace", "Last name": "South"}.items():
        await page.get_by_label(label).fill(text)
    await page.get_by_label("Location").select_option("Singapore")


async def test_rules_are_shown_while_somebody_types(portal: Portal, open_page: OpenPage) -> None:
    page = await open_page(**SIZES["phone"], reduced_motion="reduce")
    await page.goto(f"{portal.url}/signup")
    await page_one(page)
    said = page.locator("[data-password-said]")
    rules = page.locator("[data-rule]")
    for typed, states, words in (
        ("grace1", ["open", "open", "open", "open"], "0 of 4 rules are met"),
        ("Grace1xy", ["met", "open", "met", "open"], "2 of 4 rules are met"),
        ("example 12345", ["met", "met", "met", "open"], "3 of 4 rules are met"),
        (PASSWORD, ["met", "met", "met", "met"], "4 of 4 rules are met"),
        ("", ["", "", "", ""], ""),
    ):
        await page.get_by_label("Password").fill(typed)
        await expect(said).to_have_text(words)
        assert [await rules.nth(at).get_attribute("data-state") for at in range(4)] == states, typed
    await page.get_by_label("Password").fill(PASSWORD)
    await fine(page, "sign-up-rules")
    await page.get_by_role("button", name="Next").click()
    await page.wait_for_url("**/signup/company")
    state = page.get_by_label("State/Province")
    await expect(state).to_have_value("Not applicable")  # Singapore was chosen before
    await page.get_by_label("Location").select_option("France")
    await expect(state).to_have_value("")


async def test_the_codes_of_a_label_outlive_a_sign_up(trial: Portal, open_page: OpenPage) -> None:
    device, product_key = labelled_device()
    page = await open_page(**SIZES["phone"], reduced_motion="reduce")
    await page.goto(link_of(trial, device, product_key))
    await expect(page.locator("[data-label-id]")).to_have_text(device.product_id.value)
    await sign_up_from_log_in(page, trial)
    await page.get_by_role("link", name="Not now").click()
    await expect(page).to_have_url(BARE)
    await expect(page.get_by_label("Product ID", exact=True)).to_have_value(device.product_id.value)
    await expect(page.get_by_label("Product Key", exact=True)).to_have_value(product_key)


async def test_a_partners_account_registers_and_logs_in(partnered: Portal, open_page: OpenPage) -> None:
    page = await open_page(**SIZES["phone"], reduced_motion="reduce")
    await page.goto(f"{partnered.url}/login")
    words = (
        "If you already have an account on partner.schneider-electric.com, you can log in to the Web Portal"
    )
    await expect(page.get_by_text(words)).to_be_visible()
    await fine(page, "login-partner")
    await log_in_there(page)
    await page.wait_for_url("**/signup/company")
    await expect(page.get_by_label("First name")).to_have_value("Grace")
    for label, text in {
        "Company Name": "Example Works",
        "Address": "1 Example Street",
        "City": "Exampleville",
        "Zip Code": "12345",
    }.items():
        await page.get_by_label(label).fill(text)
    await page.get_by_label("Location").select_option("Singapore")
    await page.get_by_label("Business Type").select_option("Business user")
    await page.get_by_label("I have read the privacy notice").check()
    await tick_robot(page)
    await page.get_by_role("button", name="Register").click()
    await page.wait_for_url("**/account/two-factor/offer")
    await page.goto(f"{partnered.url}/account/partner")
    await expect(page.get_by_text("Connected", exact=True)).to_be_visible()
    await fine(page, "account-partner")
    await page.set_viewport_size(SMALL_PHONE)
    assert not await page.evaluate(WIDER)
    await page.set_viewport_size(SIZES["phone"]["viewport"])
    await page.get_by_text("My Account").click()
    await page.get_by_role("button", name="Log out").click()
    await expect(page.get_by_role("link", name="log out there, too")).to_be_visible()
    await log_in_there(page)
    await page.wait_for_url("**/devices")


async def no_style(route: Route) -> None:
    """The provider's pages ask the internet for their looks, which nobody here needs."""
    await route.fulfill(body="", content_type="text/css")


async def log_in_there(page: Page) -> None:
    """From the log-in page through the provider's own."""
    await page.route("https://cdn.jsdelivr.net/**", no_style)
    await page.get_by_role("link", name="Log in with partner.schneider-electric.com").click()
    await page.get_by_role("button", name="grace-1", exact=True).click()


async def test_without_javascript_a_partners_account_leads_as_far(
    partnered: Portal, open_page: OpenPage
) -> None:
    page = await open_page(java_script_enabled=False)
    await page.goto(f"{partnered.url}/login")
    await log_in_there(page)
    await page.wait_for_url("**/signup/company")
    await expect(page.get_by_label("Last name")).to_have_value("South")
