"""Outage history for programs."""

from typing import Annotated, Final

from aiohttp import web
from msgspec import Meta, Struct

from cloud.core.api_token import Scope
from cloud.core.outage import Ending, Outage
from cloud.services import outages
from cloud.web.api.devices import own
from cloud.web.api.history import DeviceHistory, history_json
from cloud.web.api.kinds import DeviceId
from cloud.web.api.operation import Section
from cloud.web.problems import Problem, ProblemCode
from cloud.web.state import POOL, now_ms

SECTION: Final = Section(
    "Outages", "Times on battery, each with its runtime curve.", reads=Scope.DEVICES_READ
)
AtMs = Annotated[str, Meta(pattern="^[0-9]{1,15}$", description="at_ms of the outage.")]
BeforeMs = Annotated[
    int, Meta(ge=0, le=outages.END_OF_TIME_MS, description="Only what began before; for the next page.")
]


class DeviceOutage(Struct):
    """One time on battery because of the mains."""

    at_ms: Annotated[int, Meta(description="What it is known by: its start, else its end.")]
    start_ms: Annotated[int | None, Meta(description="null where it was not recorded.")]
    end_ms: Annotated[int | None, Meta(description="null where it goes on, or was not recorded.")]
    ending: Annotated[Ending, Meta(description="open: goes on, as far as is known. lost: not recorded.")]
    lasted_s: float | None
    cause: Annotated[str, Meta(description="As the UPS said it.")]
    lowest_charge_pct: float | None
    battery_low: bool
    unseen_s: Annotated[float, Meta(description="How long the UPS did not answer its agent meanwhile.")]
    time_uncertain: bool


class OutageList(Struct):
    """Outages, the newest first."""

    outages: list[DeviceOutage]
    older_before_ms: Annotated[int | None, Meta(description="before_ms of the next page; null at the end.")]


@SECTION.operation("GET", "/devices/{device_id}/outages")
async def list_outages(
    request: web.Request, device_id: DeviceId, before_ms: BeforeMs = outages.END_OF_TIME_MS
) -> OutageList:
    """The outages of one device during your ownership."""
    view = await own(request, device_id)
    past = await outages.list_outages(request.app[POOL], view, now_ms(), before_ms=before_ms)
    return OutageList([outage_json(one) for one in past.outages], past.older_before_ms)


@SECTION.operation("GET", "/devices/{device_id}/outages/{at_ms}/curve")
async def show_curve(request: web.Request, device_id: DeviceId, at_ms: AtMs) -> DeviceHistory:
    """Runtime left, charge, load and mains over one outage, with a minute before and after."""
    view, now = await own(request, device_id), now_ms()
    outage = await outages.find_outage(request.app[POOL], view, int(at_ms), now)
    if outage is None:
        raise Problem(ProblemCode.NOT_FOUND)
    return history_json(await outages.read_curve(request.app[POOL], view, outage, now))


def outage_json(outage: Outage) -> DeviceOutage:
    """One outage."""
    lasted_ms = outage.lasted_ms
    return DeviceOutage(
        at_ms=outage.at_ms,
        start_ms=outage.start_ms,
        end_ms=outage.end_ms,
        ending=outage.ending,
        lasted_s=None if lasted_ms is None else lasted_ms / 1000,
        cause=outage.cause,
        lowest_charge_pct=outage.lowest_charge_pct,
        battery_low=outage.battery_low,
        unseen_s=outage.unseen_ms / 1000,
        time_uncertain=outage.time_uncertain,
    )
