"""The server's own line to the cloud: it asks, says what runs here, and is told what is registered."""

from __future__ import annotations

import asyncio
import os
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import structlog

from agent.core.attachment import attached_peers, detach
from agent.core.backoff import Backoff
from agent.core.system import counted, is_pressed, pressed, told
from agent.errors import StateError, SystemRefusedError, UplinkDownError, UplinkError
from agent.logs import Repeats
from agent.proxy import STRAIGHT
from agent.system.portal import EXCHANGE, KEYS, Portal
from agent.system.store import cloud_secret_with
from protocol.errors import ProtocolError
from protocol.signing import open_key_set
from protocol.system import (
    MAX_STATE_BYTES,
    NONCE_BYTES,
    Attachment,
    SystemId,
    SystemReport,
    SystemState,
    UpsUnder,
)
from protocol.system_keys import read_envelope, seal, system_key, unseal
from protocol.system_link import DetachReason

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.core.ports import Clock
    from agent.core.system import Database
    from agent.proxy import Way
    from agent.system.store import Store
    from agent.time_service import TimeService
    from protocol.messages import Installation, KeySet, SystemKey

NO_KEY: Final = (
    "this server has no key of the cloud to prove itself with: give it the installation file of today"
    " (smartconnect-cloud admin bundle)"
)
SOONEST_S: Final = 2.0
WHILE_PRESSED_S: Final = 5.0  # somebody looks at both screens
LATEST_S: Final = 3600.0
RETRY: Final = Backoff(first_s=2.0, max_s=120.0)
_log = structlog.get_logger(__name__)


def newest_key_set(installation: Installation, database: Database | None) -> KeySet | None:
    """The newest key set this server knows that the root key has signed; None without any."""
    found = []
    for sealed in (installation.key_set, b"" if database is None else database.key_set):
        if sealed:
            try:
                found.append(open_key_set(sealed, installation.root_pub))
            except ProtocolError as error:  # another cloud's, kept from before
                _log.warning("a key set is not used", reason=str(error))
    return max(found, key=lambda one: one.version) if found else None


def newest_key(installation: Installation, database: Database) -> SystemKey:
    """The cloud's newest key for systems; StateError without one."""
    key_set = newest_key_set(installation, database)
    try:
        if key_set is not None:
            return system_key(key_set)
    except ProtocolError as error:
        raise StateError(NO_KEY) from error
    raise StateError(NO_KEY)


def sealed_attachment(installation: Installation, database: Database) -> bytes:
    """The server's word for the cloud whom it is attached to; b"" where it never was, or has no key."""
    if not database.attachment_counter:
        return b""
    try:
        key = newest_key(installation, database)
    except StateError:
        return b""
    word = Attachment(
        system_id=database.system_id,
        to="" if database.lead is None else database.lead.system_id,
        counter=database.attachment_counter,
    )
    return seal(word, SystemId.parse(database.system_id), cloud_secret_with(database, key), key.number)


