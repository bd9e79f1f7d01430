"""Which messages go out now: alarms, policies and what people were told, to messages and the next look.

Theory of operation. For each policy and alarm there is what its people believe (:class:`Told`). Where that
differs from the alarm, something is due:

========================  ==============================  ====================================================
they believe              it is                           due
========================  ==============================  ====================================================
over                      standing                        RAISED, once it has lasted the delay
standing                  over                            CLEARED, once it has been over for a minute
over                      over, and was standing          WAS (too short for the delay: nothing)
anything                  over as soon as it began        HAPPENED
standing, unacknowledged  standing                        ESCALATED, a time after RAISED, to others
========================  ==============================  ====================================================

*Hold-off.* The more often people were told of an alarm within the last hour, the longer it has to be steady
before they are told again (``STEADY_MS``); after three times they are told nothing for the rest of that hour.
*Quiet hours* and *maintenance windows* put off what is due; what began and ended within a window is dropped.

*Grouping.* What is due for one policy at one site goes into one message: the first message waits until
nothing was added for a second, three seconds at most; further ones keep a distance (``GAP_MS``). Whoever gets
several messages in one round gets nothing twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, NamedTuple

from cloud.core.notice import Alarm, Topic
from cloud.core.notice_policy import Place, Policy, Window, that_count

HOUR_MS: Final = 3_600_000
STEADY_MS: Final = (0, 60_000, 180_000, 600_000)
"""How long a change lasts before it is told, by how often the alarm was told of within an hour."""
CLEAR_STEADY_MS: Final = 60_000
MOST_AN_HOUR: Final = 3
QUIET_MS: Final = 1_000
GATHER_MS: Final = 3_000
GAP_MS: Final = (0, 30_000, 30_000, 30_000, 30_000, 300_000)
"""Between messages of one policy about one site, by their number within the last hour."""
LATE_MS: Final = 24 * HOUR_MS
"""What was over for longer than this when it reached us is history, not news."""


class Say(StrEnum):
    """What is said about an alarm. Append only: the values are stored."""

    RAISED = "raised"
    CLEARED = "cleared"
    WAS = "was"
    HAPPENED = "happened"
    ESCALATED = "escalated"


class Key(NamedTuple):
    """An alarm's name."""

    device_id: int
    topic: Topic
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """What the people of one policy believe about one alarm; ``times_ms`` of the last tellings."""

    epoch: int = 0
    standing: bool = False
    changes: int = 0
    times_ms: tuple[int, ...] = ()
    raised_ms: int = 0
    escalated: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """One line of a message: what is said of the alarm, and how it was at that moment."""

    key: Key
    say: Say
    alarm: Alarm
    times: int = 1
    """How often it came and went since people were last told."""


@dataclass(frozen=True, slots=True)
class Message:
    """What one policy has to say about one site (0: devices without one). ``step`` 1 is the escalation."""

    policy_id: int
    site_id: int
    step: int
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known of one company. ``delays_s`` is the Device Sensitivity of devices that have one."""

    policies: tuple[Policy, ...]
    places: Mapping[int, Place]
    alarms: Mapping[Key, Alarm]
    told: Mapping[tuple[int, Key], Told] = field(default_factory=dict)
    windows: tuple[Window, ...] = ()
    paces: Mapping[tuple[int, int], tuple[int, ...]] = field(default_factory=dict)
    delays_s: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do: messages, what people believe then, and when to look again (None: at the next change)."""

    messages: tuple[Message, ...]
    told: Mapping[tuple[int, Key], Told]
    paces: Mapping[tuple[int, int], tuple[int, ...]]
    next_ms: int | None
    settled: frozenset[Key]
    """Alarms about which nothing is due any more, whenever one looks."""


class _Due(NamedTuple):
    at_ms: int
    say: Say
    times: int = 1


_SEEN: Final = "seen"
"""There is nothing to say about the change, now or later."""


def decide(situation: Situation, now_ms: int) -> Plan:
    """The messages of this moment."""
    told: dict[tuple[int, Key], Told] = {}
    paces: dict[tuple[int, int], tuple[int, ...]] = {}
    groups: dict[tuple[int, int, int], list[tuple[int, Item]]] = {}
    waiting: set[Key] = set()
    nexts: list[int] = []
    for key, alarm in situation.alarms.items():
        place = situation.places[key.device_id]
        for policy in that_count(situation.policies, place, key.topic):
            before = situation.told.get((policy.policy_id, key), Told())
            if before.epoch != alarm.epoch:
                before = Told(epoch=alarm.epoch)
            due = _due(situation, policy, place, key, alarm, before, now_ms)
            if due == _SEEN:
                told[policy.policy_id, key] = replace(before, standing=alarm.standing, changes=alarm.changes)
            elif isinstance(due, _Due):
                waiting.add(key)
                if due.at_ms > now_ms:
                    nexts.append(due.at_ms)
                else:
                    step = int(due.say is Say.ESCALATED)
                    group = groups.setdefault((policy.policy_id, place.site_id, step), [])
                    group.append((due.at_ms, Item(key, due.say, alarm, due.times)))
    messages: list[Message] = []
    for (policy_id, site_id, step), members in sorted(groups.items(), key=lambda one: one[0]):
        sent = tuple(at for at in situation.paces.get((policy_id, site_id), ()) if at > now_ms - HOUR_MS)
        ready_ms = _ready(sent, [at_ms for at_ms, _ in members])
        if ready_ms > now_ms:
            nexts.append(ready_ms)
            continue
        items = tuple(sorted((item for _, item in members), key=lambda item: (item.alarm.began_ms, item.key)))
        messages.append(Message(policy_id, site_id, step, items))
        paces[policy_id, site_id] = (*sent, now_ms)[-len(GAP_MS) :]
        for item in items:
            at = (policy_id, item.key)
            before = told.get(at) or situation.told.get(at) or Told()
            told[at] = _after(before, item, now_ms)
    again = {item.key for message in messages for item in message.items}
    if again:
        nexts.append(now_ms)  # a look at once: what was told may escalate later
    return Plan(
        messages=tuple(messages),
        told=told,
        paces=paces,
        next_ms=min(nexts, default=None),
        settled=frozenset(situation.alarms) - waiting - again,
    )


