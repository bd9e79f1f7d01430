"""One page as people meet it: by day, by night, very small, enlarged to 400 %, and with Tab alone."""

from typing import Any, Final, Literal

from playwright.async_api import Page, ViewportSize

from tests.accept import expect
from tests.browser.test_access import WIDER, faults

WCAG: Final = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
DESKTOP: Final[ViewportSize] = {"width": 1280, "height": 900}
PHONE: Final[ViewportSize] = {"width": 390, "height": 844}
SMALL: Final[ViewportSize] = {"width": 320, "height": 568}
ENLARGED: Final[ViewportSize] = {"width": 320, "height": 256}
"""1280 × 1024 at 400 %, as WCAG 1.4.10 counts it."""
MAX_STOPS: Final = 600
FRAMES: Final = 60

CUT: Final = """() => {
  const found = [];
  for (const one of document.querySelectorAll('body *')) {
    const style = getComputedStyle(one), box = one.getBoundingClientRect();
    if (!one.checkVisibility({visibilityProperty: true}) || box.width < 2 || box.height < 2) continue;
    if (one.closest('svg') || style.clipPath !== 'none' || style.clip !== 'auto') continue;
    const text = [...one.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    if (!text) continue;
    let scrolls = false, hidden = false;
    for (let up = one; up; up = up.parentElement) {
      const its = getComputedStyle(up);
      if (its.clipPath !== 'none' || its.clip !== 'auto') hidden = true;
      if (/auto|scroll/.test(its.overflowX) && up !== document.documentElement) scrolls = true;
    }
    if (hidden || scrolls) continue;
    const cut = /hidden|clip/.test(style.overflowX) && one.scrollWidth > one.clientWidth + 1;
    const out = box.right > document.documentElement.clientWidth + 1 || box.left < -1;
    if (cut || out) found.push(`${one.tagName} ${one.className} "${one.textContent.trim().slice(0, 40)}"`);
  }
  return found;
}"""
"""Texts that are cut off or lie beside the page, and cannot be scrolled to."""
STOPS: Final = """() => {
  const able = 'a[href], button:not([disabled]), input:not([type=hidden]):not([disabled]), ' +
    'select:not([disabled]), textarea:not([disabled]), summary, [tabindex="0"]';
  const groups = new Set(), stops = [];
  for (const one of document.querySelectorAll(able)) {
    if (!one.checkVisibility({visibilityProperty: true}) || one.tabIndex < 0) continue;
    if (one.matches('input[type=radio]')) {
      const group = (one.form ? [...document.forms].indexOf(one.form) : '') + one.name;
      if (groups.has(group)) continue;
      groups.add(group);
    }
    stops.push(one);
  }
  window.__stops = stops.map(one => ({one, met: false}));
  return stops.length;
}"""
TO_THE_TOP: Final = """() => {
  window.scrollTo(0, 0);
  document.body.tabIndex = -1;
  document.body.focus();
  document.body.removeAttribute('tabindex');
}"""
LOOK: Final = """() => {
  const one = document.activeElement;
  if (!one || one === document.body || one === document.documentElement) return {end: true};
  const same = (two) => two === one || (one.type === 'radio' && two.type === 'radio' &&
    two.name === one.name && two.form === one.form);
  const stop = window.__stops.find(stop => same(stop.one));
  const within = window.__last === one;  // a date has several places for Tab
  const again = stop ? stop.met && !within : false;
  window.__last = one;
  if (stop) stop.met = true;
  const name = `${one.tagName} "${(one.getAttribute('aria-label') || one.textContent || one.name || one.id)
    .trim().slice(0, 40)}"`;
  const rects = [...one.getClientRects(), ...[...(one.labels ?? [])].flatMap(it => [...it.getClientRects()])];
  const high = document.documentElement.clientHeight, wide = document.documentElement.clientWidth;
  const shown = rects.some(box => {
    for (const [x, y] of [[.5, .5], [.1, .5], [.9, .5], [.5, .15], [.5, .85]]) {
      const left = box.left + box.width * x, top = box.top + box.height * y;
      if (left < 0 || top < 0 || left > wide || top > high) continue;
      const hit = document.elementFromPoint(left, top);
      if (hit && (one.contains(hit) || hit.contains(one) && hit.tagName === 'LABEL' ||
          [...(one.labels ?? [])].some(it => it.contains(hit)))) return true;
    }
    return false;
  });
  const style = getComputedStyle(one);
  const lined = it => it.outlineStyle !== 'none' && parseFloat(it.outlineWidth) >= 1;
  const card = one.closest('li, article');  // which a link may stand for
  const ring = within || lined(style) || style.boxShadow !== 'none' || card && lined(getComputedStyle(card));
  return {name, again, shown, ring: Boolean(ring)};
}"""


async def look(page: Page, what: str) -> int:
    """All looks at the page that is shown; how many stops Tab has. CheckError names what is wrong."""
    await page.set_viewport_size(DESKTOP)
    await _by_light(page, what, "light")
    await page.set_viewport_size(PHONE)
    await _by_light(page, what, "dark")
    for size in (SMALL, ENLARGED):
        await page.set_viewport_size(size)
        wide = f"{size['width']} × {size['height']}"
        for _ in range(FRAMES):  # charts are drawn anew
            if not await page.evaluate(WIDER):
                break
            await page.evaluate("() => new Promise(done => requestAnimationFrame(done))")
        expect(not await page.evaluate(WIDER), f"{what}: wider than {wide}")
        cut: list[str] = await page.evaluate(CUT)
        expect(not cut, f"{what}: cut at {wide}: {cut[:4]}")
    stops = await walk(page, what)
    await page.set_viewport_size(DESKTOP)
    return stops


async def _by_light(page: Page, what: str, scheme: Literal["light", "dark"]) -> None:
    await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    background = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    channels = [int(one) for one in background.strip("rgba()").split(",")[:3]]
    expect((sum(channels) > 3 * 128) == (scheme == "light"), f"{what}: {background} is no {scheme} page")
    found = await faults(page, WCAG)
    expect(not found, f"{what}, {scheme}: {found[:3]}")


async def walk(page: Page, what: str) -> int:
    """Tab from the top to the end: every stop is met, seen, and marked as the one with the focus."""
    await page.evaluate(TO_THE_TOP)
    count: int = await page.evaluate(STOPS)
    for _ in range(MAX_STOPS):
        await page.keyboard.press("Tab")
        told: dict[str, Any] = await page.evaluate(LOOK)
        if told.get("end") or told["again"]:
            break
        if not told["shown"] and await page.query_selector("[data-live]"):
            for key in ("Shift+Tab", "Tab"):  # what is live has grown above it since: back to it
                await page.keyboard.press(key)
            told = await page.evaluate(LOOK)
        expect(told["shown"], f"{what}: the focus is hidden at {told['name']}")
        expect(told["ring"], f"{what}: the focus is not marked at {told['name']}")
    missed: list[str] = await page.evaluate(
        "() => window.__stops.filter(stop => !stop.met).map(stop => stop.one.outerHTML.slice(0, 90))"
    )
    expect(not missed, f"{what}: Tab never meets {missed[:3]}")
    return count
