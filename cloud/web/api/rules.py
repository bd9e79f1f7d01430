"""Threshold rules for programs."""

from http import HTTPStatus
from typing import Annotated, Any, Final

from aiohttp import web
from msgspec import Meta, Struct

from cloud.core.api_token import Scope
from cloud.core.language import gettext
from cloud.core.rule import SUBJECTS, Side, shown_unit
from cloud.core.rule_draft import Draft
from cloud.postgres.rules import Deed, Listed
from cloud.services import ruling
from cloud.web.api.kinds import DeviceId, Line, Ms, Number, device_number
from cloud.web.api.operation import Reply, Section
from cloud.web.problems import ProblemCode
from cloud.web.state import POOL, actor_of, now_ms

SECTION: Final = Section(
    "Rules",
    "Threshold rules: an event `rule_raised` when a value stays beyond a threshold, and `rule_cleared`.",
    reads=Scope.DEVICES_READ,
    writes=Scope.DEVICES_WRITE,
)
MAX_DEEDS: Final = 200
RuleId = Annotated[int, Meta(ge=0, lt=1 << 53, description="Number of a rule.")]
Seconds = Annotated[int, Meta(ge=0, le=604_800)]
_PROBLEMS: Final = (ProblemCode.FORBIDDEN, ProblemCode.FIELD_INVALID)


class RuleDraft(Struct, kw_only=True):
    """What a rule says. ``threshold`` and ``hysteresis`` in the unit of the subject."""

    name: Line
    subject: Annotated[str, Meta(max_length=64, description="See `GET /rules/subjects`.")]
    side: Side = Side.ABOVE
    threshold: Annotated[float, Meta(description="Ignored for a state.")] = 0.0
    hysteresis: Annotated[float, Meta(ge=0, description="How far behind it the value must be again.")] = 0.0
    hold_s: Annotated[Seconds, Meta(description="Beyond the threshold for so long, then raised.")] = 0
    clear_s: Annotated[Seconds, Meta(description="Back for so long, then cleared.")] = 0
    gap_s: Annotated[int, Meta(ge=60, le=86_400, description="A longer silence breaks either count.")] = 180

    def draft(self) -> Draft:
        """For the service."""
        return Draft(
            name=self.name,
            subject=self.subject,
            side=self.side.value,
            threshold=self.threshold,
            hysteresis=self.hysteresis,
            hold_s=self.hold_s,
            clear_s=self.clear_s,
            gap_s=self.gap_s,
        )


class NewRule(RuleDraft, kw_only=True):
    """A rule to be made."""

    device_id: Annotated[DeviceId | None, Meta(description="Only this device.")] = None
    site_id: Annotated[Number | None, Meta(description="Only the devices of this site.")] = None


class Switch(Struct):
    """On or off."""

    enabled: bool


class RuleState(RuleDraft, kw_only=True):
    """A rule."""

    rule_id: RuleId
    enabled: bool
    device_id: Annotated[str | None, Meta(description="null: not only one device.")]
    site_id: Annotated[int | None, Meta(description="null: not only one site.")]
    ended: Annotated[bool, Meta(description="Its device or site is no longer yours, and the rule is over.")]
    raised_on: Annotated[int, Meta(description="Devices on which it is raised now.")]
    created_ms: Ms
    changed_ms: Ms


class RuleList(Struct):
    """All rules of the company."""

    rules: list[RuleState]


class SubjectKind(Struct):
    """Something a rule may watch."""

    name: str
    label: str
    unit: str
    is_state: Annotated[bool, Meta(description="1 or 0; it needs no threshold.")]
    low: float
    high: float


class SubjectList(Struct):
    """Everything a rule may watch."""

    subjects: list[SubjectKind]


class RuleDeed(Struct):
    """Something a rule did on a device."""

    device_id: str
    device: str
    ts_ms: Annotated[int, Meta(description="Time of the reading that decided, unix time in milliseconds.")]
    kind: Annotated[str, Meta(description="rule_raised or rule_cleared.")]
    detail: dict[str, Any]


class RuleHistory(Struct):
    """What a rule did in the last 30 days, newest first."""

    deeds: list[RuleDeed]


