"""Settings of a device: which there are, what each may hold, and where it lives.

========  ====================================================================================================
home      where the value is, and when a change of it is in force
========  ====================================================================================================
cloud     in the ownership; at once
agent     in the agent's state; when the agent has it, be it in the next connection
register  in the UPS, in the row of the register map that has the setting's name; when it reads back so
========  ====================================================================================================

``Desired`` and ``Reported`` carry those of agent and register. A device reports the ones it has; one that a
peer does not know is left out there and refused here. Names are appended, never reused.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from enum import StrEnum
from typing import Final, TypeVar

from protocol.codec import decode
from protocol.errors import DecodeError, ErrorCode
from protocol.marks import N_
from protocol.messages import Reported, Scalar
from protocol.registers import BY_NAME, GROUPS, Value, check_write, encode_value

T = TypeVar("T")

MAX_TEXT_CHARS: Final = 200
REGISTER_TEXT_CHARS: Final = 16
"""A name of the register map: eight words of two characters."""


class Home(StrEnum):
    """Where a setting lives."""

    CLOUD = "cloud"
    AGENT = "agent"
    REGISTER = "register"


class Kind(StrEnum):
    """What a setting holds."""

    TEXT = "text"
    NUMBER = "number"
    CHOICE = "choice"
    SWITCH = "switch"


class SettingCode(StrEnum):
    """Why a value is not taken. Stable; append only: devices report them."""

    UNKNOWN = "unknown_setting"
    NOT_OFFERED = "not_offered"
    WRONG_TYPE = "wrong_type"
    OUT_OF_RANGE = "out_of_range"
    TOO_LONG = "too_long"
    NOT_PRINTABLE = "not_printable"
    NOT_A_CHOICE = "not_a_choice"
    REFUSED_BY_UPS = "refused_by_ups"
    NOT_TAKEN = "not_taken"


class SettingError(ValueError):
    """A value that a setting cannot have; the text is for a person.

    ``text`` names in braces what it says of the setting: :func:`values_of` gives that, in English; whoever
    speaks another language translates text and values.
    """

    def __init__(self, name: str, code: SettingCode, text: str) -> None:
        super().__init__(text.format_map(values_of(name)))
        self.name = name
        self.code = code
        self.text = text


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """``low`` and ``high`` bound a number, ``max_chars`` a text; ``choices``: value → its words."""

    name: str
    label: str
    kind: Kind
    home: Home
    meaning: str
    unit: str = ""
    low: int = 0
    high: int = 0
    max_chars: int = 0
    choices: Mapping[str, str] = field(default_factory=dict)


_NAME_LABELS: Final = (
    N_("Name of the main outlet group"),
    N_("Name of outlet group 1"),
    N_("Name of outlet group 2"),
    N_("Name of outlet group 3"),
)

CATALOGUE: Final[tuple[Setting, ...]] = (
    Setting(
        name="name",
        label=N_("UPS Name"),
        kind=Kind.TEXT,
        home=Home.CLOUD,
        max_chars=60,
        meaning=N_("what your pages and messages call it; empty shows its model"),
    ),
    Setting(
        name="description",
        label=N_("UPS Description"),
        kind=Kind.TEXT,
        home=Home.CLOUD,
        max_chars=MAX_TEXT_CHARS,
        meaning=N_("where it stands, what hangs on it"),
    ),
    Setting(
        name="time_zone",
        label=N_("Timezone"),
        kind=Kind.TEXT,
        home=Home.CLOUD,
        max_chars=64,
        meaning=N_("of the place where the UPS stands"),
    ),
    Setting(
        name="notifications",
        label=N_("Notifications"),
        kind=Kind.SWITCH,
        home=Home.CLOUD,
        meaning=N_("whether anybody is told about this UPS"),
    ),
    Setting(
        name="device_sensitivity_s",
        label=N_("Device Sensitivity"),
        kind=Kind.NUMBER,
        home=Home.CLOUD,
        unit="s",
        high=3600,
        meaning=N_("how long on battery before anybody is told; 0: at once"),
    ),
    Setting(
        name="report_interval_s",
        label=N_("Report every"),
        kind=Kind.NUMBER,
        home=Home.AGENT,
        unit="s",
        low=1,
        high=3600,
        meaning=N_("between reports while mains are good; on battery it is a second"),
    ),
    Setting(
        name="ups_name",
        label=N_("Name in the UPS"),
        kind=Kind.TEXT,
        home=Home.REGISTER,
        max_chars=REGISTER_TEXT_CHARS,
        meaning=N_("what other tools read from the UPS"),
    ),
    Setting(
        name="sensitivity",
        label=N_("Mains sensitivity"),
        kind=Kind.CHOICE,
        home=Home.REGISTER,
        choices={"normal": N_("Normal"), "reduced": N_("Reduced"), "low": N_("Low")},
        meaning=N_("how small a disturbance of the mains makes the UPS use its battery"),
    ),
    Setting(
        name="transfer_low",
        label=N_("Transfer below"),
        kind=Kind.NUMBER,
        home=Home.REGISTER,
        unit="V",
        low=70,
        high=300,
        meaning=N_("mains voltage below which the UPS uses its battery"),
    ),
    Setting(
        name="transfer_high",
        label=N_("Transfer above"),
        kind=Kind.NUMBER,
        home=Home.REGISTER,
        unit="V",
        low=70,
        high=300,
        meaning=N_("mains voltage above which the UPS uses its battery"),
    ),
    Setting(
        name="battery_test_interval",
        label=N_("Self-test"),
        kind=Kind.CHOICE,
        home=Home.REGISTER,
        choices={
            "never": N_("Never by itself"),
            "at_startup": N_("At start-up"),
            "7d_since_last": N_("Every 7 days"),
            "14d_since_last": N_("Every 14 days"),
        },
        meaning=N_("when the UPS tests its battery by itself"),
    ),
    *(
        Setting(
            name=f"{group}_name",
            label=label,
            kind=Kind.TEXT,
            home=Home.REGISTER,
            max_chars=REGISTER_TEXT_CHARS,
            meaning=N_("what hangs on these outlets"),
        )
        for group, label in zip(GROUPS[:-1], _NAME_LABELS, strict=True)
    ),
)
"""Every setting, in the order of the page. The fifth group's name lies outside the block that is read."""

