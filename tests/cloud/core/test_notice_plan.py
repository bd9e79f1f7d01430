"""Which messages go out: a small world with a clock, and what its people get."""

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.core.notice import Alarm, Edge, Occurrence, Topic, fold
from cloud.core.notice_plan import GATHER_MS, HOUR_MS, Key, Message, Say, Situation, Told, decide
from cloud.core.notice_policy import Area, Place, Policy, Quiet, Scope, Window

NOON = 1_800_014_400_000  # 2027-01-15 12:00 UTC
MINUTE = 60_000
COMPANY = Policy(1, Area(), frozenset(Topic), 0)


@dataclass
class World:
    """Devices of one company, what their people were sent, and a clock that goes in steps."""

    policies: tuple[Policy, ...] = (COMPANY,)
    windows: tuple[Window, ...] = ()
    sites: dict[int, int] = field(default_factory=dict)
    delays_s: dict[int, int] = field(default_factory=dict)
    now_ms: int = NOON
    alarms: dict[Key, Alarm] = field(default_factory=dict)
    settled: set[Key] = field(default_factory=set)
    told: dict[tuple[int, Key], Told] = field(default_factory=dict)
    paces: dict[tuple[int, int], tuple[int, ...]] = field(default_factory=dict)
    sent: list[tuple[int, Message]] = field(default_factory=list)
    look_ms: int | None = None
    seq: int = 0

    def event(self, edge: Edge, topic: Topic = Topic.ON_BATTERY, device: int = 1, at_ms: int = 0) -> None:
        """Something happens at a device, now."""
        self.seq += 1
        key = Key(device, topic)
        what = Occurrence(5, 1, self.seq, at_ms or self.now_ms, self.now_ms, topic, edge)
        alarm = fold(self.alarms.get(key), what)
        if alarm is not None:
            self.alarms[key] = alarm
            self.settled.discard(key)
        self.look_ms = self.now_ms

    def run(self, for_ms: int) -> None:
        """Let time go on: look whenever the last look said so."""
        end_ms = self.now_ms + for_ms
        for _ in range(100_000):
            if self.look_ms is None or self.look_ms > end_ms:
                break
            self.now_ms = max(self.now_ms, self.look_ms)
            self._look()
        else:
            raise AssertionError("it looks again and again")
        self.now_ms = end_ms

    def _look(self) -> None:
        alarms = {key: alarm for key, alarm in self.alarms.items() if key not in self.settled}
        places = {key.device_id: Place(key.device_id, 5, self.sites.get(key.device_id, 0)) for key in alarms}
        plan = decide(
            Situation(self.policies, places, alarms, self.told, self.windows, self.paces, self.delays_s),
            self.now_ms,
        )
        self.told |= plan.told
        self.paces |= plan.paces
        self.settled |= plan.settled
        self.sent += [(self.now_ms, message) for message in plan.messages]
        self.look_ms = plan.next_ms

    @property
    def said(self) -> list[list[str]]:
        """What each message said, by its items."""
        return [[item.say.value for item in message.items] for _, message in self.sent]

    @property
    def times_s(self) -> list[float]:
        """When the messages went out, in seconds from noon."""
        return [(at_ms - NOON) / 1000 for at_ms, _ in self.sent]


def outage(world: World, for_ms: int, device: int = 1) -> None:
    """Mains fail and come back."""
    world.event(Edge.RAISE, device=device)
    world.run(for_ms)
    world.event(Edge.CLEAR, device=device)


def test_an_outage_is_told_at_once_and_its_end_after_a_minute() -> None:
    world = World()
    outage(world, 5 * MINUTE)
    world.run(10 * MINUTE)
    assert world.said == [["raised"], ["cleared"]]
    assert world.times_s == [1, 361]
    assert world.look_ms is None, "nothing is left to look at"


def test_forty_devices_of_a_site_make_one_message() -> None:
    world = World(sites=dict.fromkeys(range(1, 41), 9))
    for device in range(1, 41):
        world.event(Edge.RAISE, device=device)
        world.run(20)
    world.run(5 * MINUTE)
    assert [len(message.items) for _, message in world.sent] == [40]
    assert world.sent[0][1].site_id == 9
    for device in range(1, 41):
        world.event(Edge.CLEAR, device=device)
    world.run(5 * MINUTE)
    assert [len(message.items) for _, message in world.sent] == [40, 40]


