"""One form of the portal, sent by a person with a keyboard: wrongly, then rightly; and what must come back.

With JavaScript off every form is sent both ways. What was entered and is no secret must still be there after
a refusal, and the page must say what is wrong: in an alert, or as a page about nothing else. A form of a
button alone cannot be filled in wrongly; it is sent from a page that has grown old instead. With JavaScript
on every form is sent rightly, in its flow.
"""

import asyncio
import html
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from playwright.async_api import Page

from tests.accept import CheckError, expect, progress
from tests.accept._a11y_keys import Element, enter, send, unfold
from tests.accept._a11y_look import look
from tests.accept._a11y_site import Site, form_routes

Prepare = Callable[[Site, Page], Awaitable[None]]
"""What has to be so before a form is there; tells ``site.ids`` what it knows."""

REFUSED: Final = 400
MAX_CHARS: Final = 700
TELLING: Final = "[role=alert], [aria-invalid=true] ~ .fault"
OLD: Final = "This form is no longer valid"
WAIT: Final = re.compile(r"Try again in (\d+) s")
SECRETS: Final = "password, one-time-code, current-password, new-password"


@dataclass(frozen=True, kw_only=True)
class Step:
    """A form. ``page``: where it is, empty for where the step before has led; ``at``: CSS that tells it from
    others of its route; ``says``: what is read once it was sent rightly; ``fault``: what is read otherwise.
    """

    route: str
    says: str
    page: str = ""
    at: str = ""
    right: Mapping[str, str] = field(default_factory=dict)
    wrong: Mapping[str, str] | None = None
    fault: str = ""
    button: str = ""
    prepare: Prepare | None = None
    via: "Step | None" = None
    lost: frozenset[str] = frozenset()
    """Fields that are not shown again on purpose: secrets that are no passwords."""
    by_itself: bool = False
    """With JavaScript it is sent as soon as its last field has been filled in."""
    only_scripted: bool = False
    """Nothing to send without JavaScript: the page says so, in ``fault``."""


@dataclass(frozen=True)
class Flow:
    """Forms in the order in which somebody fills them in; nobody is logged in where ``who`` is empty."""

    name: str
    who: str
    steps: tuple[Step, ...]


async def run(site: Site, flow: Flow) -> list[str]:
    """All of a flow; what is wrong with it, by flow and form."""
    page, wrong = await site.open(flow.who), list[str]()
    for step in flow.steps:
        try:
            await _do(site, page, step)
        except Exception as error:  # noqa: BLE001 - whatever breaks is one more thing that is wrong
            kind = "" if isinstance(error, CheckError) else f"{type(error).__name__} at {page.url}: "
            wrong.append(f"{flow.name}, {step.route}: {kind}{str(error)[:MAX_CHARS]} {error.__cause__ or ''}")
            progress(f"  {wrong[-1]}")
    await page.context.close()
    return wrong


async def _do(site: Site, page: Page, step: Step) -> None:
    if step.prepare is not None:
        await step.prepare(site, page)
    if not site.scripts:
        form = await open_form(site, page, step)
        if step.only_scripted:
            await says(page, step.fault)
            return
        await _send_wrongly(site, page, step, form)
        if step.wrong is None and not step.page and step.via is None:
            await page.go_back()
    form = await open_form(site, page, step)
    status = await fill_and_send(site, page, step, form, step.right)
    await says(page, step.says.format_map(site.ids))
    expect(status < REFUSED, f"{page.url}: what is right is answered by {status}")
    if site.scripts and "/devices" not in page.url[-9:]:
        await look(page, f"after {step.route}, {page.url.removeprefix(site.url)}")


async def open_form(site: Site, page: Page, step: Step) -> Element:
    """The page on which the form is, and the form."""
    if step.page:
        await page.goto(site.url + step.page.format_map(site.ids))
    elif step.via is not None:
        before = await open_form(site, page, step.via)
        await fill_and_send(site, page, step.via, before, step.via.right)
    return await find_form(site, page, step)