BY_SETTING: Final[Mapping[str, Setting]] = {setting.name: setting for setting in CATALOGUE}
OF_DEVICE: Final = frozenset(one.name for one in CATALOGUE if one.home is not Home.CLOUD)
"""Those that travel in ``Desired`` and ``Reported``."""
OF_REGISTER: Final = tuple(one.name for one in CATALOGUE if one.home is Home.REGISTER)


def values_of(name: str, say: Callable[[str], str] = str) -> dict[str, str]:
    """What texts about a setting name in braces; ``say`` translates words."""
    setting = BY_SETTING.get(name)
    if setting is None:
        return {"name": repr(name[:40])}
    return {
        "name": repr(name),
        "label": say(setting.label),
        "low": str(setting.low),
        "high": str(setting.high),
        "unit": setting.unit,
        "max_chars": str(setting.max_chars),
        "choices": ", ".join(say(one) for one in setting.choices.values()),
    }


def check(name: str, value: object) -> Scalar:
    """The value as it is kept; SettingError with a code and words for a person."""
    setting = BY_SETTING.get(name)
    if setting is None:
        raise SettingError(name, SettingCode.UNKNOWN, N_("There is no setting {name}."))
    match setting.kind:
        case Kind.TEXT:
            return _text(setting, value)
        case Kind.NUMBER:
            return _number(setting, value)
        case Kind.CHOICE:
            return _choice(setting, value)
        case Kind.SWITCH:
            if isinstance(value, bool):
                return value
            raise SettingError(name, SettingCode.WRONG_TYPE, N_("{label} is on or off."))


def _text(setting: Setting, value: object) -> str:
    if not isinstance(value, str):
        raise SettingError(setting.name, SettingCode.WRONG_TYPE, N_("{label} is a text."))
    text = " ".join(value.split())
    if len(text) > setting.max_chars:
        words = N_("{label} may have {max_chars} characters at most.")
        raise SettingError(setting.name, SettingCode.TOO_LONG, words)
    if setting.home is Home.REGISTER and not text.isascii():
        words = N_("{label}: a UPS shows unaccented letters, digits and signs only.")
        raise SettingError(setting.name, SettingCode.NOT_PRINTABLE, words)
    if not text.isprintable():
        words = N_("{label} holds a character that cannot be shown.")
        raise SettingError(setting.name, SettingCode.NOT_PRINTABLE, words)
    return text


