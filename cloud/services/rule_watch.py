"""Judges the devices' new samples by their owners' rules, and tells what was raised and cleared.

One round looks at every device of this process' share that has new samples and a rule. The samples are read
by position (stream, seq) from where the device's cursor stands, judged as columns, and what came of it is
written together: cursor, states, events. A process that is killed has either told something and moved on,
or neither, and the next one judges the same samples with the same outcome.

What a round costs: one look at the devices that have rules, an index range a device with new samples, time
in numpy for each new sample and rule, a cursor a device; rows of states and events only where something
changed. Nothing of it happens in the gateway.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

import structlog

from cloud.core.cloud_event import CloudEventKind
from cloud.core.rule import OK, SUBJECTS, Edge, Facts
from cloud.core.rule_columns import (
    Change,
    Judgement,
    Pair,
    Watched,
    decode_samples,
    judge,
    last_positions,
)
from cloud.postgres import claims, rule_watch
from cloud.postgres.pool import Pool
from cloud.postgres.rule_watch import Advance, Due, Over, Read, StateRow
from cloud.postgres.rules import Rule
from cloud.postgres.transaction import Connection, in_transaction
from cloud.services.cloud_events import tell
from protocol.messages import Scalar

PAGE_DEVICES: Final = 128
PAUSE_S: Final = 0.005
"""Between pages: telemetry, which shares the database, never waits for more than one."""
PAGE_SAMPLES_EACH: Final = 400
"""Of one device at a time; one that has more is far behind, and read alone, this much at a time:"""
ALONE_SAMPLES: Final = 20_000
TOLD_TOGETHER: Final = 40
"""Devices a transaction that tells of them: while it lasts nobody else changes these devices."""
OVER_AT_ONCE: Final = 500
BEFORE: Final = "rules.judge.before"
AFTER: Final = "rules.judge.after"

log = structlog.get_logger()


class OvertakenError(Exception):
    """Another process has changed what this one began from; nothing was written."""


@dataclass(frozen=True, slots=True)
class Watch:
    """A rule on a device: ``before`` is its row, None where it is "ok"."""

    due: Due
    rule: Rule
    before: StateRow | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a device's samples did."""

    advance: Advance
    changes: tuple[tuple[Watch, Change], ...]
    more: bool


