"""A server's exchange with the cloud, over real HTTP on the loopback: told, refused, lied to, cut off."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self, cast

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from agent.clock import SystemClock
from agent.errors import StateError, SystemRefusedError, UplinkDownError
from agent.system.portal import Portal
from agent.time_service import TimeService
from protocol.identity import kid_of
from protocol.system import (
    MAX_ATTACHED,
    MAX_UPS,
    Attachment,
    Registration,
    Source,
    Stand,
    System,
    SystemNotice,
    SystemReport,
    SystemState,
    UpsUnder,
    Waiting,
)
from protocol.system_keys import cloud_secret, make_system_key, read_envelope, seal, unseal
from tests.agent.gateway_peer import GatewayPeer
from tests.agent.system_rig import Rig, until
from tests.support.system_cloud import SystemCloud

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path
    from types import TracebackType

    from protocol.messages import Installation

OURS = Registration(
    number="ABCDEF",
    registered_ms=1,
    integrator="Example Integrator",
    end_user="Example Hospital",
    data={"site_name": "Main building"},
    contacts={"contact_name": "Front desk"},
    warranty={"warranty_end": "2030-01-01"},
)
UNDER = UpsUnder(device_id="1", kid=kid_of(bytes(32)), signature=b"s")


def state(version: int, **fields: Any) -> SystemState:
    plain: dict[str, Any] = {"system_id": "", "counter": 1, "nonce": b"", "server_time_ms": 1}
    return SystemState(**plain, version=version, **{"stand": Stand.REGISTERED, "next_s": 60, **fields})


@dataclass
class PortalPeer:
    """The two addresses of a portal that a server asks."""

    cloud: SystemCloud
    state: SystemState | None = None
    refuse: bytes = b""
    answer: bytes = b""
    during: Callable[[], Awaitable[object]] | None = None
    reports: list[SystemReport] = field(default_factory=list)
    installation: Installation = field(init=False)
    _server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.installation = self.cloud.installation(f"http://127.0.0.1:{port}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            lengths = [line for line in head.lower().split("\r\n") if line.startswith("content-length:")]
            body = await reader.readexactly(int(lengths[0].partition(":")[2]) if lengths else 0)
            status, answer = self._answer(head.split()[1], body)
            if self.during is not None:
                during, self.during = self.during, None
                await during()
            writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(answer)}\r\n\r\n".encode() + answer)
            await writer.drain()
        writer.close()

    def _answer(self, path: str, body: bytes) -> tuple[int, bytes]:
        if path == "/api/v1/keys":
            return 200, self.cloud.key_set
        assert path == "/api/v1/systems/exchange"
        if self.refuse:
            return 409, self.refuse
        report, sealed = self.cloud.exchange(body, self.state)
        self.reports.append(report)
        return 200, self.answer or sealed


@pytest.fixture
async def portal() -> AsyncIterator[PortalPeer]:
    async with PortalPeer(SystemCloud()) as peer:
        yield peer


@pytest.fixture
async def server(tmp_path: Path, portal: PortalPeer) -> AsyncIterator[Rig]:
    """A stand-alone server that talks to the portal."""
    async with Rig(tmp_path / "one", portal.installation, online=True, ups=(UNDER,)) as rig:
        await rig.do("create", kind="standalone", name="one")
        yield rig


async def exchanged(rig: Rig) -> None:
    assert rig.server.online is not None
    await until("connected", lambda: rig.server.online is not None and rig.server.online.state == "connected")


async def test_it_says_what_it_is_and_shows_what_it_is_told(server: Rig, portal: PortalPeer) -> None:
    await server.do("describe", software="Building Operation 1.9", licences=["Standard", "SNMP"])
    notice = SystemNotice(number=1, ts_ms=1, code="registered", text="This server is registered now.")
    portal.state = state(2, registration=OURS, notices=(notice,))
    assert server.server.online is not None
    await server.server.online.exchange()
    report = portal.reports[-1]
    assert (report.kind, report.name, report.version) == (System.STANDALONE, "one", "Building Operation 1.9")
    assert report.licences == ("Standard", "SNMP")
    assert report.ups == (UNDER,)
    assert report.uptime_s >= 0
    shown = await server.shown()
    assert (shown["stand"], shown["from"]) == ("registered", "own")
    assert shown["registration"]["fields"] == {
        "site_name": "Main building",
        "contact_name": "Front desk",
        "warranty_end": "2030-01-01",
    }
    assert [one["code"] for one in shown["notices"]] == ["registered"]


async def test_counters_and_known_versions_survive_a_restart(server: Rig, portal: PortalPeer) -> None:
    portal.state = state(7, registration=OURS)
    await exchanged(server)
    await server.stop()
    seen = portal.reports[-1].counter
    before = len(portal.reports)
    await server.start()
    await until("asked again", lambda: len(portal.reports) > before)
    assert portal.reports[-1].counter > seen
    assert portal.reports[-1].known == 7
    assert (await server.shown())["registration"]["number"] == "ABCDEF"


async def test_what_is_new_while_an_answer_is_on_its_way_is_told_next(
    tmp_path: Path, portal: PortalPeer
) -> None:
    """Not a minute later, when the next report is due anyway."""
    portal.state = state(1, stand=Stand.UNREGISTERED)
    async with Rig(tmp_path / "two", portal.installation, online=True) as rig:
        store = rig.server.store
        portal.during = lambda: store.change(lambda now: replace(now, attachment_counter=7))
        await rig.do("create", kind="standalone", name="two")
        await until("told", lambda: portal.reports and portal.reports[-1].attachment)
        assert len(portal.reports) == 2


async def test_register_now_gives_the_page_s_link_and_keeps_no_secret(
    server: Rig, portal: PortalPeer, tmp_path: Path
) -> None:
    link = "https://portal.example.org/systems/register#ID.geheim"
    portal.state = state(1, stand=Stand.UNREGISTERED, link=link)
    assert (await server.do("register"))["link_to_portal"] == link
    assert portal.reports[-1].register
    for file in (tmp_path / "one" / "state" / "_system").iterdir():
        assert b"geheim" not in file.read_bytes()


async def test_who_waits_is_shown_and_answered(server: Rig, portal: PortalPeer) -> None:
    waiting = Waiting(name="i1", company="Example Integrator", slot="integrator", operation=1)
    portal.state = state(3, stand=Stand.UNREGISTERED, waiting=(waiting,))
    assert server.server.online is not None
    await server.server.online.exchange()
    assert [(one["name"], one["company"]) for one in (await server.shown())["waiting"]] == [
        ("i1", "Example Integrator")
    ]
    await server.do("accept", who="i1")
    await server.do("decline", who="i2")
    assert [(one.accept, one.decline) for one in portal.reports[-2:]] == [("i1", ""), ("", "i2")]


async def test_a_retired_id_says_so(server: Rig, portal: PortalPeer) -> None:
    portal.state = state(4, stand=Stand.RETIRED)
    assert server.server.online is not None
    await server.server.online.exchange()
    assert (await server.shown())["stand"] == "retired"


async def test_its_word_for_whom_it_is_attached_to_goes_both_ways(tmp_path: Path) -> None:
    cloud = SystemCloud()
    async with (
        PortalPeer(cloud) as portal,
        Rig(tmp_path / "es", portal.installation, online=True) as es,
        Rig(tmp_path / "one", portal.installation, online=True) as one,
    ):
        await es.do("create", kind="enterprise_server", name="es")
        await one.do("create", kind="standalone", name="one")
        await one.attach_to(es)
        own_id = (await one.shown())["system_id"]
        es_id = (await es.shown())["system_id"]

        def words(report: SystemReport) -> list[Attachment]:
            sealed = [*report.attached, *([report.attachment] if report.attachment else [])]
            found = []
            for word in sealed:
                whose, envelope = read_envelope(word, 1024)
                key = cloud.keys[envelope.key_number]
                secret = cloud_secret(key, whose.public, whose, envelope.key_number)
                found.append(unseal(envelope, Attachment, secret, 1024))
            return found

        def said(by: str, to: str) -> bool:
            return any(
                (word.system_id, word.to) == (own_id, to)
                for report in portal.reports
                if report.system_id == by
                for word in words(report)
            )

        await until("both said so", lambda: said(own_id, es_id) and said(es_id, es_id))
        await one.do("detach", system_id="")
        await until("both know", lambda: said(own_id, "") and not es.server.store.database.peers)
        await until(
            "the cloud, too",
            lambda: not [one for one in portal.reports if one.system_id == es_id][-1].attached,
        )


async def test_a_shadow_shows_its_lead_s_and_says_so(server: Rig, portal: PortalPeer) -> None:
    portal.state = state(2, registration=OURS, source=Source.LEAD, source_id="L" * 43)
    assert server.server.online is not None
    await server.server.online.exchange()
    shown = await server.shown()
    assert (shown["from"], shown["from_id"], shown["registration"]["number"]) == ("lead", "L" * 43, "ABCDEF")


def test_the_largest_report_fits() -> None:
    """As many attached servers and UPSs as the protocol allows."""
    cloud, (key, system_id) = SystemCloud(), make_system_key(X25519PrivateKey.generate)
    number = cloud.version
    secret = cloud_secret(key, cloud.key().pub, system_id, number)
    word = Attachment(system_id=system_id.value, to=system_id.value, counter=2**53 - 1)
    report = SystemReport(
        system_id=system_id.value,
        counter=2**53 - 1,
        nonce=bytes(16),
        name="n" * 200,
        licences=("l" * 200,) * 100,
        attached=(seal(word, system_id, secret, number),) * MAX_ATTACHED,
        ups=(UpsUnder(device_id=str(2**63 - 1), kid=kid_of(bytes(32)), signature=bytes(64)),) * MAX_UPS,
    )
    found, _answer = cloud.exchange(seal(report, system_id, secret, number))
    assert found == report


# --- trouble ------------------------------------------------------------------------------------------------


async def test_new_cloud_keys_are_fetched_and_used(server: Rig, portal: PortalPeer) -> None:
    await exchanged(server)
    portal.cloud.rotate()
    assert server.server.online is not None
    await server.server.online.exchange()
    await server.server.online.exchange()
    assert portal.reports[-1].known == 1
    request = (await server.do("request", operation="register", new=True))["request"]
    await server.do("enter", code=portal.cloud.code(request))
    assert (await server.shown())["from"] == "registration code"


async def test_the_portal_s_no_is_said_with_its_code(server: Rig, portal: PortalPeer) -> None:
    portal.refuse = json.dumps({"code": "system_report_old", "detail": "A later one was taken."}).encode()
    with pytest.raises(SystemRefusedError, match=r"A later one was taken\. \(system_report_old\)"):
        await server.do("register")
    portal.refuse = b"<html>"
    with pytest.raises(SystemRefusedError, match="http_409"):
        await server.do("register")


async def test_an_answer_for_another_question_is_not_believed(server: Rig, portal: PortalPeer) -> None:
    await exchanged(server)
    replayed = portal.cloud
    portal.state = state(9, registration=OURS)
    old: list[bytes] = []
    plain = SystemCloud.exchange

    def remember(cloud: SystemCloud, payload: bytes, told: SystemState | None = None) -> Any:
        report, sealed = plain(cloud, payload, told)
        old.append(sealed)
        return report, old[0]

    portal.cloud = cast("SystemCloud", _Wrapped(replayed, remember))
    await server.do("register")
    with pytest.raises(UplinkDownError, match="another question"):
        await server.do("register")


@dataclass
class _Wrapped:
    """A cloud whose answers pass through a function."""

    cloud: SystemCloud
    through: Any

    @property
    def key_set(self) -> bytes:
        return self.cloud.key_set

    def exchange(self, payload: bytes, told: SystemState | None = None) -> Any:
        return self.through(self.cloud, payload, told)


async def test_what_is_not_the_cloud_is_not_believed(server: Rig, portal: PortalPeer) -> None:
    await exchanged(server)
    before = await server.shown()
    portal.answer = b"{}"
    with pytest.raises(UplinkDownError, match="not this cloud"):
        await server.do("register")
    assert (await server.shown())["stand"] == before["stand"]


async def test_without_a_key_of_the_cloud_it_says_what_is_missing(tmp_path: Path, portal: PortalPeer) -> None:
    bare = replace(portal.installation, key_set=b"", portal_url="https://127.0.0.1:9")
    async with Rig(tmp_path / "two", bare) as rig:
        await rig.do("create", kind="standalone", name="two")
        with pytest.raises(StateError, match="installation file of today"):
            await rig.do("request", operation="register", new=False)


async def test_a_server_without_a_line_says_what_to_do_instead(tmp_path: Path) -> None:
    async with Rig(tmp_path / "two", SystemCloud().installation()) as rig:
        await rig.do("create", kind="standalone", name="two")
        with pytest.raises(SystemRefusedError, match="register offline"):
            await rig.do("register")


@pytest.mark.parametrize("url", ["", "http://portal.example.org", "ftp://localhost", "https://localhost:9"])
async def test_where_no_portal_is(url: str) -> None:
    portal = Portal(SystemCloud().installation(url))
    with pytest.raises(UplinkDownError):
        await portal.ask("/api/v1/keys", None, cast("TimeService", None))


async def test_another_certificate_than_the_cloud_s_is_refused(tmp_path: Path) -> None:
    async with GatewayPeer(tmp_path / "cloud") as peer:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(peer.folder / "tls" / "server.pem", peer.folder / "tls" / "server.key")
        listener = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0, ssl=tls)
        port = listener.sockets[0].getsockname()[1]
        installation = SystemCloud().installation(f"https://127.0.0.1:{port}")
        time = TimeService(peer.installation, SystemClock())
        with pytest.raises(UplinkDownError, match="does not show the certificate"):
            await Portal(installation).ask("/api/v1/keys", None, time)
        own = replace(installation, ca_pem=peer.installation.ca_pem)
        with pytest.raises(UplinkDownError, match="no answer of the portal"):
            await Portal(own).ask("/api/v1/keys", None, time)
        listener.close()
        await listener.wait_closed()


async def test_the_cloud_s_word_that_the_enterprise_server_is_gone_ends_the_attachment(
    server: Rig, portal: PortalPeer, tmp_path: Path
) -> None:
    """For one that can reach the cloud, but not the place where its Enterprise Server was."""
    async with Rig(tmp_path / "es", portal.installation) as es:
        await es.do("create", kind="enterprise_server", name="es")
        await server.attach_to(es)
        gone = (await es.shown())["system_id"]
        await es.stop()
        portal.state = state(2, registration=OURS, gone_id="another")
        await server.do("accept", who="nobody")
        assert (await server.shown())["attached_to"] is not None
        portal.state = state(3, registration=OURS, gone_id=gone)
        await server.do("accept", who="nobody")
        shown = await server.shown()
        assert (shown["attached_to"], shown["from"]) == (None, "own")
        assert shown["left"] == "the Enterprise Server's database was deleted"
        await es.start()