def test_whoever_comes_in_drops_is_gathered_for_three_seconds_at_most() -> None:
    world = World()
    for device in range(1, 21):
        world.event(Edge.RAISE, device=device)
        world.run(400)
    world.run(MINUTE)
    assert world.times_s[0] == GATHER_MS / 1000
    assert sum(len(message.items) for _, message in world.sent) == 20
    assert len(world.sent) == 2


def test_two_sites_are_two_messages() -> None:
    world = World(sites={1: 8, 2: 9})
    world.event(Edge.RAISE, device=1)
    world.event(Edge.RAISE, device=2)
    world.run(MINUTE)
    assert sorted(message.site_id for _, message in world.sent) == [8, 9]


@pytest.mark.parametrize("half_s", [1, 5, 20, 30, 59, 61, 90, 119, 150])
def test_a_link_that_flaps_for_an_hour_makes_three_messages_at_most_in_all(half_s: int) -> None:
    world = World()
    for _ in range(3600 // (2 * half_s)):
        world.event(Edge.RAISE, Topic.UPS_LINK)
        world.run(1000 * half_s)
        world.event(Edge.CLEAR, Topic.UPS_LINK)
        world.run(1000 * half_s)
    world.run(3 * HOUR_MS)
    assert 1 <= len(world.sent) <= 3
    assert not world.told[1, Key(1, Topic.UPS_LINK)].standing, "and in the end people believe what is so"


@given(
    st.lists(st.integers(1, 40 * MINUTE), min_size=1, max_size=60),
    st.integers(0, 600),
    st.booleans(),
)
def test_nobody_gets_more_than_three_messages_an_hour_about_one_alarm(
    spans_ms: list[int], delay_s: int, recoveries: bool
) -> None:
    world = World(policies=(replace(COMPANY, delay_s=delay_s, recoveries=recoveries),))
    for i, span_ms in enumerate(spans_ms):
        world.event(Edge.CLEAR if i % 2 else Edge.RAISE)
        world.run(span_ms)
    world.run(3 * HOUR_MS)
    times = [at_ms for at_ms, _ in world.sent]
    assert all(later - earlier >= HOUR_MS for earlier, later in zip(times, times[3:], strict=False))
    alarm, told = world.alarms[Key(1, Topic.ON_BATTERY)], world.told[1, Key(1, Topic.ON_BATTERY)]
    assert told.standing == alarm.standing, "in the end people believe what is so"
    assert world.look_ms is None


def test_a_real_outage_after_flapping_is_told_and_low_battery_at_once() -> None:
    world = World()
    for _ in range(10):
        outage(world, 10_000)
        world.run(10_000)
    world.event(Edge.RAISE)
    began_s = (world.now_ms - NOON) / 1000
    world.run(30 * MINUTE)
    assert world.told[1, Key(1, Topic.ON_BATTERY)].standing
    world.event(Edge.RAISE, Topic.LOW_BATTERY)
    low_s = (world.now_ms - NOON) / 1000
    world.run(MINUTE)
    assert world.times_s[-1] == low_s + 1
    assert world.times_s[-2] < began_s + 11 * 60


def test_what_is_shorter_than_the_delay_is_not_told() -> None:
    world = World(delays_s={1: 60})
    outage(world, 59_000)
    world.run(10 * MINUTE)
    assert world.sent == []
    outage(world, 70_000)
    world.run(10 * MINUTE)
    assert world.said == [["raised"], ["cleared"]]
    world.event(Edge.RAISE, Topic.OVERLOAD)
    world.run(2_000)
    assert world.said[-1] == ["raised"], "sensitivity is about running on battery alone"


def test_what_was_stored_at_the_device_is_told_as_the_past() -> None:
    world = World()
    world.event(Edge.RAISE, at_ms=NOON - 50 * MINUTE)
    world.event(Edge.CLEAR, at_ms=NOON - 20 * MINUTE)
    world.run(10 * MINUTE)
    assert world.said == [["was"]]
    other = World()
    other.event(Edge.RAISE, at_ms=NOON - 50 * HOUR_MS)
    other.event(Edge.CLEAR, at_ms=NOON - 49 * HOUR_MS)
    other.run(10 * MINUTE)
    assert other.sent == [], "history is not news"


def test_a_window_holds_back_and_tells_what_is_still_so_at_its_end() -> None:
    window = Window(Area(), NOON - MINUTE, NOON + 30 * MINUTE)
    world = World(windows=(window,))
    outage(world, 5 * MINUTE)
    world.run(MINUTE)
    world.event(Edge.RAISE, device=2)
    world.run(60 * MINUTE)
    assert world.said == [["raised"]]
    assert world.sent[0][1].items[0].key.device_id == 2
    assert world.times_s == [1800]


def test_a_window_is_about_its_devices_only() -> None:
    world = World(windows=(Window(Area(Scope.DEVICE, 1, 5), NOON, NOON + HOUR_MS),), sites={2: 9})
    world.event(Edge.RAISE, device=1)
    world.event(Edge.RAISE, device=2)
    world.run(MINUTE)
    assert [item.key.device_id for _, message in world.sent for item in message.items] == [2]


def test_quiet_hours_wait_and_what_is_urgent_does_not() -> None:
    quiet = Quiet(11 * 60, 14 * 60, "UTC")
    world = World(policies=(replace(COMPANY, quiet=quiet),))
    outage(world, 5 * MINUTE)
    world.event(Edge.RAISE, device=2)
    world.run(MINUTE)
    assert world.sent == []
    world.event(Edge.RAISE, Topic.LOW_BATTERY)
    world.run(3 * HOUR_MS)
    assert world.said == [["raised"], ["was", "raised"]]
    assert world.times_s[1] == 2 * 3600


def test_escalation_goes_to_others_once_unless_somebody_acknowledges() -> None:
    policy = replace(COMPANY, escalate_after_s=600)
    world = World(policies=(policy,))
    world.event(Edge.RAISE)
    world.run(HOUR_MS)
    assert [(message.step, message.items[0].say) for _, message in world.sent] == [
        (0, Say.RAISED),
        (1, Say.ESCALATED),
    ]
    assert world.times_s[1] == pytest.approx(601, abs=2)
    calm = World(policies=(policy,))
    calm.event(Edge.RAISE)
    calm.run(MINUTE)
    key = Key(1, Topic.ON_BATTERY)
    calm.alarms[key] = replace(calm.alarms[key], acked_ms=calm.now_ms)
    calm.run(HOUR_MS)
    assert calm.said == [["raised"]]


def test_the_most_specific_policy_counts() -> None:
    site = Policy(2, Area(Scope.SITE, 9), frozenset({Topic.ON_BATTERY}), 0)
    device = Policy(3, Area(Scope.DEVICE, 3, 5), frozenset({Topic.OVERLOAD}), 0)
    old = Policy(4, Area(Scope.DEVICE, 1, 4), frozenset(Topic), 0)
    world = World(policies=(COMPANY, site, device, old), sites={2: 9, 3: 9})
    for number in (1, 2, 3):
        world.event(Edge.RAISE, device=number)
        world.event(Edge.RAISE, Topic.OVERLOAD, device=number)
    world.run(MINUTE)
    found = {(m.policy_id, i.key.device_id, i.key.topic) for _, m in world.sent for i in m.items}
    assert found == {
        (1, 1, Topic.ON_BATTERY),
        (1, 1, Topic.OVERLOAD),
        (2, 2, Topic.ON_BATTERY),
        (3, 3, Topic.OVERLOAD),
    }


def test_a_new_policy_does_not_tell_of_what_was_before_it() -> None:
    world = World(policies=(replace(COMPANY, created_ms=NOON + 1),))
    world.event(Edge.RAISE)
    world.run(MINUTE)
    assert world.sent == []
    world.event(Edge.CLEAR)
    world.event(Edge.RAISE)
    world.run(MINUTE)
    assert world.told[1, Key(1, Topic.ON_BATTERY)].standing


def test_a_self_test_is_told_once() -> None:
    world = World()
    world.event(Edge.ONCE, Topic.SELF_TEST)
    world.run(HOUR_MS)
    assert world.said == [["happened"]]
