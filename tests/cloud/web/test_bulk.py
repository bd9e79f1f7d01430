"""Claiming many devices by a list."""

import asyncio
import csv
import io
import json
import uuid
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from cloud.core.bulk import Result
from cloud.core.claim_id import RANDOM_BITS, device_id_of_claim, make_claim_id
from cloud.core.refusal import RefusalCode, RefusedError
from cloud.postgres import bulk
from cloud.postgres.bulk import Line
from cloud.postgres.transaction import in_transaction
from cloud.services import bulk_claiming
from cloud.services.bulk_claiming import MAX_JOBS_OF_COMPANY, BulkClaims, Progress
from cloud.web import bulk_views
from cloud.web.live import Subscription
from cloud.web.state import LABEL_KEYS
from tests.cloud.web.conftest import Somebody
from tests.support.portal import Portal, labelled_device, now_ms
from tests.support.streams import open_stream


@pytest.fixture(autouse=True)
def _faster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloud.services.bulk_claiming.SAVE_S", 0.05)


async def hand_in(somebody: Somebody, text: str) -> str:
    """Send a list; the path of its job."""
    await somebody.browser.get("/add/bulk")
    answer = await somebody.browser.post("/add/bulk", {"list": text})
    assert answer.status == 303, answer.text
    return answer.headers["Location"]


def one_line() -> str:
    """A list of one device that nobody knows."""
    device, key = labelled_device()
    return f"{device.product_id.value} {key}"


async def results(somebody: Somebody, path: str) -> list[dict[str, str]]:
    """The CSV once the job is done."""
    async with asyncio.timeout(20):
        while 'data-state="running"' in (await somebody.browser.get(path)).text:
            await asyncio.sleep(0.05)
    return list(csv.DictReader(io.StringIO((await somebody.browser.get(f"{path}/result.csv")).text)))


async def test_each_line_gets_its_reason_and_repeating_is_harmless(
    portal: Portal, ada: Somebody, eve: Somebody
) -> None:
    won, waiting, off, taken = (labelled_device() for _ in range(4))
    await won[0].announce(portal.pool, now_ms())
    await off[0].announce(portal.pool, now_ms(), smartconnect=False)
    await portal.own_device(eve.actor, taken[0])
    lines = [f"{device.product_id.value},{key}" for device, key in (won, waiting, off, taken)]
    text = "\n".join(["Product ID,Product Key", *lines, lines[0], "nonsense", f"ABC,{won[1]}"])
    path = await hand_in(ada, text)
    rows = await results(ada, path)
    wanted = [
        Result.WON,
        Result.WAITING,
        Result.SMARTCONNECT_OFF,
        Result.OWNED_ELSEWHERE,
        Result.REPEATED,
        Result.NO_CODES,
        Result.PRODUCT_ID_INVALID,
    ]
    assert [row["result"] for row in rows] == wanted
    assert [row["line"] for row in rows] == [str(number) for number in range(2, 9)]
    assert all(row["reason"] for row in rows)
    again = await results(ada, await hand_in(ada, text))
    assert [row["result"] for row in again] == [Result.ALREADY_YOURS, *wanted[1:]]
    # What waited is found later in the first result, too.
    await waiting[0].announce(portal.pool, now_ms())
    assert (await results(ada, path))[1]["result"] == Result.WON
    assert (await eve.browser.get(path)).status == 404
    assert (await eve.browser.get(f"{path}/result.csv")).status == 404
    async with portal.pool.connection() as connection:
        for table in ("bulk_job", "bulk_row", "claim", "device"):
            for key in (won[1], waiting[1], taken[1]):
                found = await connection.execute(
                    f"SELECT count(*) FROM {table} AS t WHERE t::text LIKE %s",
                    [f"%{key}%"],
                )
                assert await found.fetchone() == (0,)


