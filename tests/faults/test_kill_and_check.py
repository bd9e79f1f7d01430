"""Ten devices while every part is killed once: `make accept NAME=kill-and-check` is this for minutes."""

from pathlib import Path

import pytest

from protocol.messages import EventKind
from tests.faults.checker import prove
from tests.faults.processes import Part
from tests.faults.site import Site, built_site

DEVICES = 10
PROGRESS_S = 40.0  # an agent that found nobody twice waits for up to four seconds
DRAIN_S = 40.0


def kill_and_go_on(site: Site, part: Part, *, below: bool = False) -> None:
    """Kill, start again, and wait until every device got samples of after that through."""
    if below:
        part.kill_below()
        assert part.wait(10) == 1  # the launcher says that its server is gone
    else:
        part.kill()
        assert part.status == -9
    evidence = site.evidence()
    part.start().wait_ready()
    site.wait_stored(evidence, PROGRESS_S)
    site.wait_progress(PROGRESS_S)
    assert site.verdict().complaints(drained=False) == []


@pytest.mark.timeout(240)
def test_nothing_is_lost_and_nothing_comes_twice(tmp_path: Path) -> None:
    with built_site(tmp_path, devices=DEVICES, agents=2, poll_interval_s=0.2) as site:
        site.order_all("mains", "off")
        kill_and_go_on(site, site.gateway)
        kill_and_go_on(site, site.agents[0])
        kill_and_go_on(site, site.postgres)
        site.order_all("mains", "on")
        kill_and_go_on(site, site.agents[1])
        kill_and_go_on(site, site.postgres, below=True)
        for part in (site.postgres, site.gateway, *site.agents):  # all at once, as in a power cut
            part.kill()
        for part in (*site.agents, site.gateway, site.postgres):
            part.start()
        site.postgres.wait_ready()
        site.wait_progress(PROGRESS_S)
        site.drain(DRAIN_S)
        evidence = site.evidence()
        found = site.verdict(evidence)
        assert found.complaints(drained=True) == []
        assert found.devices == DEVICES
        assert found.acked > 0
        assert site.rejected() == (0, "")
        assert site.alarms() == []
        for kinds in site.events().values():
            assert {EventKind.ON_BATTERY, EventKind.MAINS_BACK} <= set(kinds)
        prove(site.cloud.dsn, evidence)
