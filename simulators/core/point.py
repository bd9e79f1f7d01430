"""Points of a simulated Smart-UPS that a person may set, by name and text: ``--set`` and ``ctl set``.

ValueError says what is wrong with the name or the text.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from types import MappingProxyType

from protocol.registers import BY_NAME, Kind, Value, decode_register, encode_value
from simulators.core.nameplate import Nameplate
from simulators.core.smart_ups import SmartUps

_TRUE, _FALSE = frozenset({"on", "true", "yes", "1"}), frozenset({"off", "false", "no", "0"})


def switch(text: str) -> bool:
    """What a person means by "on" or "off"."""
    word = text.strip().lower()
    if word not in _TRUE | _FALSE:
        raise ValueError(f"{text!r} is neither on nor off")
    return word in _TRUE


def split_assignment(text: str) -> tuple[str, str]:
    """Name and value of "point=value"."""
    name, sign, value = text.partition("=")
    if not sign or not name.strip():
        raise ValueError(f"{text!r} is not point=value")
    return name.strip(), value.strip()


def nameplate_of(assignments: Iterable[tuple[str, str]]) -> Nameplate:
    """The default nameplate with those assignments that concern it."""
    plate = Nameplate()
    kinds = {item.name: type(getattr(plate, item.name)) for item in dataclasses.fields(plate)}
    changes: dict[str, object] = {}
    for name, text in assignments:
        if name in kinds:
            changes[name] = _parse(kinds[name], text)
    return dataclasses.replace(plate, **changes)  # type: ignore[arg-type]  # parsed by the type of each field


def is_nameplate(name: str) -> bool:
    """Whether the point is fixed at the works, and so before the unit starts."""
    return any(item.name == name for item in dataclasses.fields(Nameplate))


def set_point(ups: SmartUps, name: str, text: str) -> None:
    """Change one point of a running unit."""
    if name in _POINTS:
        _POINTS[name][0](ups, text)
    elif name in ups.settings:
        value = setting_value(name, text)
        ups.change_setting(name, decode_register(BY_NAME[name], encode_value(name, value)))
    elif is_nameplate(name):
        raise ValueError(f"{name} is fixed before the unit starts")
    else:
        raise ValueError(f"there is no point {name}; {help_text()}")


def help_text() -> str:
    """Every point, for --help."""
    plates = ", ".join(item.name for item in dataclasses.fields(Nameplate))
    lives = ", ".join(f"{name} ({meaning})" for name, (_, meaning) in _POINTS.items())
    return f"points: {lives}; of the nameplate: {plates}; and every setting by its register name"


def _parse(kind: type, text: str) -> object:
    if kind is tuple:
        return tuple(text.split("+"))
    if kind is date:
        return date.fromisoformat(text)
    return kind(text)


def setting_value(name: str, text: str) -> Value:
    """The value of a setting from its text; ValueError where it has none."""
    match BY_NAME[name].kind:
        case Kind.STRING:
            return text
        case Kind.BITS:
            return frozenset(text.split("+")) if text else frozenset()
        case Kind.DATE:
            return date.fromisoformat(text)
        case _:
            return int(text)


def _set_mains(ups: SmartUps, text: str) -> None:
    ups.plug(into_mains=switch(text))


def _set_attribute(name: str) -> Callable[[SmartUps, str], None]:
    def apply(ups: SmartUps, text: str) -> None:
        setattr(ups, name, float(text))

    return apply


_POINTS: Mapping[str, tuple[Callable[[SmartUps, str], None], str]] = MappingProxyType(
    {
        "mains": (_set_mains, "on or off"),
        "state_of_charge": (lambda ups, text: ups.set_charge(float(text) / 100), "%"),
        "load_pct": (lambda ups, text: ups.set_load_pct(float(text)), "% of the rated watts"),
        "input_voltage": (lambda ups, text: ups.set_mains_v(float(text)), "V of the mains"),
        "mains_hz": (_set_attribute("mains_hz"), "Hz"),
        "wander_v": (_set_attribute("dip_v"), "how far the mains voltage wanders, V"),
        "ambient_c": (_set_attribute("ambient_c"), "°C"),
        "battery_health": (lambda ups, text: ups.set_health(float(text)), "share of one; below 0.5 worn out"),
        "output_energy": (_set_attribute("energy_wh"), "Wh"),
    }
)
