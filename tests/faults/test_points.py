"""Death at each named fault point, and what is seen while one is held: the order commit, then PUBACK."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.accept import wait_until
from tests.faults.processes import Part
from tests.faults.site import Site, built_site
from tests.faults.trace import Place

DEVICES = 4
TIMEOUT_S = 40.0
STALLED = 4  # samples of one device that wait
GATEWAY_POINTS = ("gateway.fence", "gateway.commit.before", "gateway.commit.after", "gateway.puback")
AGENT_POINTS = (
    "agent.spool.append",
    "agent.spool.fsync",
    "agent.spool.rename",
    "agent.publish",
    "agent.puback",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One site for all the deaths: each test leaves it running."""
    with built_site(tmp_path_factory.mktemp("site"), devices=DEVICES, agents=1, poll_interval_s=0.2) as site:
        site.gateway.command = [*site.gateway.command, "--writers", "1"]  # who is held holds everything
        yield site


def die_at(site: Site, part: Part, point: str, passing: int) -> None:
    """Let the part die at the point, start it again, and check that nothing came of it."""
    part.stop()
    part.start(fault=f"{point}:{passing}:kill")
    wait_until(f"{part.name} has died at {point}", lambda: not part.alive, TIMEOUT_S)
    assert part.status == -9
    evidence = site.evidence()
    part.start().wait_ready()
    site.wait_stored(evidence, TIMEOUT_S)
    site.wait_progress(TIMEOUT_S)
    found = site.verdict()
    assert found.complaints(drained=False) == []
    assert not found.unexplained
    assert site.rejected() == (0, "")
    assert site.alarms() == []


def _is_stalled(site: Site) -> bool:
    return all(len(trace.open()) >= STALLED for trace in site.evidence().values())


def _stored(site: Site) -> set[tuple[int, Place]]:
    return {(device_id, (stream, seq)) for device_id, stream, seq, _ in site.rows()}


def _stored_but_open(site: Site) -> set[tuple[int, Place]]:
    """Samples in the table whose PUBACK did not arrive."""
    return _stored(site) & {
        (device_id, place) for device_id, trace in site.evidence().items() for place in trace.open()
    }


@pytest.mark.parametrize("point", GATEWAY_POINTS)
def test_the_gateway_dies(site: Site, point: str) -> None:
    die_at(site, site.gateway, point, 5)


@pytest.mark.parametrize("point", AGENT_POINTS)
def test_the_agent_dies(site: Site, point: str) -> None:
    die_at(site, site.agents[0], point, 2 if point == "agent.spool.rename" else 9)


@pytest.mark.parametrize(
    ("point", "is_stored"),
    [("gateway.fence", False), ("gateway.commit.before", False), ("gateway.commit.after", True)],
)
def test_what_is_not_committed_is_not_acknowledged(
    site: Site, tmp_path: Path, point: str, *, is_stored: bool
) -> None:
    """While the gateway is held, nothing of the batch has its PUBACK; it is stored after the commit only."""
    held = tmp_path / "held"
    site.gateway.stop()
    earlier = _stored(site)  # the PUBACK of one may have been lost with the gateway that stored it
    site.gateway.start(fault=f"{point}:5:hold:{held}")
    wait_until(f"the gateway is held at {point}", held.exists, TIMEOUT_S)
    wait_until("all that is behind it has piled up", lambda: _is_stalled(site), TIMEOUT_S)
    assert site.verdict().lost_acked == []
    assert bool(_stored_but_open(site) - earlier) is is_stored
    site.gateway.kill()
    site.gateway.start().wait_ready()
    site.wait_progress(TIMEOUT_S)
    assert site.verdict().complaints(drained=False) == []


def test_a_database_that_dies_before_the_commit_takes_nothing_along(site: Site, tmp_path: Path) -> None:
    """The gateway outlives it, keeps its sessions, and writes the batch again."""
    held = tmp_path / "held"
    site.gateway.stop()
    site.gateway.start(fault=f"gateway.commit.before:5:hold:{held}")
    wait_until("the gateway is held before a commit", held.exists, TIMEOUT_S)
    site.postgres.kill()
    site.postgres.start().wait_ready()
    evidence = site.evidence()
    held.unlink()
    site.wait_stored(evidence, TIMEOUT_S)
    site.wait_progress(TIMEOUT_S)
    assert site.gateway.alive
    assert site.verdict().complaints(drained=False) == []
    assert site.rejected() == (0, "")
    assert site.alarms() == []


def test_a_held_agent_loses_its_place_to_nobody(site: Site, tmp_path: Path) -> None:
    """Killed with a PUBACK that it had not acted on, the agent finds its place by the next hello."""
    held = tmp_path / "held"
    agent = site.agents[0]
    agent.stop()
    agent.start(fault=f"agent.puback:9:hold:{held}")
    wait_until("the agent is held after a PUBACK", held.exists, TIMEOUT_S)
    assert _stored_but_open(site), "the sample is stored, and the spool does not know it yet"
    agent.kill()
    agent.start()
    site.wait_progress(TIMEOUT_S)
    found = site.verdict()
    assert found.complaints(drained=False) == []
