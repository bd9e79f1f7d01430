"""Sends the outbox by SMTP, or leaves it to the mailbox page.

One connection a round, several mails over it. A refusal of one address for good (5xx) ends that mail;
whatever else goes wrong (no connection, no log-in, 4xx) postpones it. A mail that a server took while we died
is sent again with the same Message-ID. TLS always verifies; own authorities are supported. A notification is
looked up once more right before it is sent (``renew``).
"""

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime, parseaddr
from enum import StrEnum
from pathlib import Path
from typing import Final

import aiosmtplib
import structlog

from cloud.core.language import N_
from cloud.core.mail import is_over, pause_ms
from cloud.postgres import outbox
from cloud.postgres.acting import Reason, crossing
from cloud.postgres.outbox import Parcel
from cloud.postgres.pool import Pool
from cloud.postgres.safety import UNAVAILABLE
from protocol import faults

POLL_S: Final = 1.0
ROUND_MAILS: Final = 20
LEASE_MS: Final = 300_000
"""Longer than a round can take: 20 mails at the time-out below would be postponed after the first."""
TIMEOUT_S: Final = 20.0
KEEP_MS: Final = 30 * 86_400_000
FORGET_EVERY_MS: Final = 3_600_000
NOBODY: Final = N_("nobody is to be told any more: the device or the person has left, or they unsubscribed")
TRANSIENT: Final = 400
PERMANENT: Final = 500
"""SMTP replies from here on are refusals, for now and for good (RFC 5321 section 4.2.1)."""

Renew = Callable[[Parcel], Awaitable[Parcel | None]]
"""What a mail is at the moment it is sent; None where it must not be sent any more."""

log = structlog.get_logger()


class SmtpTls(StrEnum):
    """How the connection to the mail server is made safe."""

    STARTTLS = "starttls"
    TLS = "tls"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """Where mails go. ``sender`` is the From address, with or without a name."""

    host: str
    port: int
    sender: str
    tls: SmtpTls = SmtpTls.STARTTLS
    user: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None


