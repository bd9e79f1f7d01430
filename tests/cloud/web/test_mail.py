"""The portal sends what its services write."""

import asyncio
from pathlib import Path

from cloud.core.mail import Mail
from cloud.postgres import outbox
from tests.fakes.smtp import smtp_sink
from tests.support.portal import now_ms, running_portal


async def test_a_portal_with_a_mail_server_sends_the_outbox(database: str, tmp_path: Path) -> None:
    async with (
        smtp_sink() as sink,
        running_portal(
            database,
            tmp_path / "state",
            mail="smtp",
            smtp_host="127.0.0.1",
            smtp_port=sink.port,
            smtp_tls="none",
            mail_from="UPS <ups@example.org>",
        ) as portal,
    ):
        async with portal.pool.connection() as connection:
            await outbox.put(connection, Mail("ada@example.org", "Hello", "Text", "test", now_ms()))
        async with asyncio.timeout(10):
            while not sink.messages:
                await asyncio.sleep(0.02)
    assert sink.messages[0]["From"] == "UPS <ups@example.org>"