class Battery(Struct):
    """When the battery was put in."""

    installed: Annotated[str, Meta(pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}$", description="YYYY-MM-DD.")]


def _rule_json(one: Listed) -> RuleState:
    draft, rule = ruling.draft_of(one), one.rule
    return RuleState(
        name=draft.name,
        subject=draft.subject,
        side=Side(draft.side),
        threshold=draft.threshold,
        hysteresis=draft.hysteresis,
        hold_s=draft.hold_s,
        clear_s=draft.clear_s,
        gap_s=draft.gap_s,
        rule_id=rule.rule_id,
        enabled=rule.enabled,
        device_id=str(rule.scope_id) if rule.scope == "device" else None,
        site_id=rule.scope_id if rule.scope == "site" else None,
        ended=one.over,
        raised_on=one.raised,
        created_ms=rule.created_ms,
        changed_ms=rule.changed_ms,
    )


def _deed_json(one: Deed) -> RuleDeed:
    kind = "rule_raised" if one.raised else "rule_cleared"
    return RuleDeed(str(one.device_id), one.title, one.ts_ms, kind, one.detail)


@SECTION.operation("GET", "/rules")
async def list_rules(request: web.Request) -> RuleList:
    """All rules of the company."""
    return RuleList(
        [_rule_json(one) for one in await ruling.list_rules(request.app[POOL], actor_of(request))]
    )


@SECTION.operation("GET", "/rules/subjects")
async def list_subjects(request: web.Request) -> SubjectList:
    """What rules may watch, and the units of thresholds."""
    del request
    return SubjectList(
        [
            SubjectKind(
                one.name,
                gettext(one.label),
                gettext(shown_unit(one)),
                one.is_state,
                one.low / one.factor,
                one.high / one.factor,
            )
            for one in SUBJECTS.values()
        ]
    )


@SECTION.operation(
    "POST",
    "/rules",
    statuses={HTTPStatus.CREATED: "Made."},
    problems=[*_PROBLEMS, ProblemCode.NOT_FOUND, ProblemCode.TOO_MANY],
)
async def make_rule(request: web.Request, body: NewRule) -> Reply[RuleState]:
    """Make a rule, for all devices or for one; it judges what is measured from now on."""
    rule_id = await ruling.make(
        request.app[POOL],
        actor_of(request),
        body.draft(),
        now_ms(),
        device_id=None if body.device_id is None else device_number(body.device_id),
        site_id=body.site_id,
    )
    return Reply(await show_rule(request, rule_id), HTTPStatus.CREATED)


@SECTION.operation("GET", "/rules/{rule_id}")
async def show_rule(request: web.Request, rule_id: Number) -> RuleState:
    """One rule."""
    return _rule_json(await ruling.find(request.app[POOL], actor_of(request), rule_id))


@SECTION.operation("PUT", "/rules/{rule_id}", problems=_PROBLEMS)
async def change_rule(request: web.Request, rule_id: Number, body: RuleDraft) -> RuleState:
    """Let it say something else; where it is raised now, that ends."""
    await ruling.change(request.app[POOL], actor_of(request), rule_id, body.draft(), now_ms())
    return await show_rule(request, rule_id)


@SECTION.operation("PUT", "/rules/{rule_id}/enabled", problems=[ProblemCode.FORBIDDEN])
async def switch_rule(request: web.Request, rule_id: Number, body: Switch) -> RuleState:
    """Switch it on or off; where it is raised now, that ends."""
    await ruling.switch(request.app[POOL], actor_of(request), rule_id, now_ms(), enabled=body.enabled)
    return await show_rule(request, rule_id)


@SECTION.operation("DELETE", "/rules/{rule_id}", problems=[ProblemCode.FORBIDDEN])
async def delete_rule(request: web.Request, rule_id: Number) -> None:
    """Delete it; where it is raised now, that ends."""
    await ruling.delete(request.app[POOL], actor_of(request), rule_id, now_ms())


@SECTION.operation("GET", "/rules/{rule_id}/history")
async def show_rule_history(request: web.Request, rule_id: Number) -> RuleHistory:
    """What it did lately."""
    pool, actor = request.app[POOL], actor_of(request)
    await ruling.find(pool, actor, rule_id)
    found = await ruling.lately(pool, actor, now_ms(), limit=MAX_DEEDS, rule_id=rule_id)
    return RuleHistory([_deed_json(one) for one in found])


@SECTION.operation("PUT", "/devices/{device_id}/battery", problems=_PROBLEMS)
async def set_battery(request: web.Request, device_id: DeviceId, body: Battery) -> None:
    """Say when the battery was put in, for rules about its age."""
    number = device_number(device_id)
    await ruling.set_battery(request.app[POOL], actor_of(request), number, body.installed, now_ms())