class Mailer:
    """Takes what is due and sends it. Any number of portals may run one."""

    def __init__(
        self, pool: Pool, server: SmtpServer | None, clock: Callable[[], int], renew: Renew | None = None
    ) -> None:
        """``server`` None sends nothing (mailbox mode, or mail is off); ``clock`` gives unix ms."""
        self._renew = renew
        self._pool = pool
        self._server = server
        self._clock = clock
        self._failing = False
        self._forgot_ms = 0

    @crossing(Reason.UPKEEP)
    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                sent = await self.round()
                await self._forget()
            except UNAVAILABLE as error:
                log.debug("the mailer waits for the database", error=str(error))
                sent = 0
            if sent < ROUND_MAILS:
                await asyncio.sleep(POLL_S)

    async def round(self) -> int:
        """Send what is due now, up to ``ROUND_MAILS``; how many were taken from the outbox."""
        if self._server is None:
            return 0
        parcels = await outbox.take(self._pool, now_ms=self._clock(), lease_ms=LEASE_MS, limit=ROUND_MAILS)
        due = []
        for parcel in parcels:
            if is_over(created_ms=parcel.created_ms, expires_ms=parcel.expires_ms, now_ms=self._clock()):
                await outbox.give_up(self._pool, parcel.mail_id, self._clock(), N_("not sent in time"))
                log.warning("a mail was given up", mail_id=parcel.mail_id, kind=parcel.kind)
            else:
                due.append(parcel)
        if due:
            await self._deliver(self._server, due)
        return len(parcels)

    async def _deliver(self, server: SmtpServer, parcels: list[Parcel]) -> None:
        client = make_client(server)
        left = list(parcels)
        try:
            await client.connect()
            if server.user is not None:
                await client.login(server.user, _password(server))
            while left:
                await self._send(client, server, left[0])
                left.pop(0)
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            reason = f"{type(error).__name__}: {error}"
            level = log.debug if self._failing else log.warning
            level("mails wait for the mail server", host=server.host, count=len(left), reason=reason)
            self._failing = True
            for parcel in left:
                await outbox.postpone(
                    self._pool, parcel.mail_id, self._clock() + pause_ms(parcel.tries), reason
                )
        else:
            if self._failing:
                log.info("mails are sent again", host=server.host)
            self._failing = False
            with contextlib.suppress(aiosmtplib.SMTPException, OSError, TimeoutError):
                await client.quit()
        finally:
            client.close()

    async def _send(self, client: aiosmtplib.SMTP, server: SmtpServer, parcel: Parcel) -> None:
        """One mail; a refusal of this one mail ends or postpones it, a broken connection is raised."""
        if self._renew is not None and parcel.delivery_id is not None:
            renewed = await self._renew(parcel)
            if renewed is None:
                await outbox.give_up(self._pool, parcel.mail_id, self._clock(), NOBODY)
                return
            parcel = renewed
        try:
            message = compose(parcel, server.sender)
        except Exception as error:  # noqa: BLE001 - one mail that cannot be written holds no other up
            await outbox.give_up(
                self._pool, parcel.mail_id, self._clock(), f"{type(error).__name__}: {error}"
            )
            log.warning("a mail cannot be written", mail_id=parcel.mail_id, kind=parcel.kind)
            return
        faults.reach("notify.mail.before")
        try:
            await client.send_message(
                message, sender=parseaddr(server.sender)[1], recipients=[parcel.to_address]
            )
        except aiosmtplib.SMTPSenderRefused:
            raise  # our own address is wrong: no fault of this mail
        except (
            aiosmtplib.SMTPRecipientsRefused,
            aiosmtplib.SMTPResponseException,
            aiosmtplib.SMTPNotSupported,  # an address beyond ASCII, and a server that takes none
            ValueError,
        ) as error:
            code = _code_of(error)
            if code < TRANSIENT:
                raise aiosmtplib.SMTPException(f"the mail server says {error}") from error
            reason = f"{type(error).__name__}: {error}"
            if code >= PERMANENT:
                await outbox.give_up(self._pool, parcel.mail_id, self._clock(), reason)
            else:
                next_ms = self._clock() + pause_ms(parcel.tries)
                await outbox.postpone(self._pool, parcel.mail_id, next_ms, reason)
            log.warning("a mail was refused", mail_id=parcel.mail_id, kind=parcel.kind, code=code)
        else:
            faults.reach("notify.mail.after")
            await outbox.mark_sent(self._pool, parcel.mail_id, self._clock())
            log.info("a mail was sent", mail_id=parcel.mail_id, kind=parcel.kind)

    async def _forget(self) -> None:
        now_ms = self._clock()
        if now_ms - self._forgot_ms >= FORGET_EVERY_MS:
            await outbox.forget(self._pool, now_ms - KEEP_MS)
            self._forgot_ms = now_ms


def compose(parcel: Parcel, sender: str) -> EmailMessage:
    """The mail as it is sent; ValueError for an address that cannot stand in a header."""
    message = EmailMessage(policy=SMTP_POLICY)
    message["From"] = sender
    message["To"] = parcel.to_address
    message["Subject"] = parcel.subject
    message["Date"] = format_datetime(datetime.fromtimestamp(parcel.created_ms / 1000, UTC))
    domain = parseaddr(sender)[1].rpartition("@")[2] or "localhost"
    message["Message-ID"] = f"<mail-{parcel.mail_id}.{parcel.created_ms}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence note answers it
    for name, value in parcel.headers:
        message[name] = value
    message.set_content(parcel.text)
    if parcel.html is not None:
        message.add_alternative(parcel.html, subtype="html")
    return message


def make_client(server: SmtpServer) -> aiosmtplib.SMTP:
    """A client that verifies whom it talks to."""
    context = None
    if server.tls is not SmtpTls.NONE:
        context = ssl.create_default_context(cafile=server.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
    return aiosmtplib.SMTP(
        hostname=server.host,
        port=server.port,
        timeout=TIMEOUT_S,
        use_tls=server.tls is SmtpTls.TLS,
        start_tls=server.tls is SmtpTls.STARTTLS,
        tls_context=context,
    )


def _password(server: SmtpServer) -> str:
    if server.password_file is None:
        return ""
    return server.password_file.read_text(encoding="utf-8").strip()


def _code_of(error: Exception) -> int:
    """The worst reply an error carries; without one it is for good."""
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        return max((refused.code for refused in error.recipients), default=PERMANENT)
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return error.code
    return PERMANENT
