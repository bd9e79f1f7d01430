"""Threshold rules in the plainest way there is: one rule, one device, all its samples in a list.

Written from docs/rules.md alone, with none of the product's code, so that the two can be compared: no state
that goes on, no phases, only questions about the list.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

NOT_JUDGED = 1 | 2 | 4  # time uncertain, from the future, imported: docs/rules.md


@dataclass(frozen=True)
class PlainSample:
    """What a rule needs of a row of v_telemetry."""

    stream: int
    seq: int
    ts_ms: int
    epoch: int
    flags: int
    value: float


@dataclass(frozen=True)
class PlainRule:
    """What a rule says."""

    side: str
    threshold: float
    hysteresis: float
    hold_ms: int
    clear_ms: int
    gap_ms: int
    from_ms: int


def judged_samples(samples: Sequence[PlainSample], epoch: int, earliest_ms: int) -> list[PlainSample]:
    """Those of this ownership with a trusted time, by position, without those older than one before them."""
    found: list[PlainSample] = []
    for sample in sorted(samples, key=lambda one: (one.stream, one.seq)):
        if sample.epoch != epoch or sample.flags & NOT_JUDGED or sample.ts_ms < earliest_ms:
            continue
        if found and sample.ts_ms < found[-1].ts_ms:
            continue
        found.append(sample)
    return found


def edges_of(rule: PlainRule, judged: Sequence[PlainSample]) -> list[tuple[str, int]]:
    """("raised" or "cleared", ts_ms) of one rule over the judged samples of one device, in order."""
    mine = [sample for sample in judged if sample.ts_ms >= rule.from_ms]
    edges: list[tuple[str, int]] = []
    raised, begin = False, 0  # begin: the first sample that counts for the hold which is looked for
    for at, sample in enumerate(mine):
        wanted = _is_back if raised else _is_over
        length_ms = rule.clear_ms if raised else rule.hold_ms
        if not wanted(rule, sample.value):
            begin = at + 1
            continue
        if at > begin and sample.ts_ms - mine[at - 1].ts_ms > rule.gap_ms:
            begin = at
        if sample.ts_ms - mine[begin].ts_ms >= length_ms:
            raised = not raised
            edges.append(("raised" if raised else "cleared", sample.ts_ms))
            begin = at + 1
    return edges


def _is_over(rule: PlainRule, value: float) -> bool:
    if math.isnan(value):
        return False
    return value > rule.threshold if rule.side == "above" else value < rule.threshold


def _is_back(rule: PlainRule, value: float) -> bool:
    if math.isnan(value):
        return False
    if rule.side == "above":
        return value <= rule.threshold - rule.hysteresis
    return value >= rule.threshold + rule.hysteresis
