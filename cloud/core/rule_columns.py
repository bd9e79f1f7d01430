"""Rules over samples as columns: many devices and rules in one go, in memory bounded by the batch.

``judge`` gives what :func:`cloud.core.rule.step` gives sample by sample. Most rules say nothing about most
samples: numpy finds the (device, rule) pairs in which a sample could change something, and only these are
walked in Python. Rows of a batch stand by device, in the order of their position.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cloud.core.rule import (
    DAY_MS,
    SKIPPED,
    STATE_BITS,
    SUBJECTS,
    Condition,
    Edge,
    Facts,
    Phase,
    Side,
    State,
    step,
)

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

_PG_EPOCH_MS: Final = 946_684_800_000  # 2000-01-01, PostgreSQL documentation, Date/Time Types
_HEAD_BYTES: Final = 20
_SHIFT: Final = 43
"""Unix milliseconds stay below 2^42 until the year 2109: devices are told apart above that."""
COLUMN_KIND: Final[Mapping[str, str]] = {
    "place": ">i8",
    "stream": ">i8",
    "seq": ">i8",
    "epoch": ">i8",
    "ts": ">i8",
    "flags": ">i4",
    "ups_status": ">i4",
}
"""Columns that are not ``real``."""


@dataclass(slots=True)
class Samples:
    """Rows of telemetry. ``place`` says whose each row is, never falling; ``points`` by their names."""

    place: Ints
    stream: Ints
    seq: Ints
    ts_ms: Ints
    epoch: Ints
    flags: Ints
    points: Mapping[str, Floats]


@dataclass(frozen=True, slots=True)
class Watched:
    """One device of a batch: ``ts_ms`` is the time of its last judged sample, or the earliest that counts."""

    epoch: int
    ts_ms: int
    facts: Facts


@dataclass(frozen=True, slots=True)
class Pair:
    """A rule on a device: the device's place, what the rule says, and where it stands."""

    place: int
    condition: Condition
    state: State


@dataclass(frozen=True, slots=True)
class Change:
    """A pair (by its number) that stands elsewhere now, and what happened on the way."""

    pair: int
    state: State
    edges: tuple[Edge, ...]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the batch did. ``ts_ms[i]``: time of the last judged sample of device i."""

    ts_ms: list[int]
    changes: list[Change]
    judged: int


def decode_samples(columns: Mapping[str, bytes]) -> Samples:
    """Columns as PostgreSQL's ``array_send`` gives them, without NULLs; all of one length."""
    found = {name: _decode(data, COLUMN_KIND.get(name, ">f4")) for name, data in columns.items()}
    ts_ms = found.pop("ts").astype(np.int64) // 1000 + _PG_EPOCH_MS
    whole = [found.pop(name).astype(np.int64) for name in ("place", "stream", "seq", "epoch", "flags")]
    place, stream, seq, epoch, flags = whole
    points = {name: one.astype(np.float64) for name, one in found.items()}
    return Samples(place, stream, seq, ts_ms, epoch, flags, points)


def last_positions(samples: Samples) -> dict[int, tuple[int, int, int]]:
    """Device's place → (its rows, stream and seq of the last one)."""
    ends = np.flatnonzero(np.append(samples.place[1:] != samples.place[:-1], True))
    rows = np.diff(np.concatenate([[-1], ends]))
    return {
        place: (count, stream, seq)
        for place, count, stream, seq in zip(
            samples.place[ends].tolist(),
            rows.tolist(),
            samples.stream[ends].tolist(),
            samples.seq[ends].tolist(),
            strict=True,
        )
    }


def _decode(data: bytes, kind: str) -> NDArray[Any]:
    item = np.dtype([("length", ">i4"), ("value", kind)])
    return np.frombuffer(data, item, offset=_HEAD_BYTES)["value"]


def judge(samples: Samples, devices: Sequence[Watched], pairs: Sequence[Pair]) -> Judgement:
    """What these rows do to these pairs."""
    last_ms = np.array([device.ts_ms for device in devices], np.int64)
    kept, newest_ms = _in_order(samples, devices, last_ms)
    place, ts_ms = samples.place[kept], samples.ts_ms[kept]
    counts = np.bincount(place, minlength=len(devices))
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]]) if len(devices) else counts
    before_ms = np.empty_like(ts_ms)
    if len(ts_ms):
        before_ms[1:] = ts_ms[:-1]
        first = starts[counts > 0]
        before_ms[first] = last_ms[counts > 0]
    concerned = [number for number, pair in enumerate(pairs) if counts[pair.place]]
    changes: list[Change] = []
    for subject in sorted({pairs[number].condition.subject for number in concerned}):
        values = _values(subject, samples, kept, [device.facts for device in devices])
        numbers = [number for number in concerned if pairs[number].condition.subject == subject]
        changes += _judge_subject(pairs, numbers, values, ts_ms, before_ms, starts, counts)
    return Judgement(newest_ms.tolist(), changes, len(ts_ms))


