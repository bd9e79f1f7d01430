"""My Profile, Two-Factor Authentication, log-ins, a forgotten password, Delete My Account."""

import re

import pyotp

from tests.cloud.web.conftest import Somebody
from tests.support.portal import PASSWORD, Portal, Visitor, visitor
from tests.support.rooms import mailed_code, mailed_link, newest_mail, solved

NEW_PASSWORD = "Brand new horse 9"


async def turn_on(browser: Visitor) -> tuple[str, list[str]]:
    """Two-Factor Authentication for who is logged in: the secret and the recovery codes."""
    page = await browser.get("/account/two-factor")
    assert ">Turn On</button>" in page.text
    page = await browser.get("/account/two-factor/method")
    assert "Choose your preferred verification method for two-factor authentication" in page.text
    started = await browser.post("/account/two-factor/start", {"method": "app"})
    assert "<svg" in started.text
    found = re.search(r'class="code secret">([A-Z2-7 ]+)<', started.text)
    assert found is not None
    secret = found[1].replace(" ", "")
    done = await browser.post("/account/two-factor/confirm", {"code": pyotp.TOTP(secret).now()})
    assert "Two-Factor Authentication is turned on." in done.text
    return secret, re.findall(r"<li>([0-9A-Z]{5}-[0-9A-Z]{5})</li>", done.text)


async def stale(portal: Portal) -> None:
    """Every proof of who is here is older than 5 minutes."""
    async with portal.pool.connection() as connection:
        await connection.execute("UPDATE web_session SET factor_ms = factor_ms - 400000")


async def test_the_profile_shows_and_saves_what_the_seed_names(portal: Portal, ada: Somebody) -> None:
    page = (await ada.browser.get("/account")).text
    assert f"· {portal.url}/account ·" in page  # at the foot of what is printed
    for words in (
        "My Profile",
        "First name",
        "Change email",
        "Change password",
        "Language Preference",
        "Address",
        "Two-Factor Authentication",
        "Company contact details",
        "For a personalized service and faster technical support.",
        "Delete My Account",
        ">View Profile</a>",
        "My Account",
    ):
        assert words in page
    form = {"first_name": "Adele", "last_name": "North", "city": "Exampleville", "time_zone": "Europe/Paris"}
    answer = await ada.browser.post("/account", {**form, "promotions": "yes"})
    assert answer.headers["Location"] == "/account?saved=profile"
    page = (await ada.browser.get("/account?saved=profile")).text
    assert "Your profile was saved." in page
    assert 'value="Adele"' in page
    assert 'value="Exampleville"' in page
    assert "<option selected>Europe/Paris</option>" in page
    answer = await ada.browser.post("/account", {**form, "first_name": "", "time_zone": "Mars"})
    assert answer.status == 422
    assert "Please choose a time zone." in answer.text


async def test_a_new_password_ends_the_other_log_ins(portal: Portal, ada: Somebody) -> None:
    async with visitor() as http:
        other = Visitor(http, portal.url)
        await other.log_in(ada.email)
        await ada.browser.get("/account/password")
        wrong = await ada.browser.post("/account/password", {"current": "x", "password": NEW_PASSWORD})
        assert (wrong.status, "The password is not right." in wrong.text) == (422, True)
        weak = await ada.browser.post("/account/password", {"current": PASSWORD, "password": "ada"})
        assert (weak.status, "at least 8 characters" in weak.text) == (422, True)
        done = await ada.browser.post("/account/password", {"current": PASSWORD, "password": NEW_PASSWORD})
        assert done.headers["Location"] == "/account?saved=password"
        assert (await other.get("/devices")).status == 303
        assert (await ada.browser.get("/devices")).status == 200
        await other.log_in(ada.email, NEW_PASSWORD)


