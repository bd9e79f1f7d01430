"""Deaths on the way of a reboot in ``outlet-end-to-end``: SIGKILL at fault points of portal and gateway.

What a death may cost is an order that was not taken, or one that nobody knows about: never a second write.
"""

import contextlib
from typing import TYPE_CHECKING, Final

from playwright.sync_api import Error, expect

from tests.accept import expect as must
from tests.accept import progress, wait_until
from tests.accept._outlet_house import ALLOWED

if TYPE_CHECKING:
    from tests.accept.outlet_end_to_end import Walk

DEATH_TIMEOUT_S: Final = 30.0
UNKNOWN_MS: Final = 120_000
"""A minute of life, half a minute for a late answer, and the sweep."""


def die(walk: "Walk") -> list[str]:
    """All deaths, one after the other; what became of each."""
    return [
        _portal(walk, "before", commands=0),
        _portal(walk, "after", commands=1),
        _gateway(walk),
    ]


def _portal(walk: "Walk", point: str, *, commands: int) -> str:
    """The portal dies around the commit of a request: nothing was ordered, or it is done once."""
    house = walk.house
    before, writes = _count(walk), house.writes(ALLOWED)
    house.cloud.restart("portal", fault=f"command.request.{point}:1:kill")
    walk.refresh_factor()
    walk.open()
    with contextlib.suppress(Error):  # the answer never comes
        walk.press(walk.name)
    portal = house.cloud.parts["portal"]
    wait_until("the portal has died", lambda: not portal.alive, DEATH_TIMEOUT_S)
    house.cloud.start("portal")
    made = _count(walk) - before
    must(made == commands, f"a portal that died {point} the commit left {made} commands")
    walk.page.goto(walk.device())
    if commands:
        expect(walk.page.locator("#commands li").first).to_have_attribute("data-state", "done")
        walk.wait_for_power()
    must(house.writes(ALLOWED) - writes == commands, f"the register was written, and the portal died {point}")
    progress(f"the portal died {point} the commit of a reboot: {commands} ordered, {commands} written")
    return f"portal killed {point} the commit: {commands} written"


def _gateway(walk: "Walk") -> str:
    """The gateway dies after it has marked a command as delivered: nobody gets it, and the page says so."""
    house = walk.house
    writes = house.writes(ALLOWED)
    house.cloud.restart("gateway", fault="gateway.command.after:1:kill")
    house.shown(ALLOWED, "connected")
    walk.refresh_factor()
    walk.open()
    walk.press(walk.name)
    gateway = house.cloud.parts["gateway"]
    wait_until("the gateway has died", lambda: not gateway.alive, DEATH_TIMEOUT_S)
    house.cloud.start("gateway")
    row = walk.page.locator("#commands li").first
    expect(row).to_have_attribute("data-state", "delivered")
    house.shown(ALLOWED, "connected")
    expect(row).to_have_attribute("data-state", "unknown", timeout=UNKNOWN_MS)
    expect(row).to_contain_text("look at the UPS before you ask again")
    must(house.writes(ALLOWED) == writes, "a command that was lost on the way was written")
    progress("the gateway died with a command in its hand: Unknown on the page, nothing written")
    return "gateway killed with it in its hand: Unknown, 0 written"


def _count(walk: "Walk") -> int:
    """How many commands there are."""
    return int(walk.house.rows("SELECT count(*) FROM v_command")[0][0])
