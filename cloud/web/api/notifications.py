"""Notifications: policies, channels, tests, maintenance windows, and what was sent."""

import dataclasses
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from cloud.core.api_token import Scope
from cloud.core.language import gettext
from cloud.core.notice import Topic
from cloud.postgres.notice_policies import PolicyRow, Target, WindowRow
from cloud.services import noticeboard
from cloud.services.notice_letters import is_test
from cloud.services.notice_words import subject
from cloud.web.api.kinds import DeviceId, Line, Ms, Number, device_number
from cloud.web.api.operation import Section
from cloud.web.problems import Problem, ProblemCode
from cloud.web.state import KIT, POOL, SETTINGS, actor_of, now_ms

SECTION: Final = Section(
    "Notifications",
    "Who is told what, by which channel, and what was sent.",
    reads=Scope.NOTIFICATIONS,
    writes=Scope.NOTIFICATIONS,
)

Minute = Annotated[int, Meta(ge=0, lt=1440, description="Minute of the day.")]
Step = Annotated[int, Meta(ge=0, le=1, description="1: told when nobody has acknowledged in time.")]
CHANGES: Final = (ProblemCode.FORBIDDEN, ProblemCode.FIELD_INVALID)


class Recipient(Struct):
    """Somebody who is told: a group (owner, heads, everyone), a member or a channel, by number."""

    kind: Literal["role", "account", "channel"]
    target: Annotated[str, Meta(max_length=20)]
    step: Step = 0


class NewPolicy(Struct, kw_only=True):
    """Who is told what. The most specific policy of a device counts: its own, its site's, the company's."""

    name: Line
    topics: Annotated[list[Topic], Meta(max_length=40)]
    recipients: Annotated[list[Recipient], Meta(max_length=200)]
    site_id: Number | None = None
    device_id: DeviceId | None = None
    delay_s: Number = 0
    recoveries: bool = True
    quiet_from_min: Minute | None = None
    quiet_until_min: Minute | None = None
    quiet_zone: Line = "UTC"
    quiet_lets_urgent: bool = True
    escalate_after_s: Number | None = None
    enabled: bool = True


class NoticePolicy(NewPolicy, kw_only=True):
    """A policy of the company."""

    policy_id: int


class OwnMails(Struct):
    """Whether one's own mails of a policy are wanted."""

    wanted: bool


class Policies(Struct):
    """All of them, by number."""

    policies: list[NoticePolicy]


class NewChannel(Struct):
    """A webhook (https://…), or another service by its Apprise address. The address is kept sealed."""

    kind: Literal["webhook", "apprise"]
    name: Line
    address: Annotated[str, Meta(max_length=1000)]


class Channel(Struct):
    """Where messages go beside mailboxes; ``shown`` holds nothing secret."""

    channel_id: int
    kind: str
    name: str
    shown: str
    created_ms: Ms


class MadeChannel(Struct):
    """A new channel. ``secret`` signs a webhook's messages; it is told this once."""

    channel_id: int
    secret: str


class Channels(Struct):
    """All of them, by number."""

    channels: list[Channel]


class NewTest(Struct):
    """Where to: a channel, or by mail to you."""

    channel_id: Number | None = None


class SentTest(Struct):
    """The delivery that tells what becomes of it."""

    delivery_id: int


class NewWindow(Struct, kw_only=True):
    """Work on devices: of the company, of a site, or one. Always with an end."""

    reason: Line
    until_ms: Ms
    from_ms: Ms | None = None
    site_id: Number | None = None
    device_id: DeviceId | None = None


class MaintenanceWindow(Struct):
    """A window that has not ended. Numbers that are null: the whole company."""

    window_id: int
    reason: str
    from_ms: Ms
    until_ms: Ms
    site_id: int | None
    device_id: str | None


class Windows(Struct):
    """The next one first."""

    windows: list[MaintenanceWindow]


class DeliveryLine(Struct):
    """One message to one receiver, and what became of it."""

    delivery_id: int
    notice_id: int
    created_ms: Ms
    subject: str
    policy: str
    escalation: bool
    way: str
    to: str
    tries: int
    sent_ms: Ms | None
    ended_ms: Ms | None
    next_ms: Ms | None
    error: str


