"""Flows of ownership: offers, release, theft, disputes, second-hand devices, unknown keys."""

from typing import Final

from playwright.async_api import Page

from cloud.services import offering, owning
from tests.accept._a11y_site import OTHER, OWNER, Site, device_of
from tests.accept._a11y_step import Flow, Step
from tests.support.portal import claim, now_ms


async def connected(site: Site, _page: Page) -> None:
    """A device that is there becomes ``{fresh}``."""
    site.ids["fresh"] = str((await device_of(site, OWNER)).device_id)


async def disputed(site: Site, _page: Page) -> None:
    """Somebody else claims a device and asks for it, as its owner were gone; it has an unknown key."""
    owned = await site.portal.own_device(site.people[OWNER])
    await claim(site.portal.pool, site.people[OTHER], owned.device)
    board = owned.device.twin()
    await board.announce(site.portal.pool, now_ms())
    who = site.people[OTHER]
    await owning.ask_second_hand(site.portal.pool, who, owned.device_id, board.kid, now_ms())
    site.ids["fresh"] = str(owned.device_id)


async def cloned(site: Site, _page: Page) -> None:
    """Two hold one key of a device."""
    owned = await device_of(site, OWNER)
    site.ids["fresh"] = str(owned.device_id)
    await site.sql(
        "INSERT INTO matter (device_id, epoch, kind, subject, status, opened_ms)"
        " VALUES (%s, %s, 'clone', '', 'open', %s)",
        *(owned.device_id, owned.epoch, now_ms()),
    )


async def board_heard(site: Site, _page: Page) -> None:
    """The claimant's board announces itself."""
    await site.board.announce(site.portal.pool, now_ms())


OWN: Final = "/devices/{fresh}/owner"
ACT: Final = "/devices/{device_id}/owner/"
OWNERSHIP: Final = Flow(
    "ownership",
    OWNER,
    (
        Step(
            route=ACT + "offer",
            page=OWN,
            prepare=connected,
            wrong={"to_email": "nobody"},
            right={"to_email": OTHER},
            says="Withdraw the offer",
        ),
        Step(route=ACT + "withdraw-offer", page=OWN, says="Offer this device"),
        Step(route=ACT + "stolen", page=OWN, says="Lift the mark"),
        Step(route=ACT + "found", page=OWN, says="Mark as stolen"),
        Step(route=ACT + "release", page=OWN, right={"sure": "on"}, says="Keep the device"),
        Step(route=ACT + "keep", page=OWN, says="Release this device"),
        Step(route=ACT + "object", page=OWN, prepare=disputed, says="Ownership"),
        Step(route=ACT + "dismiss-dispute", page=OWN, says="Ownership"),
        Step(route=ACT + "dismiss-key", page="/devices/{device_id}/owner", says="Ownership"),
        Step(route=ACT + "approve-key", page=OWN, prepare=disputed, says="Ownership"),
        Step(route=ACT + "clear-clone", page=OWN, prepare=cloned, says="Ownership"),
        Step(
            route="/claims/{claim_id}/dispute/second-hand",
            page="/claims/{disputed}/dispute",
            prepare=board_heard,
            says="You asked for this device",
        ),
        Step(
            route="/claims/{claim_id}/dispute/withdraw",
            page="/claims/{disputed}/dispute",
            says="Add Device",
        ),
    ),
)


async def offered(site: Site, _page: Page) -> None:
    """The owner offers a device to the other; the code of the offer becomes ``{offer}``."""
    owned = await device_of(site, OWNER)
    made = await offering.offer(
        *(site.portal.pool, site.people[OWNER], owned.device_id, now_ms()), fresh=True, to_email=OTHER
    )
    site.ids["offer"] = made.token


LOOK: Final = Step(
    route="/transfers",
    page="/transfers",
    prepare=offered,
    wrong={"link": "nonsense"},
    right={"link": "{offer}"},
    lost=frozenset({"link"}),
    says="Accept",
)
TRANSFER: Final = Flow(
    "transfer",
    OTHER,
    (
        LOOK,
        Step(route="/transfers/decline", via=LOOK, says="Devices offered to you"),
        Step(route="/transfers/accept", via=LOOK, prepare=offered, says="Smart-UPS"),
    ),
)


FLOWS: Final = (OWNERSHIP, TRANSFER)
