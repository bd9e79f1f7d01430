"""What a simulated Smart-UPS says about itself, and the settings it keeps: values of the register map."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType

from protocol.registers import GROUPS, Value

PF_OF_LOAD = 0.9  # power factor of what people plug into a UPS


@dataclass(frozen=True, slots=True)
class Nameplate:
    """Fixed at the works. The default is a 230 V, 1500 VA line-interactive unit with two outlet groups."""

    model: str = "Smart-UPS 1500"
    sku: str = "SMT1500IC"
    serial_number: str = "AS2143260117"
    firmware_version: str = "UPS 04.1"
    battery_sku: str = "APCRBC159"
    modbus_map_id: str = "00.5"
    rated_apparent_va: int = 1500
    rated_real_w: int = 1000
    nominal_v: int = 230
    nominal_hz: int = 50
    groups: tuple[str, ...] = ("mog", "sog0")
    manufacture_date: date = date(2024, 5, 17)
    battery_replace_by: date = date(2029, 5, 17)


def inventory_values(plate: Nameplate) -> dict[str, Value]:
    """Rows of the inventory block that never change."""
    return {
        "firmware_version": plate.firmware_version,
        "model": plate.model,
        "sku": plate.sku,
        "serial_number": plate.serial_number,
        "battery_sku": plate.battery_sku,
        "external_battery_sku": "",
        "rated_apparent_power": plate.rated_apparent_va,
        "rated_real_power": plate.rated_real_w,
        "sog_relay_config": frozenset(plate.groups),
        "manufacture_date": plate.manufacture_date,
        "output_voltage_setting": frozenset({f"{plate.nominal_v}V"}),
        "output_voltage_setting_long": frozenset[str](),
        "modbus_map_id": plate.modbus_map_id,
    }


VERIFICATION_VALUES: Mapping[str, Value] = MappingProxyType(
    {
        "test_string": "12345678",
        "test_u32": 0x12345678,
        "test_s32": -5,
        "test_u16": 0x1234,
        "test_s16": -5,
        "test_fixed_pos": 128.5,
        "test_fixed_neg": -128.5,
    }
)


def default_settings(plate: Nameplate) -> dict[str, Value]:
    """Settings as they leave the works, by register name; groups that do not exist have none."""
    settings: dict[str, Value] = {
        "battery_install_date": plate.manufacture_date,
        "ups_name": "APCUPS",
        "battery_test_interval": frozenset({"14d_since_last"}),
        "power_quality_setting": frozenset[str](),
        "transfer_high": round(plate.nominal_v * 1.1),
        "transfer_low": round(plate.nominal_v * 0.9),
        "sensitivity": frozenset({"normal"}),
    }
    for group in GROUPS:
        if group not in plate.groups:
            continue
        settings[f"{group}_name"] = "UPS Outlets" if group == "mog" else f"Outlet Group {group[-1]}"
        settings[f"{group}_turn_off_delay"] = 0 if group == "mog" else 90
        settings[f"{group}_turn_on_delay"] = 0
        settings[f"{group}_stay_off_delay"] = 8
        settings[f"{group}_min_return_runtime"] = 0
    return settings