async def find_form(site: Site, page: Page, step: Step) -> Element:
    """The form of a step on the page that is shown. CheckError."""
    pattern = form_routes(site.portal.app)[step.route]
    here = page.url.removeprefix(site.url).split("?")[0].split("#")[0]
    seen = []
    for form in await page.query_selector_all("form[method=post]"):
        action = (await form.get_attribute("action")) or here
        seen.append(action)
        if not pattern.fullmatch(action):
            continue
        if not step.at or await form.query_selector(step.at.format_map(site.ids)):
            return form
    text = (await page.inner_text("body"))[:200]
    raise CheckError(f"{page.url}: no form of {step.route} {step.at}, only {seen}: {text}")


async def fill_and_send(site: Site, page: Page, step: Step, form: Element, values: Mapping[str, str]) -> int:
    """By keyboard; the status of the answer. Whoever is asked to wait waits, and presses the button again."""
    await unfold(page, form)
    if step.by_itself and site.scripts:
        (name, value), *_ = values.items()
        async with page.expect_navigation() as arrival:
            await enter(page, form, name, value.format_map(site.ids))
        answer = await arrival.value
        return 0 if answer is None else answer.status
    for name, value in values.items():
        await enter(page, form, name.format_map(site.ids), value.format_map(site.ids))
    if site.scripts and "human" in values:
        await page.locator("#robot-status[data-state=complete]").wait_for()
    status = await send(page, form, step.button)
    wait = WAIT.search(await page.inner_text("body")) if "human" in values and not site.scripts else None
    if wait is not None and status >= REFUSED and values is step.right:
        await asyncio.sleep(int(wait[1]))
        form = await find_form(site, page, step)
        await kept(page, form, {name: one for name, one in values.items() if name != "human"}, step.lost)
        await enter(page, form, "human", "yes")
        status = await send(page, form, step.button)
    return status


async def _send_wrongly(site: Site, page: Page, step: Step, form: Element) -> None:
    # The server must say what is wrong, too: nothing here keeps anybody from sending it.
    await form.evaluate("form => { form.noValidate = true; for (const one of form) one.maxLength &&= 9999; }")
    if step.wrong is None:
        token = await form.query_selector("[name=form_token]")
        if token is not None:
            await token.evaluate("one => { one.value = 'old'; }")
        else:  # its address is the proof
            await form.evaluate("form => { form.action = `${location.pathname}x`; }")
        await unfold(page, form)
        status = await send(page, form, step.button)
        expect(status in {403, 404}, f"{page.url}: a page that has grown old is answered by {status}")
        await says(page, OLD if token is not None else step.fault)
        return
    known = site.ids
    values = {name.format_map(known): one.format_map(known) for name, one in step.wrong.items()}
    status = await fill_and_send(site, page, step, form, values)
    expect(status < 500, f"{page.url}: what is wrong is answered by {status}")
    alerts = [await one.inner_text() for one in await page.query_selector_all(TELLING)]
    expect(any(alerts), f"{page.url}: nothing says what is wrong")
    if step.fault:
        await says(page, step.fault)
    await kept(page, await find_form(site, page, step), values, step.lost)


async def kept(page: Page, form: Element, values: Mapping[str, str], lost: frozenset[str]) -> None:
    """What was entered is still there, but for secrets."""
    for name, value in values.items():
        fields = await form.query_selector_all(f'[name="{name}"]:not([type=hidden]):not([type=file])')
        if not fields or name in lost:
            continue
        kind = await fields[0].evaluate("one => one.type")
        complete = await fields[0].get_attribute("autocomplete") or ""
        if kind == "password" or complete in SECRETS.split(", "):
            continue
        if kind in {"checkbox", "radio"}:
            there = [await one.get_attribute("value") for one in fields if await one.is_checked()]
            expect(bool(there) == (value != "no"), f"{page.url}: {name} is not as it was chosen: {there}")
        else:
            found = await fields[0].evaluate("one => one.value")
            expect(found == value, f"{page.url}: {name} was {value!r} and is {found!r} now")


async def says(page: Page, text: str) -> None:
    """The page has a heading, and the text. CheckError shows what it has instead."""
    body = " ".join((await page.inner_text("body")).split())
    heading = await page.query_selector("h1")
    expect(heading, f"{page.url}: a page without a heading: {body[:200]}")
    wanted = " ".join(html.unescape(text).split())
    expect(wanted.casefold() in body.casefold(), f"{page.url} does not say {wanted!r} but {body[:600]!r}")
