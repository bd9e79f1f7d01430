"""The stand-alone server's end of the link: attaches, and keeps what the Enterprise Server passes on."""

from __future__ import annotations

import asyncio
import hmac
import random
import ssl
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from agent.core.attachment import detach, line_of, receive, refused
from agent.core.backoff import Backoff
from agent.core.system import Lead
from agent.errors import ServerLinkError
from agent.logs import Repeats
from agent.system.certificate import make_certificate
from agent.system.link import NOT_KNOWN, call, certificate_at
from agent.system.store import link_key_of, link_secret_with
from protocol.errors import ProtocolError
from protocol.system import MAX_STATE_BYTES, PassedOn, System, SystemId
from protocol.system_keys import read_envelope, unseal
from protocol.system_link import (
    REPORT_EVERY_S,
    SILENCE_S,
    DetachReason,
    LinkKind,
    LinkMessage,
    LinkRefusal,
    check_link_proof,
    farewell_proofs,
    link_proof,
    read_attach_code,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.core.ports import Clock
    from agent.core.system import Database
    from agent.system.link import Line
    from agent.system.store import Store
    from protocol.system_link import LinkReport

ANSWER_TIMEOUT_S: Final = 10.0
RETRY: Final = Backoff(first_s=1.0, max_s=30.0)


async def knock(database: Database, report: LinkReport, host: str, port: int, code: str, now_ms: int) -> Lead:
    """Attach by an attach code: the Enterprise Server, which has this server from now on.

    Raises MistypedError, ServerLinkError, AttachRefusedError.
    """
    if database.kind is not System.STANDALONE:
        raise refused(LinkRefusal.NOT_ENTERPRISE)
    wanted, secret = read_attach_code(code)
    certificate = await certificate_at(host, port, wanted)
    line = await call(host, port, certificate, None)
    try:
        hello = await line.hear(ANSWER_TIMEOUT_S)
        other, own_id = _id_of(hello), SystemId.parse(database.system_id)
        shared, own = link_secret_with(database, other), make_certificate(link_key_of(database))
        await line.say(
            LinkMessage(
                kind=LinkKind.ATTACH,
                secret=secret,
                system_id=own_id.value,
                certificate=own,
                proof=link_proof(shared, prover=own_id, own=own, other=certificate),
                report=report,
            )
        )
        answer = await line.hear(ANSWER_TIMEOUT_S)
    finally:
        await line.close()
    if answer.kind is LinkKind.REFUSED and answer.code in set(LinkRefusal):
        raise refused(LinkRefusal(answer.code))
    proven = check_link_proof(shared, answer.proof, prover=other, own=certificate, other=own)
    if answer.kind is not LinkKind.ATTACHED or not proven:
        raise refused(LinkRefusal.PROOF_WRONG)
    return Lead(
        system_id=other.value,
        name=line_of(hello.name),
        host=host,
        port=port,
        certificate=certificate,
        attached_ms=now_ms,
    )


async def hear_farewell(database: Database, lead: Lead) -> bool:
    """Whether the one that answers in the Enterprise Server's place has its farewell. ServerLinkError."""
    enterprise, own_id = SystemId.parse(lead.system_id), SystemId.parse(database.system_id)
    shared = link_secret_with(database, enterprise)
    ask, farewell = farewell_proofs(shared, enterprise=enterprise, attached=own_id)
    certificate = await certificate_at(lead.host, lead.port, None)
    line = await call(lead.host, lead.port, certificate, None)
    try:
        await line.hear(ANSWER_TIMEOUT_S)
        await line.say(LinkMessage(kind=LinkKind.GONE, system_id=own_id.value, proof=ask))
        answer = await line.hear(ANSWER_TIMEOUT_S)
    finally:
        await line.close()
    return answer.kind is LinkKind.DETACHED and hmac.compare_digest(answer.proof, farewell)


def _id_of(hello: LinkMessage) -> SystemId:
    try:
        return SystemId.parse(hello.system_id)
    except ProtocolError as error:
        raise ServerLinkError("the server that answers there is no Enterprise Server") from error


class LinkCaller:
    """Calls the Enterprise Server while this server is attached. ``state`` says how that goes, for people."""

    def __init__(self, store: Store, clock: Clock, report: Callable[[Database], LinkReport]) -> None:
        self._store = store
        self._clock = clock
        self._report = report
        self._log = structlog.get_logger(__name__)
        self._repeats = Repeats(self._log)
        self.heard_ms: int | None = None
        self.state = "not attached"
        self._dismissed = False
        self.resting = asyncio.Event()
        """Set while there is no connection."""
        self.linked = asyncio.Event()
        """Set while there is one over which something was passed on."""
        self.resting.set()

    async def run(self) -> None:
        """Call, and call again, for ever."""
        backoff = RETRY
        while True:
            self.state = "not attached"
            database = await self._store.until(lambda now: now is not None and now.lead is not None)
            if database is None or database.lead is None:
                continue
            self.state = "calls"
            try:
                await self._connect(database, database.lead)
                backoff = backoff.succeeded()
            except (ServerLinkError, ProtocolError) as error:
                if isinstance(error.__cause__, ssl.SSLCertVerificationError) and await self._is_gone(
                    database
                ):
                    continue
                backoff = backoff.succeeded() if self.state == "connected" else backoff.failed()
                self.state = str(error)
                self._repeats.failed("no link to the Enterprise Server", reason=str(error))
                await self._pause(database.lead, backoff.delay_s(random.random()))  # noqa: S311  jitter

    async def _is_gone(self, database: Database) -> bool:
        """Whether another key is shown there because the Enterprise Server's database was deleted, which only
        its own farewell can say; then this server stands alone.
        """
        lead = database.lead
        if lead is None:
            return False
        try:
            word = await hear_farewell(database, lead)
        except (ServerLinkError, ProtocolError) as error:
            self._log.debug("no farewell of the Enterprise Server", reason=str(error))
            return False
        if word:
            reason = DetachReason.DATABASE_DELETED
            self._log.warning("stands alone", reason=reason.value)
            step = partial(detach, reason=reason, now_ms=self._clock.wall_ms())
            await self._store.change(lambda now: step(now) if _same(now, lead) else now)
        return word

    async def _pause(self, lead: Lead, seconds: float) -> None:
        """Wait, but not once this server is attached elsewhere, or nowhere."""
        try:
            async with asyncio.timeout(seconds):
                await self._store.until(lambda now: not _same(now, lead))
        except TimeoutError:
            return

    async def _connect(self, database: Database, lead: Lead) -> None:
        """One connection, until this server is detached; ServerLinkError for every other end."""
        line = await call(lead.host, lead.port, lead.certificate, link_key_of(database))
        self.resting.clear()
        self._dismissed = False
        try:
            try:
                hello = await line.hear(ANSWER_TIMEOUT_S)
            except ServerLinkError as error:
                raise ServerLinkError(NOT_KNOWN) from error
            if hello.kind is not LinkKind.HELLO or hello.system_id != lead.system_id:
                raise ServerLinkError(
                    "the Enterprise Server has another System ID than when it was attached to"
                )
            work = [
                asyncio.create_task(part, name="link")
                for part in (self._tell(line), self._hear(line), self._watch(line, lead))
            ]
            try:
                done, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in work:
                    task.cancel()
                await asyncio.gather(*work, return_exceptions=True)
            for task in done:
                task.result()
        finally:
            self.linked.clear()
            await line.close()
            self.resting.set()

    async def _tell(self, line: Line) -> None:
        while True:
            await line.say(LinkMessage(kind=LinkKind.REPORT, report=self._report(self._store.database)))
            await asyncio.sleep(REPORT_EVERY_S)

    async def _watch(self, line: Line, lead: Lead) -> None:
        """Say goodbye once somebody detaches this server here."""
        await self._store.until(lambda now: not _same(now, lead))
        if self._dismissed:
            return
        await line.say(LinkMessage(kind=LinkKind.DETACH))
        await asyncio.sleep(ANSWER_TIMEOUT_S)  # the answer ends the connection

    async def _hear(self, line: Line) -> None:
        while True:
            message = await line.hear(SILENCE_S)
            self.heard_ms = self._clock.mono_ms()
            if message.kind is LinkKind.PASSED_ON:
                await self._keep(message.passed)
            elif message.kind is LinkKind.DETACHED:
                reason = message.reason or DetachReason.BY_ENTERPRISE
                if reason is not DetachReason.BY_ATTACHED:
                    self._dismissed = True
                    self._log.warning("detached by the Enterprise Server", reason=reason.value)
                    await self._store.change(partial(detach, reason=reason, now_ms=self._clock.wall_ms()))
                return

    async def _keep(self, payload: bytes) -> None:
        """Keep what was passed on, after it was proven to be the Enterprise Server's word for us."""

        def step(now: Database) -> Database:
            if now.lead is None:
                return now
            _claimed, envelope = read_envelope(payload, MAX_STATE_BYTES)  # the secret says whose it is
            secret = link_secret_with(now, SystemId.parse(now.lead.system_id))
            passed = unseal(envelope, PassedOn, secret, MAX_STATE_BYTES)
            return receive(now, passed, self._clock.wall_ms())

        await self._store.change(step)
        self.state = "connected"
        self.linked.set()
        self._repeats.worked("linked to the Enterprise Server again")


def _same(now: Database | None, lead: Lead) -> bool:
    """Whether this is the Enterprise Server that it is attached to now."""
    return (
        now is not None
        and now.lead is not None
        and now.lead.certificate == lead.certificate
        and now.lead.attached_ms == lead.attached_ms
    )