async def test_a_new_email_address_is_proved_by_its_code(portal: Portal, ada: Somebody) -> None:
    await stale(portal)
    asked = await ada.browser.get("/account/email")
    assert asked.headers["Location"] == "/account/confirm?next=/account/email"
    await ada.browser.get("/account/confirm?next=/account/email")
    wrong = await ada.browser.post("/account/confirm", {"password": "x", "next": "/account/email"})
    assert wrong.status == 422
    proved = await ada.browser.post("/account/confirm", {"password": PASSWORD, "next": "/account/email"})
    assert proved.headers["Location"] == "/account/email"
    await ada.browser.get("/account/email")
    done = await ada.browser.post("/account/email", {"email": "ada.new@example.org"})
    assert done.headers["Location"] == "/account/email/verify"
    await ada.browser.get("/account/email/verify")
    code = await mailed_code(portal, "ada.new@example.org", "email_change_code")
    assert (await ada.browser.post("/account/email/verify", {"code": "x"})).status == 422
    done = await ada.browser.post("/account/email/verify", {"code": code})
    assert done.headers["Location"] == "/account?saved=email"
    assert "ada.new@example.org" in (await ada.browser.get("/account")).text


async def test_two_factor_from_turn_on_to_log_in_to_turn_off(portal: Portal, ada: Somebody) -> None:
    secret, recovery = await turn_on(ada.browser)
    assert len(recovery) == 10
    async with visitor() as http:
        other = Visitor(http, portal.url)
        await other.get("/login")
        form = {"email": ada.email, "password": PASSWORD, "next": "/add/codes"}
        answer = await other.post("/login", form)
        assert answer.headers["Location"] == "/login/verify"
        assert (await other.get("/devices")).status == 303  # not in yet
        await other.get("/login/verify")
        used = await other.post("/login/verify", {"code": pyotp.TOTP(secret).now()})
        assert used.status == 401  # the code that turned it on is spent
        done = await other.post("/login/verify", {"code": recovery[0].lower()})
        assert (done.status, done.headers["Location"]) == (303, "/add/codes")
        page = (await other.get("/account/two-factor")).text
        assert "Recovery codes left: <strong>9</strong>" in page
        await stale(portal)
        answer = await other.post("/account/two-factor/off", {})
        assert answer.headers["Location"].startswith("/account/confirm")
        page = (await other.get("/account/confirm?next=/account/two-factor")).text
        assert 'name="code"' in page
        assert 'name="password"' not in page
        await other.post("/account/confirm", {"code": recovery[1], "next": "/account/two-factor"})
        fresh = await other.post("/account/two-factor/recovery-codes", {})
        assert len(set(re.findall(r"<li>([0-9A-Z]{5}-[0-9A-Z]{5})</li>", fresh.text)) - set(recovery)) == 10
        assert (await other.post("/account/two-factor/off", {})).status == 303
        assert "Turned off" in (await other.get("/account/two-factor")).text
        await other.log_in(ada.email)


async def test_a_wrong_first_code_keeps_what_was_scanned(ada: Somebody) -> None:
    await ada.browser.get("/account/two-factor")
    started = await ada.browser.post("/account/two-factor/start", {})
    found = re.search(r'class="code secret">([A-Z2-7 ]+)<', started.text)
    assert found is not None
    totp = pyotp.TOTP(found[1].replace(" ", ""))
    wrong = await ada.browser.post("/account/two-factor/confirm", {"code": "x"})
    assert (wrong.status, "What you have scanned stays good" in wrong.text) == (422, True)
    done = await ada.browser.post("/account/two-factor/confirm", {"code": totp.now()})
    assert "Recovery codes" in done.text


async def test_the_second_step_without_the_first_leads_to_the_log_in(stranger: Visitor) -> None:
    assert (await stranger.get("/login/verify")).headers["Location"] == "/login"
    await stranger.get("/login")
    answer = await stranger.post("/login/verify", {"code": "123456"})
    assert (answer.status, "took too long" in answer.text) == (401, True)


