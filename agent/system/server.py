"""One server of a building system: what people order of it, and the loops that keep it in touch."""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from agent.core.attachment import AttachRefusedError, attach, attached_peers, detach, dismiss, invite
from agent.core.system import ask, enter, looked, open_request
from agent.errors import StateError, SystemRefusedError
from agent.proxy import Way
from agent.system.certificate import fingerprint, make_certificate
from agent.system.link_caller import LinkCaller, knock
from agent.system.link_listener import LinkListener
from agent.system.online import Online, newest_key, sealed_attachment
from agent.system.store import (
    Store,
    cloud_secret_with,
    deleted,
    link_key_of,
    new_database,
    reading_of,
)
from agent.system.view import describe, moment
from protocol.errors import ProtocolError
from protocol.system import MAX_TEXT, System, SystemId
from protocol.system_code import (
    NONCE_BYTES,
    CodeRefusal,
    CodeRefusedError,
    Operation,
    request_link,
    write_request,
)
from protocol.system_link import SECRET_BYTES, DetachReason, LinkReport, write_attach_code

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from agent.background import Background
    from agent.config import Settings
    from agent.core.ports import Clock
    from agent.core.system import Database
    from agent.time_service import TimeService
    from protocol.messages import Installation
    from protocol.system import UpsUnder

FAREWELL_S: Final = 2.0  # for those who are connected to hear that it is over
FIRST_WORD_S: Final = 2.0  # after attaching, for the registration to be passed on
LOOK_EVERY_S: Final = 300.0  # a clock that is put back by more than this is noticed after a restart, too
OPERATIONS: Final = {"register": Operation.REGISTER, "associate": Operation.ASSOCIATE}