def _in_order(samples: Samples, devices: Sequence[Watched], last_ms: Ints) -> tuple[Mask, Ints]:
    """Which rows are judged, and the time of each device's last one."""
    place = samples.place
    epochs = np.array([device.epoch for device in devices], np.int64)
    fit = (samples.flags & SKIPPED == 0) & (samples.epoch == epochs[place]) if len(place) else place == 1
    at_ms = np.where(fit, np.maximum(samples.ts_ms, last_ms[place]), last_ms[place])
    running = np.maximum.accumulate(at_ms + (place << _SHIFT)) - (place << _SHIFT)
    newest_ms = last_ms.copy()
    if len(place):
        ends = np.flatnonzero(np.append(place[1:] != place[:-1], True))
        newest_ms[place[ends]] = running[ends]
    return fit & (samples.ts_ms == running), newest_ms


def _values(subject: str, samples: Samples, kept: Mask, facts: Sequence[Facts]) -> Floats:
    """The subject's value in each judged row."""
    place = samples.place[kept]
    if bit := STATE_BITS.get(subject, 0):
        status = samples.points["ups_status"][kept].astype(np.int64)
        return np.where(status == 0, np.nan, (status & bit != 0).astype(np.float64))
    if subject == "battery_age_days":
        begun = np.array([one.battery_installed_ms or np.nan for one in facts], np.float64)
        age: Floats = (samples.ts_ms[kept] - begun[place]) / DAY_MS
        return age
    values = samples.points[SUBJECTS[subject].points[0]][kept]
    if subject == "load_w":
        rated = np.array([one.rated_real_power_w or np.nan for one in facts], np.float64)
        return values / 100.0 * rated[place]
    return values


def _judge_subject(
    pairs: Sequence[Pair],
    numbers: Sequence[int],
    values: Floats,
    ts_ms: Ints,
    before_ms: Ints,
    starts: Ints,
    counts: Ints,
) -> list[Change]:
    """The changes of the pairs of one subject."""
    chosen = [pairs[number] for number in numbers]
    places = np.array([pair.place for pair in chosen], np.int64)
    start, count = starts[places], counts[places]
    begins = np.concatenate([[0], np.cumsum(count)[:-1]])
    whose = np.repeat(np.arange(len(chosen)), count)
    row = np.arange(len(whose)) + (start - begins)[whose]
    sign = np.array([1.0 if pair.condition.side is Side.ABOVE else -1.0 for pair in chosen])
    over_at = sign * np.array([pair.condition.threshold for pair in chosen])
    back_at = sign * np.array([pair.condition.clear_level for pair in chosen])
    from_ms = np.array([pair.condition.from_ms for pair in chosen], np.int64)
    signed = sign[whose] * values[row]
    over = (signed > over_at[whose]) & (ts_ms[row] >= from_ms[whose])
    back = ~over & (signed <= back_at[whose])
    stirs = np.select(
        [
            np.array([pair.state.phase is phase for pair in chosen])[whose]
            for phase in (Phase.OK, Phase.RAISED)
        ],
        [over, back],
        default=True,
    )
    found = np.flatnonzero(stirs)
    first = np.full(len(chosen), -1, np.int64)
    first[whose[found][::-1]] = found[::-1]
    changes = []
    for index in np.flatnonzero(first >= 0).tolist():
        rows = slice(int(row[first[index]]), int(start[index] + count[index]))
        change = _walk(
            numbers[index],
            chosen[index],
            before_ms[rows].tolist(),
            ts_ms[rows].tolist(),
            values[rows].tolist(),
        )
        if change is not None:
            changes.append(change)
    return changes


def _walk(
    number: int, pair: Pair, before_ms: list[int], ts_ms: list[int], values: list[float]
) -> Change | None:
    """Sample by sample; None where the pair stands as before and nothing happened."""
    state, edges = pair.state, []
    for before, ts, value in zip(before_ms, ts_ms, values, strict=True):
        if ts < pair.condition.from_ms:
            continue
        state, edge = step(pair.condition, state, before, ts, value)
        if edge is not None:
            edges.append(edge)
    if state == pair.state and not edges:
        return None
    return Change(number, state, tuple(edges))
