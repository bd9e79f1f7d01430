"""What an owner wants a device to be set to, what the device says it is set to, and who won.

Theory of operation
-------------------
A *wish* is a value that somebody set in the portal; it is open until the device has considered it. Open
wishes travel together as one ``Desired``; its version is that of the newest. The device decides, because it
alone knows what was done at its front panel, and when:

- it applies a wish, unless the setting was changed at the device later than the wish was made;
- it reports what is in force, the last version it has considered (``base_version``), what it refused, and
  which settings stand as they were changed at the device.

Here a report closes the wishes up to its ``base_version``: *in force*, *overtaken* at the device, or
*refused*. What was changed at the device is written down as a change with the device as its origin, also
where a later wish has overwritten it (*replaced*). Reports count by their revision, so one that comes twice
or late changes nothing. An ownership ends with its wishes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from cloud.core.language import N_
from protocol.messages import Reported, Scalar
from protocol.settings import BY_SETTING, FACTS, OF_DEVICE, Home, SettingCode, SettingError, check

MAX_WISHES = 64


class Origin(StrEnum):
    """Who made a change. Append only."""

    PORTAL = "portal"
    DEVICE = "device"


class ChangeState(StrEnum):
    """What became of a change. Append only."""

    PENDING = "pending"
    IN_FORCE = "in_force"
    OVERTAKEN = "overtaken"
    """A later change at the device stands."""
    REFUSED = "refused"
    REPLACED = "replaced"
    """Somebody changed it again."""


class SettingState(StrEnum):
    """How a setting stands. Append only: programs read it."""

    IN_FORCE = "in_force"
    PENDING = "pending"
    CHANGED_AT_DEVICE = "changed_at_device"
    REFUSED = "refused"
    """What is in force stands; the last wish was refused."""
    UNKNOWN = "unknown"
    """The device has not told yet."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A value that a person wants, and the device has not considered yet."""

    value: Scalar
    set_ms: int
    version: int
    account_id: int | None


@dataclass(frozen=True, slots=True)
class Shadow:
    """What the cloud knows of the settings of one device in one ownership.

    ``at_device``: setting → when it was changed at the device, where that stands.
    """

    epoch: int = 0
    version: int = 0
    wishes: Mapping[str, Wish] = field(default_factory=dict)
    base_version: int = 0
    revision: int = 0
    reported: Mapping[str, Scalar] = field(default_factory=dict)
    at_device: Mapping[str, int] = field(default_factory=dict)
    reported_ms: int = 0


@dataclass(frozen=True, slots=True)
class Made:
    """A change that is to be written down; it replaces what is pending of its setting."""

    name: str
    value: Scalar
    origin: Origin
    made_ms: int
    version: int
    state: ChangeState
    account_id: int | None = None


@dataclass(frozen=True, slots=True)
class Closed:
    """What became of a wish."""

    name: str
    version: int
    state: ChangeState
    code: str = ""


Note = Made | Closed


def of_epoch(shadow: Shadow, epoch: int) -> Shadow:
    """The shadow in this ownership; what belongs to another one is forgotten, except how far versions are."""
    return shadow if shadow.epoch == epoch else Shadow(epoch=epoch, version=shadow.version)


def wish(
    shadow: Shadow, wanted: Mapping[str, object], account_id: int | None, now_ms: int
) -> tuple[Shadow, tuple[Note, ...]]:
    """The shadow once somebody wants these values of settings of the device; one version for all of them.

    SettingError for a value that cannot be, or a setting that this device does not have.
    """
    values = {name: _checked(shadow, name, value) for name, value in wanted.items()}
    changes = {name: value for name, value in values.items() if value != wanted_of(shadow, name)}
    if not changes:
        return shadow, ()
    version = max(shadow.version + 1, now_ms)
    made = {name: Wish(value, now_ms, version, account_id) for name, value in changes.items()}
    notes = tuple(
        Made(name, one.value, Origin.PORTAL, now_ms, version, ChangeState.PENDING, account_id)
        for name, one in made.items()
    )
    return replace(shadow, version=version, wishes={**shadow.wishes, **made}), notes


