"""Flows of things: adding devices, one device, rules, alarms, sites, notifications."""

from typing import Final

from playwright.async_api import Page

from cloud.services import noticing
from tests.accept._a11y_site import OWNER, Site, device_of, hear_several
from tests.accept._a11y_step import Flow, Step
from tests.support.commanding import turn_on_two_factor
from tests.support.photos import jpeg, photo
from tests.support.portal import labelled_device, now_ms

BULK: Final = "AAAAAAAAAAAA,BBBBBBBBBBBBBB"


async def new_codes(site: Site, _page: Page) -> None:
    """The codes of a label that nobody has claimed become ``{product_id}`` and ``{product_key}``."""
    device, product_key = labelled_device()
    site.ids |= {"product_id": device.product_id.value, "product_key": product_key}


async def new_photo(site: Site, _page: Page) -> None:
    """A photo of two such labels becomes ``{photo}``, the file of something else ``{no_photo}``."""
    texts = []
    for _ in range(2):
        device, _ = labelled_device()
        texts.append(device.product_id.value)
    links = [f"https://portal.example.org/r#{one}.{'B' * 14}" for one in texts]
    right, wrong = site.folder / "labels.jpg", site.folder / "no.jpg"
    right.write_bytes(jpeg(photo(links)))
    wrong.write_bytes(b"no picture")
    site.ids |= {"photo": str(right), "no_photo": str(wrong)}


async def heard(site: Site, _page: Page) -> None:
    """What is to be picked from announces itself; what was heard is soon too old."""
    await hear_several(site)


ADD: Final = Flow(
    "add devices",
    OWNER,
    (
        Step(
            route="/add/codes",
            page="/add/codes",
            prepare=new_codes,
            wrong={"product_id": "SHORT", "product_key": "TOO SHORT"},
            right={"product_id": "{product_id}", "product_key": "{product_key}"},
            lost=frozenset({"product_key"}),
            says="Waiting for the device",
        ),
        Step(route="/claims/{claim_id}/cancel", says="Add Device"),
        Step(
            route="/claims/{claim_id}/pick",
            page="/claims/{picking}",
            prepare=heard,
            says="This UPS is yours",
        ),
        Step(
            route="/add/bulk",
            page="/add/bulk",
            wrong={"list": ""},
            right={"list": BULK},
            says="1",
        ),
        Step(
            route="/add/photo",
            page="/add/scan",
            prepare=new_photo,
            wrong={"photo": "{no_photo}"},
            right={"photo": "{photo}"},
            fault="not a picture that can be read",
            by_itself=True,
            says="Register UPS",
        ),
    ),
)
DEVICE: Final = Flow(
    "set up a device",
    OWNER,
    (
        Step(
            route="/devices/{device_id}/setup",
            page="/devices/{rich}/setup",
            wrong={"name": "x" * 100, "description": "By the boiler"},
            right={"name": "Cellar rack", "description": "By the boiler", "time_zone": "Europe/Berlin"},
            says="Device Sensitivity",
        ),
        Step(
            route="/devices/{device_id}/setup/sensitivity",
            page="/devices/{rich}/setup/sensitivity",
            wrong={"device_sensitivity_s": "own", "own_s": "never"},
            right={"device_sensitivity_s": "own", "own_s": "30"},
            says="Finish",
        ),
        Step(
            route="/devices/{device_id}/settings",
            page="/devices/{rich}/settings",
            wrong={"report_interval_s": "often"},
            right={"report_interval_s": "120"},
            says="Settings",
        ),
        Step(
            route="/devices/{device_id}/profile",
            page="/devices/{rich}",
            wrong={"name": "x" * 100, "description": "By the boiler"},
            right={"name": "Cellar rack 2", "description": "By the window"},
            says="Cellar rack 2",
        ),
        Step(
            route="/devices/{device_id}/battery",
            page="/devices/{rich}/rules",
            wrong={"installed": "1850-01-01"},
            right={"installed": "2023-04-05"},
            says="Battery put in on",
        ),
        Step(
            route="/devices/move",
            page="/devices?choose=1",
            wrong={"site": "{site}"},
            right={"device": "{rich}", "site": "{site}"},
            says="A site of their own",
        ),
    ),
)


async def second_factor(site: Site, _page: Page) -> None:
    """The owner may send commands: a second factor is on, and was just shown; the device is heard."""
    await site.rich.show(mog_outlet_status=1, sog0_outlet_status=2)
    await turn_on_two_factor(site.portal.pool, site.people[OWNER].account_id, now_ms())
    await site.sql("UPDATE web_session SET factor_ms = %s", now_ms())