async def test_progress_is_live(portal: Portal, ada: Somebody) -> None:
    devices = [labelled_device() for _ in range(30)]
    for device, _ in devices:
        await device.announce(portal.pool, now_ms())
    path = await hand_in(ada, "\n".join(f"{device.product_id.value} {key}" for device, key in devices))
    async with open_stream(ada.browser, f"{path}/live") as stream:
        await stream.until("of 30")
        await stream.until("<strong>30 of 30</strong>", timeout_s=15)
        await stream.until_event("decided")
    rows = await results(ada, path)
    assert Counter(row["result"] for row in rows) == {Result.WON: 30}


async def test_bounds_and_empty_lists_are_told(ada: Somebody, monkeypatch: pytest.MonkeyPatch) -> None:
    await ada.browser.get("/add/bulk")
    assert (await ada.browser.post("/add/bulk", {"list": " \n"})).status == 422
    assert (await ada.browser.post("/add/bulk", {"list": "x\n" * 10_001})).status == 422
    monkeypatch.setattr(bulk_views, "MAX_LIST_BYTES", 100_000)
    assert (await ada.browser.post("/add/bulk", {"list": "x" * 100_000})).status == 413
    monkeypatch.setattr("cloud.services.bulk_claiming.MAX_OPEN", 1)
    lines = [f"{device.product_id.value} {key}" for device, key in (labelled_device(), labelled_device())]
    refused = await ada.browser.post("/add/bulk", {"list": "\n".join(lines)})
    assert refused.status == 429
    assert lines[0].split()[1] not in refused.text