def wanted_of(shadow: Shadow, name: str) -> Scalar:
    """What a setting is to be: the open wish, else what is in force; None where nobody knows."""
    open_wish = shadow.wishes.get(name)
    return shadow.reported.get(name) if open_wish is None else open_wish.value


def state_of(shadow: Shadow, name: str, *, refused: bool) -> SettingState:
    """How a setting of the device stands; ``refused``: whether its newest change was."""
    if name in shadow.wishes:
        return SettingState.PENDING
    if name not in shadow.reported:
        return SettingState.UNKNOWN
    if refused:
        return SettingState.REFUSED
    return SettingState.CHANGED_AT_DEVICE if name in shadow.at_device else SettingState.IN_FORCE


def _checked(shadow: Shadow, name: str, value: object) -> Scalar:
    checked = check(name, value)
    setting = BY_SETTING[name]
    if name not in OF_DEVICE or (setting.home is Home.REGISTER and name not in shadow.reported):
        words = N_("This device has no setting '{label}', or has not told of it yet.")
        raise SettingError(name, SettingCode.NOT_OFFERED, words)
    return checked


def hear(shadow: Shadow, report: Reported, now_ms: int) -> tuple[Shadow, tuple[Note, ...]]:
    """The shadow after a report of its ownership. One whose revision is not new changes nothing."""
    if report.revision <= shadow.revision:
        return shadow, ()
    closed = {
        name: _close(name, one, report)
        for name, one in shadow.wishes.items()
        if one.version <= report.base_version
    }
    made = _done_at_device(shadow, report, now_ms)
    notes: tuple[Note, ...] = (*made, *closed.values())
    after = replace(
        shadow,
        wishes={name: one for name, one in shadow.wishes.items() if name not in closed},
        base_version=report.base_version,
        revision=report.revision,
        reported=report.settings,
        at_device={name: min(at_ms, now_ms) for name, at_ms in report.changed.items()},
        reported_ms=now_ms,
        version=max(shadow.version, report.base_version),
    )
    return after, notes


def _close(name: str, one: Wish, report: Reported) -> Closed:
    code = report.refused.get(name)
    if code is not None:
        return Closed(name, one.version, ChangeState.REFUSED, code)
    if name not in report.settings:
        return Closed(name, one.version, ChangeState.REFUSED, SettingCode.NOT_OFFERED)
    same = report.settings[name] == one.value
    return Closed(name, one.version, ChangeState.IN_FORCE if same else ChangeState.OVERTAKEN)


def _done_at_device(shadow: Shadow, report: Reported, now_ms: int) -> list[Made]:
    """Changes that were made at the device since the last report: those that stand, and those that do not.

    A device may report in the middle of carrying a wish out: that is nobody's change.
    """
    made: list[Made] = []
    for name, value in report.settings.items():
        if name in FACTS:  # nobody has changed them: time goes by
            continue
        at_ms = report.changed.get(name)
        known = name in shadow.reported
        if at_ms is not None and min(at_ms, now_ms) > shadow.at_device.get(name, 0):
            made.append(_by_device(name, value, min(at_ms, now_ms), report, ChangeState.IN_FORCE))
        elif known and value != shadow.reported[name] and at_ms is None and name not in shadow.wishes:
            made.append(_by_device(name, value, now_ms, report, ChangeState.IN_FORCE))
    if report.base_version <= shadow.base_version:
        return made
    for name, value in report.overwritten.items():
        at_ms = min(report.overwritten_ms.get(name, now_ms), now_ms)
        if at_ms > shadow.at_device.get(name, 0):  # else it is written down already
            made.append(_by_device(name, value, at_ms, report, ChangeState.REPLACED))
    return made


def _by_device(name: str, value: Scalar, at_ms: int, report: Reported, state: ChangeState) -> Made:
    return Made(name, value, Origin.DEVICE, at_ms, report.base_version, state)
