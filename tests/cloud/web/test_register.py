"""What a registration offers by the operator's settings, and which privacy notice was accepted."""

import hashlib
import html
import json
import re
from pathlib import Path
from typing import Any

from cloud.core.privacy import PRIVACY_VERSION, WORDS_OF
from tests.support.portal import Portal, Visitor, running_portal, visitor
from tests.support.rooms import PAGE_ONE, PAGE_TWO, register, sign_up, solved


def words_of(page: str) -> str:
    """What a reader of the page's article reads, with single blanks."""
    article = page.partition("<article")[2].partition(">")[2].partition("</article>")[0]
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", article)).split())


async def test_the_privacy_notice_has_a_version_and_it_is_recorded(portal: Portal, stranger: Visitor) -> None:
    page = (await stranger.get("/privacy")).text
    assert f"Version of {PRIVACY_VERSION}" in page
    digest = hashlib.sha256(words_of(page).encode()).hexdigest()
    assert digest == WORDS_OF[PRIVACY_VERSION], "the notice says something else: give it a new version"
    await sign_up(portal, stranger)
    async with portal.pool.connection() as connection:
        cursor = await connection.execute("SELECT privacy_version, privacy_ms IS NOT NULL FROM account")
        assert await cursor.fetchall() == [(PRIVACY_VERSION, True)]
    data = json.loads((await stranger.get("/api/v1/account/data")).text)
    assert data["account"]["privacy_version"] == PRIVACY_VERSION


async def test_a_country_without_states_needs_none(portal: Portal, stranger: Visitor) -> None:
    await stranger.get("/signup")
    await stranger.post("/signup", PAGE_ONE)
    page = (await stranger.get("/signup/company")).text
    assert "If your country has none: Not applicable" in page
    form = {**PAGE_TWO, "location": "US", "state_province": "n/a", "robot": await solved(stranger)}
    answer = await stranger.post("/signup/company", form)
    assert (answer.status, "State/Province is required." in answer.text) == (422, True)
    form = {**PAGE_TWO, "location": "SG", "state_province": "", "robot": await solved(stranger)}
    assert (await stranger.post("/signup/company", form)).status == 303
    async with portal.pool.connection() as connection:
        cursor = await connection.execute("SELECT company ->> 'state_province' FROM sign_up")
        assert await cursor.fetchall() == [("Not applicable",)]


async def test_the_lists_are_the_operators(database: str, tmp_path: Path) -> None:
    lists: dict[str, Any] = {"business_types": ("Hospital", "School"), "industry_segments": ("Health",)}
    async with running_portal(database, tmp_path / "state", **lists) as portal, visitor() as http:
        browser = Visitor(http, portal.url)
        answer = await register(browser)
        assert (answer.status, "Please choose one of the list for Business Type." in answer.text) == (
            422,
            True,
        )
        for words in ('<option value="Hospital">', '<option value="Health">', '<option value="Buildings">'):
            assert words in answer.text
        assert '<option value="Manufacturing">' not in answer.text
        form = {**PAGE_TWO, "business_type": "School", "robot": await solved(browser)}
        assert (await browser.post("/signup/company", form)).status == 303


async def test_a_choice_that_is_no_longer_offered_stays(database: str, tmp_path: Path) -> None:
    async with (
        running_portal(database, tmp_path / "state", business_types=("School",)) as portal,
        visitor() as http,
    ):
        await portal.add_person("ada@example.org")
        async with portal.pool.connection() as connection:
            await connection.execute("UPDATE company SET business_type = 'Hospital'")
        browser = Visitor(http, portal.url)
        await browser.log_in("ada@example.org")
        page = (await browser.get("/company/details")).text
        assert '<option value="Hospital" selected>' in page
        form = {**PAGE_TWO, "business_type": "Hospital"}
        assert (await browser.post("/company/details", form)).status == 303
        assert (await browser.post("/company/details", {**form, "business_type": "Other"})).status == 422
