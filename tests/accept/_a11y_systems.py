"""Flows of building systems: registering, associating, data and consents, handing over, giving up."""

from typing import Any, Final

from playwright.async_api import Page

from cloud.core.system import Slot
from cloud.services import system_slots
from cloud.web.state import KIT, SYSTEM_KEYS
from protocol.system_code import Operation, read_number
from tests.accept._a11y_site import OTHER, OWNER, Site
from tests.accept._a11y_step import Flow, Step
from tests.support.portal import now_ms
from tests.support.systems import TestCloudKeys, TestServer


def server_of(site: Site) -> TestServer:
    """A building system's server that nobody has registered."""
    return TestServer(TestCloudKeys(site.portal.app[SYSTEM_KEYS].private))


async def new_server(site: Site, _page: Page) -> None:
    """Its System ID becomes ``{typed_id}``, its request for a code ``{request}``."""
    server = server_of(site)
    site.ids |= {
        "typed_id": server.id,
        "request": server.request(Operation.REGISTER),
        "other_id": server_of(site).id,
    }


REGISTER: Final = Step(
    route="/systems/register",
    page="/systems/register",
    prepare=new_server,
    wrong={"system_id": "nonsense"},
    right={"system_id": "{request}"},
    says="For this system you are",
)
ASSOCIATE: Final = Step(
    route="/systems/associate",
    page="/systems/associate",
    wrong={"system_id": "nonsense"},
    right={"system_id": "{other_id}"},
    says="Select the system",
)
OFFER: Final = Step(
    route="/systems/offer",
    page="/systems/offer",
    wrong={"link": "nonsense"},
    right={"link": "{system_offer}"},
    lost=frozenset({"link"}),
    says="Accept",
)


def offer_of(page: str) -> Any:
    """The owner offers a slot of a system to the other; its code becomes ``{system_offer}``."""

    async def prepare(site: Site, _page: Page) -> None:
        number = read_number(site.ids[page])
        site.ids["system_offer"] = await system_slots.offer(
            *(site.portal.app[KIT], site.people[OWNER], number or 0, Slot.END_USER, OTHER, now_ms()),
            fresh=True,
        )

    return prepare


SYSTEMS: Final = Flow(
    "systems",
    OWNER,
    (
        REGISTER,
        Step(
            route="/systems/register",
            via=REGISTER,
            at="[name=slot]",
            wrong={"slot": ""},
            right={"slot": "end_user"},
            says="System Information Page",
        ),
        Step(
            route="/systems/offline",
            page="/systems/offline",
            prepare=new_server,
            wrong={"system_id": "nonsense"},
            right={"system_id": "{request}"},
            says="Register Page",
        ),
        ASSOCIATE,
        Step(
            route="/systems/associate",
            via=ASSOCIATE,
            at="[name=system]",
            right={"system": "{number}.{registered_id}"},
            says="Waiting for the server",
        ),
        Step(
            route="/systems/waiting/{system_id}/{intent_id}/cancel",
            page="/systems/waiting/{system_id}/{intent_id}",
            says="System Registration Overview",
        ),
        DATA := Step(
            route="/systems/{number}/data",
            page="/systems/{number}/data",
            wrong={"site_name": "South wing", "city": ""},
            right={"site_name": "South wing"},
            says="Is everything correct?",
        ),
        Step(
            route="/systems/{number}/data",
            via=DATA,
            at="[value=save]",
            button="[value=save]",
            says="South wing",
        ),
        Step(
            route="/systems/{number}/lead",
            page="/systems/{shadow}",
            says="Follow this lead",
        ),
        Step(
            route="/systems/{number}/withdraw",
            page="/systems/{number}",
            says="System Information Page",
        ),
        Step(
            route="/systems/{number}/offer",
            page="/systems/{number}",
            wrong={"slot": "integrator", "email": "nobody"},
            right={"slot": "end_user", "email": "tenant@example.org"},
            says="Withdraw the offer",
        ),
        Step(
            route="/systems/{number}/withdraw",
            page="/systems/{number}",
            says="System Information Page",
        ),
        Step(
            route="/systems/{number}/leave",
            page="/systems/{shadow}",
            says="System Registration Overview",
        ),
    ),
)
HAND_OVER: Final = Flow(
    "a system is handed over",
    OTHER,
    (
        Step(
            **{
                **{name: getattr(OFFER, name) for name in OFFER.__dataclass_fields__},
                "prepare": offer_of("number"),
            }
        ),
        Step(route="/systems/offer/decline", via=OFFER, says="System Registration Overview"),
        Step(route="/systems/offer/accept", via=OFFER, prepare=offer_of("number"), says="South wing"),
        Step(
            route="/systems/{number}/consents",
            page="/systems/{number}",
            right={"information": "yes", "personal": "yes"},
            says="Confirmed",
        ),
        Step(route="/systems/{number}/delete", page="/systems/{number}", says="System Registration Overview"),
    ),
)


FLOWS: Final = (SYSTEMS, HAND_OVER)