class Server:
    """A server, with or without a database. `obey` is what the command line and WorkStation ask of it."""

    def __init__(
        self,
        settings: Settings,
        installation: Installation,
        clock: Clock,
        background: Background,
        *,
        version: str,
        ups: Callable[[SystemId], tuple[UpsUnder, ...]],
    ) -> None:
        self._settings = settings
        self._installation = installation
        self._clock = clock
        self._version = version
        self._ups = ups
        self._started_ms = clock.mono_ms()
        self.store = Store(settings.state_dir, background)
        self.listener = LinkListener(self.store, clock, settings.link_host, settings.link_port)
        self.caller = LinkCaller(self.store, clock, self._link_report)
        self.online: Online | None = None
        self._runs = False

    def loops(self, time: TimeService) -> list[tuple[str, Callable[[], Coroutine[Any, Any, None]]]]:
        """What runs for ever while the agent does."""
        self._runs = True
        loops: list[tuple[str, Callable[[], Coroutine[Any, Any, None]]]] = [
            ("link to attached servers", self.listener.run),
            ("link to the Enterprise Server", self.caller.run),
            ("clock of the open request", self._watch_clock),
        ]
        if self._settings.system_online:
            self.online = Online(
                self.store,
                self._installation,
                self._clock,
                time,
                version=self._version,
                ups=self._ups,
                way=Way.of(self._settings),
            )
            loops.append(("exchange with the cloud", self.online.run))
        return loops

    async def _watch_clock(self) -> None:
        while True:
            database = await self.store.until(lambda now: now is not None and now.asked is not None)
            if database is not None:
                await self.store.change(lambda now: looked(now, reading_of(self._clock)))
            await asyncio.sleep(LOOK_EVERY_S)

    def _link_report(self, database: Database) -> LinkReport:
        return LinkReport(
            name=database.name,
            version=database.software or self._version,
            licences=database.licences,
            uptime_s=self._uptime_s(),
            attachment=sealed_attachment(self._installation, database),
        )

    def _uptime_s(self) -> int:
        return max(0, self._clock.mono_ms() - self._started_ms) // 1000

    # --- orders --------------------------------------------------------------------------------------------

    async def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        """Do what ``do`` says. AgentError says why not; SystemRefusedError carries a stable code."""
        try:
            return await self._obey(order)
        except ProtocolError as error:
            raise SystemRefusedError(error.code.value, str(error)) from error
        except AttachRefusedError as error:
            raise SystemRefusedError(error.refusal.value, str(error)) from error

    async def _obey(self, order: dict[str, Any]) -> dict[str, Any]:
        match order:
            case {"do": "show"}:
                return self._shown()
            case {"do": "create", "kind": str(kind), "name": str(name)} if kind in set(System):
                await self.store.create(
                    new_database(System(kind), _text(name), made_ms=self._clock.wall_ms())
                )
            case {"do": "describe", "software": str(software), "licences": list(licences)}:
                names = tuple(_text(str(one)) for one in licences[:100])
                said = _text(software) if software else ""
                await self.store.change(lambda now: replace(now, software=said, licences=names))
            case {"do": "register"}:
                return await self._register()
            case {"do": "accept" | "decline" as what, "who": str(who)}:
                accept, decline = (who, "") if what == "accept" else ("", who)
                await self._talking().exchange(accept=accept, decline=decline)
            case {"do": "request", "operation": str(name), "new": bool(anew)} if name in OPERATIONS:
                return await self._request(OPERATIONS[name], anew=anew)
            case {"do": "enter", "code": str(code)}:
                await self._enter(code)
            case {"do": "invite"}:
                return await self._invite()
            case {"do": "attach", "host": str(host), "port": int(port), "code": str(code)}:
                await self._attach(host, port, code)
            case {"do": "detach", "system_id": str(system_id)}:
                await self._detach(system_id)
            case {"do": "delete"}:
                await self._delete()
            case _:
                raise StateError("this is no order for a server of a building system")
        return self._shown()

    def _shown(self) -> dict[str, Any]:
        database = self.store.database
        answer = describe(database, mono_ms=self._clock.mono_ms(), alive=self.listener.alive)
        answer["portal"] = self._installation.portal_url
        answer["version"] = database.software or self._version
        answer["uptime_s"] = self._uptime_s()
        answer["cloud"] = self.online.state if self.online is not None else "offline: by registration codes"
        if database.kind is System.ENTERPRISE_SERVER:
            answer["link"] = {"state": self.listener.state, "port": self.listener.port}
        else:
            answer["link"] = {"state": self.caller.state}
        return answer

    def _talking(self) -> Online:
        if self.online is None:
            raise SystemRefusedError(
                "offline",
                "This server has no connection of its own here: the agent must run, with system_online ="
                " true. Without a network, make a request and register offline.",
            )
        return self.online

    async def _register(self) -> dict[str, Any]:
        state = await self._talking().exchange(register=True)
        return {**self._shown(), "link_to_portal": state.link}

    async def _request(self, operation: Operation, *, anew: bool) -> dict[str, Any]:
        """The open request, if it is this one, or another."""
        open_now = self.store.database.asked
        if anew or open_now is None or open_now.operation is not operation:
            key = newest_key(self._installation, self.store.database)
            nonce, reading = os.urandom(NONCE_BYTES), reading_of(self._clock)
            await self.store.change(lambda now: ask(now, operation, key, nonce, reading))
        database = self.store.database
        request = open_request(database)
        if request is None or database.asked is None:
            raise StateError("the request is gone already: a code was entered for it")
        text = write_request(request, cloud_secret_with(database, database.asked.key))
        return {
            "operation": operation.name.lower(),
            "request": text,
            "link_to_portal": request_link(self._installation.portal_url, text),
        }

    async def _enter(self, code: str) -> None:
        def step(now: Database) -> Database:
            secret = None if now.asked is None else cloud_secret_with(now, now.asked.key)
            return enter(now, code, secret, reading_of(self._clock))

        database = await self.store.change(lambda now: looked(now, reading_of(self._clock)))
        try:
            await self.store.change(step)
        except CodeRefusedError as error:
            wall_ms, asked = self._clock.wall_ms(), database.asked
            if error.refusal is not CodeRefusal.EXPIRED or asked is None or asked.seen_ms <= wall_ms:
                raise
            ahead = (
                f"{error} The clock of this server has been at {moment(asked.seen_ms)} since it asked: if"
                " that was wrong, make a new request."
            )
            raise SystemRefusedError(error.code.value, ahead) from error

    async def _invite(self) -> dict[str, Any]:
        secret = os.urandom(SECRET_BYTES)
        await self.store.change(lambda now: invite(now, secret, reading_of(self._clock)))
        own = make_certificate(link_key_of(self.store.database))
        return {
            "attach_code": write_attach_code(fingerprint(own), secret),
            "port": self.listener.port,
            "link": self.listener.state,
        }

    async def _attach(self, host: str, port: int, code: str) -> None:
        database = self.store.database
        now_ms = self._clock.wall_ms()
        # Its word for the cloud names the Enterprise Server only once it is known: the next report brings it.
        lead = await knock(database, self._link_report(database), host, port, code, now_ms)
        await self.store.change(lambda now: attach(now, lead, now_ms))
        if self._runs:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FIRST_WORD_S):
                    await self.caller.linked.wait()

    async def _detach(self, system_id: str) -> None:
        """A stand-alone server by itself; an Enterprise Server the one it is told."""
        database = self.store.database
        if database.kind is System.STANDALONE:
            if database.lead is None:
                raise SystemRefusedError("not_attached", "This server is not attached to any other.")
            await self.store.change(lambda now: detach(now, DetachReason.BY_ATTACHED, self._clock.wall_ms()))
            return
        wanted = SystemId.parse(system_id).value
        try:
            await self.store.change(lambda now: dismiss(now, wanted, DetachReason.BY_ENTERPRISE))
        except KeyError as error:
            raise SystemRefusedError(
                "not_attached", "No server with this System ID is attached; show lists those that are."
            ) from error
        await self._farewell({wanted})

    async def _delete(self) -> None:
        """Another database, and so another System ID; who is attached is told first, if it can be."""
        database = self.store.database
        if database.lead is not None:
            await self._detach("")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FAREWELL_S):
                    await self.caller.resting.wait()
        leaving = {peer.system_id for peer in attached_peers(database)}
        for system_id in leaving:
            gone = partial(dismiss, system_id=system_id, reason=DetachReason.DATABASE_DELETED)
            await self.store.change(gone)
        await self._farewell(leaving)
        await self.store.change(lambda now: deleted(now, made_ms=self._clock.wall_ms()))

    async def _farewell(self, leaving: set[str]) -> None:
        """Wait until those who are connected have been told."""
        told = leaving & set(self.listener.alive)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_S):
                await self.store.until(
                    lambda now: now is None or not told & {peer.system_id for peer in now.peers}
                )


def _text(text: str) -> str:
    """A name as people give it; StateError where it is none."""
    text = " ".join(text.split())
    if not text or len(text) > MAX_TEXT or not text.isprintable():
        raise StateError(f"{text[:40]!r}: a name has 1 to {MAX_TEXT} printable characters")
    return text
