"""The manifest as a switch: who may announce and claim, and the operator's commands."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cloud.__main__ import main
from cloud.core.manifest import Entry, ManifestMode, parse, render
from cloud.postgres.pool import Pool, make_pool
from cloud.services import claiming, manifest
from cloud.services.claim_view import ViewState
from cloud.services.claiming import Noted
from protocol.signing import public_bytes, seal_announcement
from tests.support.claiming import NOW, TestDevice, make_actors


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Pool]:
    """Connections to a database of this test alone."""
    async with make_pool(database, name="test", max_size=2) as opened:
        yield opened


async def announce(pool: Pool, device: TestDevice, mode: ManifestMode) -> Noted:
    """An announcement that the gateway has verified."""
    announcement = device.announcement()
    sealed = seal_announcement(announcement, device.label, device.key)
    return await claiming.announced(
        pool, kid=device.kid, announcement=announcement, sealed=sealed, iat_ms=1, now_ms=NOW, mode=mode
    )


async def list_device(pool: Pool, device: TestDevice, *, factory: bool = False) -> None:
    """Put it into the manifest."""
    key = public_bytes(device.key) if factory else None
    rows = parse(render([Entry(device.product_id, device.label_pub, key)], "csv"))
    (answer,) = await manifest.take_in(pool, rows, NOW, dry_run=False)
    assert answer.outcome is manifest.Outcome.NEW


async def test_a_device_that_is_not_listed_is_refused_and_leaves_no_trace(pool: Pool, database: str) -> None:
    (actor,) = make_actors(database, 1)
    listed, stranger = TestDevice(), TestDevice()
    await list_device(pool, listed)
    assert await announce(pool, stranger, ManifestMode.LABEL) is Noted.NOT_LISTED
    async with pool.connection() as connection:
        assert await (await connection.execute("SELECT count(*) FROM device")).fetchone() == (0,)
    assert await announce(pool, listed, ManifestMode.LABEL) is Noted.RECORDED
    views = [
        await claiming.submit(pool, actor, one.product_id, one.label_pub, NOW, mode=ManifestMode.LABEL)
        for one in (listed, stranger)
    ]
    assert [view.state for view in views] == [ViewState.WON, ViewState.WAITING_FOR_DEVICE]


async def test_a_candidate_from_before_the_switch_cannot_be_claimed(pool: Pool, database: str) -> None:
    (actor,) = make_actors(database, 1)
    device = TestDevice()
    assert await announce(pool, device, ManifestMode.NONE) is Noted.RECORDED
    view = await claiming.submit(
        pool, actor, device.product_id, device.label_pub, NOW, mode=ManifestMode.LABEL
    )
    assert view.state is ViewState.WAITING_FOR_DEVICE
    assert view.keys == ()


async def test_attested_asks_for_the_factorys_key(pool: Pool, database: str) -> None:
    (actor,) = make_actors(database, 1)
    device = TestDevice()
    await list_device(pool, device, factory=True)
    twin = device.twin()
    assert await announce(pool, twin, ManifestMode.ATTESTED) is Noted.NOT_LISTED
    assert await announce(pool, twin, ManifestMode.LABEL) is Noted.RECORDED
    assert await announce(pool, device, ManifestMode.ATTESTED) is Noted.RECORDED
    view = await claiming.submit(
        pool, actor, device.product_id, device.label_pub, NOW, mode=ManifestMode.ATTESTED
    )
    assert view.state is ViewState.WON


async def test_an_owner_keeps_what_they_have(pool: Pool, database: str) -> None:
    (actor,) = make_actors(database, 1)
    device = TestDevice()
    await device.announce(pool)
    await claiming.submit(pool, actor, device.product_id, device.label_pub, NOW)
    assert await announce(pool, device, ManifestMode.LABEL) is Noted.BOUND


def test_import_check_and_export(
    database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database)
    devices = [TestDevice() for _ in range(3)]
    entries = [Entry(device.product_id, device.label_pub) for device in devices]
    path, state = tmp_path / "list.csv", ["--state-dir", str(tmp_path / "state")]
    path.write_text(render(entries, "csv") + "nonsense,,\n")

    def say(*words: str) -> tuple[int, str]:
        status = main(["admin", "manifest", *words, *state])
        return status, capsys.readouterr().out

    status, said = say("import", str(path), "--dry-run")
    assert status == 1
    assert "4 rows: 3 new, 0 same, 0 other factory key, 1 refused; nothing was written" in said
    assert "line 5  -  refused: The Product ID has 12 characters; this one has 8." in said
    assert say("check", str(path))[0] == 1
    assert say("export")[1] == render([], "csv")
    assert say("import", str(path))[0] == 1
    assert "0 new, 3 same" in say("import", str(path))[1]
    path.write_text(render(entries, "json"))
    assert say("check", str(path))[0] == 0
    exported = json.loads(say("export", "--format", "json")[1])
    assert {one["product_id"] for one in exported} == {one.product_id.value for one in entries}
    assert say("import", str(tmp_path / "none"))[0] == 1
