"""From what really happened (the simulator's own truth log) to the events that must be told, and when.

It knows the physics' facts and one rule of the product, how long a UPS must be silent until that is told; it
shares no code with the agent.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from protocol.messages import EventKind
from tests.accept import CheckError, expect
from tests.accept._event_script import Told

TOLD_AFTER_MS: Final = 12_000
"""Silence this long is told, whatever the moment; silence shorter than ``UNTOLD_BELOW_MS`` never is."""
UNTOLD_BELOW_MS: Final = 2_500
LATE_MS: Final = 6_000
"""An event may be timed this long after its edge: a poll a second on a slow line, and the hysteresis."""
EARLY_MS: Final = 300
"""The truth is written ten times a second."""
SILENT_LATE_MS: Final = 18_000
"""Likewise after a silence, or for one: silent UPSs are asked every ten seconds."""


@dataclass(frozen=True, slots=True)
class Line:
    """One fact that changed."""

    ms: int
    unit: int
    fact: str
    value: str | bool


@dataclass(frozen=True, slots=True)
class Due:
    """An event that must be told: timed between these."""

    kind: str
    result: str
    from_ms: int
    to_ms: int


@dataclass(frozen=True, slots=True)
class Stored:
    """An event in the cloud."""

    kind: str
    result: str
    ts_ms: int


def read_truth(path: Path) -> dict[int, list[Line]]:
    """The truth of each unit, without the state it began with."""
    units: dict[int, list[Line]] = {}
    begun: set[tuple[int, str]] = set()
    for text in path.read_text(encoding="utf-8").splitlines():
        line = Line(**json.loads(text))
        if (line.unit, line.fact) in begun:
            units.setdefault(line.unit, []).append(line)
        begun.add((line.unit, line.fact))
    return units


def due_events(lines: Sequence[Line]) -> list[Due]:
    """The events of one unit that the facts demand, by time."""
    silences = _silences(lines)
    due: list[Due] = []
    for began_ms, ended_ms in silences:
        if ended_ms - began_ms >= TOLD_AFTER_MS:
            due += [
                Due(EventKind.COMMUNICATION_LOST, "", began_ms, began_ms + SILENT_LATE_MS),
                Due(EventKind.COMMUNICATION_RESTORED, "", ended_ms, ended_ms + SILENT_LATE_MS),
            ]
        else:
            expect(ended_ms - began_ms <= UNTOLD_BELOW_MS, f"a silence of {ended_ms - began_ms} ms")
    mode: str | bool = "online"
    for line in lines:
        kind, result = _kind_of(line, mode)
        mode = line.value if line.fact == "mode" else mode
        if not kind:
            continue
        seen_ms = next((ended for began, ended in silences if began <= line.ms <= ended), line.ms)
        late_ms = LATE_MS if seen_ms == line.ms else SILENT_LATE_MS
        due.append(Due(kind, result, line.ms - EARLY_MS, seen_ms + late_ms))
        if kind == EventKind.LOW_BATTERY:  # its end is told once the battery is charged: the script's charge
            due.append(Due(EventKind.LOW_BATTERY_CLEARED, "", line.ms, line.ms + 60_000))
    return sorted(due, key=lambda one: (one.from_ms, one.kind))


def _kind_of(line: Line, mode: str | bool) -> tuple[str, str]:
    """The event that a fact is, and its result; empty where it is none. ``mode`` is the one before."""
    match line.fact, line.value:
        case "mode", "on_battery":
            return EventKind.ON_BATTERY, ""
        case "mode", "online" if mode == "on_battery":
            return EventKind.MAINS_BACK, ""
        case "overloaded", bool(value):
            return (EventKind.OVERLOAD if value else EventKind.OVERLOAD_CLEARED), ""
        case "low", True:
            return EventKind.LOW_BATTERY, ""
        case "test", str(result) if result:
            return EventKind.SELF_TEST, result
        case _:
            return "", ""


def _silences(lines: Iterable[Line]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    out_ms: int | None = None
    for line in lines:
        if line.fact != "cable":
            continue
        if line.value:
            if out_ms is not None:
                found.append((out_ms, line.ms))
            out_ms = None
        else:
            out_ms = line.ms
    expect(out_ms is None, "a cable is still out")
    return found


def count(due: Iterable[Due | Stored]) -> Told:
    """As a multiset of what is told."""
    return Counter((str(one.kind), one.result) for one in due)


def complaints(unit: int, due: Sequence[Due], stored: Sequence[Stored]) -> list[str]:
    """What differs between what had to be told of a unit and what the cloud holds."""
    wanted, found = count(due), count(stored)
    if wanted != found:
        missing, invented = dict(wanted - found), dict(found - wanted)
        return [f"unit {unit}: missing {missing}, told without a reason or twice {invented}"]
    complaints = []
    for kind in {one.kind for one in due}:
        pairs = zip(
            (one for one in due if one.kind == kind),
            sorted((one for one in stored if one.kind == kind), key=lambda one: one.ts_ms),
            strict=True,
        )
        complaints += [
            f"unit {unit}: {kind} is timed {one.ts_ms - edge.from_ms} ms after its edge"
            for edge, one in pairs
            if not edge.from_ms <= one.ts_ms <= edge.to_ms
        ]
    return complaints


def check_script(told: Mapping[int, Told], due: Mapping[int, Sequence[Due]]) -> None:
    """The script brought about what it was written for; else the check itself would prove little."""
    for unit, wanted in told.items():
        found = count(due.get(unit, ()))
        if wanted != found:
            raise CheckError(f"unit {unit}: the script wanted {dict(wanted)}, the truth is {dict(found)}")
