"""From register to row, on real parts: simulated UPS, agent, gateway and PostgreSQL, each a process."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.agent.house import WAIT_S, House, built_house, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.parts import CloudParts

ON_BATTERY = 1 << 2
STOP_S = 10.0
KNOWN_S = 10.0  # a plug pulled is known far sooner; how soon is measured alone, by the acceptance `demo`


def claimed(house: House) -> None:
    """Start everything, claim the UPS, and wait until its samples arrive."""
    house.start_cloud()
    house.agent.start()
    house.claim()
    wait_for("the device has an owner", lambda: house.latest("epoch"))
    wait_for("samples are stored", lambda: house.stored() >= 2)


@pytest.mark.parametrize("rtu", [False, True], ids=["tcp", "rtu"])
def test_a_pulled_plug_is_known_in_the_cloud_before_the_next_report(
    tmp_path: Path, cloud: CloudParts, *, rtu: bool
) -> None:
    with built_house(tmp_path, cloud=cloud, rtu=rtu, report_interval_s=60.0) as house:
        house.start_cloud()
        house.agent.start()
        house.claim()
        wait_for("live values are shown", lambda: (house.latest("ts_ms") or 0) > 0)
        state = house.order("state")
        assert house.latest("state_of_charge") == pytest.approx(state["charge_pct"], abs=0.5)
        assert house.latest("output_voltage") == pytest.approx(state["output_v"], abs=2.0)
        house.order("mains", "off")
        wait_for("on battery", lambda: house.latest("ups_status") & ON_BATTERY, KNOWN_S)
        wait_for("the event is stored", lambda: "on_battery" in house.events())
        at_once = house.stored()
        wait_for("a sample a second on battery", lambda: house.stored() >= at_once + 2, 5.0)
        house.order("mains", "on")
        wait_for("back on mains", lambda: not house.latest("ups_status") & ON_BATTERY)
        wait_for("the event is stored", lambda: "mains_back" in house.events())
        began = time.monotonic()
        assert house.agent.stop() == 0
        assert time.monotonic() - began < STOP_S


def test_nothing_is_lost_or_doubled_through_outages_and_kills(tmp_path: Path, cloud: CloudParts) -> None:
    with built_house(tmp_path, cloud=cloud, poll_interval_s=0.1) as house:
        claimed(house)
        house.cloud.kill("gateway")
        waiting = house.spooled()
        wait_for("the spool fills while the gateway is away", lambda: house.spooled() >= waiting + 10)
        house.agent.kill()
        house.agent.start()
        waiting = house.spooled()
        wait_for("the spool fills after a restart offline", lambda: house.spooled() >= waiting + 10)
        house.cloud.start("gateway")
        wait_for("the backlog is stored", house.is_drained)
        house.cloud.kill("postgres")
        waiting = house.spooled()
        wait_for("the spool fills while the database is away", lambda: house.spooled() >= waiting + 10)
        house.agent.kill()
        house.cloud.start("postgres")
        house.agent.start()
        waiting = house.spooled()
        wait_for("it goes on", lambda: house.spooled() >= waiting + 10)
        wait_for("everything is stored", house.is_drained)
        assert house.agent.stop() == 0
        house.agent.start()
        wait_for("what the stop left is stored", house.is_drained)
        verdict = house.verdict()
        assert verdict.complaints(drained=True) == []
        assert verdict.spooled >= 40


def test_nothing_is_lost_or_doubled_wherever_the_agent_is_killed(tmp_path: Path, cloud: CloudParts) -> None:
    """SIGKILL at each point of the way from reading to acknowledgement, twice, each time a little later."""
    points = ("spool.append", "spool.fsync", "spool.rename", "publish", "puback")
    with built_house(tmp_path, cloud=cloud, poll_interval_s=0.1, report_interval_s=0.3) as house:
        claimed(house)
        house.agent.kill()
        for passing in (1, 4):
            for point in points:
                house.agent.start(fault=f"agent.{point}:{passing}:kill")
                status = house.agent.wait(WAIT_S)
                assert status == -signal.SIGKILL, f"{point} was never passed: {house.agent.tail()}"
        house.agent.start()
        waiting = house.spooled()
        wait_for("it goes on", lambda: house.spooled() >= waiting + 5)
        wait_for("everything is stored", house.is_drained)
        assert house.verdict().complaints(drained=True) == []
        assert house.agent.stop() == 0
