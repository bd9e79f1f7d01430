"""What ``notify`` watches: the cloud, a simulated UPS with its agent, a mail server, a webhook's receiver."""

import asyncio
import contextlib
import hmac
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import psycopg

from cloud.postgres.pool import make_pool
from cloud.services.channels import seal_channel
from cloud.services.notice_letters import Office
from cloud.services.vault import Vault
from tests.accept import CheckError, progress, wait_until
from tests.agent.house import House
from tests.faults.processes import Part, Parts
from tests.faults.seed import claim_labels
from tests.support.notice import Building
from tests.support.stack import free_port, listens

WAIT_S: Final = 40.0
SECRET: Final = "whsec_of_the_acceptance_check"
HOUR_MS: Final = 3_600_000
MOVES: Final = (
    (
        "UPDATE alarm_told SET raised_ms = raised_ms - %(by)s,"
        " times_ms = ARRAY(SELECT t - %(by)s FROM unnest(times_ms) t)"
    ),
    "UPDATE notice_pace SET times_ms = ARRAY(SELECT t - %(by)s FROM unnest(times_ms) t)",
    (
        "UPDATE alarm SET began_ms = began_ms - %(by)s, ended_ms = ended_ms - %(by)s,"
        " changed_ms = changed_ms - %(by)s"
    ),
    "UPDATE mail SET next_ms = next_ms - %(by)s WHERE sent_ms IS NULL",
    "UPDATE notice_delivery SET next_ms = next_ms - %(by)s WHERE sent_ms IS NULL",
    "UPDATE notice_company SET look_ms = look_ms - %(by)s",
)
"""What a moved clock is, row by row."""


@dataclass
class Hook:
    """A webhook's receiver in a thread; keeps deliveries whose signature is right, counts the others."""

    taken: list[dict[str, Any]] = field(default_factory=list)
    wrong: int = 0
    port: int = 0

    @contextlib.contextmanager
    def serving(self) -> Iterator["Hook"]:
        """Listen while the block runs."""
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                stamp = self.headers["Smartconnect-Timestamp"]
                proof = hmac.new(SECRET.encode(), stamp.encode() + b"." + body, "sha256").hexdigest()
                fresh = abs(time.time() - int(stamp)) < 60
                if fresh and hmac.compare_digest(f"v1={proof}", self.headers["Smartconnect-Signature"]):
                    hook.taken.append(json.loads(body))
                else:
                    hook.wrong += 1
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, name="webhook receiver")
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


class Site:
    """All of it. ``building`` is the company that owns the simulated UPS, and makes more devices."""

    def __init__(self, folder: Path, processes: Parts, hook: Hook) -> None:
        self.hook = hook
        self.mailbox = folder / "mails.jsonl"
        self.mailbox.touch()
        self.smtp_port = free_port()
        self.house = House(folder, processes, poll_interval_s=1.0)
        self.cloud = self.house.cloud
        self.smtp: Part = processes.add(
            "smtp",
            [sys.executable, "-m", "tests.accept._smtp_process", str(self.smtp_port), str(self.mailbox)],
            ready=lambda: listens(self.smtp_port),
        )
        flags = ["--mail", "smtp", "--smtp-host", "127.0.0.1", "--smtp-port", str(self.smtp_port)]
        flags += ["--smtp-tls", "none", "--mail-from", "ups@example.org", "--notify-private", "true"]
        for name in ("portal", "jobs"):
            part = self.cloud.parts[name]
            part.command = [*part.command, *flags]
        self.smtp.start().wait_ready()
        self.house.start_cloud()
        self.cloud.start("portal")
        self.cloud.start("jobs")
        self.owner = claim_labels(self.cloud.dsn, [self.house.label])[0]
        self.house.agent.start()
        wait_until("the UPS is owned and heard", lambda: self.house.latest("ts_ms"), WAIT_S)

    # --- database

    def run(self, statement: str, *arguments: object) -> list[tuple[Any, ...]]:
        """Rows of any statement."""
        with psycopg.connect(self.cloud.dsn, autocommit=True, connect_timeout=5) as connection:
            found = connection.execute(statement.encode(), list(arguments))
            return [] if found.description is None else found.fetchall()

    def with_building(self, work: Callable[[Building], Any], now_ms: int | None = None) -> Any:
        """Let ``work`` (a coroutine function) act on the owner's devices by the adapters."""
        vault = Vault.load(self.cloud.state_dir / "keys" / "secrets.key")

        async def whole() -> Any:
            async with make_pool(self.cloud.dsn, name="check", max_size=2) as pool:
                desk = Office(pool, vault, "SmartConnect", self.cloud.portal_url)
                return await work(Building(desk, self.owner, now_ms or clock_ms()))

        return asyncio.run(whole())

    def add_webhook(self) -> None:
        """The company's policy gets the receiver as a channel."""
        company_id = self.owner.company_id
        vault = Vault.load(self.cloud.state_dir / "keys" / "secrets.key")
        ((channel_id,),) = self.run(
            "INSERT INTO notice_channel (company_id, kind, name, shown, created_ms)"
            " VALUES (%s, 'webhook', 'Receiver', 'here', 0) RETURNING channel_id",
            company_id,
        )
        sealed = seal_channel(vault, channel_id, f"http://127.0.0.1:{self.hook.port}/hook", SECRET)
        self.run("UPDATE notice_channel SET sealed = %s WHERE channel_id = %s", sealed, channel_id)
        self.run(
            "INSERT INTO notice_target SELECT policy_id, 0, 'channel', %s FROM notice_policy"
            " WHERE company_id = %s",
            *(str(channel_id), company_id),
        )

    def move_clock(self, by_ms: int) -> None:
        """Let it be so much later for everything that was told, and for what waits.

        At one moment, between two decisions of the jobs process.
        """
        with psycopg.connect(self.cloud.dsn, connect_timeout=5) as connection:
            connection.execute("SELECT 1 FROM notice_company ORDER BY company_id FOR UPDATE")
            for statement in MOVES:
                connection.execute(statement, {"by": by_ms})

    # --- mails

    def mails(self, word: str = "") -> list[dict[str, Any]]:
        """What the mail server has confirmed, with this word in its subject or text."""
        lines = self.mailbox.read_text().splitlines()
        found = [json.loads(line) for line in lines]
        return [one for one in found if word in one["subject"] + one["text"]]

    def unsent(self) -> int:
        """Mails that wait."""
        return int(self.run("SELECT count(*) FROM mail WHERE sent_ms IS NULL AND ended_ms IS NULL")[0][0])


def clock_ms() -> int:
    """Unix ms by the clock of this machine."""
    return time.time_ns() // 1_000_000


@contextlib.contextmanager
def running_site(folder: Path) -> Iterator[Site]:
    """The site, until the block ends."""
    with Hook().serving() as hook, Parts(folder / "logs") as processes:
        site = Site(folder, processes, hook)
        try:
            yield site
        except CheckError:
            for name in ("jobs", "portal"):
                progress(f"{name} has said: {site.cloud.parts[name].tail()}")
            raise
