"""The Enterprise Server's end of the links: lets servers attach, and passes its registration on to them."""

from __future__ import annotations

import asyncio
import contextlib
import operator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from agent.core.attachment import (
    AttachRefusedError,
    admit,
    farewell_to,
    forget,
    pass_on,
    peer_of,
    refused,
    reported,
    tidy,
)
from agent.errors import ServerLinkError, StateError
from agent.logs import Repeats
from agent.system.certificate import is_certificate, listening_context, make_certificate, trust
from agent.system.link import Line
from agent.system.store import link_key_of, link_secret_with, reading_of
from protocol.errors import ProtocolError
from protocol.system import System, SystemId
from protocol.system_keys import seal
from protocol.system_link import (
    MAX_LINE_BYTES,
    SILENCE_S,
    DetachReason,
    LinkKind,
    LinkMessage,
    LinkRefusal,
    check_link_proof,
    link_proof,
)

if TYPE_CHECKING:
    import ssl

    from agent.core.ports import Clock
    from agent.core.system import Database, Peer
    from agent.system.store import Store

HANDSHAKE_TIMEOUT_S: Final = 10.0
KNOCK_TIMEOUT_S: Final = 10.0
MAX_KNOCKS: Final = 16  # callers without a certificate at a time; further ones are hung up on
RETRY_S: Final = 5.0
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Alive:
    """An attached server that is connected: since when, last heard (both monotonic ms), its uptime."""

    since_ms: int
    heard_ms: int
    uptime_s: int = 0