class RuleWatch:
    """Judges for one process, which is known to the others by ``worker_id``; ``clock`` gives unix ms."""

    def __init__(self, pool: Pool, worker_id: UUID, clock: Callable[[], int]) -> None:
        self._pool = pool
        self._worker_id = worker_id
        self._clock = clock

    async def round(self) -> int:
        """Judge what is new; how many samples that were."""
        judged, after = 0, -1
        async with self._pool.connection() as connection:
            place, many = await rule_watch.beat(connection, self._worker_id, self._clock())
            await self._end_states(connection, place, many)
            while page := await rule_watch.due(connection, place, many, after, PAGE_DEVICES):
                judged += await self._judge_page(connection, page)
                after = page[-1].device_id
                await asyncio.sleep(PAUSE_S)
        return judged

    # --- samples --------------------------------------------------------------------------------------------

    async def _judge_page(self, connection: Connection, page: Sequence[Due]) -> int:
        rules = await rule_watch.rules_of(connection, {due.company_id for due in page})
        judged, outcomes = await self._judge(connection, page, rules, PAGE_SAMPLES_EACH)
        done = await self._write(outcomes)
        for outcome in outcomes:
            device = outcome.advance.due.device_id
            if outcome.more and device in done:
                judged += await self._catch_up(connection, outcome.advance, rules)
        return judged

    async def _catch_up(self, connection: Connection, advance: Advance, rules: Sequence[Rule]) -> int:
        """Read one device that is far behind to its position as it was, in large pieces."""
        judged, more = 0, True
        while more:
            due = replace(
                advance.due,
                old_epoch=advance.due.epoch,
                stream=advance.stream,
                seq=advance.seq,
                ts_ms=advance.ts_ms,
            )
            count, outcomes = await self._judge(connection, [due], rules, ALONE_SAMPLES)
            if not await self._write(outcomes):
                return judged
            judged += count
            advance, more = outcomes[0].advance, outcomes[0].more
        return judged

    async def _judge(
        self, connection: Connection, page: Sequence[Due], rules: Sequence[Rule], each: int
    ) -> tuple[int, list[Outcome]]:
        """How many samples were judged, and what that does to each device."""
        states = {
            (row.device_id, row.rule_id): row
            for row in await rule_watch.states_of(connection, [due.device_id for due in page])
        }
        of_company: dict[int, list[Rule]] = {}
        for rule in rules:
            of_company.setdefault(rule.company_id, []).append(rule)
        current: list[Due] = []
        watches: list[list[Watch]] = []
        for due in page:
            found = [
                Watch(due, rule, states.get((due.device_id, rule.rule_id)))
                for rule in of_company.get(due.company_id, [])
                if rule.covers(due.company_id, due.sites, due.device_id, due.epoch)
            ]
            # A state of other words or of an earlier owner is ended first: in the next round.
            if all(_is_current(watch) for watch in found):
                current.append(due)
                watches.append(found)
        floors = [
            max(due.ts_ms, min((one.rule.condition.from_ms for one in found), default=due.ts_ms))
            for due, found in zip(current, watches, strict=True)
        ]
        points = sorted(
            {p for found in watches for one in found for p in SUBJECTS[one.rule.condition.subject].points}
        )
        read = await rule_watch.read_samples(
            connection, current, floors, points, each=each, now_ms=self._clock()
        )
        return await asyncio.to_thread(_outcomes, current, floors, watches, read, each)

    async def _write(self, outcomes: Sequence[Outcome]) -> set[int]:
        """Write them; the devices for which that was done. What is not comes again in the next round."""
        quiet = [outcome.advance for outcome in outcomes if not outcome.changes]
        stirred = [outcome for outcome in outcomes if outcome.changes]
        done: set[int] = set()
        if quiet:
            done |= await in_transaction(
                self._pool,
                lambda connection: rule_watch.advance(connection, quiet),
                before_commit=BEFORE,
                after_commit=AFTER,
            )
        for first in range(0, len(stirred), TOLD_TOGETHER):
            chunk = stirred[first : first + TOLD_TOGETHER]
            try:
                done |= await in_transaction(
                    self._pool,
                    lambda connection, chunk=chunk: _write_changes(connection, chunk),  # type: ignore[misc]  # bound early, as it must be
                    before_commit=BEFORE,
                    after_commit=AFTER,
                )
            except OvertakenError:
                log.info("another process judges these devices, too", devices=len(chunk))
        return done

    # --- states that are over -------------------------------------------------------------------------------

    async def _end_states(self, connection: Connection, place: int, many: int) -> None:
        """End what was said by rules that were changed, switched off or deleted, or of another owner."""
        while True:
            found = await rule_watch.over(connection, place, many, OVER_AT_ONCE)
            for first in range(0, len(found), TOLD_TOGETHER):
                chunk, now_ms = found[first : first + TOLD_TOGETHER], self._clock()
                await in_transaction(
                    self._pool,
                    lambda mine, chunk=chunk, now_ms=now_ms: _end(mine, chunk, now_ms),  # type: ignore[misc]  # bound early, as it must be
                    before_commit=BEFORE,
                    after_commit=AFTER,
                )
            if len(found) < OVER_AT_ONCE:
                return


def _is_current(watch: Watch) -> bool:
    before = watch.before
    return before is None or (before.epoch, before.version) == (watch.due.epoch, watch.rule.version)


