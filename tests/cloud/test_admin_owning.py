"""``admin dispute`` and ``admin clone``: what an operator lists and decides, on a real PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from cloud import logs
from cloud.__main__ import main
from cloud.core.authz import Actor
from cloud.postgres.pool import Pool, make_pool
from cloud.services import claiming, owning
from tests.support.claiming import NOW, TestDevice, make_actors


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Pool]:
    async with make_pool(database, name="test", max_size=4) as opened:
        yield opened


class Operator:
    """Somebody at the command line."""

    def __init__(self, dsn: str, state: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.dsn, self.state, self._capsys = dsn, state, capsys

    async def says(self, *words: str) -> tuple[int, str, str]:
        where = ("--state-dir", str(self.state), "--database-url", self.dsn)
        self._capsys.readouterr()
        status = await asyncio.to_thread(main, ["admin", *words, *where])
        return status, *self._capsys.readouterr()

    def rows(self, statement: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.dsn) as connection:
            return connection.execute(statement.encode()).fetchall()


@pytest.fixture
def operator(
    database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Operator:
    monkeypatch.setattr(logs, "configure", lambda *_args, **_settings: None)  # for the whole process
    return Operator(database, tmp_path, capsys)


async def disputed(pool: Pool, owner: Actor, claimant: Actor) -> TestDevice:
    device = TestDevice()
    await device.announce(pool)
    for who in (owner, claimant):
        await claiming.submit(pool, who, device.product_id, device.label_pub, NOW)
    return device


async def test_a_dispute_is_listed_tried_and_decided(database: str, pool: Pool, operator: Operator) -> None:
    people = make_actors(database, 2)
    device = await disputed(pool, people[0], people[1])
    code, out, _ = await operator.says("dispute", "list")
    owner, claimant = people[0].company_id, people[1].company_id
    line = (
        f"device {device.device_id}  {device.product_id.value}  Smart-UPS 1500  owner {owner} 'company 0'"
        f"  claimant {claimant} 'company 1'  since 2027-01-15 08:00 UTC"
    )
    assert (code, out.splitlines()) == (0, [line, "1 open"])

    words = ["dispute", "decide", str(device.device_id), str(claimant), "--operator", "Night shift"]
    code, out, _ = await operator.says(*words, "--for", "claimant", "--dry-run")
    assert (code, out.splitlines()) == (0, [line, "would be given to the claimant; nothing was changed"])
    assert (await operator.says("dispute", "list"))[1].endswith("1 open\n")

    code, out, _ = await operator.says(*words, "--for", "claimant")
    assert (code, out.splitlines()[-1]) == (0, "given to the claimant")
    live = operator.rows("SELECT company_id FROM v_ownership WHERE until_ms IS NULL")
    assert live == [(claimant,)]
    ended = operator.rows("SELECT company_id, ended_by FROM v_ownership WHERE until_ms IS NOT NULL")
    assert ended == [(owner, "dispute_granted")]
    audit = operator.rows("SELECT kind, detail->>'operator' FROM device_audit WHERE detail ? 'operator'")
    assert audit == [("dispute_done", "Night shift")]
    told = operator.rows("SELECT company_id, kind FROM ownership_notice WHERE kind IN ('lost', 'received')")
    assert sorted(told) == sorted([(owner, "lost"), (claimant, "received")])

    code, _, err = await operator.says(*words, "--for", "claimant")
    assert (code, "nothing of this is open" in err) == (1, True)


async def test_a_claim_is_dismissed_and_a_theft_is_not_decided_over(
    database: str, pool: Pool, operator: Operator
) -> None:
    people = make_actors(database, 2)
    device = await disputed(pool, people[0], people[1])
    words = [
        "dispute",
        "decide",
        str(device.device_id),
        str(people[1].company_id),
        "--operator",
        "Night shift",
    ]
    await owning.mark_stolen(pool, people[0], device.device_id, NOW)
    code, _, err = await operator.says(*words, "--for", "claimant")
    assert (code, "marked as stolen" in err) == (1, True)
    code, out, _ = await operator.says(*words, "--for", "owner")
    assert (code, out.splitlines()[-1]) == (0, "left to its owner, the claim dismissed")
    live = operator.rows("SELECT company_id FROM v_ownership WHERE until_ms IS NULL")
    assert live == [(people[0].company_id,)]
    again = await claiming.submit(pool, people[1], device.product_id, device.label_pub, NOW + 1)
    assert again.state.value == "refused"
    assert (await operator.says("dispute", "list"))[1] == "0 open\n"


async def test_a_suspicion_is_cleared(database: str, pool: Pool, operator: Operator) -> None:
    (person,) = make_actors(database, 1)
    device = TestDevice()
    await device.announce(pool)
    await claiming.submit(pool, person, device.product_id, device.label_pub, NOW)
    for number in range(owning.MAX_TAKEOVERS + 1):
        await owning.note_takeover(pool, device.device_id, device.kid, NOW + number)
    code, out, _ = await operator.says("clone", "list")
    assert (code, out.splitlines()[-1], str(device.device_id) in out) == (0, "1 open", True)
    words = ["clone", "clear", str(device.device_id), "--operator", "Night shift"]
    assert (await operator.says(*words, "--dry-run"))[1].endswith(
        "cleared of the suspicion; nothing was changed\n"
    )
    assert (await operator.says(*words))[:2] == (0, out.splitlines()[0] + "\ncleared of the suspicion\n")
    audit = operator.rows("SELECT kind FROM device_audit WHERE detail->>'operator' = 'Night shift'")
    assert audit == [("clone_done",)]
    assert (await operator.says(*words))[0] == 1


def test_help_says_what_is_decided_and_who_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (("dispute", "decide"), ("clone", "clear")):
        with pytest.raises(SystemExit) as ended:
            main(["admin", *words, "--help"])
        assert ended.value.code == 0
        shown = capsys.readouterr().out
        for part in ("DEVICE", "--operator NAME", "--dry-run", "audit trail"):
            assert part in shown
