"""A Product Key is nowhere (S2): not in MQTT, URLs, pages, logs, tables, files, command lines, environments.

Keys are planted by every way a person can type them, right and wrong, and then looked for in all that the
running cloud keeps or shows.
"""

import asyncio
import base64
import contextlib
import re
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
from psycopg import sql

from tests.faults.processes import descendants
from tests.support.device import WireDevice, random_codes
from tests.support.person import Page, Person, make_accounts
from tests.support.stack import Stack, cloud_stack

TEXT = re.compile(rb"[ -~]{10,}")
CONTROL = "planted-audience-7Q"


def needles(key: str) -> list[bytes]:
    """A key as it might be written: as typed, in hex, and in base64 wherever it begins."""
    found = []
    for text in {key, key.lower(), spread(key), spread(key).lower()}:
        raw = text.encode()
        found += [raw, raw.hex().encode(), raw.hex().upper().encode()]
        for shift in range(3):
            coded = base64.b64encode(bytes(shift) + raw).rstrip(b"=")
            found.append(coded[shift + 1 : -2])  # without the characters its neighbours have a part in
    return found


def spread(key: str) -> str:
    """The key as somebody reads it from a label."""
    return f"{key[:5]}-{key[5:10]} {key[10:]}"


def find(planted: list[str], places: dict[str, bytes]) -> list[str]:
    """Names of the places that hold one of the keys."""
    wanted = [needle for key in planted for needle in needles(key)]
    return [name for name, content in places.items() if any(needle in content for needle in wanted)]


def tables_of(dsn: str) -> dict[str, bytes]:
    """All rows of all tables, as a dump would hold them."""
    with psycopg.connect(dsn) as connection:
        names = connection.execute(
            "SELECT schemaname, tablename FROM pg_tables"
            " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        places = {}
        for names_of_one in names:
            with connection.cursor().copy(
                sql.SQL("COPY (SELECT * FROM {}) TO STDOUT").format(sql.Identifier(*names_of_one))
            ) as copy:
                places[f"table {'.'.join(names_of_one)}"] = b"".join(bytes(part) for part in copy)
        return places


def files_below(folder: Path) -> dict[str, bytes]:
    """The text in every file: the database's own, its write-ahead log, the cloud's keys, logs."""
    return {
        f"file {path}": b"\n".join(TEXT.findall(path.read_bytes()))
        for path in folder.rglob("*")
        if path.is_file()
    }


def processes_of(stack: Stack) -> Iterator[tuple[str, bytes]]:
    """Command line and environment of every process of the cloud."""
    for pid in (stack.part.pid, *descendants(stack.part.pid)):
        for name in ("cmdline", "environ"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a backend that has just ended
                yield f"{name} of {pid}", Path(f"/proc/{pid}/{name}").read_bytes()


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
        wrong_path = await person.ask("POST", "/api/v1/claims/x/pick", {"kid": another()})
        assert wrong_path.status == 404
        pages.append(Page(wrong_path.status, "", str(wrong_path.body)))
    await asyncio.to_thread(device.wait_owned)
    await asyncio.to_thread(device.close)
    return planted, pages, device


def test_a_product_key_is_nowhere(tmp_path: Path) -> None:
    state_dir = tmp_path / "cloud"
    environment = {"SMARTCONNECT_LOG_LEVEL": "debug", "SMARTCONNECT_AUDIENCE": CONTROL}
    with cloud_stack(state_dir, environment=environment) as stack:
        emails = asyncio.run(make_accounts(stack.dsn, 2, time.time_ns() // 1_000_000))
        planted, pages, device = asyncio.run(plant(stack, emails))
        with psycopg.connect(stack.dsn, autocommit=True) as connection:
            connection.execute("CHECKPOINT")
        places = tables_of(stack.dsn) | dict(processes_of(stack))
        places |= files_below(state_dir) | files_below(stack.logs)
    places |= {f"MQTT message {number}": payload for number, payload in enumerate(device.sent)}
    places |= {f"page {number}": f"{page.url} {page.text}".encode() for number, page in enumerate(pages)}
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
        places[name] for name in places if name.startswith(f"file {stack.logs}")
    )
    assert len([name for name in places if name.startswith("cmdline")]) >= 5
