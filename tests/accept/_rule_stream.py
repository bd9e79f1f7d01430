"""Devices whose values wander about thresholds: at times missing, late, of a wrong clock, or silent.

``python -m tests.accept._rule_stream CONFIG OUT``, as :mod:`tests.accept._stream`. What a device does follows
from its number alone.
"""

import random
import sys
import time
from typing import Any, Final, TextIO

from protocol.codec import pack_sample
from protocol.points import SampleFlag
from tests.accept._stream import Streamer, main

LOADS: Final = (30.0, 74.0, 75.0, 78.0, 80.0, 81.0, 95.0, float("nan"))
RUNTIMES: Final = (3000.0, 600.0, 899.0, 900.0, 1000.0, 1300.0)
TEMPERATURES: Final = (20.0, 33.0, 34.9, 35.1, 40.0)
STATUSES: Final = (1 << 1, 1 << 1, 1 << 2, 0)
CALM: Final = 0.002
"""How often a value of a calm device changes. All begin with the first of each list: all is well."""
LATE: Final = 0.03
UNCERTAIN: Final = 0.03
AHEAD: Final = 0.01
AHEAD_MS: Final = 1_200_000
SILENT: Final = 0.04
SILENT_S: Final = 4.5


class Wanderer(Streamer):
    """One device."""

    def __init__(self, config: dict[str, Any], device: dict[str, Any], out: TextIO) -> None:
        super().__init__(config, device, out)
        self._random = random.Random(device["device_id"])
        self._wanders = float(config["wanders"])
        self._values: dict[str, float] = {}

    def sample(self, seq: int) -> bytes:
        """The next step of its walk, with a time that is not always what it should be."""
        chance = self._random
        for name, choices in (
            ("output_real_power_pct", LOADS),
            ("runtime_remaining", RUNTIMES),
            ("battery_temperature", TEMPERATURES),
            ("ups_status", STATUSES),
        ):
            if name not in self._values:
                self._values[name] = choices[0]
            elif chance.random() < self._wanders:
                self._values[name] = chance.choice(choices)
        ts_ms, flags = time.time_ns() // 1_000_000, 0
        fate = chance.random()
        if fate < LATE:
            ts_ms -= chance.randrange(1, 10_000)
        elif fate < LATE + UNCERTAIN:
            flags = int(SampleFlag.TIME_UNCERTAIN)
        elif fate < LATE + UNCERTAIN + AHEAD:
            ts_ms += AHEAD_MS
        return pack_sample({**self._values, "ts": ts_ms, "seq": seq, "flags": flags})

    def pause_s(self) -> float:
        """Now and then nothing is measured for a while."""
        return super().pause_s() + (SILENT_S if self._random.random() < SILENT else 0.0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], Wanderer))
