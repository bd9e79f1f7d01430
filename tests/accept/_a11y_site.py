"""The place that is looked at: a portal with one of everything, its people, and the pages it has."""

import contextlib
import re
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, LiteralString

from aiohttp import web
from playwright.async_api import Browser, BrowserContext, Page

from cloud.core.authz import Actor
from cloud.core.rule_draft import TEMPLATES
from cloud.postgres import help_opinions
from cloud.services import ruling
from cloud.services.unsubscribing import unsubscribe_token
from cloud.web import sessions
from cloud.web.state import KIT
from tests.accept import CheckError, expect
from tests.support.claiming import TestDevice
from tests.support.commanding import turn_on_two_factor
from tests.support.foreign import HARMLESS
from tests.support.foreign_world import World, build
from tests.support.parts import running_parts
from tests.support.portal import Owned, Portal, claim, labelled_device, now_ms, running_portal

OWNER: Final = "ada@example.org"
OTHER: Final = "bob@example.org"
TIMEOUT_MS: Final = 15_000
ISSUER: Final = "http://127.0.0.1:9"
PARTNER: Final[dict[str, Any]] = {"oidc_issuer": ISSUER, "oidc_client_id": "portal", "oidc_name": "Partner"}
"""A provider that never answers: its room and what the log-in page says are there all the same."""


@dataclass
class Site:
    """A portal, whom it knows, and by ``ids`` what is whose: placeholder of a path → what stands for it."""

    portal: Portal
    browser: Browser
    ids: dict[str, str]
    people: dict[str, Actor]
    scripts: bool
    rich: Owned
    """A device with a history, outlets, and a name."""
    board: TestDevice
    """What announces itself with the label of a device that the owner claims, and somebody else has."""
    folder: Path
    """For files to send."""
    complaints: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Its address by name: browsers make passkeys there."""
        return self.portal.url.replace("127.0.0.1", "localhost")

    def device(self, name: str = "device_id") -> str:
        """The path of a device."""
        return f"/devices/{self.ids[name]}"

    async def open(self, who: str = "") -> Page:
        """A page in a browser profile of its own, logged in as somebody."""
        context: BrowserContext = await self.browser.new_context(
            java_script_enabled=self.scripts, reduced_motion="reduce", locale="en-US"
        )
        context.set_default_timeout(TIMEOUT_MS)
        if who:
            await self.log_in(context, who)
        page = await context.new_page()
        page.on("pageerror", lambda error: self.complaints.append(f"{page.url}: {error}"))
        page.on(
            "console",
            lambda said: (
                self.complaints.append(f"{page.url}: {said.text}")
                if said.type == "error" and "Failed to load resource" not in said.text
                else None
            ),
        )
        return page

    async def log_in(self, context: BrowserContext, who: str) -> None:
        """Give a profile the cookie of a log-in that has just proved itself."""
        name = sessions.cookie_name(self.portal.settings)
        value = await self.portal.log_in(who)
        await context.add_cookies([{"name": name, "value": value, "url": self.url}])

    async def sql(self, statement: LiteralString, *values: object) -> None:
        """Move what only time or a device moves."""
        async with self.portal.pool.connection() as connection:
            await connection.execute(statement, list(values))


@contextlib.asynccontextmanager
async def running_site(browser: Browser, dsn: str, *, scripts: bool) -> AsyncIterator[Site]:
    """A portal over an empty database, furnished."""
    with tempfile.TemporaryDirectory(prefix="sc-a11y-") as folder:
        async with running_portal(dsn, Path(folder) / "state", mail="mailbox", **PARTNER) as portal:
            ada = await portal.add_person(OWNER, company="Example Clinic")
            bob = await portal.add_person(OTHER, first_name="Bob", company="Example Works")
            world = await build(portal, ada, bob)
            rich, theirs = await portal.own_device(ada), await portal.own_device(bob)
            people = {OWNER: ada, OTHER: bob}
            board = theirs.device.twin()
            site = Site(portal, browser, dict(world.ids), people, scripts, rich, board, Path(folder))
            await furnish(site, world, theirs)
            yield site
            for context in browser.contexts:
                await context.close()


@contextlib.contextmanager
def databases(count: int) -> Iterator[list[str]]:
    """PostgreSQL servers of their own."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sc-a11y-db-")))
        yield [
            stack.enter_context(running_parts(folder / str(number), ("postgres",))).dsn
            for number in range(count)
        ]