class Deliveries(Struct):
    """Newest first, 200 at most; older ones by ``before``, the number of the last one."""

    deliveries: list[DeliveryLine]


def area_of(site_id: int | None, device_id: str | None) -> tuple[str, int]:
    """What a policy or window is about, as the services say it. Problem."""
    if site_id is not None and device_id is not None:
        raise Problem(ProblemCode.BAD_REQUEST, detail=gettext("Name a site or a device, not both."))
    if device_id is not None:
        return "device", device_number(device_id)
    return ("company", 0) if site_id is None else ("site", site_id)


def _row(body: NewPolicy, policy_id: int) -> tuple[PolicyRow, list[Target]]:
    scope, scope_id = area_of(body.site_id, body.device_id)
    given: dict[str, Any] = {name: getattr(body, name) for name in NewPolicy.__struct_fields__}
    for name in ("site_id", "device_id", "recipients", "topics"):
        del given[name]
    topics = [topic.value for topic in body.topics]
    row = PolicyRow(policy_id=policy_id, scope=scope, scope_id=scope_id, topics=topics, **given)
    return row, [Target(one.step, one.kind, one.target) for one in body.recipients]


def _shown(row: PolicyRow, targets: list[Target]) -> NoticePolicy:
    given: dict[str, Any] = {
        name: getattr(row, name) for name in NoticePolicy.__struct_fields__ if hasattr(row, name)
    }
    return NoticePolicy(
        **given | {"topics": [Topic(topic) for topic in row.topics]},
        recipients=[msgspec.convert(one, Recipient, from_attributes=True) for one in targets],
        site_id=row.scope_id if row.scope == "site" else None,
        device_id=str(row.scope_id) if row.scope == "device" else None,
    )


@SECTION.operation("GET", "/notifications/policies")
async def list_policies(request: web.Request) -> Policies:
    """The company's policies; one that has never looked is given its first."""
    board = await noticeboard.look(request.app[POOL], actor_of(request), now_ms())
    return Policies([_shown(row, board.targets.get(row.policy_id, [])) for row in board.policies])


@SECTION.operation(
    "POST",
    "/notifications/policies",
    statuses={HTTPStatus.CREATED: "It is in force."},
    problems=[*CHANGES, ProblemCode.TOO_MANY],
)
async def add_policy(request: web.Request, body: NewPolicy) -> NoticePolicy:
    """Make a policy."""
    row, targets = _row(body, 0)
    made = await noticeboard.save_policy(request.app[POOL], actor_of(request), row, targets, now_ms())
    return await _found(request, made)


@SECTION.operation("PUT", "/notifications/policies/{policy_id}", problems=CHANGES)
async def change_policy(request: web.Request, policy_id: Number, body: NewPolicy) -> NoticePolicy:
    """Write all of a policy anew."""
    await _found(request, policy_id)
    row, targets = _row(body, policy_id)
    await noticeboard.save_policy(request.app[POOL], actor_of(request), row, targets, now_ms())
    return await _found(request, policy_id)


async def _found(request: web.Request, policy_id: int) -> NoticePolicy:
    for one in (await list_policies(request)).policies:
        if one.policy_id == policy_id:
            return one
    raise Problem(ProblemCode.NOT_FOUND)


@SECTION.operation("DELETE", "/notifications/policies/{policy_id}", problems=[ProblemCode.FORBIDDEN])
async def remove_policy(request: web.Request, policy_id: Number) -> None:
    """Nobody is told anything by it any more."""
    await noticeboard.remove_policy(request.app[POOL], actor_of(request), policy_id, now_ms())


@SECTION.operation("PUT", "/notifications/policies/{policy_id}/mails")
async def choose_mails(request: web.Request, policy_id: Number, body: OwnMails) -> None:
    """Whether one gets the mails of a policy oneself; everybody may decide that for themselves."""
    await noticeboard.subscribe(
        request.app[POOL], actor_of(request), policy_id, wanted=body.wanted, now_ms=now_ms()
    )


