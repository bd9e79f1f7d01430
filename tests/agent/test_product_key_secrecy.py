"""The agent reads the Product Key from the UPS, derives the label key, and keeps nothing else of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.agent.house import built_house, wait_for
from tests.faults.processes import descendants
from tests.support.planted import files_below, find, processes, tables_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.parts import CloudParts


def test_the_agent_keeps_no_product_key(tmp_path: Path, cloud: CloudParts) -> None:
    with built_house(tmp_path, cloud=cloud) as house:
        house.start_cloud()
        house.agent.start()
        house.claim()
        wait_for("samples are stored", lambda: house.stored() >= 2)
        parts = [house.agent, *(part for part in house.cloud.parts.values() if part.alive)]
        pids = [pid for part in parts for pid in (part.pid, *descendants(part.pid))]
        places = tables_of(house.cloud.dsn) | processes(pids)
        places |= files_below(tmp_path / "state") | files_below(house.cloud.state_dir)
        places |= files_below(house.traces) | files_below(house.cloud.logs)
        places["agent's log"] = house.agent.log.read_bytes()
        key = house.label.product_key.value
        source = {"the label itself": (tmp_path / "label.key").read_bytes()}
    assert find([key], places | source) == ["the label itself"]
    held = find([house.label.product_id.value], places)
    assert "table public.device" in held
    assert any(str(tmp_path / "state") in name for name in held)  # so the agent's files are searched, too
