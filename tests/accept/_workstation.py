"""WorkStation driven through a whole life in a terminal, with the real portal and with no network at all."""

import asyncio
import re
from pathlib import Path

from cloud.core.authz import Actor
from cloud.core.system import Slot
from cloud.core.system_data import Part
from cloud.services import system_editing, system_registering
from cloud.services.system_registering import Outcome
from cloud.web.state import SYSTEM_KEYS
from protocol.system import SystemId
from protocol.system_code import written_number
from tests.accept import expect, progress
from tests.faults.processes import script
from tests.support.portal import Portal, now_ms
from tests.support.system_world import MAIN_BUILDING
from tests.support.terminal import Terminal, id_in, request_in


class Life:
    """One WorkStation with an Enterprise Server and a stand-alone server, and who registers them."""

    def __init__(self, portal: Portal, owner: Actor, folder: Path, version: str) -> None:
        self.portal, self.owner = portal, owner
        self.folder, self.version = folder, version
        self.typed = 0

    def _command(self, *, online: bool) -> list[str]:
        installation = self.portal.settings.state_dir / "installation.json"
        words = ["--folder", str(self.folder), "--installation", str(installation), "--servers", "1"]
        offline = [] if online else ["--offline"]
        return [
            *(script("smartconnect-simulator"), "workstation", *words),
            *("--no-qr", "--version", self.version, *offline),
        ]

    async def type(self, terminal: Terminal, line: str, *wanted: str) -> str:
        """Type a line; the answer, which must say all of this."""
        said = await asyncio.to_thread(terminal.type, line)
        self.typed += 1
        for words in wanted:
            expect(words in said, f"{line!r} does not say {words!r}: {said}")
        return said

    async def _register(self, proof: str) -> Outcome:
        keys = self.portal.app[SYSTEM_KEYS].private
        found = system_registering.read_proof(keys, proof)
        return await system_registering.register(
            self.portal.kit, keys, self.owner, found, Slot.END_USER, now_ms()
        )

    async def _associate(self, proof: str, number: int, replaces: str) -> Outcome:
        keys = self.portal.app[SYSTEM_KEYS].private
        found = system_registering.read_proof(keys, proof)
        return await system_registering.associate(
            self.portal.kit, keys, self.owner, found, number, replaces, now_ms()
        )

    async def online(self) -> None:
        """Register now, confirm, attach, delete the database, associate, detach."""
        with Terminal(self._command(online=True)) as terminal:
            menu = await asyncio.to_thread(terminal.read)
            expect(f"WorkStation {self.version}" in menu, f"no menu: {menu}")
            old_id = SystemId.parse(id_in(await self.type(terminal, "show registration"))).value
            done = await self._register(_link_in(await self.type(terminal, "Register now")))
            number = done.number or 0
            written = written_number(number)
            await self.type(terminal, f"wait {written}", "pending")
            kit, parts = self.portal.kit, frozenset({Part.DATA, Part.CONTACTS})
            await system_editing.save(kit, self.owner, number, parts, MAIN_BUILDING, now_ms())
            await system_editing.consent(
                kit, self.owner, number, information=True, personal=True, share_ups=False, now_ms=now_ms()
            )
            await self.type(terminal, "register now")
            await self.type(terminal, "wait Main building", "registered")
            await self.type(terminal, "attach server-1", "Enterprise Server", "Main building")
            new_id = id_in(await self.type(terminal, "delete the site database"))
            expect(SystemId.parse(new_id).value != old_id, "a deleted database kept its System ID")
            await self.type(terminal, "log on server-1")
            await self.type(terminal, "wait database was deleted", "unregistered")
            await self.type(terminal, "log on es", "unregistered")
            link = _link_in(await self.type(terminal, "register now"))
            await self._associate(link, number, old_id)
            await self.type(terminal, f"wait {written}", "Main building")
            await self.type(terminal, "attach server-1", written)
            await self.type(terminal, "detach server-1", "Main building")
            await self.type(terminal, "doctor", "exchange", "connected")
            expect(await asyncio.to_thread(terminal.leave) == 0, "WorkStation ended with an error")
        progress(f"version {self.version}: a life with a network")

    async def offline(self) -> None:
        """The same servers, cut off: a request out, a code in, once."""
        with Terminal(self._command(online=False)) as terminal:
            await asyncio.to_thread(terminal.read)
            old_id = SystemId.parse(id_in(await self.type(terminal, "log on server-1"))).value
            done = await self._register(request_in(await self.type(terminal, "register offline")))
            await self.type(terminal, f"enter registration code {done.code.lower()}", "registration code")
            await self.type(terminal, f"enter registration code {done.code}", "code_no_open_request")
            await self.type(terminal, "delete database")
            request = request_in(await self.type(terminal, "associate offline"))
            over = await self._associate(request, done.number or 0, old_id)
            await self.type(
                terminal, f"enter registration code {over.code}", written_number(done.number or 0)
            )
            await self.type(terminal, "register now", "ERROR", "offline")
            expect(await asyncio.to_thread(terminal.leave) == 0, "WorkStation ended with an error")
        progress(f"version {self.version}: a life without a network")


async def live(portal: Portal, owner: Actor, folder: Path) -> str:
    """Both versions, with and without a network; figures for people. CheckError where anything differs."""
    typed = 0
    for version in ("1.8", "1.9"):
        life = Life(portal, owner, folder / version, version)
        await life.online()
        await life.offline()
        typed += life.typed
    return f"WorkStation 1.8 and 1.9 lived online and offline, {typed} lines typed in a terminal"


def _link_in(said: str) -> str:
    found = re.search(r"^https?://\S+#\S+$", said, re.MULTILINE)
    expect(found, f"no link in {said}")
    return found[0] if found else ""
