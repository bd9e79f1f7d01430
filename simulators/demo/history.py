"""An hour of simulated past, computed in a second, so that the charts of a new device are not empty.

The physics are those of the running simulator, on a clock that jumps. Its end is the present: ages count back
from the moment of the claim. The cloud marks these rows as imported; nobody measured them.
"""

import json
from dataclasses import dataclass, field
from typing import Any, Final

from protocol.messages import EventKind
from protocol.points import VALUES, Wire
from protocol.registers import encode_value
from simulators.core.row_values import row_value
from simulators.core.smart_ups import SmartUps

SPAN_S: Final = 3600
STEP_S: Final = 10
OUTAGE_FROM_S: Final = 420  # early, so that the battery is nearly full again at the end
OUTAGE_UNTIL_S: Final = 600
LOADS: Final = (
    (0, 31.0),
    (600, 36.0),
    (1200, 33.0),
    (2400, 41.0),
    (3000, 35.0),
)  # from second, % of the rating


@dataclass(slots=True)
class History:
    """Samples and events; ``age_ms`` of each is how long ago it was."""

    samples: list[dict[str, float | int]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)

    def to_json(self, product_id: str) -> str:
        """The file ``smartconnect-cloud admin history`` reads."""
        return json.dumps({"product_id": product_id, "samples": self.samples, "events": self.events})


def simulate(ups: SmartUps, load_offset_pct: float = 0.0) -> History:
    """Run the unit through the hour: a load that changes, and one power failure."""
    history = History()
    ups.step(60)  # it has been running for a while
    for second in range(0, SPAN_S, STEP_S):
        ups.set_load_pct(_load_at(second) + load_offset_pct)
        age_ms = (SPAN_S - second) * 1000
        if second == OUTAGE_FROM_S:
            ups.plug(into_mains=False)
            history.events.append(_event(age_ms, EventKind.ON_BATTERY, ups))
        if second == OUTAGE_UNTIL_S:
            ups.plug(into_mains=True)
            history.events.append(_event(age_ms, EventKind.MAINS_BACK, ups))
        ups.step(STEP_S)
        history.samples.append({"age_ms": age_ms - STEP_S * 1000, **sample(ups)})
    return history


def sample(ups: SmartUps) -> dict[str, float | int]:
    """The measurement points of the unit as it is now; what does not apply is left out."""
    values: dict[str, float | int] = {}
    for point in VALUES:
        value = row_value(ups, point.name)
        if value is None:
            continue
        if point.wire is Wire.FIXED32:
            words = encode_value(point.name, value)
            values[point.name] = sum(word << 16 * (len(words) - 1 - i) for i, word in enumerate(words))
        elif isinstance(value, int | float):
            values[point.name] = round(float(value), 3)
    return values


def _load_at(second: int) -> float:
    return next(load for start, load in reversed(LOADS) if start <= second)


def _event(age_ms: int, kind: EventKind, ups: SmartUps) -> dict[str, Any]:
    values = {
        "state_of_charge": round(100 * ups.battery.charge, 1),
        "runtime_remaining": round(ups.runtime_s),
    }
    return {"age_ms": age_ms, "kind": kind.value, "values": values}