async def test_one_company_does_not_take_every_place(
    portal: Portal, ada: Somebody, eve: Somebody, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody works on these lists, so every place stays taken.
    jobs = BulkClaims(portal.pool, portal.app[LABEL_KEYS], pending_ms=60_000)

    async def hand_in_at_once(somebody: Somebody, lists: int) -> int:
        given = [jobs.submit(somebody.actor, one_line(), now_ms()) for _ in range(lists)]
        answers = await asyncio.gather(*given, return_exceptions=True)
        refused = [answer for answer in answers if isinstance(answer, RefusedError)]
        assert {refusal.code for refusal in refused} <= {RefusalCode.TOO_MANY_OPEN}
        assert len(refused) + sum(isinstance(answer, str) for answer in answers) == lists
        return lists - len(refused)

    monkeypatch.setattr(bulk_claiming, "MAX_JOBS", MAX_JOBS_OF_COMPANY + 2)
    with monkeypatch.context() as strict:
        strict.setattr(bulk_claiming, "MAX_OPEN", 0)  # a list that is not stored gives its place back
        assert await hand_in_at_once(ada, MAX_JOBS_OF_COMPANY) == 0
    assert await hand_in_at_once(ada, MAX_JOBS_OF_COMPANY + 3) == MAX_JOBS_OF_COMPANY
    assert await hand_in_at_once(ada, 1) == 0
    assert await hand_in_at_once(eve, 3) == 2


async def test_a_viewer_may_not(portal: Portal, ada: Somebody) -> None:
    async with portal.pool.connection() as connection:
        await connection.execute("UPDATE membership SET role = 'viewer'")
    assert (await ada.browser.post("/add/bulk", {"list": "x"})).status == 403


async def test_a_job_whose_process_has_gone_is_marked(portal: Portal, ada: Somebody) -> None:
    device, key = labelled_device()
    path = await hand_in(ada, "\n".join([f"{device.product_id.value} {key}", "nonsense"]))
    await results(ada, path)
    job_id = path.rsplit("/", 1)[1]
    async with portal.pool.connection() as connection:
        await connection.execute("UPDATE bulk_job SET state = 'running', lease_ms = 1")
        await connection.execute("UPDATE bulk_row SET result = 'open' WHERE line = 1")
    await in_transaction(portal.pool, lambda connection: bulk.interrupt(connection, None, now_ms()))
    rows = await results(ada, f"/add/bulk/{job_id}")
    assert [row["result"] for row in rows] == [Result.INTERRUPTED, Result.NO_CODES]


async def keep_job(portal: Portal, somebody: Somebody, found: Sequence[Result], state: str = "done") -> str:
    """A stored job with these results, one a line; its name."""
    job_id = str(uuid.uuid4())
    async with portal.pool.connection() as connection:
        await connection.execute(
            "INSERT INTO bulk_job (job_id, company_id, account_id, state, rows, created_ms, lease_ms)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s)",
            [
                *(job_id, somebody.actor.company_id, somebody.actor.account_id, state, len(found)),
                *(now_ms(), now_ms() + 3_600_000),
            ],
        )
        await connection.execute(
            "INSERT INTO bulk_row (job_id, line, product_id, result)"
            " SELECT %s, number, '', result FROM unnest(%s::text[]) WITH ORDINALITY AS t (result, number)",
            [job_id, list(found)],
        )
    return job_id


async def test_a_look_reads_no_more_lines_than_it_shows(
    portal: Portal, ada: Somebody, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [Result.WON, Result.WAITING, Result.OPEN, Result.EXPIRED, Result.NO_CODES] * 20
    job_id = await keep_job(portal, ada, many)
    read: list[int] = []

    def counted(line: int, *more: Any) -> Line:
        read.append(line)
        return Line(line, *more)

    monkeypatch.setattr(bulk, "Line", counted)
    monkeypatch.setattr(bulk_views, "SHOWN", 42)
    shown = (await ada.browser.get(f"/add/bulk/{job_id}")).text
    assert read == [number for number in range(1, 101) if number % 5 in {4, 0}] + [2, 7]
    assert "<strong>80 of 100</strong>" in shown
    assert "18 more lines" in shown
    for result in set(many):
        assert f"<li><strong>20</strong> {bulk_views.TEXTS[result]}</li>" in shown, result
    read.clear()
    api = f"/api/v1/bulk-claims/{job_id}"
    told = json.loads((await ada.browser.get(api)).text)
    assert (told["checked"], told["results"]) == (80, {result.value: 20 for result in set(many)})
    assert read == []
    monkeypatch.setattr("cloud.web.api.bulk.PAGE", 10)
    for query, lines, following in (
        ("", list(range(1, 11)), 10),
        ("?after=10", list(range(11, 21)), 20),
        ("?after=95", list(range(96, 101)), None),
        ("?result=won&after=6", list(range(11, 61, 5)), 56),
        (f"?after={10**18}", [], None),
    ):
        read.clear()
        page = json.loads((await ada.browser.get(f"{api}/lines{query}")).text)
        assert ([one["line"] for one in page["lines"]], page["next_after"]) == (lines, following), query
        assert len(read) <= 11


async def test_whatever_wakes_a_stream_it_reads_once_a_beat(
    portal: Portal, ada: Somebody, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = await keep_job(portal, ada, [Result.OPEN], "running")
    looks, woken = 0, 0
    look = bulk_claiming.look

    async def counted(*given: Any, **more: Any) -> Progress | None:
        nonlocal looks
        looks += 1
        return await look(*given, **more)

    async def wakes(self: Subscription, _timeout_s: float) -> None:
        nonlocal woken
        woken += 1
        if woken == 5:
            self.revoke()
        await asyncio.sleep(0)

    monkeypatch.setattr(bulk_claiming, "look", counted)
    monkeypatch.setattr(bulk_views, "BEAT_S", 3600.0)
    monkeypatch.setattr(Subscription, "next", wakes)
    async with open_stream(ada.browser, f"/add/bulk/{job_id}/live") as stream:
        await stream.until_event("gone")
    assert (looks, woken) == (1, 5)


async def test_the_database_knows_the_device_of_a_claim(portal: Portal) -> None:
    numbers = [0, 1, 7, 8, (1 << 15) - 1, 1 << 15, (1 << 62) + 5, (1 << 63) - 1, 0x1234_5678_9ABC_DEF0]
    names = [make_claim_id(number, bits) for number in numbers for bits in (0, (1 << RANDOM_BITS) - 1)]
    async with portal.pool.connection() as connection:
        found = await connection.execute(
            f"SELECT {bulk.DEVICE_OF_CLAIM} FROM unnest(%s::uuid[]) AS t (claim_id)".encode(),
            [names],
        )
        assert [row[0] for row in await found.fetchall()] == [device_id_of_claim(name) for name in names]
