"""The file of a server's database, and who waits for its changes."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from agent.core.system import Database, Farewell, Reading, made_anew
from agent.disk import OsDisk
from agent.errors import StateError
from agent.keys import private_directory
from agent.system.part import DATABASE, FOLDER
from protocol.codec import decode, encode
from protocol.errors import DecodeError
from protocol.faults import reach
from protocol.system import System, SystemId
from protocol.system_keys import cloud_secret, link_secret, make_system_key
from protocol.system_link import farewell_proofs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agent.background import Background
    from agent.core.ports import Clock
    from protocol.messages import SystemKey
    from protocol.system_keys import Secret

MAX_DATABASE_BYTES: Final = 8 << 20
NO_DATABASE: Final = (
    "this server has no database: smartconnect-agent system create --kind standalone (or enterprise_server)"
)


def new_database(kind: System, name: str, *, made_ms: int) -> Database:
    """A database with keys of its own, and so with a System ID of its own."""
    key, system_id = make_system_key(X25519PrivateKey.generate)
    link_key = os.urandom(32)
    return Database(
        kind=kind,
        name=name,
        system_id=system_id.value,
        key=key.private_bytes_raw(),
        link_key=link_key,
        made_ms=made_ms,
    )


def deleted(old: Database, *, made_ms: int) -> Database:
    """The database that takes the place of a deleted one."""
    fresh = new_database(old.kind, old.name, made_ms=made_ms)
    return made_anew(
        old,
        system_id=fresh.system_id,
        key=fresh.key,
        link_key=fresh.link_key,
        made_ms=made_ms,
        farewells=tuple(_farewell(old, peer.system_id) for peer in old.peers),
    )


def _farewell(old: Database, attached_id: str) -> Farewell:
    """For one that has not been told: the last thing that the old key is used for."""
    enterprise, attached = SystemId.parse(old.system_id), SystemId.parse(attached_id)
    ask, word = farewell_proofs(link_secret_with(old, attached), enterprise=enterprise, attached=attached)
    return Farewell(enterprise_id=old.system_id, system_id=attached_id, ask=ask, word=word)


def system_key_of(database: Database) -> X25519PrivateKey:
    """The private half of the System ID."""
    return X25519PrivateKey.from_private_bytes(database.key)


def link_key_of(database: Database) -> Ed25519PrivateKey:
    """The key of the certificate that is shown on the link."""
    return Ed25519PrivateKey.from_private_bytes(database.link_key)


def link_secret_with(database: Database, other: SystemId) -> Secret:
    """What this server shares with one at the other end of a link."""
    own = SystemId.parse(database.system_id)
    enterprise, attached = (own, other) if database.kind is System.ENTERPRISE_SERVER else (other, own)
    return link_secret(system_key_of(database), other, enterprise, attached)


def cloud_secret_with(database: Database, key: SystemKey) -> Secret:
    """What this server shares with the cloud, by this key of the cloud's."""
    system_id = SystemId.parse(database.system_id)
    return cloud_secret(system_key_of(database), key.pub, system_id, key.number)


def reading_of(clock: Clock) -> Reading:
    """Both clocks, now."""
    return Reading(clock.wall_ms(), clock.mono_ms(), clock.boot_id)


class Store:
    """One file (0600), replaced at once and durably: a power cut leaves the old database or the new one.

    ``value`` is None before a database is made. Changes happen one after the other.
    """

    def __init__(self, state_dir: Path, background: Background) -> None:
        self._disk = OsDisk(private_directory(state_dir / FOLDER))
        self._background = background
        self._lock = asyncio.Lock()
        self._changed = asyncio.Event()
        self.value = self._load()

    def _load(self) -> Database | None:
        if DATABASE not in self._disk.names():
            return None
        try:
            return decode(self._disk.read(DATABASE), Database, MAX_DATABASE_BYTES)
        except DecodeError as error:
            raise StateError(
                f"{FOLDER}/{DATABASE} is damaged: {error}. Restore it; it holds the System ID"
            ) from error

    @property
    def database(self) -> Database:
        """The database; StateError without one."""
        if self.value is None:
            raise StateError(NO_DATABASE)
        return self.value

    async def create(self, database: Database) -> None:
        """Make the first one; StateError where there is one, which only its deletion ends."""
        async with self._lock:
            if self.value is not None:
                raise StateError(f"there is a database already, with System ID {self.value.system_id}")
            await self._put(database)

    async def change(
        self,
        step: Callable[[Database], Database],
        *,
        needless: Callable[[Database, Database], bool] | None = None,
    ) -> Database:
        """Take one step; it is durable on return, unless that is ``needless``. The database after it."""
        async with self._lock:
            before = self.database
            database = step(before)
            if database is before:
                return before
            if needless is not None and needless(before, database):
                self._tell(database)
            else:
                await self._put(database)
            return database

    async def _put(self, database: Database) -> None:
        data, written = encode(database), False

        def write() -> None:
            nonlocal written
            reach("agent.system.before")
            self._disk.replace(DATABASE, data)
            written = True
            reach("agent.system.after")

        try:
            await self._background.run(write)
        except OSError as error:
            raise StateError(f"{FOLDER}/{DATABASE} cannot be written: {error.strerror}") from error
        finally:
            if written:  # also where the caller was cancelled meanwhile: what is on disk is what is known
                self._tell(database)

    def _tell(self, database: Database) -> None:
        self.value = database
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(self, holds: Callable[[Database | None], bool]) -> Database | None:
        """Wait until this holds of the database, and return it."""
        while not holds(self.value):
            await self._changed.wait()
        return self.value
