"""Acceptance ``outlet-end-to-end``: from a button in Chromium to the register of a simulated UPS.

Real PostgreSQL, gateway, portal, jobs, agent and two simulated UPSs. With every safety step done, a reboot of
an outlet group is one write of one register, and the page follows it to *Done*. Each missing step, tried on
the page and by the API, is named in words and by code, and the register is not written. At the end portal and
gateway are killed on the way of a reboot: at most one write each, and the page shows the truth or *Unknown*.
"""

import json
import re
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyotp
from playwright.sync_api import Browser, Error, Page, expect, sync_playwright

from tests.accept import CheckError, failed, passed, progress, wait_until
from tests.accept import expect as must
from tests.accept._outlet_deaths import die
from tests.accept._outlet_house import ALLOWED, FORBIDDEN, House, running_house
from tests.support.browser import find_chromium
from tests.support.person import PASSWORD

EMAIL: Final = "ada@example.org"
GROUP: Final = "sog0"
WAIT_MS: Final = 30_000
TOTP_STEP_S: Final = 30.0
OUTLETS_BACK_S: Final = 30.0
"""The simulated UPS keeps a rebooted group off for 8 seconds."""
STALE: Final = "UPDATE web_session SET factor_ms = factor_ms - 360000"
FRESH: Final = "UPDATE web_session SET factor_ms = (extract(epoch FROM now()) * 1000)::bigint"


