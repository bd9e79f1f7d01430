"""Acceptance ``replays``: what was recorded is worth nothing, and a Product Key is recorded nowhere.

To the cloud: announcements and log-in tokens, from another connection and later. To a device: hellos and key
sets of an earlier connection, of another device, of this connection. Each is refused and logged. Then Product
Keys are typed in every way there is and looked for in every table, file, log, command line and message.
"""

import asyncio
import contextlib
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from structlog.testing import capture_logs

from cloud import logs
from cloud.provision import load_key_set, sealed_key_set
from protocol.codec import encode as encode_json
from protocol.mqtt import V5, Packet, encode
from protocol.signing import seal_key_set
from protocol.topics import UpKind
from tests.accept import CheckError, expect, passed, progress
from tests.accept._attacks import Log
from tests.agent.desk import Desk
from tests.agent.gateway_peer import GatewayPeer
from tests.agent.house import built_house
from tests.cloud.test_product_key_secrecy import search
from tests.faults.processes import descendants
from tests.support.device import LoginRefusedError, WireDevice
from tests.support.parts import CloudParts, running_parts
from tests.support.planted import files_below, find, processes

NAME: Final = "replays"
EPOCH: Final = 1_700_000_000_000
AGENT_WAIT_S: Final = 20.0
REFUSED: Final = "a control message was refused"
"""What the agent logs then."""
NOT_AUTHORIZED: Final = 0x87
BAD_USER_NAME_OR_PASSWORD: Final = 0x86


# --- to the cloud -------------------------------------------------------------------------------------------


def to_the_cloud(cloud: CloudParts) -> int:
    """Replay announcements and tokens; how many."""
    log = Log(cloud.parts["gateway"].log)
    device, other = (WireDevice(cloud.installation, cloud.key_set) for _ in range(2))
    count = 0

    def refused_announcement(by: WireDevice, payload: bytes, what: str, reason: str) -> None:
        nonlocal count
        start = log.size()
        code = by.publish(payload)
        expect(code == NOT_AUTHORIZED, f"{what}: PUBACK with {code:#x}")
        log.expect_line(start, what, {"event": "refused", "reason": reason})
        count += 1

    def refused_token(by: WireDevice, token: str, what: str) -> None:
        nonlocal count
        start = log.size()
        try:
            by.connect(token)
        except LoginRefusedError as error:
            expect(error.code == BAD_USER_NAME_OR_PASSWORD, f"{what}: CONNACK with {error.code:#x}")
        else:
            raise CheckError(f"{what}: logged in")
        log.expect_line(start, what, {"event": "refused", "reason": "the log-in token"})
        count += 1

    token = device.fresh_token()
    with contextlib.ExitStack() as connections:
        device.connect(token)
        connections.callback(device.close)
        expect(device.announce() < 0x80, "the true announcement is refused")
        recorded = device.sent[-1]
        # From another connection, while the first one lives.
        connections.enter_context(other)
        refused_announcement(other, recorded, "another device announces the recording", "another device key")
        thief = WireDevice(cloud.installation, cloud.key_set, (device.product_id, device.product_key))
        thief.key, thief.kid = device.key, device.kid  # only to name itself; the token is the recorded one
        refused_token(thief, token, "the token from another connection")
        stranger = WireDevice(cloud.installation, cloud.key_set)
        refused_token(stranger, token, "the token under another name")
        device.connect()  # later: a new session of the same key
        refused_announcement(device, recorded, "the recording in a later session", "another session's nonce")
        expect(device.announce() < 0x80, "the true announcement of the new session is refused")
    refused_token(device, token, "the token later")
    return count


# --- to the device ------------------------------------------------------------------------------------------


@dataclass
class Recorder(GatewayPeer):
    """A gateway that keeps what it says, and every packet of both sides."""

    said: list[bytes] = field(default_factory=list)
    captured: list[bytes] = field(default_factory=list)

    def say_bytes(self, payload: bytes, *, retain: bool = False) -> None:
        """Send a control message, and keep it."""
        self.said.append(payload)
        super().say_bytes(payload, retain=retain)

    def say_newer_key_set(self) -> None:
        """Say one after which the usual one is old."""
        known = load_key_set(self.folder)
        root = load_pem_private_key((self.folder / "keys" / "root.key").read_bytes(), None)
        newer = replace(known, version=known.version + 1)
        self.say_bytes(seal_key_set(newer, root))  # type: ignore[arg-type]  # it is Ed25519

    def _answer(self, packet: Packet) -> None:
        self.captured.append(encode(packet, V5))
        super()._answer(packet)

    def _write(self, packet: Packet) -> None:
        self.captured.append(encode(packet, V5))
        super()._write(packet)


