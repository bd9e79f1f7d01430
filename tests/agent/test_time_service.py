"""A machine whose clock is wrong: it asks the cloud once, believes only signatures, and connects."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ssl
import urllib.parse
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.clock import SystemClock
from agent.errors import UplinkDownError
from agent.time_service import FETCH_EVERY_MS, TimeService, check_dates
from agent.uplink import tls_context
from cloud.provision import Signer, load_signer, sealed_key_set
from protocol.errors import Reason
from protocol.identity import unb64url
from protocol.messages import Installation, KeyUse, SignedTime
from protocol.signing import seal_time
from tests.agent.desk import Desk
from tests.agent.gateway_peer import GatewayPeer, now_ms
from tests.fakes.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path
    from types import TracebackType

PAST = dt.datetime(2020, 6, 1, tzinfo=dt.UTC)
PAST_MS = int(PAST.timestamp() * 1000)
MINUTE_MS = 60_000


@dataclass
class Portal:
    """The two addresses a device may ask, over TLS, with the time a test wants."""

    cloud: GatewayPeer
    time_ms: int
    signer: Signer = field(init=False)
    reuse_nonce: bytes | None = None
    status: str = "200 OK"
    asked: list[str] = field(default_factory=list)
    installation: Installation = field(init=False)
    _server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        folder = self.cloud.folder
        self.signer = load_signer(folder, KeyUse.TIME)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "tls" / "server.pem", folder / "tls" / "server.key")
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        port = self._server.sockets[0].getsockname()[1]
        self.installation = replace(self.cloud.installation, portal_url=f"https://127.0.0.1:{port}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            request = (await reader.readuntil(b"\r\n\r\n")).decode()
            parts = urllib.parse.urlsplit(request.split()[1])
            self.asked.append(parts.path)
            if parts.path == "/api/v1/keys":
                body = sealed_key_set(self.cloud.folder)
            else:
                nonce = self.reuse_nonce or unb64url(urllib.parse.parse_qs(parts.query)["nonce"][0])
                body = seal_time(
                    SignedTime(nonce=nonce, time_ms=self.time_ms), self.signer.key_id, self.signer.key
                )
            writer.write(f"HTTP/1.1 {self.status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
            await writer.drain()
        writer.close()


@pytest.fixture
async def past(tmp_path: Path) -> AsyncIterator[GatewayPeer]:
    """A cloud whose certificates ended years ago by this machine's clock."""
    async with GatewayPeer(tmp_path / "cloud", made=PAST) as peer:
        hello = peer.unowned()
        peer.hello = replace(hello, server_time_ms=PAST_MS + MINUTE_MS)
        yield peer


async def test_certificates_are_judged_by_the_clouds_clock(past: GatewayPeer, tmp_path: Path) -> None:
    desk = Desk(tmp_path / "ups")
    async with Portal(past, PAST_MS + MINUTE_MS) as portal, desk.online(portal.installation):
        await past.until("connected", lambda: desk.device.uplink_state == "connected")
        assert PAST_MS <= past.logins[0] <= PAST_MS + 2 * MINUTE_MS
        assert desk.device.trusted_ms() is not None
        past.cut()
        await past.until("connected again without asking", lambda: len(past.logins) == 2)
        assert portal.asked == ["/api/v1/keys", "/api/v1/time"]
    desk.close()


async def test_a_certificate_that_really_ended_is_refused(past: GatewayPeer, tmp_path: Path) -> None:
    desk = Desk(tmp_path / "ups")
    async with Portal(past, now_ms()) as portal, desk.online(portal.installation):
        await past.until("refused", lambda: "not valid at the cloud's own time" in desk.device.uplink_state)
        assert past.logins == []
    desk.close()


async def test_only_a_signature_for_this_question_is_believed(past: GatewayPeer) -> None:
    async with Portal(past, PAST_MS) as portal:
        for change in (
            {"signer": Signer(portal.signer.key_id, Ed25519PrivateKey.generate())},
            {"signer": load_signer(past.folder, KeyUse.NOTICE)},
            {"reuse_nonce": bytes(32)},
            {"status": "302 Found"},
        ):
            before = {name: getattr(portal, name) for name in change}
            for name, value in change.items():
                setattr(portal, name, value)
            service = TimeService(portal.installation, SystemClock())
            assert not await service.fetch()
            assert service.now_ms() is None
            for name, value in before.items():
                setattr(portal, name, value)
        service = TimeService(replace(portal.installation, root_pub=bytes(32)), SystemClock())
        assert not await service.fetch()
        service = TimeService(portal.installation, SystemClock())
        assert await service.fetch()


async def test_it_is_asked_once_a_minute_at_most(past: GatewayPeer) -> None:
    clock = FakeClock()
    async with Portal(past, PAST_MS) as portal:
        service = TimeService(portal.installation, clock)
        assert await service.fetch()
        clock.advance(FETCH_EVERY_MS - 1)
        assert await service.fetch()
        assert len(portal.asked) == 2
        assert service.now_ms() == PAST_MS + FETCH_EVERY_MS - 1
        clock.advance(1)
        await asyncio.gather(*(service.fetch() for _ in range(5)))
        assert len(portal.asked) == 4


@pytest.mark.parametrize("url", ["", "ftp://127.0.0.1", "http://127.0.0.1:1", "https://127.0.0.1:1"])
async def test_no_portal_is_no_disaster(past: GatewayPeer, url: str) -> None:
    assert not await TimeService(replace(past.installation, portal_url=url), SystemClock()).fetch()


async def test_a_refused_log_in_is_tried_once_more_with_the_clouds_time(tmp_path: Path) -> None:
    clock = FakeClock(wall_ms=now_ms() + 86_400_000)  # a day ahead: tokens from the future
    desk = Desk(tmp_path / "ups", clock=clock)
    async with GatewayPeer(tmp_path / "cloud") as peer:
        peer.connack = Reason.BAD_USER_NAME_OR_PASSWORD
        async with Portal(peer, now_ms()) as portal, desk.online(portal.installation):
            await peer.until("two tries", lambda: len(peer.logins) == 2)
            assert peer.logins[0] > now_ms() + 80_000_000
            assert abs(peer.logins[1] - now_ms()) < MINUTE_MS
            await peer.until("then it waits", lambda: "refused" in desk.device.uplink_state)
            assert len(portal.asked) == 2
    desk.close()


def test_dates_of_a_certificate() -> None:
    certificate = {"notBefore": "Jun  1 00:00:00 2020 GMT", "notAfter": "Jun  2 00:00:00 2020 GMT"}
    check_dates(certificate, PAST_MS)
    for wrong_ms in (PAST_MS - 1, PAST_MS + 86_400_001):
        with pytest.raises(UplinkDownError):
            check_dates(certificate, wrong_ms)


async def test_everything_but_dates_is_verified(past: GatewayPeer, tmp_path: Path) -> None:
    async with GatewayPeer(tmp_path / "other", made=PAST) as other:
        service = TimeService(past.installation, SystemClock())
        assert service.tls.verify_mode is ssl.CERT_REQUIRED
        assert service.tls.check_hostname
        port = other.installation.gateway_port
        with pytest.raises(ssl.SSLCertVerificationError, match="issuer"):
            await asyncio.open_connection("127.0.0.1", port, ssl=service.tls)
        with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
            await asyncio.open_connection("127.0.0.1", port, ssl=tls_context(other.installation.ca_pem))