def _number(setting: Setting, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise SettingError(setting.name, SettingCode.WRONG_TYPE, N_("{label} is a whole number."))
    if not setting.low <= value <= setting.high:
        words = N_("{label} is {low} to {high} {unit}.")
        raise SettingError(setting.name, SettingCode.OUT_OF_RANGE, words)
    return value


def _choice(setting: Setting, value: object) -> str:
    if isinstance(value, str) and value in setting.choices:
        return value
    words = N_("{label} is one of: {choices}.")
    raise SettingError(setting.name, SettingCode.NOT_A_CHOICE, words)


def of_registers(rows: Mapping[str, Value], groups: tuple[str, ...]) -> dict[str, Scalar]:
    """What a UPS with these outlet groups is set to, from the rows of its settings and names."""
    found: dict[str, Scalar] = {}
    for name in OF_REGISTER:
        value = rows.get(name)
        group, _, rest = name.partition("_")
        if _is_undefined(value) or (rest == "name" and group in GROUPS and group not in groups):
            continue
        if isinstance(value, frozenset):
            found[name] = "+".join(sorted(value)) or "none"
        elif isinstance(value, int | float | str):
            found[name] = value
    return found


FACTS: Final = ("battery_install_date", "battery_replace_by")
"""What a device reports beside its settings: read-only, days as 2026-11-21."""
DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def facts_of_registers(rows: Mapping[str, Value]) -> dict[str, Scalar]:
    """Those facts that are among these rows."""
    return {name: day.isoformat() for name in FACTS if isinstance(day := rows.get(name), date)}


def _is_undefined(value: Value) -> bool:
    """Whether a unit shows that it has no such row: 0xFFFF, in a number or as bits."""
    if isinstance(value, frozenset):
        return len(value) == 16
    return value in {None, 0xFFFF}


def words_of(name: str, value: Scalar) -> tuple[int, ...]:
    """Words to be written to the setting's row; SettingError for what the allow-list does not permit."""
    checked = check(name, value)
    if BY_SETTING[name].home is not Home.REGISTER:
        raise SettingError(name, SettingCode.UNKNOWN, f"{name} is in no register.")
    raw: Value = frozenset({str(checked)}) if BY_SETTING[name].kind is Kind.CHOICE else checked
    words = encode_value(name, raw)
    try:
        check_write(name, words)
    except ValueError as error:
        raise SettingError(name, SettingCode.OUT_OF_RANGE, _plain(str(error))) from error
    return words


def _plain(text: str) -> str:
    """A text without braces that mean something."""
    return text.replace("{", "{{").replace("}", "}}")


def address_of(name: str) -> int:
    """Where the setting's row begins."""
    return BY_NAME[name].address


# --- what a device says -------------------------------------------------------------------------------------

MAX_REPORTED_BYTES: Final = 8192
MAX_REPORTED: Final = 64
_MAX_NUMBER: Final = 2**53


def decode_reported(payload: bytes) -> Reported:
    """A device's report, bounded; DecodeError (too_large, malformed, out_of_range) otherwise.

    Settings that this catalogue does not know, or that are not a device's, are left out: a newer device has
    more of them.
    """
    report = decode(payload, Reported, MAX_REPORTED_BYTES)
    parts = (report.settings, report.changed, report.refused, report.overwritten, report.overwritten_ms)
    times = (*report.changed.values(), *report.overwritten_ms.values())
    numbers = (report.epoch, report.base_version, report.revision, *times)
    if any(len(part) > MAX_REPORTED for part in parts) or not all(0 <= n < _MAX_NUMBER for n in numbers):
        raise DecodeError(
            ErrorCode.OUT_OF_RANGE, "A report of settings has too many, or an impossible number."
        )
    values = (*report.settings.values(), *report.overwritten.values(), *report.refused.values())
    if not all(_is_storable(value) for value in values):
        raise DecodeError(ErrorCode.OUT_OF_RANGE, "A report of settings has a value that none can have.")
    return replace(
        report,
        settings={**_known(report.settings), **_facts(report.settings)},
        changed=_known(report.changed),
        refused=_known(report.refused),
        overwritten=_known(report.overwritten),
        overwritten_ms=_known(report.overwritten_ms),
    )


def _is_storable(value: Scalar) -> bool:
    if isinstance(value, str):
        return len(value) <= MAX_TEXT_CHARS and value.isprintable()
    return value is None or isinstance(value, bool) or abs(value) < _MAX_NUMBER


def _facts(part: Mapping[str, Scalar]) -> dict[str, Scalar]:
    return {name: day for name in FACTS if isinstance(day := part.get(name), str) and DAY.fullmatch(day)}


def _known(part: Mapping[str, T]) -> dict[str, T]:
    return {name: value for name, value in part.items() if name in OF_DEVICE}