@SECTION.operation("GET", "/notifications/channels")
async def list_channels(request: web.Request) -> Channels:
    """The company's webhooks and other services."""
    board = await noticeboard.look(request.app[POOL], actor_of(request), now_ms())
    return Channels([msgspec.convert(one, Channel, from_attributes=True) for one in board.channels])


@SECTION.operation(
    "POST",
    "/notifications/channels",
    statuses={HTTPStatus.CREATED: "It can be named in policies."},
    has_secret=True,
    problems=[*CHANGES, ProblemCode.TOO_MANY],
)
async def add_channel(request: web.Request, body: NewChannel) -> MadeChannel:
    """Add a channel."""
    made = await noticeboard.add_channel(
        request.app[KIT],
        actor_of(request),
        body.kind,
        body.name,
        body.address,
        private=request.app[SETTINGS].notify_private,
        now_ms=now_ms(),
    )
    return MadeChannel(*made)


@SECTION.operation("DELETE", "/notifications/channels/{channel_id}", problems=[ProblemCode.FORBIDDEN])
async def remove_channel(request: web.Request, channel_id: Number) -> None:
    """Nothing is sent there any more, and its address is forgotten."""
    await noticeboard.remove_channel(request.app[POOL], actor_of(request), channel_id, now_ms())


@SECTION.operation(
    "POST",
    "/notifications/tests",
    statuses={HTTPStatus.CREATED: "It is on its way."},
    problems=[ProblemCode.FORBIDDEN, ProblemCode.NOT_FOUND, ProblemCode.TOO_MANY],
)
async def send_test(request: web.Request, body: NewTest) -> SentTest:
    """Send a test, one in ten seconds."""
    made = await noticeboard.send_test(request.app[KIT], actor_of(request), body.channel_id, now_ms())
    return SentTest(made)


@SECTION.operation("GET", "/notifications/windows")
async def list_windows(request: web.Request) -> Windows:
    """Maintenance that goes on or is planned."""
    board = await noticeboard.look(request.app[POOL], actor_of(request), now_ms())
    return Windows([_window(row) for row in board.windows])


def _window(row: WindowRow) -> MaintenanceWindow:
    return MaintenanceWindow(
        *(row.window_id, row.reason, row.from_ms, row.until_ms),
        site_id=row.scope_id if row.scope == "site" else None,
        device_id=str(row.scope_id) if row.scope == "device" else None,
    )


@SECTION.operation(
    "POST",
    "/notifications/windows",
    statuses={HTTPStatus.CREATED: "Nothing is told about these devices meanwhile."},
    problems=[*CHANGES, ProblemCode.TOO_MANY],
)
async def add_window(request: web.Request, body: NewWindow) -> MaintenanceWindow:
    """Plan maintenance."""
    scope, scope_id = area_of(body.site_id, body.device_id)
    begins_ms = now_ms() if body.from_ms is None else body.from_ms
    row = WindowRow(0, scope, scope_id, 0, begins_ms, body.until_ms, body.reason)
    made = await noticeboard.add_window(request.app[POOL], actor_of(request), row, now_ms())
    return _window(dataclasses.replace(row, window_id=made))


@SECTION.operation("DELETE", "/notifications/windows/{window_id}", problems=[ProblemCode.FORBIDDEN])
async def end_window(request: web.Request, window_id: Number) -> None:
    """End maintenance; what still stands is told."""
    await noticeboard.end_window(request.app[POOL], actor_of(request), window_id, now_ms())


@SECTION.operation("GET", "/notifications/deliveries")
async def list_deliveries(request: web.Request, before: Number | None = None) -> Deliveries:
    """What was sent in the last 30 days."""
    lines = await noticeboard.read_log(request.app[POOL], actor_of(request), before)
    return Deliveries(
        [
            DeliveryLine(
                delivery_id=one.delivery_id,
                notice_id=one.notice_id,
                created_ms=one.created_ms,
                subject="A test" if is_test(one.items) else subject(one.items, one.site),
                policy=one.policy,
                escalation=one.step == 1,
                way=one.way,
                to=one.to_whom,
                tries=one.tries,
                sent_ms=one.sent_ms,
                ended_ms=one.ended_ms,
                next_ms=None if one.sent_ms or one.ended_ms else one.next_ms,
                error=one.error,
            )
            for one in lines
        ]
    )
