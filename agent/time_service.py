"""The cloud's clock, for a machine whose own is wrong: fetched, signed, kept in this process, never set.

A card without a battery for its clock wakes up years ago: then the gateway's certificate is not valid yet,
and a log-in token is from the past. The portal answers a question with its time, signed by a key that the
installation's root vouches for and bound to the question's nonce, so nobody on the way can make it up. Chain
and host name are verified even then; only dates are not, because that is what is asked for.
"""

from __future__ import annotations

import asyncio
import secrets
import ssl
import urllib.parse
from typing import TYPE_CHECKING, Final

import structlog

from agent.background import in_daemon_thread
from agent.errors import UplinkDownError
from agent.proxy import STRAIGHT
from agent.uplink import tls_context
from protocol.codec import MAX_CONTROL_BYTES
from protocol.errors import ProtocolError
from protocol.identity import b64url
from protocol.signing import open_key_set, open_time

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from agent.core.ports import Clock
    from agent.proxy import Way
    from protocol.messages import Installation

FETCH_TIMEOUT_S: Final = 5.0
FETCH_EVERY_MS: Final = 60_000  # many UPSs of one agent meet the same wrong clock at once
NONCE_BYTES: Final = 32
HTTP_OK: Final = 200
HTTP_PORT: Final = 80
HTTPS_PORT: Final = 443
X509_V_FLAG_NO_CHECK_TIME: Final = 0x200000  # openssl/x509_vfy.h; Python has no name for it
_log = structlog.get_logger(__name__)


def dateless(context: ssl.SSLContext) -> ssl.SSLContext:
    """The context, verifying everything but dates."""
    context.verify_flags |= ssl.VerifyFlags(X509_V_FLAG_NO_CHECK_TIME)
    return context


def check_dates(certificate: Mapping[str, object], now_ms: int) -> None:
    """UplinkDownError unless a verified certificate (`getpeercert`) is valid at this unix time."""
    begins_s, ends_s = (ssl.cert_time_to_seconds(str(certificate[key])) for key in ("notBefore", "notAfter"))
    if not begins_s * 1000 <= now_ms <= ends_s * 1000:
        raise UplinkDownError("the gateway's certificate is not valid at the cloud's own time")


def connected(way: Way, host: str, port: int, timeout_s: float, tls: ssl.SSLContext | None) -> socket.socket:
    """A connection for HTTP, with TLS where there is a context. OSError."""
    plain = way.connect(host, port, timeout_s)
    if tls is None:
        return plain
    try:
        return tls.wrap_socket(plain, server_hostname=host)  # closes it when that fails
    finally:
        plain.close()  # detached if it went well


class TimeService:
    """What the cloud's clock says, for all UPSs of this process. Nothing is fetched before it is needed.

    ``tls`` verifies all but dates, for whoever compares those with this clock.
    """

    def __init__(self, installation: Installation, clock: Clock, way: Way = STRAIGHT) -> None:
        self._installation = installation
        self.way = way
        self.tls = dateless(tls_context(installation.ca_pem))
        self._clock = clock
        self._lock = asyncio.Lock()
        self._offset_ms: int | None = None
        self._fetched_ms: int | None = None  # monotonic, of the last attempt

    def now_ms(self) -> int | None:
        """Unix ms by the cloud's clock; None before it was fetched."""
        return None if self._offset_ms is None else self._clock.mono_ms() + self._offset_ms

    async def fetch(self) -> bool:
        """Ask once, unless that was just done; whether the time is known now."""
        async with self._lock:
            now_ms = self._clock.mono_ms()
            if self._fetched_ms is None or now_ms - self._fetched_ms >= FETCH_EVERY_MS:
                self._fetched_ms = now_ms
                await self._fetch()
        return self._offset_ms is not None

    async def _fetch(self) -> None:
        nonce = secrets.token_bytes(NONCE_BYTES)
        try:
            key_set = open_key_set(await self._get("/api/v1/keys"), self._installation.root_pub)
            answer = await self._get(f"/api/v1/time?nonce={b64url(nonce)}")
            time_ms = open_time(answer, key_set, nonce).time_ms
        except (OSError, ValueError, ProtocolError) as error:
            _log.info("the cloud's time could not be fetched", reason=str(error))
            return
        self._offset_ms = time_ms - self._clock.mono_ms()
        _log.info("the cloud's time was fetched", off_ms=self._clock.wall_ms() - time_ms)

    async def _get(self, path: str) -> bytes:
        parts = urllib.parse.urlsplit(self._installation.portal_url.rstrip("/") + path)
        if parts.scheme not in {"http", "https"}:
            raise ValueError(f"{self._installation.portal_url!r} is no address of a portal")
        return await in_daemon_thread(lambda: self._read(parts))

    def _read(self, parts: urllib.parse.SplitResult) -> bytes:
        from http.client import HTTPConnection, HTTPException, HTTPSConnection  # noqa: PLC0415  seldom needed

        host, is_tls = parts.hostname or "", parts.scheme == "https"
        port = parts.port or (HTTPS_PORT if is_tls else HTTP_PORT)
        connection = (HTTPSConnection if is_tls else HTTPConnection)(host, port, timeout=FETCH_TIMEOUT_S)
        try:
            connection.sock = connected(self.way, host, port, FETCH_TIMEOUT_S, self.tls if is_tls else None)
            connection.request("GET", f"{parts.path}?{parts.query}")
            answer = connection.getresponse()
            if answer.status != HTTP_OK:
                raise ValueError(f"{parts.path} answers {answer.status}")
            return answer.read(MAX_CONTROL_BYTES)
        except HTTPException as error:
            raise ValueError(f"{parts.path}: {error}") from error
        finally:
            connection.close()
