"""The portal as a process of its own: it serves, as its own role, and stops although pages are open."""

import asyncio
from pathlib import Path

from cloud.postgres.roles import Part
from tests.support.ingest import run
from tests.support.portal import PASSWORD, Visitor, labelled_device, now_ms, visitor
from tests.support.stack import cloud_stack
from tests.support.streams import open_stream

STOP_S = 10.0
CONNECTED = (
    "SELECT split_part(application_name, ' ', 2), usename FROM pg_stat_activity"
    " WHERE application_name ~ '^smartconnect (gateway|portal|jobs|writer)'"
)


def roles_in_use(dsn: str) -> dict[str, set[str]]:
    """By whom each process has logged in to the database; a gateway's writers are the gateway."""
    found: dict[str, set[str]] = {}
    for process, user in run(dsn, CONNECTED):
        found.setdefault("gateway" if process == "writer" else process, set()).add(user)
    return found


async def test_sigterm_ends_open_pages_and_the_process(tmp_path: Path) -> None:
    with cloud_stack(tmp_path / "state") as stack:
        names = ("--email", "ada@example.org", "--first-name", "Ada", "--last-name", "North")
        await asyncio.to_thread(stack.admin, "account", "add", *names, secret=f"{PASSWORD}\n")
        assert roles_in_use(stack.dsn) == {part.value: {part.login} for part in Part}
        device, product_key = labelled_device()
        async with visitor() as http:
            browser = Visitor(http, stack.portal_url)
            await browser.log_in("ada@example.org")
            codes = {"product_id": device.product_id.value, "product_key": product_key}
            path = (await browser.post("/add/codes", codes)).headers["Location"]
            async with open_stream(browser, f"{path}/live") as stream:
                await stream.until("Waiting for the device")
                began = now_ms()
                stopping = asyncio.create_task(asyncio.to_thread(stack.part.stop, STOP_S))
                while await stream.next(STOP_S) is not None:
                    pass
                assert await stopping == 0
                assert now_ms() - began < STOP_S * 1000
        assert product_key not in stack.log
        assert "Traceback" not in stack.log
