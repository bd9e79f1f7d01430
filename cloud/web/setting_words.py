"""Settings in words: values, how they stand, who won."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cloud.core.settings import ChangeState, Origin, SettingState
from cloud.postgres.settings import Change
from cloud.services.settings import SettingsView, SettingView
from cloud.web.wording import span
from protocol.messages import Scalar
from protocol.settings import BY_SETTING, Kind, SettingCode


@dataclass(frozen=True, slots=True)
class StateWords:
    """The badge of a setting."""

    word: str
    tone: str


STATES: Final[Mapping[SettingState, StateWords]] = {
    SettingState.IN_FORCE: StateWords("In force", "good"),
    SettingState.PENDING: StateWords("Waits for the device", "warn"),
    SettingState.CHANGED_AT_DEVICE: StateWords("Changed at the device", "calm"),
    SettingState.REFUSED: StateWords("Refused", "bad"),
    SettingState.UNKNOWN: StateWords("Not told yet", "calm"),
}
CODES: Final[Mapping[str, str]] = {
    SettingCode.REFUSED_BY_UPS: "the UPS does not take this value; try one closer to what is in force",
    SettingCode.NOT_TAKEN: "the UPS kept another value; try again, or set it at its front panel",
    SettingCode.NOT_OFFERED: "this UPS does not have the setting",
    SettingCode.UNKNOWN: "the agent does not know the setting; update it",
    SettingCode.OUT_OF_RANGE: "the value is outside what a UPS may be set to",
    SettingCode.WRONG_TYPE: "the agent does not understand the value; update it",
    SettingCode.TOO_LONG: "the text is too long for the UPS",
    SettingCode.NOT_PRINTABLE: "the UPS cannot show a character of the text",
    SettingCode.NOT_A_CHOICE: "the agent does not know this choice; update it",
}
OUTCOMES: Final[Mapping[ChangeState, str]] = {
    ChangeState.PENDING: "waits for the device",
    ChangeState.IN_FORCE: "in force",
    ChangeState.OVERTAKEN: "overtaken: a later change at the device stands",
    ChangeState.REFUSED: "refused",
    ChangeState.REPLACED: "replaced by a later change",
}
AT_ONCE: Final = "At once"


def value_text(name: str, value: Scalar) -> str:
    """A value with its unit; an en dash where nobody knows it."""
    setting = BY_SETTING.get(name)
    if value is None:
        return "–"
    if setting is None:
        return str(value)
    if name == "device_sensitivity_s":
        return AT_ONCE if value == 0 else f"After {span(float(value))} on battery"
    match setting.kind:
        case Kind.SWITCH:
            return "On" if value else "Off"
        case Kind.CHOICE:
            return setting.choices.get(str(value), str(value).replace("_", " "))
        case Kind.NUMBER:
            return f"{value} {setting.unit}".strip()
        case Kind.TEXT:
            return str(value) or "(empty)"


TOLD: Final = (
    *("ups_name", "sensitivity", "transfer_low", "transfer_high"),
    *("battery_test_interval", "report_interval_s"),
)
"""Settings that a device's own page shows, as the device has told them."""


def told_settings(reported: Mapping[str, object]) -> list[tuple[str, str]]:
    """Label and value of some settings that are in force."""
    return [
        (BY_SETTING[name].label, value_text(name, value))
        for name in TOLD
        if isinstance(value := reported.get(name), str | int | float)
    ]


def refusal_text(code: str) -> str:
    """Why a device refused a value, and what to do."""
    return CODES.get(code, f"the device says: {code.replace('_', ' ')}")


@dataclass(frozen=True, slots=True)
class SettingFacts:
    """One setting as the page tells it. ``note``: what else there is to say; ``at_ms``: since when."""

    name: str
    label: str
    value: str
    wanted: str
    state: str
    words: StateWords
    who: str
    at_ms: int | None
    note: str


@dataclass(frozen=True, slots=True)
class ChangeFacts:
    """One line of the history."""

    label: str
    value: str
    who: str
    outcome: str
    at_ms: int


def facts_of(view: SettingsView) -> dict[str, object]:
    """What ``_settings.html`` shows."""
    return {
        "rows": [_row(one, view) for one in view.settings],
        "changes": [_line(change) for change in view.changes],
        "waiting": sum(one.state is SettingState.PENDING for one in view.settings),
        "reported_ms": view.reported_ms,
    }


def _who(change: Change) -> str:
    return "at the device" if change.origin is Origin.DEVICE else f"by {change.who or 'somebody'}"


def _row(one: SettingView, view: SettingsView) -> SettingFacts:
    name, last = one.setting.name, one.last
    note = ""
    if one.state is SettingState.REFUSED and last is not None:
        wanted = value_text(name, last.value)
        note = f"{wanted}, wanted {_who(last)}, was refused: {refusal_text(last.code)}."
        last = None  # what is in force is older
    elif one.state is SettingState.CHANGED_AT_DEVICE:
        beaten = _overtaken(name, view)
        if beaten is not None:
            wanted = value_text(name, beaten.value)
            note = f"It was changed there later than {wanted}, wanted {_who(beaten)}."
    return SettingFacts(
        name=name,
        label=one.setting.label,
        value=value_text(name, one.value),
        wanted="" if one.wanted is None else value_text(name, one.wanted),
        state=one.state.value,
        words=STATES[one.state],
        who="" if last is None else _who(last),
        at_ms=one.at_device_ms if last is None else last.made_ms,
        note=note,
    )


def _overtaken(name: str, view: SettingsView) -> Change | None:
    """The wish that the standing change at the device has beaten, if it was the newest one."""
    for change in view.changes:
        if change.name == name and change.origin is Origin.PORTAL:
            return change if change.state is ChangeState.OVERTAKEN else None
    return None


def _line(change: Change) -> ChangeFacts:
    outcome = OUTCOMES[change.state]
    if change.state is ChangeState.REFUSED:
        outcome = f"refused: {refusal_text(change.code)}"
    setting = BY_SETTING.get(change.name)
    return ChangeFacts(
        label=change.name if setting is None else setting.label,
        value=value_text(change.name, change.value),
        who=_who(change),
        outcome=outcome,
        at_ms=change.made_ms,
    )
