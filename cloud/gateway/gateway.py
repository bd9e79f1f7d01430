"""What the connections of one gateway process share: admission, writers, limits, counters."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable
from typing import Final

import structlog

from cloud.config import Settings
from cloud.core.session import Bucket, LoginRequest, Refusal
from cloud.core.upload import Upload
from cloud.gateway.connection import Connection
from cloud.gateway.hub import Hub
from cloud.gateway.lanes import Lanes
from cloud.gateway.login import Strangers, admit
from cloud.gateway.metrics import Metrics
from cloud.gateway.session import Session, Voice
from cloud.gateway.writer import Done, Writer
from cloud.postgres.pool import Pool
from cloud.postgres.telemetry import Store
from protocol.errors import Reason
from protocol.mqtt import Connect

MAX_HELD_BYTES: Final = 64 * 2**20
"""Payloads read and not yet stored; beyond it nothing is read until half of it is stored."""
MAX_LOGINS_AT_ONCE: Final = 64
UNOWNED_SHARE: Final = 0.5
"""Anybody may make a key and log in: devices without owner get this share of the sessions, no more."""
NONCE_BYTES: Final = 32
STOP_TIMEOUT_S: Final = 2.0
PRESENCE_TIMEOUT_S: Final = 0.6
LINES_PER_S: Final = 20
"""Log lines about what peers do wrong; a flood is counted, not written."""

log = structlog.get_logger()


class Gateway:
    """One process' devices. Event loop only, but for ``_decided``."""

    def __init__(self, settings: Settings, pool: Pool, voice: Voice, metrics: Metrics) -> None:
        self.settings = settings
        self.pool = pool
        self.metrics = metrics
        self.hub = Hub(pool, settings.dsn)
        self.full = False
        self.failed = asyncio.Event()
        """Set when the process cannot go on."""
        self._voice = voice
        self._loop = asyncio.get_running_loop()
        self._connections: set[Connection] = set()
        self._logins = asyncio.Semaphore(MAX_LOGINS_AT_ONCE)
        self._strangers = Strangers()
        self._lines = Bucket(LINES_PER_S, 1000 // LINES_PER_S)
        self._unsaid = 0
        self._lanes = Lanes(settings.writers)
        self._writers = [
            Writer(Store(settings.dsn, f"writer {i}"), f"writer-{i}", self._decided, metrics)
            for i in range(settings.writers)
        ]

    def start(self) -> None:
        """Start the writers."""
        for writer in self._writers:
            writer.start()

    async def stop(self) -> None:
        """End all sessions, store what was read, say who is gone."""
        for session in self.hub.sessions():
            session.link.end(Refusal(Reason.SERVER_SHUTTING_DOWN, "the gateway stops", ends=True))
        await asyncio.gather(*(asyncio.to_thread(writer.stop, STOP_TIMEOUT_S) for writer in self._writers))
        with contextlib.suppress(TimeoutError):  # a database that hangs must not hold us
            async with asyncio.timeout(PRESENCE_TIMEOUT_S):
                await self.hub.flush_presence()

    # --- connections ----------------------------------------------------------------------------------------

    def connect(self, peer: str, admitted: Callable[[], None]) -> Connection:
        """The protocol of a connection whose handshake is going on; see :class:`Connection`."""
        connection = Connection(self, peer, admitted)
        self._connections.add(connection)
        return connection

    def discard(self, connection: Connection) -> None:
        """A handshake that failed."""
        self._connections.discard(connection)

    def closed(self, connection: Connection, session: Session | None, why: str) -> None:
        """The connection is gone."""
        self._connections.discard(connection)
        if session is not None:
            self.hub.remove(session)
            self.metrics.sessions.set(len(self.hub))
            log.info("device gone", kid=session.kid, peer=session.peer, reason=why)

    def refused(self, session: Session | None, refusal: Refusal, peer: str) -> None:
        """Count and log what a peer did that is not taken."""
        self.metrics.refused.inc()
        kid = None if session is None else session.kid
        self.warn("refused", peer=peer, kid=kid, code=f"{int(refusal.reason):#04x}", reason=refusal.why)

    def warn(self, what: str, **values: object) -> None:
        """A log line, unless there are too many."""
        if not self._lines.take(time.monotonic_ns() // 1_000_000):
            self._unsaid += 1
            return
        if self._unsaid:
            values["unsaid"] = self._unsaid
            self._unsaid = 0
        log.warning(what, **{key: value for key, value in values.items() if value is not None})

    async def log_in(
        self, link: Connection, connect: Connect, request: LoginRequest, peer: str
    ) -> Session | Refusal:
        """A session for this CONNECT, or why not."""
        if len(self.hub) >= self.settings.max_sessions:
            return self._count(Refusal(Reason.SERVER_BUSY, "as many sessions as max_sessions allows"))
        async with self._logins:
            outcome = await admit(self.pool, self.settings.audience, request, time.time_ns() // 1_000_000)
        if isinstance(outcome, Refusal):
            return self._count(outcome)
        if self.hub.login_ms(outcome.kid) >= outcome.login_ms:
            return self._count(
                Refusal(Reason.BAD_USER_NAME_OR_PASSWORD, "a later log-in of this key came first")
            )
        if not outcome.standing.known and not self._strangers.enter(outcome.kid, outcome.login_ms):
            return self._count(Refusal(Reason.BAD_USER_NAME_OR_PASSWORD, "the log-in token was used before"))
        share = self.settings.max_sessions * UNOWNED_SHARE
        if not outcome.standing.owned and len(self.hub) >= share and self.hub.unowned >= share:
            return self._count(Refusal(Reason.SERVER_BUSY, "too many sessions of devices without owner"))
        session = Session(
            link=link,
            voice=self._voice,
            kid=outcome.kid,
            device_id=outcome.device_id,
            login_ms=outcome.login_ms,
            version=connect.version,
            keep_alive_s=request.keep_alive_s,
            peer=peer,
            nonce=secrets.token_bytes(NONCE_BYTES),
            standing=outcome.standing,
        )
        self.hub.add(session)
        self.metrics.sessions.set(len(self.hub))
        self.metrics.logins.labels("ok").inc()
        log.info(
            "device connected",
            kid=session.kid,
            device_id=session.device_id,
            peer=peer,
            mqtt=connect.version,
            owned=session.standing.owned,
        )
        return session

    def _count(self, refusal: Refusal) -> Refusal:
        self.metrics.logins.labels(refusal.reason.name.lower()).inc()
        return refusal

    # --- uploads --------------------------------------------------------------------------------------------

    def store(self, session: Session, upload: Upload) -> None:
        """Have a writer store this."""
        lane = self._lanes.enter(session, upload)
        if self._lanes.held_bytes > MAX_HELD_BYTES:
            self.full = True
        self._writers[lane].put(session, upload)

    def _decided(self, done: Done) -> None:
        """A writer's thread has decided some uploads."""
        self._loop.call_soon_threadsafe(self._settle, done)

    def _settle(self, done: Done) -> None:
        for session, upload in done.decided:
            self._lanes.leave(session, upload)
        self.metrics.held_bytes.set(self._lanes.held_bytes)
        for session in done.flush:
            session.link.flush()
        for session, refusal in done.end:
            self.refused(session, refusal, session.peer)
            session.link.end(refusal)
        for session, rejection in done.refused:
            not_kept, session.not_kept = session.not_kept, 0
            self.warn(
                "message refused",
                code=rejection.error.code,
                reason=str(rejection.error),
                kind=rejection.upload.topic.kind,
                device_id=session.device_id,
                peer=session.peer,
                not_kept=not_kept or None,
            )
        if self.full and self._lanes.held_bytes < MAX_HELD_BYTES // 2:
            self.full = False
            for connection in list(self._connections):
                connection.regulate()
        if any(writer.failed is not None for writer in self._writers):
            self.failed.set()