def _outcomes(
    page: Sequence[Due],
    floors: Sequence[int],
    watches: Sequence[Sequence[Watch]],
    read: Read,
    each: int,
) -> tuple[int, list[Outcome]]:
    """Judge in a thread of its own: other parts of the process go on meanwhile."""
    flat = [watch for found in watches for watch in found]
    changes: dict[int, list[tuple[Watch, Change]]] = {}
    positions = [(due.to_stream, due.to_seq) for due in page]
    full = [False] * len(page)
    judgement = Judgement(list(floors), [], 0)
    if read.count:
        samples = decode_samples(read.columns)
        for place, (rows, stream, seq) in last_positions(samples).items():
            if rows == each:
                positions[place], full[place] = (stream, seq), True
        places = {due.device_id: place for place, due in enumerate(page)}
        devices = [
            Watched(due.epoch, floor, Facts(due.rated_real_power_w, due.battery_installed_ms))
            for due, floor in zip(page, floors, strict=True)
        ]
        pairs = [
            Pair(places[one.due.device_id], one.rule.condition, one.before.state if one.before else OK)
            for one in flat
        ]
        judgement = judge(samples, devices, pairs)
    for change in judgement.changes:
        watch = flat[change.pair]
        changes.setdefault(watch.due.device_id, []).append((watch, change))
    outcomes = []
    for place, due in enumerate(page):
        stream, seq = positions[place]
        advance = Advance(due, stream, seq, judgement.ts_ms[place])
        outcomes.append(Outcome(advance, tuple(changes.get(due.device_id, ())), full[place]))
    return judgement.judged, outcomes


async def _write_changes(connection: Connection, chunk: Sequence[Outcome]) -> set[int]:
    """Cursors, states and events of these devices, or nothing of those that somebody else was faster with."""
    for outcome in chunk:  # in the order of their numbers, as everybody locks devices
        await claims.lock_known(connection, outcome.advance.due.device_id)
    done = await rule_watch.advance(connection, [outcome.advance for outcome in chunk])
    for outcome in chunk:
        if outcome.advance.due.device_id in done:
            for watch, change in outcome.changes:
                await _write_change(connection, watch, change)
    return done


async def _write_change(connection: Connection, watch: Watch, change: Change) -> None:
    due, rule = watch.due, watch.rule
    for edge in change.edges:
        kind = CloudEventKind.RULE_RAISED if edge.raised else CloudEventKind.RULE_CLEARED
        if not await tell(connection, due.device_id, due.epoch, edge.ts_ms, kind, detail_of(rule, edge)):
            return  # the ownership is over, and the rule's business with this device
    after = StateRow(due.device_id, rule.rule_id, due.epoch, rule.version, change.state)
    if watch.before is None and change.state == OK:
        return
    if not await rule_watch.set_state(connection, watch.before, after):
        raise OvertakenError


def detail_of(rule: Rule, edge: Edge) -> dict[str, Scalar]:
    """What the event tells: which rule, what it watches, the value that decided, how long it had lasted."""
    subject = SUBJECTS[rule.condition.subject]
    detail: dict[str, Scalar] = {
        "rule_id": rule.rule_id,
        "rule": rule.name,
        "subject": subject.name,
        "value": round(edge.value, 3),
        "side": rule.condition.side.value,
        "threshold": rule.condition.threshold,
        "since_ms": edge.since_ms,
    }
    if not edge.raised:
        detail["lasted_s"] = round((edge.ts_ms - edge.raised_ms) / 1000)
    return detail


async def _end(connection: Connection, chunk: Iterable[Over], now_ms: int) -> None:
    """Forget these states; where one was raised, tell its owner that nobody looks any more."""
    for one in chunk:
        await claims.lock_known(connection, one.device_id)
        if not await rule_watch.drop_state(connection, one) or one.phase == "rising":
            continue
        detail: dict[str, Scalar] = {
            "rule_id": one.rule_id,
            "rule": one.name,
            "subject": one.subject,
            "why": one.why,
            "lasted_s": max(0, round((now_ms - one.raised_ms) / 1000)),
        }
        await tell(connection, one.device_id, one.epoch, now_ms, CloudEventKind.RULE_CLEARED, detail)
