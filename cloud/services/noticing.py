"""New events become alarms, alarms become notices: the two steps that a jobs process repeats.

``take_in`` folds events into alarms, a bounded number at a time, one process at a time. ``decide_one`` takes
one company that has something to decide and writes its notices, with a delivery for everybody who gets them,
in one transaction: whatever happens, everything is decided exactly once. Sending is another matter
(:mod:`cloud.notify`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cloud.core.notice import DEFAULT_TOPICS, SUBJECT_KEY, Alarm, Edge, Occurrence, Topic, fold, occurrence
from cloud.core.notice_plan import Item, Key, Message, Situation, decide
from cloud.postgres import alarms, closing, notice_policies, notices, outbox, sites
from cloud.postgres.alarms import NewEvent
from cloud.postgres.notice_policies import PolicyRow, Reader, Target
from cloud.postgres.notices import Delivery
from cloud.postgres.transaction import Connection, in_transaction
from cloud.services.notice_letters import Desk, letter
from cloud.services.notice_words import FIRST_POLICY

AT_ONCE: Final = 1000
MOST_DETAILS: Final = 4
DETAIL_CHARS: Final = 120
IMPORTED: Final = "imported"
"""Mark, in its detail, of an event from somebody's old records."""


async def take_in(desk: Desk, now_ms: int) -> int:
    """Fold new events into alarms; how many there were. 0 also where another process is about it."""

    async def work(connection: Connection) -> int:
        if not await alarms.hold_intake(connection):
            return 0
        events = await alarms.new_events(connection, AT_ONCE)
        if not events:
            return 0
        told = [(event, what) for event in events if (what := _occurrence(event)) is not None]
        company_of = {event.device_id: event.company_id or 0 for event, _ in told}
        await alarms.wake(connection, company_of.values(), now_ms)
        before = await alarms.load(connection, company_of)
        after: dict[Key, Alarm] = {}
        for event, what in told:
            key = Key(event.device_id, what.topic, what.subject)
            alarm = after.get(key, before.get(key))
            changed = fold(alarm, what)
            if changed is not None and changed is not alarm:
                after[key] = changed
        await alarms.save(connection, company_of, after)
        await alarms.mark_noticed(connection, events)
        return len(events)

    return await in_transaction(
        desk.pool, work, before_commit="notify.intake.before", after_commit="notify.intake.after"
    )


def _occurrence(event: NewEvent) -> Occurrence | None:
    if event.company_id is None or event.detail.get(IMPORTED) is True:
        return None
    found = occurrence(
        epoch=event.epoch,
        stream=event.stream,
        seq=event.seq,
        at_ms=event.at_ms,
        received_ms=event.received_ms,
        kind=event.kind,
        subject=str(event.detail.get(SUBJECT_KEY, ""))[:40],
    )
    if found is None or not (found.edge is Edge.ONCE or found.topic is Topic.RULE):
        return found
    detail = "".join(char for char in _told(event, found.topic) if char.isprintable())[:DETAIL_CHARS]
    return Occurrence(
        *(found.epoch, found.stream, found.seq, found.at_ms, found.received_ms),
        *(found.topic, found.edge, found.subject, detail),
    )


def _told(event: NewEvent, topic: Topic) -> str:
    """What an event tells beside its kind, in a few words."""
    detail = event.detail
    if topic is Topic.RULE:
        value, threshold = detail.get("value"), detail.get("threshold")
        measured = isinstance(value, int | float) and isinstance(threshold, int | float)
        figures = f": {value:g}, {detail.get('side', '')} {threshold:g}" if measured else ""
        return f"{detail.get('rule', '')}{figures}"
    words = [
        f"{name.replace('_', ' ')} {value}"
        for name, value in list(detail.items())[:MOST_DETAILS]
        if isinstance(value, str | int | float)
    ]
    return ", ".join(words)


# --- deciding -----------------------------------------------------------------------------------------------


async def decide_one(desk: Desk, now_ms: int) -> bool:
    """Decide about one company; False where no company has anything to decide at this moment."""

    async def work(connection: Connection) -> bool:
        company_id = await alarms.take_company(connection, now_ms)
        if company_id is None:
            return False
        await _decide(connection, desk, company_id, now_ms)
        return True

    return await in_transaction(
        desk.pool, work, before_commit="notify.decide.before", after_commit="notify.decide.after"
    )


async def _decide(connection: Connection, desk: Desk, company_id: int, now_ms: int) -> None:
    await give_first_policy(connection, company_id)
    rows = [row for row in await notice_policies.policies(connection, company_id) if row.enabled]
    policy_ids = [row.policy_id for row in rows]
    standing, places = await alarms.unsettled(connection, company_id)
    windows = await notice_policies.windows(connection, company_id, _oldest(standing, now_ms))
    situation = Situation(
        policies=tuple([row.policy() for row in rows]),
        places=places,
        alarms=standing,
        told=await alarms.told(connection, policy_ids, list(places)),
        windows=tuple([row.window() for row in windows]),
        paces=await notice_policies.paces(connection, policy_ids),
        delays_s=await alarms.sensitivities(connection, list(places)),
    )
    plan = decide(situation, now_ms)
    await alarms.save_told(connection, plan.told)
    await alarms.settle(connection, plan.settled)
    for (policy_id, site_id), times_ms in plan.paces.items():
        await notice_policies.save_pace(connection, policy_id, site_id, times_ms)
    if plan.messages:
        post = await _Post.open(connection, desk, company_id, now_ms, places, policy_ids)
        for message in plan.messages:
            await post.write(message)
    await alarms.look_again(connection, company_id, plan.next_ms)


