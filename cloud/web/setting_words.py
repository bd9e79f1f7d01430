"""Settings in words: values, how they stand, who won."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cloud.core.language import N_, gettext
from cloud.core.settings import ChangeState, Origin, SettingState
from cloud.postgres.settings import Change
from cloud.services.settings import SettingsView, SettingView
from cloud.web.wording import span
from protocol.messages import Scalar
from protocol.settings import BY_SETTING, Kind, SettingCode, SettingError, values_of


@dataclass(frozen=True, slots=True)
class StateWords:
    """The badge of a setting."""

    word: str
    tone: str


STATES: Final[Mapping[SettingState, StateWords]] = {
    SettingState.IN_FORCE: StateWords(N_("In force"), "good"),
    SettingState.PENDING: StateWords(N_("Waits for the device"), "warn"),
    SettingState.CHANGED_AT_DEVICE: StateWords(N_("Changed at the device"), "calm"),
    SettingState.REFUSED: StateWords(N_("Refused"), "bad"),
    SettingState.UNKNOWN: StateWords(N_("Not told yet"), "calm"),
}
CODES: Final[Mapping[str, str]] = {
    SettingCode.REFUSED_BY_UPS: N_("the UPS does not take this value; try one closer to what is in force"),
    SettingCode.NOT_TAKEN: N_("the UPS kept another value; try again, or set it at its front panel"),
    SettingCode.NOT_OFFERED: N_("this UPS does not have the setting"),
    SettingCode.UNKNOWN: N_("the agent does not know the setting; update it"),
    SettingCode.OUT_OF_RANGE: N_("the value is outside what a UPS may be set to"),
    SettingCode.WRONG_TYPE: N_("the agent does not understand the value; update it"),
    SettingCode.TOO_LONG: N_("the text is too long for the UPS"),
    SettingCode.NOT_PRINTABLE: N_("the UPS cannot show a character of the text"),
    SettingCode.NOT_A_CHOICE: N_("the agent does not know this choice; update it"),
}
OUTCOMES: Final[Mapping[ChangeState, str]] = {
    ChangeState.PENDING: N_("waits for the device"),
    ChangeState.IN_FORCE: N_("in force"),
    ChangeState.OVERTAKEN: N_("overtaken: a later change at the device stands"),
    ChangeState.REFUSED: N_("refused"),
    ChangeState.REPLACED: N_("replaced by a later change"),
}


def value_text(name: str, value: Scalar) -> str:
    """A value with its unit; an en dash where nobody knows it."""
    setting = BY_SETTING.get(name)
    if value is None:
        return "–"
    if setting is None:
        return str(value)
    if name == "device_sensitivity_s":
        if value == 0:
            return gettext("At once")
        return gettext("After {time} on battery", time=span(float(value)))
    match setting.kind:
        case Kind.SWITCH:
            return gettext("On") if value else gettext("Off")
        case Kind.CHOICE:
            words = setting.choices.get(str(value))
            return str(value).replace("_", " ") if words is None else gettext(words)
        case Kind.NUMBER:
            return f"{value} {setting.unit}".strip()
        case Kind.TEXT:
            return str(value) or gettext("(empty)")


TOLD: Final = (
    *("ups_name", "sensitivity", "transfer_low", "transfer_high"),
    *("battery_test_interval", "report_interval_s"),
)
"""Settings that a device's own page shows, as the device has told them."""


def told_settings(reported: Mapping[str, object]) -> list[tuple[str, str]]:
    """Label and value of some settings that are in force."""
    return [
        (gettext(BY_SETTING[name].label), value_text(name, value))
        for name in TOLD
        if isinstance(value := reported.get(name), str | int | float)
    ]


def refusal_text(code: str) -> str:
    """Why a device refused a value, and what to do."""
    words = CODES.get(code)
    if words is None:
        return gettext("the device says: {code}", code=code.replace("_", " "))
    return gettext(words)


def fault_text(fault: SettingError) -> str:
    """What is wrong with a value, in the language that is spoken."""
    return gettext(fault.text, **values_of(fault.name, gettext))


@dataclass(frozen=True, slots=True)
class SettingFacts:
    """One setting as the page tells it.

    ``who`` has made it so, ``at_ms``: since when; ``note``: what else there is to say.
    """

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
    if change.origin is Origin.DEVICE:
        return gettext("at the device")
    return gettext("by {who}", who=change.who) if change.who else gettext("by somebody")


def _who_made(change: Change, state: SettingState) -> str:
    """``wanted by Ada``, ``set at the device``."""
    if state is SettingState.PENDING:
        return gettext("wanted {by_whom}", by_whom=_who(change))
    return gettext("set {by_whom}", by_whom=_who(change))


def _row(one: SettingView, view: SettingsView) -> SettingFacts:
    name, last = one.setting.name, one.last
    note = ""
    if one.state is SettingState.REFUSED and last is not None:
        note = gettext(
            "{value}, wanted {by_whom}, was refused: {reason}.",
            value=value_text(name, last.value),
            by_whom=_who(last),
            reason=refusal_text(last.code),
        )
        last = None  # what is in force is older
    elif one.state is SettingState.CHANGED_AT_DEVICE:
        beaten = _overtaken(name, view)
        if beaten is not None:
            note = gettext(
                "It was changed there later than {value}, wanted {by_whom}.",
                value=value_text(name, beaten.value),
                by_whom=_who(beaten),
            )
    return SettingFacts(
        name=name,
        label=gettext(one.setting.label),
        value=value_text(name, one.value),
        wanted="" if one.wanted is None else value_text(name, one.wanted),
        state=one.state.value,
        words=STATES[one.state],
        who="" if last is None else _who_made(last, one.state),
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
    outcome = gettext(OUTCOMES[change.state])
    if change.state is ChangeState.REFUSED:
        outcome = gettext("refused: {reason}", reason=refusal_text(change.code))
    setting = BY_SETTING.get(change.name)
    return ChangeFacts(
        label=change.name if setting is None else gettext(setting.label),
        value=value_text(change.name, change.value),
        who=_who(change),
        outcome=outcome,
        at_ms=change.made_ms,
    )
