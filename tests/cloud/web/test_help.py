"""Help pages: everybody reads them, who is logged in rates them, the operator reads that."""

import pytest

from cloud.core.account import AccountError
from cloud.core.help import COMMENT_MAX_CHARS, HELP_PAGES, Opinion, check_opinion
from cloud.core.refusal import RefusedError
from cloud.services import helping
from tests.cloud.web.conftest import Somebody
from tests.support.portal import Portal, Visitor, now_ms

PAGE = "/help/adding-your-device"


def test_an_opinion_is_a_number_from_1_to_5_and_words() -> None:
    assert check_opinion("5", "  Clear,\r\nand\tshort\x00. ") == Opinion(5, "Clear,\nandshort.")
    for rating in ("", "0", "6", "٣", "2.5"):
        with pytest.raises(AccountError, match="from 1 to 5") as caught:
            check_opinion(rating, "")
        assert caught.value.field == "rating"
    with pytest.raises(AccountError) as caught:
        check_opinion("1", "x" * (COMMENT_MAX_CHARS + 1))
    assert caught.value.field == "comment"


async def test_every_help_page_is_listed_open_and_asks_to_log_on_for_feedback(stranger: Visitor) -> None:
    index = (await stranger.get("/help")).text
    for one in HELP_PAGES.values():
        assert f'href="{one.path}"' in index
        answer = await stranger.get(one.path)
        assert answer.status == 200
        assert "Log on to rate and give feedback" in answer.text
        assert f"/login?next={one.path}" in answer.text
    assert (await stranger.get("/help/nothing")).status == 404
    assert (await stranger.post(PAGE, {"rating": "5"})).status == 401


async def test_a_rating_can_be_changed_and_is_the_accounts_only_one(portal: Portal, ada: Somebody) -> None:
    await ada.browser.get(PAGE)
    refused = await ada.browser.post(PAGE, {"rating": "9", "comment": "kept <b>words</b>"})
    assert refused.status == 422
    assert "from 1 to 5" in refused.text
    assert "kept &lt;b&gt;words" in refused.text
    for rating, comment in (("2", "Too long."), ("4", "Better.")):
        answer = await ada.browser.post(PAGE, {"rating": rating, "comment": comment})
        assert answer.status == 303
        shown = (await ada.browser.get(answer.headers["Location"].partition("#")[0])).text
        assert "Thank you" in shown
        assert comment in shown
    async with portal.pool.connection() as connection:
        found = await connection.execute("SELECT page, rating, comment FROM help_opinion")
        assert await found.fetchall() == [("adding-your-device", 4, "Better.")]


async def test_only_the_operator_reads_what_people_think(
    portal: Portal, ada: Somebody, eve: Somebody
) -> None:
    await ada.browser.get(PAGE)
    await ada.browser.post(PAGE, {"rating": "2", "comment": "Where is the label?"})
    assert (await eve.browser.get("/operator/help")).status == 404
    await helping.name_operator(portal.pool, eve.email, now_ms(), on=True)
    await helping.name_operator(portal.pool, eve.email, now_ms(), on=True)
    read = await eve.browser.get("/operator/help")
    assert read.status == 200
    assert "Where is the label?" in read.text
    assert ada.email in read.text
    assert "2.0" in read.text
    assert (await ada.browser.get("/operator/help")).status == 404
    await helping.name_operator(portal.pool, eve.email, now_ms(), on=False)
    assert (await eve.browser.get("/operator/help")).status == 404
    with pytest.raises(RefusedError, match="no account has the address"):
        await helping.name_operator(portal.pool, "nobody@example.org", now_ms(), on=True)