async def furnish(site: Site, world: World, theirs: Owned) -> None:
    """What else pages and forms need: a rich device, a dispute of one's own, claims in every state."""
    portal, ada = site.portal, site.people[OWNER]
    rich = site.rich
    await rich.show(mog_outlet_status=1, sog0_outlet_status=2)
    await rich.add_samples([(now_ms() - age * 60_000, {}) for age in range(60, 0, -1)])
    began_ms = now_ms() - 30 * 60_000
    await rich.add_event("on_battery", at_ms=began_ms, input_voltage=0.0)
    await rich.add_event("mains_back", at_ms=began_ms + 95_000, lasted_s=95.0)
    disputed = await claim(portal.pool, ada, theirs.device)
    await site.board.announce(portal.pool, now_ms())
    await hear_several(site)
    rule_id = await ruling.make(portal.pool, ada, TEMPLATES["runtime"].draft, now_ms())
    async with portal.pool.connection() as connection:
        await help_opinions.name_operator(connection, ada.account_id, now_ms(), on=True)
    guarded = await portal.add_person("guarded@example.org", first_name="Gil")
    await turn_on_two_factor(portal.pool, guarded.account_id, now_ms())
    kit = portal.app[KIT]
    site.people["guarded@example.org"] = guarded
    await portal.add_person("newcomer@example.org", first_name="Nell")
    site.people["moving@example.org"] = await portal.add_person("moving@example.org", first_name="Mo")
    site.people["holder@example.org"] = await portal.add_person("holder@example.org", first_name="Hope")
    soon = datetime.now(UTC) + timedelta(days=30)
    site.ids |= {
        "rich": str(rich.device_id),
        "rich_at_ms": str(began_ms),
        "rich_seq": str(rich.seq),
        "disputed": disputed.claim_id or "",
        "own_rule": str(rule_id),
        "unsubscribe": unsubscribe_token(kit.vault, int(world.ids["policy"]), ada.account_id),
        "soon": f"{soon:%Y-%m-%dT%H:%M}",
        "mail_id": str(await newest_mail_id(portal)),
    }


async def hear_several(site: Site) -> None:
    """Two devices announce themselves with one label, which the owner claims: one is to be picked."""
    several, _ = labelled_device()
    for one in (several, several.twin()):
        await one.announce(site.portal.pool, now_ms())
    claimed = await claim(site.portal.pool, site.people[OWNER], several)
    site.ids["picking"] = claimed.claim_id or ""


async def newest_mail_id(portal: Portal) -> int:
    """The mail that a mailbox shows first."""
    async with portal.pool.connection() as connection:
        row = await (await connection.execute("SELECT max(mail_id) FROM mail")).fetchone()
    if row is None or row[0] is None:
        raise CheckError("nothing was mailed")
    return int(row[0])


async def device_of(site: Site, who: str) -> Owned:
    """Another device of somebody's."""
    owned = await site.portal.own_device(site.people[who])
    await owned.show()
    return owned


# --- which pages there are ----------------------------------------------------------------------------------

NAME: Final = re.compile(r"{(\w+)}")
SPECIAL: Final = {
    "/claims/{claim_id}/dispute": "/claims/{disputed}/dispute",
    "/devices/{device_id}/control": "/devices/{rich}/control?kind=identify",
    "/unsubscribe/{token}": "/unsubscribe/{unsubscribe}",
    "/devices/{device_id}/events/{stream}-{seq}": "/devices/{rich}/events/2-{rich_seq}",
}
"""Routes whose page is reached with other things than those of the same name."""
MORE: Final = (
    *(
        "/devices/{rich}",
        "/devices/{rich}/events",
        "/devices?q=mode:x",
        "/devices?choose=1",
        "/devices/{rich}/outages",
    ),
    *("/devices/{rich}/outages/{rich_at_ms}", "/devices/{rich}/control?kind=calibration_start"),
    *("/devices/{rich}/control?kind=outlet_on&group=sog0", "/rules/new?template=runtime"),
    *("/claims/{picking}", "/help/adding-your-device", "/nowhere", "/systems/{shadow}", "/rules/{own_rule}"),
    "/api/operations/notifications.add_policy",
)
"""Other states of pages; ``/nowhere`` is what errors look like."""
NO_PAGES: Final = {
    "/": "leads on",
    "/login/partner": "leads to the partner",
    "/login/partner/back": "leads on",
    "/login/partner/out": "leads to the partner",
    "/api/try": "leads to the operation's answer",
    "/devices/rows": "a part of the list of very many devices",
    "/events/newer": "a part of the list of events",
    "/devices/{device_id}/events/newer": "a part of the same of one device",
}
FORMED: Final = {
    "/signup/company": "the first page of a registration",
    "/signup/verify": "the second one",
    "/login/verify": "a password, where there is a second factor",
    "/join/accept": "the link of an invitation",
}
"""Pages that only a form leads to: looked at where the forms are."""


def page_routes(app: web.Application) -> list[str]:
    """Canonical paths of all that may be a page."""
    return sorted(
        {
            route.resource.canonical
            for route in app.router.routes()
            if route.resource is not None
            and route.method == "GET"
            and not route.resource.canonical.startswith("/api/v")
            and not route.resource.canonical.endswith("/live")
        }
    )


def address_of(canonical: str, site: Site) -> str:
    """Where the page of a route is here. CheckError: nobody has told what stands for a placeholder."""
    template = SPECIAL.get(canonical, canonical)
    known = {**HARMLESS, **site.ids}
    unknown = [name for name in NAME.findall(template) if name not in known]
    expect(not unknown, f"{canonical}: what stands for {unknown} must be told in _a11y_site.py")
    return template.format_map(known)


def form_routes(app: web.Application) -> dict[str, re.Pattern[str]]:
    """Canonical path of every route that a form of a page posts to, and what its addresses look like."""
    found = {}
    for route in app.router.routes():
        resource = route.resource
        if resource is None or route.method != "POST" or resource.canonical.startswith("/api/"):
            continue
        pattern = resource.get_info().get("pattern")
        found[resource.canonical] = pattern or re.compile(re.escape(resource.canonical))
    return found
