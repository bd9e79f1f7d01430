"""What tests of the account rooms do like a person: solve the robot check, read the mailbox, sign up."""

import json
import re
from typing import Final

from cloud.core import proof_of_work
from cloud.postgres import outbox
from tests.support.portal import PASSWORD, Answer, Portal, Visitor

PAGE_ONE: Final = {
    "email": "grace@example.org",
    "first_name": "Grace",
    "last_name": "South",
    "password": PASSWORD,
    "location": "FR",
}
PAGE_TWO: Final = {
    "company_name": "Example Works",
    "business_type": "Business user",
    "area_of_focus": "",
    "industry_segment": "",
    "address": "1 Example Street",
    "city": "Exampleville",
    "zip_code": "12345",
    "location": "FR",
    "state_province": "Example Province",
    "privacy": "yes",
    "promotions": "no",
}


async def solved(browser: Visitor) -> str:
    """What the box "I am not a robot" puts into its form."""
    work = json.loads((await browser.get("/robot")).text)
    return proof_of_work.solve(work["challenge"], work["bits"], work["puzzles"])


async def newest_mail(portal: Portal, to: str, kind: str) -> outbox.Letter:
    """The newest mail of a kind to somebody."""
    for letter in await outbox.newest(portal.pool, to_address=to):
        if letter.kind == kind:
            return letter
    raise AssertionError(f"no mail {kind} to {to}")


async def mailed_code(portal: Portal, to: str, kind: str = "sign_up_code") -> str:
    """The six digits of the newest mail."""
    found = re.search(r"\d{6}", (await newest_mail(portal, to, kind)).text)
    assert found is not None
    return found[0]


async def mailed_link(portal: Portal, to: str, kind: str) -> str:
    """The secret of the link in the newest mail: what stands behind the #."""
    found = re.search(r"#(\S+)", (await newest_mail(portal, to, kind)).text)
    assert found is not None
    return found[1]


async def register(browser: Visitor, **fields: str) -> Answer:
    """Both pages; the answer of the second."""
    await browser.get("/signup")
    answer = await browser.post("/signup", {**PAGE_ONE, **fields})
    assert (answer.status, answer.headers["Location"]) == (303, "/signup/company"), answer.text
    await browser.get("/signup/company")
    return await browser.post("/signup/company", {**PAGE_TWO, "robot": await solved(browser)})


async def sign_up(portal: Portal, browser: Visitor, **fields: str) -> None:
    """From the first page to being logged in."""
    answer = await register(browser, **fields)
    assert (answer.status, answer.headers["Location"]) == (303, "/signup/verify"), answer.text
    await browser.get("/signup/verify")
    code = await mailed_code(portal, fields.get("email", PAGE_ONE["email"]))
    answer = await browser.post("/signup/verify", {"code": code})
    assert (answer.status, answer.headers["Location"]) == (303, "/account/two-factor/offer"), answer.text
    await browser.get("/devices")  # with the form token of the new log-in
