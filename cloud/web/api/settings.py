"""Settings of a device for programs: both sides, what waits, and who won."""

from typing import Annotated, Final

from aiohttp import web
from msgspec import Meta, Struct

from cloud.core.api_token import Scope
from cloud.core.language import gettext
from cloud.core.settings import ChangeState, Origin, SettingState
from cloud.postgres.settings import Change
from cloud.services import settings
from cloud.services.settings import SettingsView, SettingView
from cloud.web.api.kinds import DeviceId, Line, Ms, device_number
from cloud.web.api.operation import Section
from cloud.web.problems import ProblemCode
from cloud.web.state import COMMANDER, POOL, actor_of, now_ms
from protocol.settings import MAX_REPORTED, Home, Kind

SECTION: Final = Section(
    "Settings",
    "What a device is set to, and what it is to be set to.",
    reads=Scope.DEVICES_READ,
    writes=Scope.DEVICES_WRITE,
)
Value = Annotated[bool | int | float | Line | None, Meta(description="As its kind says.")]


class DeviceSetting(Struct):
    """One setting. ``value`` is in force, null where the device has not told; ``wanted`` waits for it."""

    name: str
    label: str
    kind: Kind
    home: Annotated[Home, Meta(description="cloud: in force at once; agent, register: once reported.")]
    unit: str
    low: Annotated[int | None, Meta(description="Bounds of a number.")]
    high: int | None
    max_chars: Annotated[int | None, Meta(description="Longest text.")]
    choices: Annotated[dict[str, str], Meta(description="Value → its words, of a choice.")]
    state: SettingState
    value: Value
    wanted: Value
    at_device_ms: Annotated[int | None, Meta(description="When it was changed at the device; that stands.")]
    code: Annotated[str, Meta(description="Why the last wish was refused.")]


class SettingChange(Struct):
    """One change of a setting."""

    name: str
    value: Value
    origin: Origin
    who: Annotated[str, Meta(description="Who changed it in the portal.")]
    made_ms: Ms
    state: Annotated[ChangeState, Meta(description="Who won.")]
    code: str
    closed_ms: Annotated[int | None, Meta(description="When that was decided; null while it waits.")]


class DeviceSettings(Struct):
    """All settings of a device."""

    device_id: str
    version: Annotated[int, Meta(description="Of the last wish.")]
    base_version: Annotated[int, Meta(description="The last version that the device has considered.")]
    reported_ms: Annotated[int | None, Meta(description="Unix ms of its last report.")]
    settings: list[DeviceSetting]
    changes: Annotated[list[SettingChange], Meta(description="The newest changes, newest first.")]


class WantedSettings(Struct):
    """Settings to be changed; others stay as they are."""

    settings: Annotated[dict[str, Value], Meta(max_length=MAX_REPORTED, description="Name → value.")]


@SECTION.operation("GET", "/devices/{device_id}/settings")
async def show(request: web.Request, device_id: DeviceId) -> DeviceSettings:
    """What a device is set to, and what waits for it."""
    number = device_number(device_id)
    return _of(number, await settings.look(request.app[POOL], actor_of(request), number))


@SECTION.operation(
    "PATCH", "/devices/{device_id}/settings", problems=[ProblemCode.FIELD_INVALID, ProblemCode.FORBIDDEN]
)
async def change(request: web.Request, device_id: DeviceId, body: WantedSettings) -> DeviceSettings:
    """Change some settings, all of them or none.

    What lives in the device waits until it is connected and has considered it. A later change at its front
    panel wins; `changes` says who did.
    """
    number, signer = device_number(device_id), request.app[COMMANDER].signer
    pool, actor = request.app[POOL], actor_of(request)
    return _of(number, await settings.save(pool, signer, actor, number, body.settings, now_ms()))


def _of(device_id: int, view: SettingsView) -> DeviceSettings:
    return DeviceSettings(
        device_id=str(device_id),
        version=view.version,
        base_version=view.base_version,
        reported_ms=view.reported_ms or None,
        settings=[_setting(one) for one in view.settings],
        changes=[_change(one) for one in view.changes],
    )


def _setting(one: SettingView) -> DeviceSetting:
    setting = one.setting
    is_number = setting.kind is Kind.NUMBER
    return DeviceSetting(
        name=setting.name,
        label=gettext(setting.label),
        kind=setting.kind,
        home=setting.home,
        unit=setting.unit,
        low=setting.low if is_number else None,
        high=setting.high if is_number else None,
        max_chars=setting.max_chars or None,
        choices={value: gettext(words) for value, words in setting.choices.items()},
        state=one.state,
        value=one.value,
        wanted=one.wanted,
        at_device_ms=one.at_device_ms,
        code=one.last.code if one.last is not None and one.state is SettingState.REFUSED else "",
    )


def _change(one: Change) -> SettingChange:
    return SettingChange(
        name=one.name,
        value=one.value,
        origin=one.origin,
        who=one.who,
        made_ms=one.made_ms,
        state=one.state,
        code=one.code,
        closed_ms=one.closed_ms,
    )
