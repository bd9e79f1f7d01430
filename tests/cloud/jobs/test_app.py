"""The jobs process: its parts run, and end within the time that ``serve`` gives."""

import asyncio
import os
import signal
import time
import urllib.request
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo

from cloud import catalogs
from cloud.config import Settings
from cloud.core.language import gettext, speaking
from cloud.jobs import app
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


async def test_it_knows_the_languages_that_its_mails_are_written_in(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "de" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    catalog = Catalog(locale="de", charset="utf-8")
    catalog.add("on battery", "⟦on battery⟧")
    with (folder / f"{catalogs.DOMAIN}.mo").open("wb") as file:
        write_mo(file, catalog)
    heard: list[str] = []

    async def listen() -> None:
        with speaking("de"):
            heard.append(gettext("on battery"))
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()

    def parts(*_: object) -> dict[str, Coroutine[Any, Any, None]]:
        return {"listen": listen()}

    monkeypatch.setattr(app, "parts", parts)
    with monkeypatch.context() as there:
        there.setattr(catalogs, "FOLDER", tmp_path)
        assert await app.run(Settings(database_url=database, jobs_metrics_port=0)) == 0
    catalogs.load()
    assert heard == ["⟦on battery⟧"]
