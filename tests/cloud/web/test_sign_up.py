"""Sign-up in two pages, the mailed code, the robot check, the mailbox."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cloud.core.sign_up import LABELS
from cloud.core.slow_lane import MIN_AGE_MS
from cloud.services import slow_lane
from cloud.web import wording
from tests.support.portal import Portal, Visitor, now_ms, running_portal, visitor
from tests.support.rooms import PAGE_ONE, PAGE_TWO, mailed_code, newest_mail, register, sign_up, solved


async def test_from_the_log_in_page_to_a_verified_account(portal: Portal, stranger: Visitor) -> None:
    assert 'href="/signup">Sign Up</a>' in (await stranger.get("/login")).text
    await sign_up(portal, stranger)
    offer = await stranger.get("/account/two-factor/offer")
    assert "Enable Two-Factor Authentication?" in offer.text
    assert (await stranger.get("/devices")).status == 200
    async with portal.pool.connection() as connection:
        cursor = await connection.execute(
            "SELECT first_name, last_name, account.location, promotions, privacy_ms IS NOT NULL, name, role"
            " FROM account JOIN membership USING (account_id) JOIN company USING (company_id)"
        )
        assert await cursor.fetchall() == [("Grace", "South", "FR", False, True, "Example Works", "owner")]


async def test_page_one_has_the_words_and_rules_of_the_seed(stranger: Visitor) -> None:
    text = (await stranger.get("/signup")).text
    for words in (
        "Register",
        "Email",
        "First name",
        "Last name",
        "The password must be at least 8 characters in length.",
        "The password cannot contain your first name or last name.",
        "The password must use at least 3 of four character types: upper case letters,",
        "lower case letters, numbers and symbols.",
        "Cannot contain email or part of email.",
        "Location",
        ">Next</button>",
    ):
        assert words in text


async def test_page_two_has_the_fields_of_the_seed(stranger: Visitor) -> None:
    await stranger.get("/signup")
    await stranger.post("/signup", PAGE_ONE)
    text = (await stranger.get("/signup/company")).text
    for field, label in LABELS.items():
        star = (
            '<span aria-hidden="true">*</span>' if field not in {"area_of_focus", "industry_segment"} else ""
        )
        assert f'<label for="{field}">{label}{star}</label>' in text
    for words in (
        "*required fields",
        "Schneider Electric privacy notice and policy",
        "product information and promotional materials from Schneider Electric",
        "<span>Yes</span>",
        "I am not a robot",
        ">Register</button>",
        "Without JavaScript this check can take a while",
    ):
        assert words in text


async def test_faults_are_told_at_their_fields_and_nothing_is_lost(stranger: Visitor) -> None:
    await stranger.get("/signup")
    answer = await stranger.post(
        "/signup", {**PAGE_ONE, "email": "no address", "password": "grace1", "location": ""}
    )
    assert answer.status == 422
    for words in (
        "You have entered an invalid email address. Please re-enter the email address.",
        "The password must be at least 8 characters in length.",
        "The password cannot contain your first name or last name.",
        "Please choose a location.",
        'value="no address"',
        'value="South"',
    ):
        assert words in answer.text
    assert "grace1" not in answer.text
    await stranger.post("/signup", PAGE_ONE)
    page_two = {**PAGE_TWO, "city": "", "robot": await solved(stranger)}
    answer = await stranger.post("/signup/company", page_two)
    assert (answer.status, "City is required." in answer.text) == (422, True)
    assert 'value="Example Works"' in answer.text


async def test_privacy_and_the_robot_check_are_needed(portal: Portal, stranger: Visitor) -> None:
    await stranger.get("/signup")
    await stranger.post("/signup", PAGE_ONE)
    robot = await solved(stranger)
    answer = await stranger.post("/signup/company", {**PAGE_TWO, "privacy": "", "robot": robot})
    assert "Please read the privacy notice and accept it." in answer.text
    for wrong in ("", "x", robot[:-1] + "x", robot.replace("1.", "1.1.", 1)):
        answer = await stranger.post("/signup/company", {**PAGE_TWO, "robot": wrong})
        assert (answer.status, "I am not a robot’ checkbox" in answer.text) == (422, True)
    assert (await stranger.post("/signup/company", {**PAGE_TWO, "robot": robot})).status == 303
    again = await stranger.post("/signup/company", {**PAGE_TWO, "robot": robot})
    assert (again.status, "I am not a robot’ checkbox" in again.text) == (
        422,
        True,
    )  # each is good for one use
    async with portal.pool.connection() as connection:
        cursor = await connection.execute("SELECT count(*) FROM used_challenge")
        assert await cursor.fetchone() == (1,)


def slow_ticket(text: str) -> str:
    """The ticket in a form that was shown."""
    return text.split('name="slow" value="', 1)[1].split('"', 1)[0]


async def test_without_javascript_the_robot_check_takes_patience(portal: Portal, stranger: Visitor) -> None:
    await stranger.get("/signup")
    await stranger.post("/signup", PAGE_ONE)
    ticked = {**PAGE_TWO, "robot": "", "human": "yes"}
    ticket = slow_ticket((await stranger.get("/signup/company")).text)
    early = await stranger.post("/signup/company", {**ticked, "slow": ticket})
    assert (early.status, "Your turn is kept for you" in early.text) == (422, True)
    assert "Try again in 5 s." in early.text
    assert 'value="Example Works"' in early.text  # nothing is lost
    assert slow_ticket(early.text) == ticket
    old = slow_lane.ticket(portal.kit, now_ms() - MIN_AGE_MS)
    answer = await stranger.post("/signup/company", {**PAGE_TWO, "robot": "", "slow": old})
    assert "I am not a robot’ checkbox" in answer.text  # who has not ticked the box is asked to
    assert slow_ticket(answer.text) == old
    done = await stranger.post("/signup/company", {**ticked, "slow": old})
    assert (done.status, done.headers["Location"]) == (303, "/signup/verify")
    code = await mailed_code(portal, PAGE_ONE["email"])
    assert (await stranger.post("/signup/verify", {"code": code})).status == 303


async def test_a_forgotten_password_without_javascript(portal: Portal, stranger: Visitor) -> None:
    await portal.add_person("ada@example.org")
    ticket = slow_ticket((await stranger.get("/reset")).text)
    form = {"email": "ada@example.org", "robot": "", "human": "yes"}
    early = await stranger.post("/reset", {**form, "slow": ticket})
    assert (early.status, 'value="ada@example.org"' in early.text) == (422, True)
    old = slow_lane.ticket(portal.kit, now_ms() - MIN_AGE_MS)
    sent = await stranger.post("/reset", {**form, "slow": old})
    assert (sent.status, "Check your email account" in sent.text) == (200, True)
    assert await newest_mail(portal, "ada@example.org", "password_reset")


async def test_a_challenge_of_another_installation_counts_for_nothing(stranger: Visitor) -> None:
    await stranger.get("/signup")
    await stranger.post("/signup", PAGE_ONE)
    text, _, numbers = (await solved(stranger)).partition(":")
    forged = text[:-1] + ("A" if text[-1] != "A" else "E")
    answer = await stranger.post("/signup/company", {**PAGE_TWO, "robot": f"{forged}:{numbers}"})
    assert answer.status == 422


async def test_a_wrong_code_is_told_and_another_one_can_be_had(portal: Portal, stranger: Visitor) -> None:
    await register(stranger)
    await stranger.get("/signup/verify")
    code = await mailed_code(portal, PAGE_ONE["email"])
    answer = await stranger.post("/signup/verify", {"code": f"{(int(code) + 1) % 10**6:06d}"})
    assert (answer.status, "not the code from the newest email" in answer.text) == (422, True)
    soon = await stranger.post("/signup/resend", {})
    assert (soon.status, "Try again in" in soon.text) == (422, True)
    async with portal.pool.connection() as connection:
        await connection.execute("UPDATE mailed_code SET made_ms = made_ms - 60000")
    answer = await stranger.post("/signup/resend", {})
    assert answer.headers["Location"] == "/signup/verify?sent=1"
    assert "Another email was sent" in (await stranger.get("/signup/verify?sent=1")).text
    code = await mailed_code(portal, PAGE_ONE["email"])
    assert (await stranger.post("/signup/verify", {"code": f" {code[:3]} {code[3:]}"})).status == 303


async def test_a_known_address_gets_the_same_pages_and_another_mail(
    portal: Portal, stranger: Visitor
) -> None:
    await portal.add_person("grace@example.org")
    answer = await register(stranger)
    assert (answer.status, answer.headers["Location"]) == (303, "/signup/verify")
    assert "grace@example.org" in (await stranger.get("/signup/verify")).text
    assert "has an account already" in (await newest_mail(portal, "grace@example.org", "sign_up_known")).text
    answer = await stranger.post("/signup/verify", {"code": "123456"})
    assert "not the code from the newest email" in answer.text


async def test_pages_out_of_turn_lead_to_the_first(stranger: Visitor) -> None:
    for path in ("/signup/company", "/signup/verify"):
        assert (await stranger.get(path)).headers["Location"] == "/signup"
    await stranger.get("/signup")
    for path in ("/signup/company", "/signup/verify", "/signup/resend"):
        assert (await stranger.post(path, {})).headers["Location"] == "/signup"


async def test_where_somebody_wanted_to_go_survives_sign_up(portal: Portal, stranger: Visitor) -> None:
    await stranger.get("/signup?next=/add/codes")
    await sign_up(portal, stranger)
    assert 'href="/add/codes">Not now' in (await stranger.get("/account/two-factor/offer")).text


@pytest.mark.parametrize("target", ["//example.org", "https://example.org/"])
async def test_nobody_is_led_to_another_site(portal: Portal, stranger: Visitor, target: str) -> None:
    await stranger.get(f"/signup?next={target}")
    await sign_up(portal, stranger)
    assert 'href="/devices">Not now' in (await stranger.get("/account/two-factor/offer")).text


# --- the mailbox --------------------------------------------------------------------------------------------


@pytest.fixture
async def trial(database: str, tmp_path: Path) -> AsyncIterator[Portal]:
    """A portal whose mails are shown on a page."""
    async with running_portal(database, tmp_path / "trial", mail="mailbox") as running:
        yield running


async def test_the_mailbox_shows_codes_and_links(trial: Portal) -> None:
    async with visitor() as http:
        browser = Visitor(http, trial.url)
        await register(browser)
        assert 'href="/mailbox"' in (await browser.get("/signup/verify")).text
        page = (await browser.get("/mailbox")).text
        code = await mailed_code(trial, PAGE_ONE["email"])
        assert f'<strong class="code">{code}</strong>' in page
        found = re.search(r'href="(/mailbox/\d+)"', page)
        assert found is not None
        assert code in (await browser.get(found[1])).text
        assert (await browser.get("/mailbox/999999")).status == 404
        assert "No mails yet" in (await browser.get("/mailbox?to=nobody@example.org")).text


async def test_without_that_setting_there_is_no_mailbox(stranger: Visitor) -> None:
    assert (await stranger.get("/mailbox")).status == 404
    assert (await stranger.get("/mailbox/1")).status == 404
    await register(stranger)
    assert "/mailbox" not in (await stranger.get("/signup/verify")).text


# --- words --------------------------------------------------------------------------------------------------


def test_one_setting_gives_the_words_of_the_brand() -> None:
    ours = wording.brand_words("SmartConnect")
    assert (ours.maker, ours.exchange) == ("Schneider Electric", "Exchange")
    other = wording.brand_words("Example Power")
    assert {other.name, other.maker, other.exchange} == {"Example Power"}
    assert ours.already_invited == (
        "This co-worker has already been invited to the Exchange portal. Please invite another co-worker."
    )


@pytest.mark.parametrize(
    ("user_agent", "words"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/150.0 Safari/537.36", "Chrome on Linux"),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) Version/19.0 Safari/604.1",
            "Safari on iPhone",
        ),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:150.0) Gecko/20100101 Firefox/150.0",
            "Firefox on Windows",
        ),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/150.0 Safari/537.36 Edg/150.0", "Edge on Windows"),
        ("Python/3.11 aiohttp/3.14", "Python/3.11 aiohttp/3.14"),
        ("", "Unknown browser"),
    ],
)
def test_browsers_in_words(user_agent: str, words: str) -> None:
    assert wording.browser(user_agent) == words


def test_mails_become_links_and_nothing_else() -> None:
    html = wording.linked("<b>123456</b> at https://a.example.org/x#y_z-1.\nor http://b.example.org/?q=1&r=2")
    assert html == (
        '&lt;b&gt;<strong class="code">123456</strong>&lt;/b&gt; at'
        ' <a href="https://a.example.org/x#y_z-1">https://a.example.org/x#y_z-1</a>.\nor'
        ' <a href="http://b.example.org/?q=1&amp;r=2">http://b.example.org/?q=1&amp;r=2</a>'
    )