@dataclass
class Walk:
    """Somebody in front of the page, and the house behind it."""

    house: House
    page: Page
    ids: dict[int, str] = field(default_factory=dict)
    """UPS → device id."""
    secret: str = ""
    recovery: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    """Names of the missing steps that stopped a command."""

    # --- getting there

    def log_in(self) -> None:
        """By password; nothing else is turned on yet."""
        url = self.house.cloud.portal_url
        self.page.goto(f"{url}/login")
        self.page.fill("#email", EMAIL)
        self.page.fill("#password", PASSWORD)
        self.page.click("main button[type=submit]")
        self.page.wait_for_url("**/devices")

    def claim(self) -> None:
        """Both UPSs, by the codes of their labels."""
        for unit, label in enumerate(self.house.labels(), 1):
            self.page.goto(f"{self.house.cloud.portal_url}/add/codes")
            self.page.fill("#product_id", label.product_id.value)
            self.page.fill("#product_key", label.product_key.value)
            self.page.get_by_role("button", name="Register UPS").click()
            self.page.get_by_role("link", name="Show the UPS").click(timeout=60_000)
            self.ids[unit] = str(label.device_id)
            self.house.shown(unit, f"{GROUP}_outlet_status & 1 <> 0")

    def turn_on_two_factor(self) -> None:
        """As a person does, with an authenticator of ours."""
        self.page.goto(f"{self.house.cloud.portal_url}/account/two-factor")
        self.page.get_by_role("button", name="Turn On").click()
        self.choose_app()
        if self.page.url.split("?")[0].endswith("/account/confirm"):
            self.page.fill("#password", PASSWORD)
            self.page.get_by_role("button", name="Continue").click()
            self.choose_app()
        self.page.get_by_text("I cannot scan it").click()
        self.secret = self.page.locator(".secret").inner_text().replace(" ", "")
        self.page.fill("#code", pyotp.TOTP(self.secret).now())
        self.page.get_by_role("button", name="Confirm").click()
        self.recovery = self.page.locator(".recovery li").all_inner_texts()

    def choose_app(self) -> None:
        """Of the two methods."""
        self.page.get_by_label("Authenticator app").check()
        self.page.get_by_role("button", name="Confirm").click()

    # --- asking

    def device(self, unit: int = ALLOWED) -> str:
        return f"{self.house.cloud.portal_url}/devices/{self.ids[unit]}"

    def open(self, unit: int = ALLOWED, act: str = "Reboot") -> None:
        """From the device's page to the page that asks, by the button of the group."""
        self.page.goto(self.device(unit))
        self.page.locator(f"#outlet-{GROUP}").get_by_role("link", name=re.compile(f"^{act}")).click()

    def name_of_group(self, unit: int = ALLOWED) -> str:
        """As the device's page has it."""
        self.page.goto(self.device(unit))
        return self.page.locator(f"#outlet-{GROUP} strong").inner_text()

    def press(self, typed: str) -> None:
        """Type the name and press the red button."""
        self.page.fill("#name", typed)
        self.page.locator("button.danger").click()

    def api(self, unit: int = ALLOWED, **changes: Any) -> tuple[int, dict[str, Any]]:
        """The same by the API, in the same log-in: status and answer."""
        base = f"{self.house.cloud.portal_url}/api/v1"
        token = self.page.request.get(f"{base}/session").json()["form_token"]
        body = {"kind": "outlet_reboot", "group": GROUP, "group_name": self.name, **changes}
        answer = self.page.request.post(
            f"{base}/devices/{self.ids[unit]}/commands",
            data=json.dumps(body),
            headers={"X-Form-Token": token, "Content-Type": "application/json"},
        )
        return answer.status, answer.json()

    name: str = ""
    """Of the outlet group."""

    # --- missing steps

    def is_stopped(self, step: str, text: str, code: str, **changes: Any) -> None:
        """A page names what is missing, the API has its code; nothing is stored, nothing is written."""
        before = self.house.rows("SELECT count(*) FROM v_command")
        writes = self.house.writes(ALLOWED)
        self.page.goto(f"{self.device()}/control?kind=outlet_reboot&group={GROUP}")
        expect(self.page.locator("#missing")).to_contain_text(text)
        must(self.page.locator("button.danger").count() == 0, f"{step}: the page has its button")
        status, told = self.api(**changes)
        must(status >= 400 and code in told["missing"], f"{step}: the API said {status} {told}")
        must(self.house.rows("SELECT count(*) FROM v_command") == before, f"{step}: a command was made")
        must(self.house.writes(ALLOWED) == writes, f"{step}: the register was written")
        self.stopped.append(step)
        progress(f"stopped: {step}")

    def without_two_factor(self) -> None:
        self.is_stopped("no 2FA", "Two-Factor Authentication is not turned on", "two_factor_needed")

    def as_viewer(self) -> None:
        self.house.change("UPDATE membership SET role = 'viewer'")
        self.page.goto(self.device())
        must(self.page.locator("#control a.button").count() == 0, "a viewer is offered a button")
        self.is_stopped("viewer", "Your role does not allow commands", "forbidden")
        self.house.change("UPDATE membership SET role = 'owner'")

    def with_a_stale_factor(self) -> None:
        """The page asks for the factor, a wrong code leads nowhere, a right one back."""
        self.house.change(STALE)
        before = self.house.rows("SELECT count(*) FROM v_command")
        status, told = self.api()
        must((status, told["code"]) == (403, "factor_needed"), f"a stale factor: {status} {told}")
        self.open()
        expect(self.page.get_by_role("heading", name="Confirm that it is you")).to_be_visible()
        self.page.fill("#code", "000000")
        self.page.get_by_role("button", name="Continue").click()
        expect(self.page.locator("#faults")).to_contain_text("not right")
        self.page.fill("#code", self.recovery.pop())
        self.page.get_by_role("button", name="Continue").click()
        self.page.wait_for_url("**/control?*")
        expect(self.page.locator("#effect")).to_contain_text("loses power")
        self.house.change(STALE)  # between the question and the answer
        self.press(self.name)
        expect(self.page.get_by_role("heading", name="Confirm that it is you")).to_be_visible()
        self.page.fill("#code", self.recovery.pop())
        self.page.get_by_role("button", name="Continue").click()
        self.page.wait_for_url("**/control?*")
        must(self.house.rows("SELECT count(*) FROM v_command") == before, "a stale factor sent a command")
        self.stopped.append("stale factor")
        progress("stopped: stale factor, and asked for")

    def with_a_wrong_name(self) -> None:
        before = self.house.rows("SELECT count(*) FROM v_command")
        self.open()
        self.press(f"not {self.name}")
        expect(self.page.locator("#name-fault")).to_contain_text("not that of the outlet group")
        status, told = self.api(group_name="")
        must((status, told["code"]) == (422, "group_name_wrong"), f"a wrong name: {status} {told}")
        must(self.house.rows("SELECT count(*) FROM v_command") == before, "a wrong name sent a command")
        self.stopped.append("wrong name")
        progress("stopped: wrong name")

    def on_battery(self) -> None:
        """Unforced it is refused; the page asks whether it is wanted anyway."""
        self.house.order(ALLOWED, "mains", "off")
        self.house.shown(ALLOWED, "ups_status & 4 <> 0")
        before, writes = self.house.rows("SELECT count(*) FROM v_command"), self.house.writes(ALLOWED)
        self.open()
        expect(self.page.locator("main")).to_contain_text("The UPS runs on battery. It is safer to wait.")
        self.page.locator("input[name=force]").evaluate("box => box.removeAttribute('required')")
        self.press(self.name)
        expect(self.page.locator("main")).to_contain_text("It is safer to wait.")
        status, told = self.api()
        must((status, told["code"]) == (409, "on_battery"), f"on battery: {status} {told}")
        must(self.house.rows("SELECT count(*) FROM v_command") == before, "on battery a command was made")
        must(self.house.writes(ALLOWED) == writes, "on battery the register was written")
        self.house.order(ALLOWED, "mains", "on")
        self.house.shown(ALLOWED, "ups_status & 4 = 0")
        self.stopped.append("on battery")
        progress("stopped: on battery")

    def with_smartconnect_off(self) -> None:
        self.house.order(ALLOWED, "disable")
        self.house.shown(ALLOWED, "NOT smartconnect", 90.0)
        self.is_stopped("SmartConnect off", "SmartConnect is switched off", "smartconnect_off")
        self.house.order(ALLOWED, "enable")
        self.house.shown(ALLOWED, "smartconnect", 90.0)

    def with_the_ups_silent(self) -> None:
        self.house.order(ALLOWED, "modbus", "off")
        lost = "SELECT 1 FROM event WHERE kind = 'communication_lost' AND device_id = %s"
        device_id = int(self.ids[ALLOWED])
        wait_until("the agent has lost the UPS", lambda: self.house.rows(lost, device_id), 60.0)
        self.is_stopped("UPS silent", "The agent gets no readings from its UPS", "ups_silent")
        self.house.order(ALLOWED, "modbus", "on")
        back = lost.replace("_lost", "_restored")
        wait_until("the agent has found the UPS", lambda: self.house.rows(back, device_id), 60.0)

    def offline(self) -> None:
        self.house.agent.stop()
        self.house.shown(ALLOWED, "NOT connected")
        self.is_stopped("offline", "The device is not connected", "device_offline")
        self.house.agent.start()
        self.house.shown(ALLOWED, "connected")

    def not_allowed_at_the_agent(self) -> None:
        """All the cloud's steps are done, but whoever runs the agent has not allowed it: it says so."""
        name = self.name_of_group(FORBIDDEN)
        self.open(FORBIDDEN)
        self.press(name)
        row = self.page.locator("#commands li").first
        expect(row).to_have_attribute("data-state", "refused")
        expect(row).to_contain_text("allow_outlet_control = true")
        must(self.house.writes(FORBIDDEN) == 0, "the register was written although the agent forbids it")
        self.stopped.append("allow_outlet_control off")
        progress("stopped: allow_outlet_control off, said by the agent")

    # --- every step done

    def reboot(self) -> tuple[float, float]:
        """Press the button, follow the page; seconds to the register's write and to *Done*."""
        before = self.house.writes(ALLOWED)
        self.open()
        began = time.monotonic()
        self.press(self.name)
        wait_until("the register is written", lambda: self.house.writes(ALLOWED) > before, 20.0)
        wrote_s = time.monotonic() - began
        row = self.page.locator("#commands li").first
        expect(row).to_have_attribute("data-state", "done")
        done_s = time.monotonic() - began
        expect(row).to_contain_text("Ada")
        must(not self.house.order(ALLOWED, "state")["outlets"][GROUP], "the group has power")
        expect(self.page.locator(f"#outlet-{GROUP} .badge")).not_to_have_text("On")
        self.wait_for_power()
        writes = self.house.writes(ALLOWED) - before
        must(writes == 1, f"the register was written {writes} times")
        must(self.house.order(ALLOWED, "state")["outlets"]["mog"], "the main group lost power, too")
        found = self.house.rows("SELECT state, account_id IS NOT NULL FROM v_command ORDER BY counter DESC")[
            0
        ]
        must(found == ("done", True), f"the command is stored as {found}")
        return wrote_s, done_s

    def wait_for_power(self) -> None:
        """The rebooted group is on again, at the UPS and on the page."""
        wait_until(
            "the group is back on",
            lambda: self.house.order(ALLOWED, "state")["outlets"][GROUP],
            OUTLETS_BACK_S,
        )
        expect(self.page.locator(f"#outlet-{GROUP} .badge")).to_have_text("On")

    def refresh_factor(self) -> None:
        """As if a factor had been shown now; that it must be is a step of its own."""
        self.house.change(FRESH)

    def run(self) -> str:
        """All of it, in an order in which nothing has to be undone; the figures."""
        self.log_in()
        self.claim()
        self.name = self.name_of_group()
        self.without_two_factor()
        self.turn_on_two_factor()
        for step in (
            self.as_viewer,
            self.with_a_stale_factor,
            self.with_a_wrong_name,
            self.not_allowed_at_the_agent,
            self.on_battery,
            self.with_the_ups_silent,
            self.with_smartconnect_off,
            self.offline,
        ):
            self.refresh_factor()
            step()
        self.refresh_factor()
        must(self.house.writes(ALLOWED) == 0, "a register was written before every step was done")
        wrote_s, done_s = self.reboot()
        deaths = die(self)
        return (
            f"reboot of “{self.name}”: register written {wrote_s:.2f} s after the button, Done on the page"
            f" after {done_s:.2f} s, exactly one write; {len(self.stopped)} missing steps stopped it with a"
            f" clear word and zero writes ({', '.join(self.stopped)}); {'; '.join(deaths)}"
        )


def check(house: House) -> str:
    """In Chromium; the figures."""
    program = find_chromium()
    if program is None:
        raise CheckError("no Chromium or Chrome here (set CHROMIUM to its path)")
    names = ("--email", EMAIL, "--first-name", "Ada", "--last-name", "North")
    house.cloud.admin("account", "add", *names, secret=f"{PASSWORD}\n")
    with sync_playwright() as playwright:
        browser: Browser = playwright.chromium.launch(executable_path=str(program), args=["--no-sandbox"])
        try:
            context = browser.new_context(viewport={"width": 1280, "height": 900})
            context.set_default_timeout(WAIT_MS)
            return Walk(house, context.new_page()).run()
        finally:
            browser.close()


def main() -> int:
    """Run the check; its exit status."""
    expect.set_options(timeout=WAIT_MS)
    try:
        with tempfile.TemporaryDirectory(prefix="outlet-") as folder, running_house(Path(folder)) as house:
            figures = check(house)
    except (CheckError, Error, AssertionError, RuntimeError) as error:
        return failed("outlet-end-to-end", str(error))
    return passed("outlet-end-to-end", figures)
