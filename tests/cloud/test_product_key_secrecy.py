"""A Product Key is nowhere: not in MQTT, URLs, pages, logs, tables, files, command lines, environments.

Keys are planted by every way a person can type them, right and wrong, and then looked for in all that the
running cloud keeps or shows.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import psycopg

from protocol.identity import ProductKey, qr_link
from tests.faults.processes import descendants
from tests.support.device import WireDevice, random_codes
from tests.support.person import Page, Person, make_accounts
from tests.support.photos import jpeg, photo
from tests.support.planted import files_below, find, processes, spread, tables_of
from tests.support.stack import Stack, cloud_stack

CONTROL = "planted-audience-7Q"


async def plant(stack: Stack, emails: list[str]) -> tuple[list[str], list[Page], WireDevice]:
    """Type keys in every way there is; the keys, the pages that were shown, the device that was claimed."""
    product_id, key = random_codes()
    planted = [key.value]
    pages: list[Page] = []

    def another() -> str:
        planted.append(random_codes()[1].value)
        return planted[-1]

    device = WireDevice(stack.installation, stack.key_set, (product_id, key))
    await asyncio.to_thread(device.connect)
    await asyncio.to_thread(device.announce)
    async with Person(stack.portal_url, emails[0]) as person, Person(stack.portal_url, emails[1]) as other:
        won = await person.submit_form(
            "/add/codes", {"product_id": product_id.value, "product_key": spread(key.value).lower()}
        )
        assert "This UPS is yours" in won.text
        pages.append(won)
        assert (await person.claim(product_id, key)).body["reason"] == "already_yours"
        assert (await other.claim(product_id, key)).body["reason"] == "owned_elsewhere"
        assert (await other.claim(product_id, another())).body["state"] == "waiting_for_device"
        photographed = ProductKey.parse(another())
        taken = await person.send_photo(jpeg(photo([qr_link(stack.portal_url, product_id, photographed)])))
        assert photographed.value in taken.text  # of this page alone, which nobody keeps
        forms = [
            {"product_id": "", "product_key": another()},
            {"product_id": another(), "product_key": another()},
            {"product_id": product_id.value, "product_key": another() + "X"},
            {"product_id": product_id.value, "product_key": another(), "form_token": "wrong"},
            {"product_id": product_id.value, "product_key": another() + "Ä" * 100_000},
        ]
        for fields in forms:
            page = await person.submit_form("/add/codes", fields)
            assert page.status in {403, 413, 422}, page
            pages.append(page)
        bodies: list[dict[str, str]] = [
            {"product_id": another(), "product_key": another()},
            {"product_key": another()},
            {"product_id": product_id.value, "product_key": another() + "?"},
            {"product_id": product_id.value, "product_key": another(), "more": another() * 500},
        ]
        for body in bodies:
            answer = await person.ask("POST", "/api/v1/claims", body)
            assert answer.status in {400, 413, 422}, answer
            pages.append(Page(answer.status, "", str(answer.body)))
        pages += await claim_list(
            person, [f"{random_codes()[0].value} {another()}" for _ in range(2)], another
        )
        wrong_path = await person.ask("POST", "/api/v1/claims/x/pick", {"kid": another()})
        assert wrong_path.status == 404
        pages.append(Page(wrong_path.status, "", str(wrong_path.body)))
    await asyncio.to_thread(device.wait_owned)
    await asyncio.to_thread(device.close)
    return planted, pages, device


async def claim_list(person: Person, lines: list[str], another: Callable[[], str]) -> list[Page]:
    """Give a list of many devices: good lines, one twice, swapped codes, a key alone, a key with more."""
    product_id = random_codes()[0].value
    faulty = [
        f"{another()},{product_id}",
        another(),
        f"{product_id};{another()}X",
        f"{another()} {another()}",
    ]
    job = await person.submit_form("/add/bulk", {"list": "\n".join([*lines, lines[0], *faulty])})
    assert "/add/bulk/" in job.url, job
    path = job.url.removeprefix(person.portal_url)
    async with asyncio.timeout(30):
        while 'data-state="done"' not in job.text:
            job = await person.open(path)
            await asyncio.sleep(0.05)
    result = await person.open(f"{path}/result.csv")
    assert len(result.text.splitlines()) == 1 + len(lines) + 1 + len(faulty)
    return [job, result]


def search(state_dir: Path) -> tuple[list[str], dict[str, bytes], WireDevice]:
    """Run a cloud, plant keys: these keys, every place they could be in, the device that was claimed."""
    environment = {"SMARTCONNECT_LOG_LEVEL": "debug", "SMARTCONNECT_AUDIENCE": CONTROL}
    with cloud_stack(state_dir, environment=environment) as stack:
        emails = asyncio.run(make_accounts(stack.dsn, 2, time.time_ns() // 1_000_000))
        planted, pages, device = asyncio.run(plant(stack, emails))
        with psycopg.connect(stack.dsn, autocommit=True) as connection:
            connection.execute("CHECKPOINT")
        places = tables_of(stack.dsn) | processes([stack.part.pid, *descendants(stack.part.pid)])
        places |= files_below(state_dir) | files_below(stack.logs)
    messages = [*device.sent, *device.heard]
    places |= {f"MQTT message {number}": payload for number, payload in enumerate(messages)}
    texts = [" ".join((*page.way, page.url, page.text)) for page in pages]
    places |= {f"page {number}": text.encode() for number, text in enumerate(texts)}
    return planted, places, device


def test_a_product_key_is_nowhere(tmp_path: Path) -> None:
    planted, places, device = search(tmp_path / "cloud")
    assert find(planted, places) == []

    # The same search finds what is there: so it looks where it says, and in all the ways.
    product_id = device.product_id.value
    held = find([product_id], places)
    assert "table public.device" in held
    assert any(name.startswith("file") and "/pg/base/" in name for name in held)
    assert any(name.startswith("file") and "/pg/pg_wal/" in name for name in held)
    assert "MQTT message 0" in held
    environments = [name for name in find([CONTROL], places) if name.startswith("environ")]
    assert len(environments) >= 3
    assert b"/api/v1/claims" in b"".join(
        places[name] for name in places if name.startswith(f"file {tmp_path / 'cloud-logs'}")
    )
    assert len([name for name in places if name.startswith("cmdline")]) >= 5
