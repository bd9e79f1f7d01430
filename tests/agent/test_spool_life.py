"""The spool in any order of events: appends, acknowledgements, power cuts, transfers."""

from __future__ import annotations

import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.agent.spool_rig import Rig
from tests.fakes.disk import FakeDisk, PowerCut


class Life(RuleBasedStateMachine):
    """Any order of appends, publishes, lost acknowledgements, crashes, power cuts and full disks."""

    rig: Rig

    @initialize(seed=st.integers(0, 2**16))
    def begin(self, seed: int) -> None:
        self.rig = Rig(FakeDisk(random.Random(seed)))
        self.rig.open()
        self.rig.hello()
        self.connected = True

    def attempt(self, act: object) -> None:
        try:
            act()  # type: ignore[operator]  # any callable
        except OSError:
            pass
        except PowerCut:
            self.rig.disk = self.rig.disk.after_power_cut()
            self.rig.open()
            self.connected = False

    @rule(count=st.integers(1, 6))
    def append(self, count: int) -> None:
        self.attempt(lambda: self.rig.append(count))

    @rule(limit=st.integers(1, 9), lose_ack=st.booleans())
    def publish(self, limit: int, lose_ack: bool) -> None:
        if self.connected:
            self.attempt(lambda: self.rig.publish(limit, lose_ack=lose_ack))
            self.connected = self.connected and not lose_ack

    @rule()
    def hello(self) -> None:
        def act() -> None:
            self.connected = False
            self.rig.hello()
            self.connected = True

        self.attempt(act)

    @rule(reboot=st.booleans())
    def restart(self, reboot: bool) -> None:
        self.connected = False
        if reboot:
            self.rig.clock.reboot(f"boot-{self.rig.next_name}", 1_600_000_000_000)
        self.attempt(self.rig.open)

    @rule(ahead=st.integers(1, 30))
    def cut_power_soon(self, ahead: int) -> None:
        self.rig.disk.cut_at = self.rig.disk.steps + ahead

    @rule(ahead=st.integers(1, 12))
    def fail_soon(self, ahead: int) -> None:
        self.rig.disk.errors_at.add(self.rig.disk.steps + ahead)

    @invariant()
    def nothing_stored_twice(self) -> None:
        if hasattr(self, "rig"):
            assert len(set(self.rig.cloud.stored)) == len(self.rig.cloud.stored)

    def teardown(self) -> None:
        if not hasattr(self, "rig"):
            return
        rig = self.rig
        rig.disk.cut_at, rig.disk.errors_at = None, set()
        rig.open()
        rig.hello()
        rig.drain()
        rig.check()


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