def _due(
    situation: Situation, policy: Policy, place: Place, key: Key, alarm: Alarm, told: Told, now_ms: int
) -> _Due | str | None:
    """What is due about an alarm and when; ``_SEEN`` where its change is not worth a word; None: nothing."""
    if alarm.changed_ms < policy.created_ms:
        return _SEEN if told.changes != alarm.changes else None
    if told.changes == alarm.changes or (alarm.standing and told.standing):
        return _escalation(policy, key, alarm, told, now_ms)
    lately = [at for at in told.times_ms if at > now_ms - HOUR_MS]
    steady_ms = STEADY_MS[min(len(lately), len(STEADY_MS) - 1)]
    at_ms = alarm.changed_ms + steady_ms
    times = 1
    if alarm.standing:
        if alarm.acked_ms is not None:
            return _SEEN
        say = Say.RAISED
        at_ms = max(at_ms, alarm.began_ms + 1000 * _delay_s(situation, policy, key))
    elif told.standing:
        if not policy.recoveries:
            return _SEEN
        say = Say.CLEARED
        at_ms = max(at_ms, alarm.changed_ms + CLEAR_STEADY_MS)
        times = max(1, (alarm.changes - told.changes + 1) // 2)
    else:
        ended_ms = alarm.ended_ms or 0
        times = max(1, (alarm.changes - told.changes) // 2)
        say = Say.HAPPENED if alarm.once else Say.WAS
        short = not alarm.once and ended_ms - alarm.began_ms < 1000 * _delay_s(situation, policy, key)
        late = alarm.changed_ms - ended_ms > LATE_MS
        worked_on = any(
            window.covers(place, alarm.began_ms) and window.covers(place, ended_ms)
            for window in situation.windows
        )
        if late or worked_on or short:
            return _SEEN
    if len(lately) >= MOST_AN_HOUR:
        at_ms = max(at_ms, lately[-MOST_AN_HOUR] + HOUR_MS)
    at_ms = max(at_ms, *(w.until_ms for w in situation.windows if w.covers(place, now_ms)), 0)
    if at_ms <= now_ms:
        at_ms = max(at_ms, policy.quiet_until(key.topic, now_ms) or 0)
    return _Due(at_ms, say, times)


def _escalation(policy: Policy, key: Key, alarm: Alarm, told: Told, now_ms: int) -> _Due | None:
    after_s = policy.escalate_after_s
    open_ = alarm.standing and told.standing and alarm.acked_ms is None and not told.escalated
    if after_s is None or not open_ or not told.raised_ms:
        return None
    at_ms = told.raised_ms + 1000 * after_s
    if at_ms <= now_ms:
        at_ms = max(at_ms, policy.quiet_until(key.topic, now_ms) or 0)
    return _Due(at_ms, Say.ESCALATED)


def _delay_s(situation: Situation, policy: Policy, key: Key) -> int:
    """Device Sensitivity is about running on battery; a policy's delay is about all its topics."""
    own = situation.delays_s.get(key.device_id, 0) if key.topic is Topic.ON_BATTERY else 0
    return max(own, policy.delay_s)


def _ready(sent: Sequence[int], dues: Sequence[int]) -> int:
    """When a group's message may go: gathered, and at a distance from those before."""
    first, last = min(dues), max(dues)
    gathered = min(last + QUIET_MS, first + GATHER_MS)
    if not sent:
        return gathered
    return max(gathered, sent[-1] + GAP_MS[min(len(sent), len(GAP_MS) - 1)])


def _after(before: Told, item: Item, now_ms: int) -> Told:
    if item.say is Say.ESCALATED:
        return replace(before, escalated=True)
    raised = item.say is Say.RAISED
    return Told(
        epoch=item.alarm.epoch,
        standing=item.alarm.standing,
        changes=item.alarm.changes,
        times_ms=(*before.times_ms, now_ms)[-MOST_AN_HOUR:],
        raised_ms=now_ms if raised else before.raised_ms,
        escalated=False if raised else before.escalated,
    )