class Online:
    """Exchanges reports for states. ``state`` says how that goes, for people."""

    def __init__(
        self,
        store: Store,
        installation: Installation,
        clock: Clock,
        time: TimeService,
        *,
        version: str,
        ups: Callable[[SystemId], tuple[UpsUnder, ...]],
        way: Way = STRAIGHT,
    ) -> None:
        self._store = store
        self._installation = installation
        self._portal = Portal(installation, way)
        self._clock = clock
        self._time = time
        self._version = version
        self._ups = ups
        self._started_ms = clock.mono_ms()
        self._lock = asyncio.Lock()
        self._repeats = Repeats(_log)
        self.state = "not connected yet"

    async def run(self) -> None:
        """Report again and again, and at once when there is something new to say."""
        backoff = RETRY
        while True:
            database = await self._store.until(lambda now: now is not None)
            if database is None:
                continue
            before = _news(database)  # what is new while the answer is on its way is told next
            try:
                state = await self.exchange()
            except (UplinkError, SystemRefusedError, StateError) as error:
                refused = isinstance(error, SystemRefusedError)
                backoff = backoff.refused() if refused else backoff.failed()
                self.state = str(error)
                self._repeats.failed("no exchange with the cloud", reason=str(error))
                delay_s = backoff.delay_s(random.random())  # noqa: S311  jitter, no secret
            else:
                backoff = backoff.succeeded()
                self.state = "connected"
                self._repeats.worked("exchanges with the cloud again")
                delay_s = min(max(float(state.next_s), SOONEST_S), LATEST_S)
                if is_pressed(self._store.database, self._clock.wall_ms()):
                    delay_s = min(delay_s, WHILE_PRESSED_S)
            await self._pause(delay_s, before)

    async def _pause(self, seconds: float, before: tuple[object, ...]) -> None:
        """Wait, but not once there is something that the cloud should know now."""
        try:
            async with asyncio.timeout(seconds):
                await self._store.until(lambda now: _news(now) != before)
        except TimeoutError:
            return

    async def exchange(self, *, register: bool = False, accept: str = "", decline: str = "") -> SystemState:
        """One report and its answer, which is kept. UplinkError, SystemRefusedError, StateError."""
        async with self._lock:
            state = await self._exchange(register=register, accept=accept, decline=decline)
            if state.key_set_version > self._known_keys():
                await self._fetch_keys()
            return state

    def _known_keys(self) -> int:
        key_set = newest_key_set(self._installation, self._store.value)
        return 0 if key_set is None else key_set.version

    async def _exchange(self, *, register: bool, accept: str, decline: str) -> SystemState:
        now_ms = self._clock.wall_ms()

        def begun(now: Database) -> Database:
            now = counted(now, now_ms)
            return pressed(now, now_ms) if register else now

        if not self._known_keys():
            await self._fetch_keys()
        key = newest_key(self._installation, self._store.database)
        database = await self._store.change(begun)
        system_id, nonce = SystemId.parse(database.system_id), os.urandom(NONCE_BYTES)
        secret = cloud_secret_with(database, key)
        report = self._report(database, nonce, register=register, accept=accept, decline=decline)
        answer = await self._portal.ask(EXCHANGE, seal(report, system_id, secret, key.number), self._time)
        try:
            whose, envelope = read_envelope(answer, 2 * MAX_STATE_BYTES)
            state = unseal(envelope, SystemState, secret, MAX_STATE_BYTES)
        except ProtocolError as error:
            raise UplinkDownError(f"what answers for the portal is not this cloud: {error}") from error
        if whose != system_id or state.system_id != system_id.value or state.nonce != nonce:
            raise UplinkDownError("the portal answers another question")
        await self._keep(database, replace(state, link=""))
        return state

    def _report(
        self, database: Database, nonce: bytes, *, register: bool, accept: str, decline: str
    ) -> SystemReport:
        return SystemReport(
            system_id=database.system_id,
            counter=database.counter,
            nonce=nonce,
            kind=database.kind,
            name=database.name,
            version=database.software or self._version,
            licences=database.licences,
            uptime_s=max(0, self._clock.mono_ms() - self._started_ms) // 1000,
            known=0 if database.heard is None else database.heard.state.version,
            register=register,
            accept=accept,
            decline=decline,
            attachment=sealed_attachment(self._installation, database),
            attached=tuple(
                peer.report.attachment for peer in attached_peers(database) if peer.report.attachment
            ),
            ups=self._ups(SystemId.parse(database.system_id)),
        )

    async def _keep(self, asked: Database, state: SystemState) -> None:
        """Keep what the cloud said, unless the database was deleted meanwhile."""
        now_ms = self._clock.wall_ms()

        def step(now: Database) -> Database:
            if now.system_id != asked.system_id:
                return now
            lead, after = now.lead, told(now, state, now_ms)
            if lead is None or state.gone_id != lead.system_id:
                return after
            return detach(after, DetachReason.DATABASE_DELETED, now_ms)

        await self._store.change(step, needless=_same_but_time)

    async def _fetch_keys(self) -> None:
        sealed = await self._portal.ask(KEYS, None, self._time)
        try:
            version = open_key_set(sealed, self._installation.root_pub).version
        except ProtocolError as error:
            raise UplinkDownError(f"what answers for the portal is not this cloud: {error}") from error
        if version > self._known_keys():
            await self._store.change(lambda now: replace(now, key_set=sealed))


def _same_but_time(old: Database, new: Database) -> bool:
    """Whether the cloud said nothing new: then the disk is left alone."""
    return (old.at, old.notices, old.pressed_ms, old.heard is None) == (
        new.at,
        new.notices,
        new.pressed_ms,
        new.heard is None,
    )


def _news(database: Database | None) -> tuple[object, ...]:
    """What the cloud should hear of at once when it changes."""
    if database is None:
        return ()
    attached = tuple(peer.report.attachment for peer in attached_peers(database))
    entered = None if database.entered is None else database.entered.at
    return (database.system_id, database.attachment_counter, attached, entered, database.pressed_ms)
