"""A lead-acid battery of a UPS: charge, voltage, temperature and runtime, stepped by the caller.

Fitted to the runtime table of a 1000 W line-interactive unit (about 7 minutes at full load, 23 at half load);
it makes plausible curves, and predicts no real battery.
"""

import math
from dataclasses import dataclass, replace

RUNTIME_MAX_S = 86400  # what an idle real unit says
_BULK = 0.9  # share of the charge that is charged at constant current
_TAPER_SHARE = 6.0  # of the bulk time: time constant of the rest
_THERMAL_S = 900.0  # time constant of the battery's temperature
_WARMING_C = 9.0  # above ambient, discharging at full load


@dataclass(frozen=True, slots=True)
class BatterySpec:
    """What the maker chose."""

    cells: int = 24
    rated_w: float = 1000.0
    full_load_runtime_s: float = 402.0
    exponent: float = 1.7  # how much faster than proportional a larger load empties it
    idle_w: float = 18.0  # the inverter's own consumption
    bulk_charge_s: float = 3 * 3600.0
    resistance_ohm: float = 0.06


@dataclass(frozen=True, slots=True)
class Battery:
    """State of the battery: ``charge`` and ``health`` are shares of one."""

    spec: BatterySpec = BatterySpec()
    charge: float = 1.0
    health: float = 1.0
    temperature_c: float = 25.0

    @property
    def empty(self) -> bool:
        """Nothing is left for the inverter."""
        return self.charge <= 0.0

    @property
    def full(self) -> bool:
        """Charged, up to what a register can show."""
        return self.charge >= 0.9995


def runtime_s(battery: Battery, load_w: float) -> float:
    """How long the battery carries the load from now on."""
    return min(battery.charge * _full_runtime_s(battery, load_w), RUNTIME_MAX_S)


def discharge(battery: Battery, load_w: float, dt_s: float) -> Battery:
    """The battery after it has carried the load for ``dt_s``."""
    charge = battery.charge - dt_s / _full_runtime_s(battery, load_w)
    return replace(battery, charge=max(charge, 0.0))


def recharge(battery: Battery, dt_s: float) -> Battery:
    """The battery after ``dt_s`` on the charger: linear up to 90 %, then slower and slower."""
    spec, charge = battery.spec, battery.charge
    if charge < _BULK:
        bulk_s = min(dt_s, (_BULK - charge) / _BULK * spec.bulk_charge_s)
        charge += bulk_s / spec.bulk_charge_s * _BULK
        dt_s -= bulk_s
    if dt_s > 0:
        missing = (1.0 - charge) * math.exp(-dt_s / (spec.bulk_charge_s / _TAPER_SHARE))
        charge = 1.0 - missing
    return replace(battery, charge=min(charge, 1.0))


def settle_temperature(battery: Battery, ambient_c: float, share_of_load: float, dt_s: float) -> Battery:
    """The battery's temperature after ``dt_s``; ``share_of_load`` is 0 unless it is discharging."""
    target = ambient_c + _WARMING_C * share_of_load
    temperature = target + (battery.temperature_c - target) * math.exp(-dt_s / _THERMAL_S)
    return replace(battery, temperature_c=temperature)


def voltage_v(battery: Battery, load_w: float | None) -> float:
    """Terminal voltage: discharging under ``load_w``, or on the charger when None."""
    spec = battery.spec
    if load_w is None:
        return spec.cells * (2.14 + 0.13 * battery.charge)  # 2.27 V a cell when floating
    open_v = spec.cells * (1.93 + 0.19 * battery.charge)
    current_a = (load_w + spec.idle_w) / open_v
    return open_v - current_a * spec.resistance_ohm / max(battery.health, 0.1)


def _full_runtime_s(battery: Battery, load_w: float) -> float:
    spec = battery.spec
    share = (max(load_w, 0.0) + spec.idle_w) / (spec.rated_w + spec.idle_w)
    return spec.full_load_runtime_s * max(battery.health, 0.01) / math.pow(share, spec.exponent)