CONTROL: Final = Flow(
    "control a device",
    OWNER,
    (
        Step(
            route="/devices/{device_id}/control",
            page="/devices/{rich}/control?kind=outlet_off&group=mog",
            prepare=second_factor,
            at="[name=name]",
            wrong={"name": "something else"},
            right={"name": "Main outlets"},
            says="Commands",
        ),
        Step(
            route="/devices/{device_id}/control",
            page="/devices/{rich}",
            at="[value=identify]",
            says="Identify",
        ),
        Step(
            route="/devices/{device_id}/calibration-schedule",
            page="/devices/{rich}/control?kind=calibration_start",
            at="[name=first]",
            wrong={"first": "2001-02-03T04:05"},
            right={"every_days": "90", "first": "{soon}"},
            says="Change the schedule",
        ),
    ),
)


RULES: Final = Flow(
    "rules",
    OWNER,
    (
        Step(
            route="/rules/new",
            page="/rules/new",
            wrong={"name": "Load of the rack", "subject": "load_w", "threshold": "much"},
            right={"name": "Load of the rack", "subject": "load_w", "threshold": "400"},
            says="Load of the rack",
        ),
        Step(
            route="/rules/{rule_id}",
            page="/rules/{rule_id}",
            wrong={"name": "", "hold": "2"},
            right={"name": "Load of the cellar", "hold": "2"},
            says="Load of the cellar",
        ),
        Step(route="/rules/{rule_id}/switch", page="/rules/{rule_id}", says="Switch on"),
        Step(route="/rules/{rule_id}/delete", page="/rules/{rule_id}", says="Rules"),
    ),
)


async def standing(site: Site, page: Page) -> None:
    """Something is wrong with a device that nobody has acknowledged."""
    owned = await device_of(site, OWNER)
    await owned.add_event("replace_battery", at_ms=now_ms())
    kit = site.portal.kit
    await noticing.take_in(kit, now_ms())
    while await noticing.decide_one(kit, now_ms() + 5_000):
        pass
    await page.goto(f"{site.url}/alarms")
    site.ids["alarm"] = await page.get_attribute("main input[type=checkbox]", "name") or ""


NOTICES: Final = Flow(
    "notifications",
    OWNER,
    (
        Step(
            route="/notifications/policies/new",
            page="/notifications/policies/new",
            wrong={"name": "", "topic_overload": "on", "to_role_owner": "on"},
            right={"name": "Overload of the cellar", "topic_overload": "on", "to_role_owner": "on"},
            says="Overload of the cellar",
        ),
        Step(
            route="/notifications/policies/{policy}",
            page="/notifications/policies/{policy}",
            wrong={"name": "", "delay_s": "30"},
            right={"name": "Another name", "delay_s": "30"},
            says="Another name",
        ),
        Step(route="/notifications/policies/{policy}/mails", page="/notifications", says="Mail me again"),
        Step(
            route="/notifications/channels/new",
            page="/notifications/channels/new",
            wrong={"name": "Chat", "address": "nothing"},
            right={"name": "Chat", "address": "https://hooks.example.org/y"},
            lost=frozenset({"address"}),
            says="Chat",
        ),
        Step(route="/notifications/test", page="/notifications", says="test"),
        Step(
            route="/notifications/channels/{channel}/remove",
            page="/notifications",
            says="Notifications",
        ),
        Step(
            route="/notifications/windows",
            page="/notifications",
            wrong={"until": "2001-02-03T04:05", "reason": "Work at the mains"},
            right={"until": "{soon}", "reason": "Work at the mains"},
            says="Work at the mains",
        ),
        Step(route="/notifications/windows/{window}/end", page="/notifications", says="Notifications"),
        Step(
            route="/notifications/policies/{policy}/remove",
            page="/notifications/policies/{policy}",
            says="Notifications",
        ),
        Step(
            route="/alarms",
            page="/alarms",
            prepare=standing,
            wrong={"{alarm}": "on", "reason": ""},
            right={"{alarm}": "on", "reason": "It is ordered"},
            says="It is ordered",
        ),
    ),
)
SITES: Final = Flow(
    "sites",
    OWNER,
    (
        Step(
            route="/sites",
            page="/sites",
            wrong={"name": ""},
            right={"name": "South"},
            says="South",
        ),
        Step(
            route="/sites/{site}",
            page="/sites/{site}",
            wrong={"name": ""},
            right={"name": "North"},
            says="North",
        ),
        Step(route="/sites/{site}/remove", page="/sites/{site}", says="Sites"),
    ),
)


FLOWS: Final = (ADD, DEVICE, RULES, NOTICES, SITES)
"""``CONTROL`` comes late: it turns the second factor of the owner on."""