async def test_log_ins_are_listed_and_ended(portal: Portal, ada: Somebody, eve: Somebody) -> None:
    async with visitor() as http:
        other = Visitor(http, portal.url)
        await other.log_in(ada.email)
        page = (await ada.browser.get("/account/log-ins")).text
        assert page.count("this browser") == 1
        names = re.findall(r'name="name" value="([^"]+)"', page)
        assert len(names) == 1
        await eve.browser.get("/account/log-ins")
        foreign = await eve.browser.post("/account/log-ins/end", {"name": names[0]})
        assert foreign.status == 404
        assert (await other.get("/devices")).status == 200
        assert (await ada.browser.post("/account/log-ins/end", {"name": names[0]})).status == 303
        assert (await other.get("/devices")).status == 303
        await other.log_in(ada.email)
        assert (await ada.browser.post("/account/log-ins/end-others", {})).status == 303
        assert (await other.get("/devices")).status == 303


async def test_a_forgotten_password(portal: Portal, ada: Somebody, stranger: Visitor) -> None:
    assert 'href="/reset">Forgot your password?' in (await stranger.get("/login")).text
    page = (await stranger.get("/reset")).text
    assert "Enter the email address you used to create your Schneider Electric account." in page
    assert ">Reset Password</button>" in page
    assert (await stranger.post("/reset", {"email": ada.email})).status == 422
    told = []
    for email in (ada.email, "nobody@example.org"):
        await stranger.get("/reset")
        answer = await stranger.post("/reset", {"email": email, "robot": await solved(stranger)})
        assert answer.status == 200
        told.append(answer.timeless.replace(email, ""))
    assert told[0] == told[1]
    assert "Check your email account for the password reset email" in told[0]
    token = await mailed_link(portal, ada.email, "password_reset")
    await stranger.get("/reset/new")
    opened = await stranger.post("/reset/new/open", {"link": f"{portal.url}/reset/new#{token}"})
    assert ada.email in opened.text
    weak = await stranger.post("/reset/new", {"token": token, "password": "short"})
    assert (weak.status, "at least 8 characters" in weak.text) == (422, True)
    done = await stranger.post("/reset/new", {"token": token, "password": NEW_PASSWORD})
    assert done.headers["Location"] == "/reset/done"
    assert (await ada.browser.get("/devices")).status == 303  # every log-in has ended
    again = await stranger.post("/reset/new/open", {"link": token})
    assert (again.status, "has been used" in again.text) == (422, True)
    await stranger.log_in(ada.email, NEW_PASSWORD)


async def test_an_account_is_deleted(portal: Portal, ada: Somebody, stranger: Visitor) -> None:
    owned = await portal.own_device(ada.actor)
    page = (await ada.browser.get("/account/delete")).text
    for words in (
        "Account Deletion Request",
        "This action cannot be undone and your user accounts across all Schneider Electric applications",
        "will be permanently deleted.",
        "1 device is",
        ">Next</button>",
    ):
        assert words in page
    assert (await ada.browser.post("/account/delete", {})).status == 422
    done = await ada.browser.post("/account/delete", {"sure": "yes"})
    assert done.headers["Location"] == "/account-deleted"
    assert (await ada.browser.get("/devices")).status == 303
    assert "Your account was deleted" in (await stranger.get("/account-deleted")).text
    assert (await newest_mail(portal, ada.email, "account_deleted")).subject
    await stranger.get("/login")
    assert (await stranger.post("/login", {"email": ada.email, "password": PASSWORD})).status == 401
    async with portal.pool.connection() as connection:
        cursor = await connection.execute(
            "SELECT count(*) FROM ownership WHERE device_id = %s AND until_ms IS NULL", [owned.device_id]
        )
        assert await cursor.fetchone() == (0,)


async def test_deleting_asks_who_is_here(portal: Portal, ada: Somebody) -> None:
    await stale(portal)
    await ada.browser.get("/devices")
    for answer in (
        await ada.browser.get("/account/delete"),
        await ada.browser.post("/account/delete", {"sure": "yes"}),
    ):
        assert answer.headers["Location"] == "/account/confirm?next=/account/delete"
    assert (await ada.browser.get("/devices")).status == 200