async def to_the_device(folder: Path) -> int:
    """Replay hellos and key sets to the agent's own connection; how many."""
    count = 0
    with capture_logs() as lines:

        def complaints() -> int:
            return sum(line["event"] == REFUSED for line in lines)

        async with Recorder(folder / "peer") as peer:
            peer.hello = peer.unowned()
            desk = Desk(folder / "ups")
            await desk.device.switch(on=True)

            def is_owned() -> bool:
                return desk.device.enrollment.owned

            async def replay(payload: bytes, what: str) -> None:
                nonlocal count
                before, keys, owned = complaints(), desk.device.key_set, is_owned()
                GatewayPeer.say_bytes(peer, payload)
                await peer.until(f"{what}: refused and logged", lambda: complaints() > before)
                expect(desk.device.key_set == keys, f"{what}: the agent took the key set")
                expect(is_owned() == owned, f"{what}: the agent obeyed")
                count += 1

            try:
                async with desk.online(peer.installation):
                    await peer.until("the agent announces", lambda: peer.of(UpKind.ANNOUNCE))
                    peer.say_hello(peer.owned(EPOCH))
                    owned_hello = peer.said[-1]
                    await peer.until("owned", is_owned)
                    peer.say_hello(peer.unowned())
                    await peer.until("not owned any more", lambda: not is_owned())
                    await replay(owned_hello, "a hello of this connection")
                    peer.cut()
                    await peer.until("the agent is back", lambda: len(peer.logins) >= 2)
                    await peer.until("and greeted", lambda: desk.device.enrollment.last_n > 0)
                    await replay(owned_hello, "a hello of an earlier connection")
                    others = replace(peer.owned(EPOCH), kid="A" * 27, login_ms=peer.logins[-1], n=2**31)
                    before = complaints()
                    peer.say(others)
                    await peer.until("a hello for another device", lambda: complaints() > before)
                    expect(not is_owned(), "the agent obeyed another device's hello")
                    count += 1
                    known = load_key_set(peer.folder)
                    newer = replace(known, version=known.version + 1)
                    old = next(payload for payload in peer.said if b"keyset" in payload)
                    peer.say_newer_key_set()
                    await peer.until("the newer key set", lambda: desk.device.key_set == newer)
                    await replay(old, "an old key set")
                    before = complaints()
                    peer.cut()  # it greets with the old one
                    await peer.until("an old key set of an earlier connection", lambda: complaints() > before)
                    expect(desk.device.key_set == newer, "the agent took the old key set")
                    count += 1
            finally:
                desk.close()
    return count


# --- all of it ----------------------------------------------------------------------------------------------


async def capture_of_an_agent(folder: Path) -> int:
    """A real agent reads its Product Key from the UPS, announces itself and streams: its MQTT packets, its
    files, arguments and environment hold none of it. Killed and started again, it still knows that a key set
    is old. How many packets.
    """
    async with Recorder(folder / "peer") as peer:
        peer.hello = peer.unowned()
        with built_house(folder) as house:
            (folder / "installation.json").write_bytes(encode_json(peer.installation))
            house.agent.start()
            await peer.until("the agent announces", lambda: peer.of(UpKind.ANNOUNCE))
            peer.say_hello(peer.owned(EPOCH))
            await peer.until("the agent streams", lambda: len(peer.of(UpKind.TELEMETRY)) > 1)
            log = Log(house.agent.log)
            peer.say_newer_key_set()
            for what in ("an old key set", "an old key set after a restart"):
                start = log.size()
                if "restart" in what:
                    house.agent.kill()
                    house.agent.start()  # the peer greets with the old one
                else:
                    peer.say_bytes(sealed_key_set(peer.folder))
                wanted = {"event": REFUSED}
                await asyncio.to_thread(log.expect_line, start, what, wanted, AGENT_WAIT_S)
            places = processes([house.agent.pid, *descendants(house.agent.pid)])
            places |= {f"packet {number}": packet for number, packet in enumerate(peer.captured)}
            places |= files_below(folder / "state") | files_below(folder / "traces")
            places["log"] = house.agent.log.read_bytes()
            label = house.label
    held = find([label.product_key.value], places)
    expect(not held, f"the agent's Product Key is in {held[:5]}")
    known = find([label.product_id.value], places)
    expect(any(name.startswith("packet") for name in known), "the search finds nothing in the packets")
    return len(peer.captured)


def planted(folder: Path) -> int:
    """Type Product Keys in every way and find them nowhere; how many places were searched."""
    keys, places, device = search(folder / "secret")
    held = find(keys, places)
    expect(not held, f"a Product Key is in {held[:5]}")
    known = find([device.product_id.value], places)
    for kind in ("table public.device", "MQTT message", "page", "file"):
        expect(any(name.startswith(kind) for name in known), f"the search finds nothing in any {kind}")
    expect(sum(name.startswith("cmdline") for name in places) >= 5, "command lines are missing")
    return len(places)


def main() -> int:
    """Run the check."""
    logs.configure(NAME, level="warning")
    with tempfile.TemporaryDirectory(prefix="sc-replays-") as name:
        folder = Path(name)
        with running_parts(folder / "cloud", ("postgres", "gateway")) as cloud:
            up = to_the_cloud(cloud)
        progress(f"{up} replayed announcements and tokens refused and logged")
        down = asyncio.run(to_the_device(folder))
        progress(f"{down} replayed hellos and key sets refused and logged")
        packets = asyncio.run(capture_of_an_agent(folder / "house"))
        progress(f"{packets} MQTT packets of a real agent hold no Product Key")
        places = planted(folder)
        return passed(
            NAME,
            f"""{up} announcements and tokens refused by the cloud, {down} hellos and key sets by the agent,
            each logged; the Product Key in none of {packets} packets of an agent, planted Product Keys in
            none of {places} places: messages, pages and their addresses, tables, files, logs, command lines,
            environments""",
        )
