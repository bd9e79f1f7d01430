"""What people do with their account, company and help pages on other days than the first."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from cloud.postgres import help_opinions
from tests.browser.conftest import OpenPage, log_in
from tests.browser.test_rooms import mailed_code
from tests.support.portal import PASSWORD, Portal, now_ms

pytestmark = pytest.mark.browser


async def test_profile_email_log_ins_data_and_the_end(
    trial: Portal, open_page: OpenPage, complaints: list[str]
) -> None:
    await trial.add_person("ada@example.org", company="Example Clinic")
    elsewhere = await open_page()
    await log_in(elsewhere, trial)
    page = await open_page()
    await log_in(page, trial)
    await page.goto(f"{trial.url}/account")
    await page.get_by_label("City").fill("Exampleville")
    await page.get_by_label("Time zone").select_option("Europe/Berlin")
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_text("Your profile was saved.")).to_be_visible()
    await expect(page.get_by_label("City")).to_have_value("Exampleville")

    await page.get_by_role("link", name="Change email").click()
    await page.get_by_label("New email").fill("ada.north@example.org")
    await page.get_by_role("button", name="Next").click()
    await page.wait_for_url("**/account/email/verify")
    code = await mailed_code(page, trial)
    await page.goto(f"{trial.url}/account/email/verify")
    await page.get_by_label("6-digit code").fill(code)
    await page.get_by_role("button", name="Verify").click()
    await expect(page.get_by_text("Your email address was changed.")).to_be_visible()
    await expect(page.get_by_role("main")).to_contain_text("ada.north@example.org")

    await page.get_by_role("link", name="Show log-ins").click()
    await expect(page.get_by_text("this browser")).to_be_visible()
    ends = page.get_by_role("button", name="End", exact=True)
    if await ends.count():
        await ends.first.click()
    await elsewhere.goto(f"{trial.url}/devices")
    await elsewhere.wait_for_url("**/login?next=/devices")

    await page.goto(f"{trial.url}/account")
    async with page.expect_download() as fetched:
        await page.get_by_role("link", name="Download my data").click()
    file = Path(await (await fetched.value).path())
    assert json.loads(file.read_text())["account"]["email"] == "ada.north@example.org"

    await page.get_by_role("link", name="Delete My Account").click()
    await expect(page.get_by_role("heading", name="Account Deletion Request")).to_be_visible()
    await page.get_by_label("Delete my account for good.").check()
    await page.get_by_role("button", name="Next").click()
    await page.wait_for_url("**/account-deleted")
    await page.goto(f"{trial.url}/login")
    await page.fill("#email", "ada.north@example.org")
    await page.fill("#password", PASSWORD)
    await page.click("main button[type=submit]")
    await expect(page.get_by_role("alert")).to_contain_text("is not right")
    complaints[:] = [text for text in complaints if "401" not in text]


async def test_roles_sites_and_who_is_told(portal: Portal, open_page: OpenPage) -> None:
    ada = await portal.add_person("ada@example.org", company="Example Clinic")
    colleague = await portal.add_person("grace@example.org", first_name="Grace")
    async with portal.pool.connection() as connection:
        await connection.execute(
            "INSERT INTO membership (company_id, account_id, role, created_ms) VALUES (%s, %s, 'viewer', 0)",
            [ada.company_id, colleague.account_id],
        )
    await portal.own_device(ada)
    page = await open_page()
    await log_in(page, portal)
    await page.goto(f"{portal.url}/company")
    await page.get_by_label("Role of Grace North").select_option("operator")
    await page.get_by_role("button", name="Change the role of Grace North").click()
    await expect(page.get_by_text("grace@example.org · Operator")).to_be_visible()

    await add_site(page, portal, "North wing")
    await add_site(page, portal, "Cellar", "North wing")
    await page.goto(f"{portal.url}/devices?choose=1")
    await page.get_by_role("checkbox").first.check()
    await page.locator("select[name=site]").select_option(label="North wing / Cellar")
    await page.get_by_role("button", name="Move").click()
    await page.goto(f"{portal.url}/sites")
    await page.get_by_role("link", name="Cellar", exact=True).click()
    await expect(page.get_by_role("link", name="1 device here")).to_be_visible()

    await page.goto(f"{portal.url}/notifications")
    await page.get_by_text("Plan maintenance").click()
    await page.get_by_label("Until").fill(f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%dT%H:%M}")
    await page.get_by_label("Reason").fill("New batteries")
    await page.get_by_role("button", name="Plan it").click()
    await expect(page.locator("strong", has_text="New batteries")).to_be_visible()
    await page.get_by_role("button", name="End New batteries").click()
    await expect(page.locator("strong", has_text="New batteries")).to_have_count(0)


async def add_site(page: Page, portal: Portal, name: str, parent: str = "") -> None:
    """By the form under the tree."""
    await page.goto(f"{portal.url}/sites")
    await page.get_by_label("Name").fill(name)
    if parent:
        await page.locator("#parent").select_option(label=parent)
    await page.get_by_role("button", name="Add the site").click()
    await expect(page.get_by_role("heading", name=name, level=1)).to_be_visible()


async def test_a_help_page_is_rated_and_the_operator_reads_it(portal: Portal, open_page: OpenPage) -> None:
    ada = await portal.add_person("ada@example.org")
    page = await open_page()
    await log_in(page, portal)
    await page.goto(f"{portal.url}/help/adding-your-device")
    await page.get_by_role("radio", name="4").check()
    await page.get_by_label("Comment").fill("Where is the label of a rack model?")
    await page.get_by_role("button", name="Send").click()
    await expect(page.get_by_text("Thank you.")).to_be_visible()
    async with portal.pool.connection() as connection:
        await help_opinions.name_operator(connection, ada.account_id, now_ms(), on=True)
    await page.goto(f"{portal.url}/operator/help")
    await expect(page.get_by_text("Where is the label of a rack model?")).to_be_visible()


async def test_the_language_is_picked_at_the_foot_and_stays(portal: Portal, open_page: OpenPage) -> None:
    await portal.add_person("ada@example.org")
    page = await open_page(locale="fr-FR")
    await page.goto(f"{portal.url}/login")
    await expect(page.locator("html")).to_have_attribute("lang", "fr")
    await page.get_by_role("button", name="Deutsch").click()
    await page.wait_for_url("**/login")
    await expect(page.locator("html")).to_have_attribute("lang", "de")
    await log_in(page, portal)  # the account speaks English, and says so
    await expect(page.locator("html")).to_have_attribute("lang", "en")
    await page.get_by_role("button", name="Deutsch").click()
    await expect(page.locator("html")).to_have_attribute("lang", "de")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Geräte")
    other = await open_page()
    await log_in(other, portal)
    await expect(other.locator("html")).to_have_attribute("lang", "de")