class LinkListener:
    """Listens while this server is an Enterprise Server. ``state`` says how that goes, for people."""

    def __init__(self, store: Store, clock: Clock, host: str, port: int) -> None:
        self._store = store
        self._clock = clock
        self._host, self.port = host, port
        self._context: ssl.SSLContext | None = None
        self._lines: set[Line] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._knocks = 0
        self._repeats = Repeats(_log)
        self.alive: dict[str, Alive] = {}
        self.state = "starts"
        self.certificate = b""
        """What it shows to callers now; empty while it does not listen."""

    async def run(self) -> None:
        """Listen for ever, anew after each change of this server's key."""
        while True:
            database = await self._store.until(_is_enterprise)
            if database is not None:
                await self._listen(database)

    async def _listen(self, database: Database) -> None:
        peers = [peer.certificate for peer in database.peers]
        self._context = listening_context(link_key_of(database), peers)
        try:
            listener = await asyncio.start_server(
                self._accept,
                self._host,
                self.port,
                ssl=self._context,
                ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S,
                limit=MAX_LINE_BYTES,
            )
        except OSError as error:
            self.state = f"cannot listen on {self._host}:{self.port}: {error.strerror}; see link_port"
            self._repeats.failed("cannot listen for attached servers", reason=self.state)
            await asyncio.sleep(RETRY_S)
            return
        self.port = listener.sockets[0].getsockname()[1]
        self.state = "listens"
        self.certificate = make_certificate(link_key_of(database))
        self._repeats.worked("listens for attached servers again")
        try:
            await self._store.until(
                lambda now: not _is_enterprise(now) or now is None or now.link_key != database.link_key
            )
        finally:
            self.state, self.certificate = "stopped", b""
            listener.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RETRY_S):
                    await listener.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        line = Line(reader, writer)
        if task is not None:
            self._tasks.add(task)
        try:
            await self._serve(line)
        except (ServerLinkError, ProtocolError) as error:
            _log.debug("a link ended", reason=str(error))
        except StateError as error:
            _log.error("a link ended, as nothing can be kept", reason=str(error))
        except asyncio.CancelledError:
            _log.debug("a link was ended")  # by `_listen`; asyncio would report it as an error of ours
        finally:
            if task is not None:
                self._tasks.discard(task)
            await line.close()

    async def _serve(self, line: Line) -> None:
        certificate = line.certificate
        peer = None if certificate is None else peer_of(self._store.database, certificate)
        if certificate is not None and peer is None:
            return  # it was attached once; what it must know it was told then
        database = self._store.database
        await line.say(LinkMessage(kind=LinkKind.HELLO, system_id=database.system_id, name=database.name))
        if peer is not None:
            await self._talk(peer, line)
        elif self._knocks < MAX_KNOCKS:
            self._knocks += 1
            try:
                await self._knocked(line)
            finally:
                self._knocks -= 1

    # --- attaching -----------------------------------------------------------------------------------------

    async def _knocked(self, line: Line) -> None:
        asked = await line.hear(KNOCK_TIMEOUT_S)
        if asked.kind is LinkKind.GONE:
            await self._say_farewell(asked, line)
            return
        if asked.kind is not LinkKind.ATTACH or asked.report is None:
            return
        try:
            proof = await self._admit(asked)
        except AttachRefusedError as error:
            _log.warning("a server was not attached", code=error.refusal.value, name=asked.report.name)
            await line.say(LinkMessage(kind=LinkKind.REFUSED, code=error.refusal.value))
            return
        _log.info("a server was attached", system_id=asked.system_id, name=asked.report.name)
        await line.say(LinkMessage(kind=LinkKind.ATTACHED, proof=proof))

    async def _say_farewell(self, asked: LinkMessage, line: Line) -> None:
        """To one that was off when the database was deleted. Kept on: nobody knows whether it arrives."""
        try:
            kept = farewell_to(self._store.database, asked.system_id, asked.proof)
        except AttachRefusedError as error:
            await line.say(LinkMessage(kind=LinkKind.REFUSED, code=error.refusal.value))
            return
        _log.info("a server is told that the database was deleted", system_id=kept.system_id)
        await line.say(
            LinkMessage(
                kind=LinkKind.DETACHED,
                system_id=kept.enterprise_id,
                reason=DetachReason.DATABASE_DELETED,
                proof=kept.word,
            )
        )

    async def _admit(self, asked: LinkMessage) -> bytes:
        """Check the proof, attach durably, let it in from now on; our own proof."""
        database, report = self._store.database, asked.report
        other = SystemId.parse(asked.system_id)
        secret = link_secret_with(database, other)
        own = make_certificate(link_key_of(database))
        proven = check_link_proof(secret, asked.proof, prover=other, own=asked.certificate, other=own)
        if report is None or not proven or not is_certificate(asked.certificate):
            raise refused(LinkRefusal.PROOF_WRONG)
        await self._store.change(
            lambda now: admit(
                now,
                asked.secret,
                system_id=other.value,
                certificate=asked.certificate,
                report=report,
                reading=reading_of(self._clock),
            )
        )
        if self._context is not None:
            trust(self._context, [asked.certificate])
        return link_proof(secret, prover=SystemId.parse(database.system_id), own=own, other=asked.certificate)

    # --- attached ------------------------------------------------------------------------------------------

    async def _talk(self, peer: Peer, line: Line) -> None:
        now_ms = self._clock.mono_ms()
        alive = self.alive[peer.system_id] = Alive(now_ms, now_ms)
        telling = asyncio.create_task(self._tell(peer.system_id, line), name="link: tell")
        hearing = asyncio.create_task(self._hear(peer.system_id, line, alive), name="link: hear")
        try:
            await asyncio.wait({telling, hearing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (telling, hearing):
                task.cancel()
            ends = await asyncio.gather(telling, hearing, return_exceptions=True)
            if self.alive.get(peer.system_id) is alive:
                del self.alive[peer.system_id]
        for end in ends:
            if isinstance(end, Exception):
                raise end

    async def _hear(self, system_id: str, line: Line, alive: Alive) -> None:
        """Until it hangs up, falls silent or says that it stands alone now."""
        while True:
            message = await line.hear(SILENCE_S)
            alive.heard_ms = self._clock.mono_ms()
            report = message.report
            if message.kind is LinkKind.REPORT and report is not None:
                alive.uptime_s = tidy(report).uptime_s
                await self._store.change(partial(reported, system_id=system_id, report=report))
                await self._pass_on(system_id, line)
            elif message.kind is LinkKind.DETACH:
                await self._store.change(lambda now: forget(now, system_id))
                await line.say(LinkMessage(kind=LinkKind.DETACHED, reason=DetachReason.BY_ATTACHED))
                return

    async def _tell(self, system_id: str, line: Line) -> None:
        """Tell each change of what is passed on, and that it is over."""
        told_at = -1
        while True:
            database = self._store.database
            peer = next((peer for peer in database.peers if peer.system_id == system_id), None)
            if peer is None:
                return
            if peer.leaving is not None:
                await line.say(LinkMessage(kind=LinkKind.DETACHED, reason=peer.leaving))
                await self._store.change(lambda now: forget(now, system_id))
                return
            if told_at not in {-1, database.at}:
                await self._pass_on(system_id, line)
            told_at = database.at
            await self._store.until(partial(operator.is_not, database))

    async def _pass_on(self, system_id: str, line: Line) -> None:
        database, other = self._store.database, SystemId.parse(system_id)
        passed = seal(
            pass_on(database, system_id),
            SystemId.parse(database.system_id),
            link_secret_with(database, other),
        )
        await line.say(LinkMessage(kind=LinkKind.PASSED_ON, passed=passed))


def _is_enterprise(database: Database | None) -> bool:
    return database is not None and database.kind is System.ENTERPRISE_SERVER
