"""A company's devices as Prometheus metrics (text exposition format 0.0.4).

A bounded number of series a device, all with the labels ``product_id``, ``name`` and ``site``. Units are
base units, ratios lie between 0 and 1. Of a device that is not heard, or whose agent does not hear its UPS,
only ``smartconnect_ups_up 0``, ``_info`` and ``_last_seen_timestamp_seconds`` are told: its other series go
stale, for an old value must not look like a new one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cloud.core.device_state import STALE, Condition, DeviceView, condition_of

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS: Final = 1000.0
_JOULES_PER_WATT_HOUR: Final = 3600.0
_ESCAPED: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


@dataclass(frozen=True, slots=True)
class Told:
    """A device, where it is, and the state it is in."""

    view: DeviceView
    site: str
    condition: Condition

    @classmethod
    def of(cls, view: DeviceView, site: str, now_ms: int) -> "Told":
        """As it is at this moment."""
        return cls(view, site, condition_of(view, now_ms))

    @property
    def up(self) -> bool:
        """Whether its values are those of now."""
        return self.condition not in STALE

    @property
    def labels(self) -> dict[str, str]:
        """What names its series."""
        return {"product_id": self.view.product_id, "name": self.view.title, "site": self.site}


Value = Callable[[Told], float | None]


@dataclass(frozen=True, slots=True)
class Family:
    """One metric. ``value`` gives None where a device does not say it; ``always``: of silent ones, too."""

    name: str
    help: str
    value: Value
    kind: str = "gauge"
    always: bool = False


def _point(name: str, factor: float = 1.0) -> Value:
    def value(told: Told) -> float | None:
        found = told.view.values[name]
        return None if found is None else found * factor

    return value


def _is(*conditions: Condition) -> Value:
    return lambda told: float(told.condition in conditions)


_PER_CENT: Final = 0.01
FAMILIES: Final[Sequence[Family]] = (
    Family(
        "smartconnect_ups_up",
        "1 where the values are those of now, 0 where the device is silent.",
        lambda told: float(told.up),
        always=True,
    ),
    Family(
        "smartconnect_ups_last_seen_timestamp_seconds",
        "When the device was heard last, in unix time.",
        lambda told: told.view.seen_ms / _SECONDS if told.view.seen_ms else None,
        always=True,
    ),
    Family(
        "smartconnect_ups_battery_charge_ratio",
        "State of charge of the battery.",
        _point("state_of_charge", _PER_CENT),
    ),
    Family(
        "smartconnect_ups_runtime_seconds",
        "Runtime left on battery at this load.",
        _point("runtime_remaining"),
    ),
    Family(
        "smartconnect_ups_on_battery",
        "1 while the load is on battery.",
        lambda told: float(told.view.on_battery),
    ),
    Family(
        "smartconnect_ups_battery_low",
        "1 while it is on battery and almost empty.",
        _is(Condition.LOW_BATTERY),
    ),
    Family("smartconnect_ups_overload", "1 while there is too much load.", _is(Condition.OVERLOAD)),
    Family("smartconnect_ups_fault", "1 while the UPS reports a fault.", _is(Condition.FAULT)),
    Family(
        "smartconnect_ups_battery_voltage_volts",
        "Voltage of the battery.",
        _point("battery_voltage"),
    ),
    Family(
        "smartconnect_ups_battery_temperature_celsius",
        "Temperature of the battery.",
        _point("battery_temperature"),
    ),
    Family("smartconnect_ups_input_voltage_volts", "Voltage of the mains.", _point("input_voltage")),
    Family("smartconnect_ups_output_voltage_volts", "Voltage of the output.", _point("output_voltage")),
    Family("smartconnect_ups_output_frequency_hertz", "Frequency of the output.", _point("output_frequency")),
    Family("smartconnect_ups_output_current_amperes", "Current of the output.", _point("output_current")),
    Family(
        "smartconnect_ups_load_ratio",
        "Real power of the load, as a part of what the UPS is rated for.",
        _point("output_real_power_pct", _PER_CENT),
    ),
    Family(
        "smartconnect_ups_apparent_load_ratio",
        "Apparent power of the load, as a part of what the UPS is rated for.",
        _point("output_apparent_power_pct", _PER_CENT),
    ),
    Family(
        "smartconnect_ups_output_power_watts",
        "Real power of the load, where the rating is known.",
        lambda told: told.view.load_w,
    ),
    Family("smartconnect_ups_efficiency_ratio", "Efficiency.", _point("efficiency", _PER_CENT)),
    Family(
        "smartconnect_ups_output_energy_joules_total",
        "Energy given to the load so far.",
        _point("output_energy", _JOULES_PER_WATT_HOUR),
        kind="counter",
    ),
)
INFO: Final = "smartconnect_ups_info"


class Exposition:
    """The metrics of devices that are added one after the other: a metric's lines have to stand together."""

    def __init__(self) -> None:
        self._count = 0
        self._product_ids: set[str] = set()
        self._info: list[str] = []
        self._lines: list[list[str]] = [[] for _ in FAMILIES]

    def add(self, told: Told) -> None:
        """One more device.

        A server drops everything where two series have one name, so those that share a Product ID with one
        before them, as impostors do, have their number in the labels, too.
        """
        self._count += 1
        view, names = told.view, told.labels
        if view.product_id in self._product_ids:
            names["device_id"] = str(view.device_id)
        self._product_ids.add(view.product_id)
        labels = _labels(names)
        self._info.append(_info(told))
        for family, lines in zip(FAMILIES, self._lines, strict=True):
            value = family.value(told) if told.up or family.always else None
            if value is not None:
                lines.append(f"{family.name}{labels} {_number(value)}\n")

    def parts(self) -> Iterator[str]:
        """All of it, a metric at a time."""
        yield _head("smartconnect_devices", "Devices of the company.", "gauge")
        yield f"smartconnect_devices {self._count}\n"
        yield _head(INFO, "What a device is, in its labels.", "gauge") + "".join(self._info)
        for family, lines in zip(FAMILIES, self._lines, strict=True):
            yield _head(family.name, family.help, family.kind) + "".join(lines)


def _head(name: str, meaning: str, kind: str) -> str:
    return f"# HELP {name} {meaning}\n# TYPE {name} {kind}\n"


def _info(told: Told) -> str:
    view = told.view
    more = {"model": view.model, "sku": view.sku, "serial": view.serial, "firmware": view.firmware}
    return f"{INFO}{_labels({**told.labels, 'device_id': str(view.device_id), **more})} 1\n"


def _labels(pairs: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{text.translate(_ESCAPED)}"' for name, text in pairs.items()) + "}"


def _number(value: float) -> str:
    """Whole numbers without a point; ratios of percentages without noise."""
    return str(int(value)) if value.is_integer() else repr(round(value, 9))
