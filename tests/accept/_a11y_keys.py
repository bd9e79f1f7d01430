"""A person who has a keyboard and nothing else: Tab, arrows, blank and Enter."""

from typing import Any, Final

from playwright.async_api import ElementHandle, Page

from tests.accept import CheckError, expect

MAX_TABS: Final = 400
DATE_KINDS: Final = {"date", "datetime-local", "time"}
MANY: Final = 40
"""A list of more than that is not walked with arrows."""

Element = ElementHandle


async def reach(page: Page, element: Element, what: str) -> None:
    """Press Tab until ``element`` has the focus. CheckError where it never has."""
    for _ in range(MAX_TABS):
        if await element.evaluate("one => document.activeElement === one"):
            return
        await page.keyboard.press("Tab")
    raise CheckError(f"{page.url}: Tab does not reach {what}")


async def unfold(page: Page, form: Element) -> None:
    """Open every closed part of the page in which the form is, by keyboard."""
    closed = "form => form.closest('details:not([open])')?.querySelector('summary')"
    while True:
        summary = (await form.evaluate_handle(closed)).as_element()
        if summary is None:
            return
        await reach(page, summary, "what unfolds a form")
        await page.keyboard.press("Enter")


async def enter(page: Page, form: Element, name: str, value: str) -> None:
    """Enter a value into the field of this name, as its kind wants it."""
    fields = await form.query_selector_all(f'[name="{name}"]:not([type=hidden])')
    expect(fields, f"{page.url}: no field {name}")
    field, kind = fields[0], await fields[0].evaluate("one => one.type")
    if kind == "radio":
        await _choose(page, fields, name, value)
    elif kind == "checkbox":
        await _tick(page, fields, name, value)
    elif kind.startswith("select"):
        await reach(page, field, name)
        await _select(page, field, name, value)
    elif kind in DATE_KINDS:
        await reach(page, field, name)
        await _write_date(page, kind, value)
    elif kind == "file":
        await reach(page, field, name)
        async with page.expect_file_chooser() as chooser:
            await page.keyboard.press("Space")
        await (await chooser.value).set_files(value)
    else:
        await reach(page, field, name)
        await page.keyboard.press("Control+a")
        await page.keyboard.press("Delete")
        await page.keyboard.insert_text(value)


async def _choose(page: Page, fields: list[Element], name: str, value: str) -> None:
    wanted = [one for one in fields if await one.get_attribute("value") == value]
    expect(wanted, f"{page.url}: {name} has no choice {value!r}")
    for _ in range(MAX_TABS):  # Tab stops once a group, at the choice that is made
        if await page.evaluate("name => document.activeElement.name === name", name):
            break
        await page.keyboard.press("Tab")
    else:
        raise CheckError(f"{page.url}: Tab does not reach {name}")
    for _ in fields:
        if await wanted[0].evaluate("one => document.activeElement === one"):
            break
        await page.keyboard.press("ArrowDown")
    if not await wanted[0].is_checked():
        await page.keyboard.press("Space")
    expect(await wanted[0].is_checked(), f"{page.url}: {name} is not chosen by keyboard")


async def _tick(page: Page, fields: list[Element], name: str, value: str) -> None:
    """The box of this value; ``yes`` and ``no`` are the first one's."""
    field = next(iter([one for one in fields if await one.get_attribute("value") == value]), fields[0])
    wanted = value != "no"
    if await field.is_checked() != wanted:
        await reach(page, field, name)
        await page.keyboard.press("Space")
    expect(await field.is_checked() == wanted, f"{page.url}: {name} is not ticked by keyboard")


async def _select(page: Page, field: Element, name: str, value: str) -> None:
    told: dict[str, Any] = await field.evaluate(
        "(one, value) => ({now: one.selectedIndex, count: one.options.length,"
        " wanted: [...one.options].findIndex(option => option.value === value),"
        " words: [...one.options].find(option => option.value === value)?.text ?? ''})",
        value,
    )
    expect(told["wanted"] >= 0, f"{page.url}: {name} has no choice {value!r}")
    if told["count"] > MANY:
        await page.keyboard.type(told["words"])
    else:
        steps = told["wanted"] - told["now"]
        for _ in range(abs(steps)):
            await page.keyboard.press("ArrowDown" if steps > 0 else "ArrowUp")
    chosen = await field.evaluate("one => one.value")
    expect(chosen == value, f"{page.url}: {name} is {chosen!r} by keyboard, not {value!r}")


async def _write_date(page: Page, kind: str, value: str) -> None:
    """``2030-04-05T06:07`` as the fields of an English browser are typed."""
    date, _, clock = value.partition("T") if kind != "time" else ("", "", value)
    if date:
        year, month, day = date.split("-")
        await page.keyboard.type(f"{month}{day}{year}")
    if clock:
        hour, minute = map(int, clock.split(":"))
        if date:
            await page.keyboard.press("Tab")
        await page.keyboard.type(f"{(hour + 11) % 12 + 1:02}{minute:02}{'AM' if hour < 12 else 'PM'}")


async def send(page: Page, form: Element, button: str = "") -> int:
    """Press the form's button; the status of the page that comes."""
    found = await form.query_selector(button or "button:not([type=button])")
    if found is None:
        raise CheckError(f"{page.url}: a form without a button")
    await reach(page, found, "a form's button")
    async with page.expect_navigation(wait_until="load") as arrival:
        await page.keyboard.press("Enter")
    answer = await arrival.value
    return 0 if answer is None else answer.status
