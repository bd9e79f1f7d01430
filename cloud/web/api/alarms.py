"""Alarms that stand now and their acknowledgement; sites and the devices there."""

from http import HTTPStatus
from typing import Annotated, Final

from aiohttp import web
from msgspec import UNSET, Meta, Struct, UnsetType

from cloud.core.api_token import Scope
from cloud.core.device_state import Condition
from cloud.core.notice import Topic
from cloud.core.notice_plan import Key
from cloud.core.site_tree import TOP
from cloud.services import fleet, noticeboard, placing
from cloud.web.api.kinds import DeviceId, Line, Ms, Number, device_number
from cloud.web.api.operation import Section
from cloud.web.problems import Problem, ProblemCode
from cloud.web.state import POOL, actor_of, now_ms

SECTION: Final = Section(
    "Alarms",
    "What is wrong now, who looks after it, and the sites where devices are.",
    reads=Scope.DEVICES_READ,
    writes=Scope.DEVICES_WRITE,
)
CHANGES: Final = (ProblemCode.FORBIDDEN, ProblemCode.FIELD_INVALID)


class StandingAlarm(Struct):
    """Something that is wrong with a device now. ``subject`` tells several of one topic apart."""

    device_id: str
    topic: Topic
    subject: str
    name: str
    site: str
    began_ms: Ms
    detail: str
    acked_ms: Ms | None
    acked_by: str
    ack_reason: str


class StandingAlarms(Struct):
    """Those nobody looks after first, then the newest."""

    alarms: list[StandingAlarm]


class AlarmName(Struct):
    """Which alarm."""

    device_id: DeviceId
    topic: Topic
    subject: Annotated[str, Meta(max_length=40)] = ""


class Acknowledgement(Struct):
    """Somebody looks after these, and why."""

    alarms: Annotated[list[AlarmName], Meta(max_length=1000)]
    reason: Line


class Acknowledged(Struct):
    """How many of them still stand."""

    count: int


class NewSite(Struct):
    """A name that no other site beside it has, and the site that it is in; null: none."""

    site_name: Line
    parent_id: Number | None = None


class SiteChange(Struct):
    """What changes; what is left out stays."""

    site_name: Line | UnsetType = UNSET
    parent_id: Number | UnsetType | None = UNSET


class SiteOfCompany(Struct):
    """A place, how many devices are there (``here``: not in sites below), and their most urgent state."""

    site_id: int
    parent_id: int | None
    name: str
    path: list[str]
    devices: int
    here: int
    worst: Condition | None


class SitesOfCompany(Struct):
    """As the tree has them: each behind the one that it is in."""

    sites: list[SiteOfCompany]


class DevicesOfSite(Struct):
    """All devices at a site, by number."""

    device_ids: Annotated[list[DeviceId], Meta(max_length=1000)]


@SECTION.operation("GET", "/alarms")
async def list_standing(request: web.Request) -> StandingAlarms:
    """What stands now."""
    found = await noticeboard.standing(request.app[POOL], actor_of(request))
    return StandingAlarms(
        [
            StandingAlarm(
                device_id=str(one.device_id),
                topic=Topic(one.topic),
                subject=one.subject,
                name=one.name or one.model,
                site=one.site,
                began_ms=one.began_ms,
                detail=one.detail,
                acked_ms=one.acked_ms,
                acked_by=one.acked_by,
                ack_reason=one.ack_reason,
            )
            for one in found
        ]
    )


@SECTION.operation("POST", "/alarms/acknowledge", problems=CHANGES)
async def acknowledge(request: web.Request, body: Acknowledgement) -> Acknowledged:
    """Say that somebody looks after alarms: nobody else is alarmed. It ends when they are over."""
    keys = [Key(device_number(one.device_id), one.topic, one.subject) for one in body.alarms]
    done = await noticeboard.acknowledge(request.app[POOL], actor_of(request), keys, body.reason, now_ms())
    return Acknowledged(done)


@SECTION.operation("GET", "/sites")
async def list_sites(request: web.Request) -> SitesOfCompany:
    """The company's sites."""
    tree, sums = await fleet.at_sites(request.app[POOL], actor_of(request), now_ms())
    return SitesOfCompany(
        [
            SiteOfCompany(
                site_id=node.site_id,
                parent_id=node.parent_id or None,
                name=node.name,
                path=list(node.path),
                devices=sums[node.site_id].devices,
                here=sums[node.site_id].here,
                worst=sums[node.site_id].worst,
            )
            for node in tree.nodes
        ]
    )


@SECTION.operation(
    "POST",
    "/sites",
    statuses={HTTPStatus.CREATED: "It has no devices yet."},
    problems=[*CHANGES, ProblemCode.TOO_MANY],
)
async def add_site(request: web.Request, body: NewSite) -> SiteOfCompany:
    """Make a site."""
    made = await placing.add_site(
        request.app[POOL], actor_of(request), body.site_name, now_ms(), body.parent_id or TOP
    )
    return await _found(request, made)


@SECTION.operation("PATCH", "/sites/{site_id}", problems=CHANGES)
async def change_site(request: web.Request, site_id: Number, body: SiteChange) -> SiteOfCompany:
    """Give it another name, or put it into another site."""
    await placing.change_site(
        request.app[POOL],
        actor_of(request),
        site_id,
        now_ms(),
        name=None if body.site_name is UNSET else body.site_name,
        parent_id=None if body.parent_id is UNSET else body.parent_id or TOP,
    )
    return await _found(request, site_id)


async def _found(request: web.Request, site_id: int) -> SiteOfCompany:
    for one in (await list_sites(request)).sites:
        if one.site_id == site_id:
            return one
    raise Problem(ProblemCode.NOT_FOUND)


@SECTION.operation("DELETE", "/sites/{site_id}", problems=[ProblemCode.FORBIDDEN])
async def remove_site(request: web.Request, site_id: Number) -> None:
    """Remove it, with its policies and windows; its devices and the sites in it move one level up."""
    await placing.remove_site(request.app[POOL], actor_of(request), site_id, now_ms())


@SECTION.operation("GET", "/sites/{site_id}/devices")
async def list_devices(request: web.Request, site_id: Number) -> DevicesOfSite:
    """The devices at a site itself, not in those below."""
    await _found(request, site_id)
    board = await noticeboard.look(request.app[POOL], actor_of(request), now_ms())
    return DevicesOfSite([str(one.device_id) for one in board.devices if one.site_id == site_id])


@SECTION.operation("PUT", "/sites/{site_id}/devices", problems=[ProblemCode.FORBIDDEN])
async def place_devices(request: web.Request, site_id: Number, body: DevicesOfSite) -> DevicesOfSite:
    """Say which devices are there, and no others; one that was elsewhere moves."""
    chosen = [device_number(one) for one in body.device_ids]
    await placing.place(request.app[POOL], actor_of(request), site_id, chosen, now_ms())
    return await list_devices(request, site_id)