def _oldest(standing: Mapping[Key, Alarm], now_ms: int) -> int:
    """Windows that ended before this say nothing about these alarms."""
    return min((alarm.began_ms for alarm in standing.values()), default=now_ms) - 1


async def give_first_policy(connection: Connection, company_id: int) -> None:
    """A company that has never had a policy gets one: its owner, by mail, about what matters.

    The caller holds the company's row in ``notice_company``.
    """
    if await notice_policies.is_known(connection, company_id):
        return
    if not await closing.is_open(connection, company_id):
        return
    row = PolicyRow(name=FIRST_POLICY, topics=sorted(DEFAULT_TOPICS))
    # It is as old as the company: what happened before anybody looked is told, too.
    policy_id = await notice_policies.insert_policy(connection, company_id, row, 0)
    await notice_policies.set_targets(connection, policy_id, [Target(0, "role", "owner")])


def item_json(item: Item, name: str) -> dict[str, Any]:
    """An item as a notice keeps it, and as a webhook is given it."""
    return {
        "device": item.key.device_id,
        "epoch": item.alarm.epoch,
        "name": name,
        "topic": item.key.topic.value,
        "subject": item.key.subject,
        "say": item.say.value,
        "began_ms": item.alarm.began_ms,
        "ended_ms": item.alarm.ended_ms,
        "times": item.times,
        "detail": item.alarm.detail,
    }


@dataclass(slots=True)
class _Post:
    """Writes the notices of one round: nobody gets the same twice."""

    connection: Connection
    desk: Desk
    company_id: int
    now_ms: int
    names: Mapping[int, str]
    sites: Mapping[int, str]
    targets: Mapping[int, list[Target]]
    readers: list[Reader]
    channel_ids: frozenset[int]
    given: dict[tuple[str, int], set[tuple[Key, str]]]

    @classmethod
    async def open(
        cls,
        connection: Connection,
        desk: Desk,
        company_id: int,
        now_ms: int,
        places: Iterable[int],
        policy_ids: list[int],
    ) -> "_Post":
        names, places_named = await sites.names(connection, company_id, sorted(places))
        channels = await notice_policies.channels(connection, company_id)
        return cls(
            connection=connection,
            desk=desk,
            company_id=company_id,
            now_ms=now_ms,
            names=names,
            sites=places_named,
            targets=await notice_policies.targets(connection, policy_ids),
            readers=await notice_policies.readers(connection, company_id),
            channel_ids=frozenset(channel.channel_id for channel in channels),
            given={},
        )

    async def write(self, message: Message) -> None:
        """A notice and its deliveries."""
        items = [item_json(item, self.names[item.key.device_id]) for item in message.items]
        notice_id = await notices.insert(
            self.connection,
            self.company_id,
            message.policy_id,
            site_id=message.site_id,
            step=message.step,
            items=items,
            now_ms=self.now_ms,
        )
        lines = {(item.key, item.say.value) for item in message.items}
        targets = [one for one in self.targets.get(message.policy_id, []) if one.step == message.step]
        for reader in self.readers:
            wanted = any(_means(target, reader) for target in targets)
            if (
                wanted
                and message.policy_id not in reader.gone
                and self._new("account", reader.account_id, lines)
            ):
                delivery_id = await notices.insert_delivery(
                    self.connection,
                    notice_id,
                    self.company_id,
                    now_ms=self.now_ms,
                    account_id=reader.account_id,
                    sent_to=reader.email,
                )
                delivery = Delivery(
                    delivery_id=delivery_id,
                    notice_id=notice_id,
                    company_id=self.company_id,
                    policy_id=message.policy_id,
                    step=message.step,
                    account_id=reader.account_id,
                    channel_id=None,
                    site=self.sites.get(message.site_id, ""),
                    notice_ms=self.now_ms,
                    tries=0,
                    items=items,
                )
                await outbox.put(self.connection, letter(self.desk, delivery, reader))
        for target in targets:
            if target.kind == "channel" and int(target.target) in self.channel_ids:
                channel_id = int(target.target)
                if self._new("channel", channel_id, lines):
                    await notices.insert_delivery(
                        self.connection, notice_id, self.company_id, now_ms=self.now_ms, channel_id=channel_id
                    )

    def _new(self, kind: str, number: int, lines: set[tuple[Key, str]]) -> bool:
        had = self.given.setdefault((kind, number), set())
        fresh = not lines <= had
        had |= lines
        return fresh


def _means(target: Target, reader: Reader) -> bool:
    """Whether somebody is meant: by name, or by role (a role includes those above it)."""
    if target.kind == "account":
        return target.target == str(reader.account_id)
    return target.kind == "role" and reader.role in ROLES.get(target.target, ())


ROLES: Final[Mapping[str, frozenset[str]]] = {
    "owner": frozenset({"owner"}),
    "heads": frozenset({"owner", "admin"}),
    "everyone": frozenset({"owner", "admin", "operator", "viewer"}),
}
"""Groups of members that a policy may name."""
