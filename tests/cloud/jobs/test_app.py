"""The jobs process: its parts run, and end within the time that ``serve`` gives."""

import time
import urllib.request
from pathlib import Path

from cloud.supervisor import STOP_TIMEOUT_S
from tests.accept import wait_until
from tests.support.parts import CloudParts, running_parts

WAIT_S = 30.0


def figure(cloud: CloudParts, name: str) -> float:
    """One figure of the process' metrics; 0 where it is not there yet."""
    with urllib.request.urlopen(f"http://127.0.0.1:{cloud.jobs_metrics_port}/metrics", timeout=2) as answer:
        text: str = answer.read().decode()
    return next((float(line.split()[-1]) for line in text.splitlines() if line.startswith(name)), 0.0)


def test_it_works_and_stops_in_time_also_without_its_database(tmp_path: Path) -> None:
    with running_parts(tmp_path / "cloud", ("postgres", "jobs")) as cloud:
        rounds = 'smartconnect_jobs_rounds_total{outcome="done",part="calendar"}'
        wait_until("a round is done", lambda: figure(cloud, rounds), WAIT_S)
        assert figure(cloud, 'smartconnect_jobs_last_round_seconds{part="calendar"}') > time.time() - WAIT_S
        began = time.monotonic()
        cloud.stop("jobs")
        assert time.monotonic() - began < STOP_TIMEOUT_S
        cloud.start("jobs")
        cloud.kill("postgres")
        began = time.monotonic()
        cloud.stop("jobs")
        assert time.monotonic() - began < STOP_TIMEOUT_S
