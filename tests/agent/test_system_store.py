"""The file of the database: private, whole after a power cut at every write, never made anew in silence."""

from __future__ import annotations

import asyncio
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from agent.background import Background
from agent.errors import StateError
from agent.system.part import DATABASE, FOLDER, has_database
from agent.system.store import Store, deleted, new_database
from protocol import faults
from protocol.system import System

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DB = new_database(System.STANDALONE, "one", made_ms=1)


@pytest.fixture
def background() -> Iterator[Background]:
    with ThreadPoolExecutor(1) as executor:
        yield Background(executor)


async def test_it_is_private_and_comes_back(tmp_path: Path, background: Background) -> None:
    store = Store(tmp_path, background)
    assert not has_database(tmp_path)
    with pytest.raises(StateError, match="system create"):
        _ = store.database
    await store.create(DB)
    assert has_database(tmp_path)
    await store.change(lambda now: replace(now, name="two"))
    assert stat.S_IMODE((tmp_path / FOLDER).stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / FOLDER / DATABASE).stat().st_mode) == 0o600
    assert Store(tmp_path, background).database == replace(DB, name="two")


async def test_there_is_one_database_at_a_time(tmp_path: Path, background: Background) -> None:
    store = Store(tmp_path, background)
    await store.create(DB)
    with pytest.raises(StateError, match=DB.system_id):
        await store.create(new_database(System.STANDALONE, "other", made_ms=1))
    assert Store(tmp_path, background).database == DB


async def test_others_may_not_look_in(tmp_path: Path, background: Background) -> None:
    await Store(tmp_path, background).create(DB)
    (tmp_path / FOLDER / DATABASE).chmod(0o640)
    with pytest.raises(StateError, match="make it 0600"):
        Store(tmp_path, background)


async def test_a_damaged_file_is_no_new_identity(tmp_path: Path, background: Background) -> None:
    await Store(tmp_path, background).create(DB)
    file = tmp_path / FOLDER / DATABASE
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(StateError, match="damaged"):
        Store(tmp_path, background)
    assert file.exists()


async def test_a_power_cut_while_it_is_deleted_leaves_the_old_or_the_new(
    tmp_path: Path, background: Background, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path, background)
    await store.create(DB)
    fresh = deleted(DB, made_ms=2)

    def cut(name: str) -> None:
        if name == "agent.spool.rename":
            raise OSError(5, "power cut")

    monkeypatch.setattr("agent.disk.reach", cut)
    with pytest.raises(StateError, match="power cut"):
        await store.change(lambda _: fresh)
    assert store.database == DB
    assert Store(tmp_path, background).database == DB
    monkeypatch.setattr("agent.disk.reach", faults.reach)
    await store.change(lambda _: fresh)
    assert Store(tmp_path, background).database == fresh


async def test_who_is_cancelled_while_it_is_written_leaves_no_doubt(
    tmp_path: Path, background: Background
) -> None:
    """A code that is used on disk is used in memory, too."""
    store = Store(tmp_path, background)
    await store.create(DB)
    writing = asyncio.create_task(store.change(lambda now: replace(now, name="two")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    assert store.database == Store(tmp_path, background).database


async def test_a_step_that_fails_changes_nothing(tmp_path: Path, background: Background) -> None:
    store = Store(tmp_path, background)
    await store.create(DB)

    def fails(_: object) -> None:
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011  its own
        await store.change(fails)  # type: ignore[arg-type]  # it returns nothing, ever
    assert store.database == DB
