"""Measurement points: the fields of one telemetry sample, in wire order.

The table is the truth for three things that must agree: the published ``telemetry.proto``, the packed layout
that the agent writes and the gateway recognises, and the columns of the tables ``telemetry`` and ``latest``.
Numbers are appended, never reused. Names and units follow the Smart-UPS register map
(:mod:`protocol.register_map`).

"Not available" is NaN in a ``float`` or ``double`` and 0 in a ``fixed32``.
"""

from dataclasses import dataclass
from enum import IntFlag, StrEnum


class Wire(StrEnum):
    """Protobuf scalar type of a point; all are fixed-width, so that a sample has a constant layout."""

    FIXED64 = "fixed64"
    FIXED32 = "fixed32"
    FLOAT = "float"
    DOUBLE = "double"


class SampleFlag(IntFlag):
    """Bits of the point ``flags``."""

    TIME_UNCERTAIN = 1
    """The device never met trusted time in this boot; ``ts`` is its best guess."""
    FROM_FUTURE = 2
    """Set by the cloud: ``ts`` lay more than 10 minutes ahead of the server's clock."""
    IMPORTED = 4
    """Set by the cloud: an operator brought this sample in; no session of the device delivered it."""


@dataclass(frozen=True, slots=True)
class Point:
    """One field: protobuf number, name, type, unit, and the range outside which a value is impossible."""

    number: int
    name: str
    wire: Wire
    unit: str
    low: float
    high: float
    meaning: str


_BITS = 2**31 - 1
_MAX_MS = 4_102_444_800_000  # 2100-01-01
_MAX_SEQ = 2**62

POINTS: tuple[Point, ...] = (
    Point(1, "ts", Wire.FIXED64, "ms", 0, _MAX_MS, "when it was measured, unix time"),
    Point(2, "seq", Wire.FIXED64, "", 0, _MAX_SEQ, "place in the stream; 0 in a snapshot (now)"),
    Point(3, "flags", Wire.FIXED32, "bits", 0, _BITS, "SampleFlag"),
    Point(4, "ups_status", Wire.FIXED32, "bits", 0, _BITS, "register 0"),
    Point(5, "input_status", Wire.FIXED32, "bits", 0, _BITS, "register 150"),
    Point(6, "general_error", Wire.FIXED32, "bits", 0, _BITS, "register 19"),
    Point(7, "power_system_error", Wire.FIXED32, "bits", 0, _BITS, "register 20"),
    Point(8, "battery_system_error", Wire.FIXED32, "bits", 0, _BITS, "register 22"),
    Point(9, "mog_outlet_status", Wire.FIXED32, "bits", 0, _BITS, "register 3, main outlet group"),
    Point(10, "sog0_outlet_status", Wire.FIXED32, "bits", 0, _BITS, "register 6, switched group 1"),
    Point(11, "sog1_outlet_status", Wire.FIXED32, "bits", 0, _BITS, "register 9, switched group 2"),
    Point(12, "sog2_outlet_status", Wire.FIXED32, "bits", 0, _BITS, "register 12, switched group 3"),
    Point(13, "input_voltage", Wire.FLOAT, "V", 0, 1000, "register 151"),
    Point(14, "output_voltage", Wire.FLOAT, "V", 0, 1000, "register 142"),
    Point(15, "output_frequency", Wire.FLOAT, "Hz", 0, 500, "register 144"),
    Point(16, "output_current", Wire.FLOAT, "A", 0, 2047, "register 140"),
    Point(17, "output_real_power_pct", Wire.FLOAT, "%", 0, 256, "register 136, of the rated W"),
    Point(18, "output_apparent_power_pct", Wire.FLOAT, "%", 0, 256, "register 138, of the rated VA"),
    Point(19, "state_of_charge", Wire.FLOAT, "%", 0, 128, "register 130"),
    Point(20, "battery_voltage", Wire.FLOAT, "V", -1024, 1024, "register 131"),
    Point(21, "battery_temperature", Wire.FLOAT, "°C", -256, 256, "register 135"),
    Point(22, "runtime_remaining", Wire.FLOAT, "s", 0, 2**32, "register 128"),
    Point(23, "efficiency", Wire.FLOAT, "%", 0, 256, "register 154, where it is not a reason"),
    Point(24, "bypass_voltage", Wire.FLOAT, "V", 0, 1024, "register 148"),
    Point(25, "output_energy", Wire.DOUBLE, "Wh", 0, 2**32, "register 145"),
)
"""Every measurement point, by growing number."""

BY_NAME: dict[str, Point] = {point.name: point for point in POINTS}
VALUES: tuple[Point, ...] = POINTS[2:]
"""All points but ``ts`` and ``seq``: what ``latest`` shows and ``telemetry`` stores beside its key."""
