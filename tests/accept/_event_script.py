"""What is done to simulated UPSs in the check ``event-truth``: a hundred episodes as data, from a seed.

Each unit goes through its episodes one after the other, with calm in between that is longer than any
hysteresis. An episode knows which events it must bring.
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from protocol.messages import EventKind

EPISODES: Final = 100
CALM_S: Final = (9.0, 14.0)
"""Between the last order of an episode and the next one; the longest hysteresis is 5 s."""
FIND_AGAIN_S: Final = 12.0
"""A UPS that was silent is asked every 10 s."""
NOMINAL_V: Final = "230"
NORMAL_LOAD: Final = "30"

Told = Counter[tuple[str, str]]
"""How often each event is told: its kind and, of a self-test, the result."""


@dataclass(frozen=True, slots=True)
class Order:
    """Words for the control socket, so many seconds after the episode begins."""

    at_s: float
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Episode:
    """Something that happens to one unit."""

    name: str
    orders: tuple[Order, ...]
    lasts_s: float
    told: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Step:
    """An order for a unit, so many seconds after the script begins."""

    at_s: float
    unit: int
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Script:
    """All steps, by time, and what they must bring: per unit, and in how many episodes of each name."""

    steps: tuple[Step, ...]
    told: dict[int, Told]
    episodes: Counter[str]
    lasts_s: float


def _event(kind: EventKind, result: str = "") -> tuple[str, str]:
    return kind.value, result


_OUTAGE: Final = (_event(EventKind.ON_BATTERY), _event(EventKind.MAINS_BACK))
_OVERLOAD: Final = (_event(EventKind.OVERLOAD), _event(EventKind.OVERLOAD_CLEARED))
_LOST: Final = (_event(EventKind.COMMUNICATION_LOST), _event(EventKind.COMMUNICATION_RESTORED))
_LOW: Final = (_event(EventKind.LOW_BATTERY), _event(EventKind.LOW_BATTERY_CLEARED))


def _orders(*timed: tuple[float, str]) -> tuple[Order, ...]:
    return tuple(Order(at_s, tuple(text.split())) for at_s, text in timed)


def _outage(draw: random.Random) -> Episode:
    back_s = draw.uniform(4, 12)
    return Episode("outage", _orders((0, "mains off"), (back_s, "mains on")), back_s + 3, _OUTAGE)


def _low_battery(_draw: random.Random) -> Episode:
    orders = _orders(
        (0, "set state_of_charge 3"),
        (2, "mains off"),
        (8, "mains on"),
        (13, "set state_of_charge 95"),
    )
    return Episode("outage until the battery is low", orders, 20, (*_OUTAGE, *_LOW))


def _regulated(draw: random.Random) -> Episode:
    volts, end_s = draw.choice(["211", "212", "250", "251"]), draw.uniform(4, 12)
    orders = _orders((0, f"set input_voltage {volts}"), (end_s, f"set input_voltage {NOMINAL_V}"))
    return Episode("brown-out that is regulated", orders, end_s, ())


def _brown_out(draw: random.Random) -> Episode:
    volts, end_s = draw.choice(["150", "185", "200", "265"]), draw.uniform(4, 12)
    orders = _orders((0, f"set input_voltage {volts}"), (end_s, f"set input_voltage {NOMINAL_V}"))
    return Episode("brown-out on battery", orders, end_s + 3, _OUTAGE)


def _self_test(_draw: random.Random) -> Episode:
    return Episode("self-test", _orders((0, "test")), 22, (_event(EventKind.SELF_TEST, "passed"),))


def _aborted_test(draw: random.Random) -> Episode:
    fails_s = draw.uniform(5, 14)
    orders = _orders((0, "test"), (fails_s, "mains off"), (fails_s + 6, "mains on"))
    told = (_event(EventKind.SELF_TEST, "aborted"), *_OUTAGE)
    return Episode("outage in a self-test", orders, fails_s + 9, told)


def _overload(draw: random.Random) -> Episode:
    end_s = draw.uniform(4, 10)
    orders = _orders((0, f"load {draw.randint(110, 140)}"), (end_s, f"load {NORMAL_LOAD}"))
    return Episode("overload", orders, end_s + 4, _OVERLOAD)


def _overload_on_battery(_draw: random.Random) -> Episode:
    orders = _orders((0, "mains off"), (4, "load 112"), (10, f"load {NORMAL_LOAD}"), (15, "mains on"))
    return Episode("overload in an outage", orders, 18, (*_OUTAGE, *_OVERLOAD))


def _flicker(draw: random.Random) -> Episode:
    end_s = draw.uniform(0.3, 1.8)
    return Episode("cable out for a moment", _orders((0, "cable off"), (end_s, "cable on")), end_s + 3, ())


def _cable(draw: random.Random) -> Episode:
    end_s = draw.uniform(16, 24)
    orders = _orders((0, "cable off"), (end_s, "cable on"))
    return Episode("cable out", orders, end_s + FIND_AGAIN_S, _LOST)


def _cable_in_outage(_draw: random.Random) -> Episode:
    orders = _orders(
        (0, "mains off"), (5, "cable off"), (22, "cable on"), (22 + FIND_AGAIN_S + 3, "mains on")
    )
    return Episode("cable out in an outage", orders, 40, (*_OUTAGE, *_LOST))


def _outage_unseen(_draw: random.Random) -> Episode:
    orders = _orders(
        (0, "cable off"), (14, "mains off"), (20, "cable on"), (20 + FIND_AGAIN_S + 3, "mains on")
    )
    return Episode("mains fail while the cable is out", orders, 38, (*_OUTAGE, *_LOST))


def _return_unseen(_draw: random.Random) -> Episode:
    orders = _orders((0, "mains off"), (5, "cable off"), (16, "mains on"), (22, "cable on"))
    return Episode("mains back while the cable is out", orders, 22 + FIND_AGAIN_S, (*_OUTAGE, *_LOST))


KINDS: Final[tuple[tuple[Callable[[random.Random], Episode], int], ...]] = (
    (_outage, 20),
    (_low_battery, 6),
    (_regulated, 9),
    (_brown_out, 11),
    (_self_test, 12),
    (_aborted_test, 6),
    (_overload, 12),
    (_overload_on_battery, 5),
    (_flicker, 5),
    (_cable, 7),
    (_cable_in_outage, 3),
    (_outage_unseen, 2),
    (_return_unseen, 2),
)
"""Which episodes, and how many of each: a hundred."""


def make_script(seed: int, units: int) -> Script:
    """The script of this seed: the episodes, shuffled, dealt to the units in turn."""
    draw = random.Random(seed)
    episodes = [make(draw) for make, count in KINDS for _ in range(count)]
    draw.shuffle(episodes)
    steps: list[Step] = []
    told: dict[int, Told] = {unit: Counter() for unit in range(1, units + 1)}
    free_s = {unit: draw.uniform(2, 12) for unit in told}
    for episode in episodes:
        unit = min(free_s, key=lambda one: free_s[one])
        began_s = free_s[unit]
        steps += [Step(began_s + order.at_s, unit, order.words) for order in episode.orders]
        told[unit].update(episode.told)
        free_s[unit] = began_s + episode.lasts_s + draw.uniform(*CALM_S)
    steps.sort(key=lambda step: step.at_s)
    return Script(tuple(steps), told, Counter(one.name for one in episodes), max(free_s.values()))
