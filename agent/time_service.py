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
from agent.uplink import tls_context
from protocol.codec import MAX_CONTROL_BYTES
from protocol.errors import ProtocolError
from protocol.identity import b64url
from protocol.signing import open_key_set, open_time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.core.ports import Clock
    from protocol.messages import Installation

FETCH_TIMEOUT_S: Final = 5.0
FETCH_EVERY_MS: Final = 60_000  # many UPSs of one agent meet the same wrong clock at once
NONCE_BYTES: Final = 32
HTTP_OK: Final = 200
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


class TimeService:
    """What the cloud's clock says, for all UPSs of this process. Nothing is fetched before it is needed.

    ``tls`` verifies all but dates, for whoever compares those with this clock.
    """

    def __init__(self, installation: Installation, clock: Clock) -> None:
        self._installation = installation
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

        host = parts.hostname or ""
        connection: HTTPConnection
        if parts.scheme == "https":
            connection = HTTPSConnection(host, parts.port, timeout=FETCH_TIMEOUT_S, context=self.tls)
        else:
            connection = HTTPConnection(host, parts.port, timeout=FETCH_TIMEOUT_S)
        try:
            connection.request("GET", f"{parts.path}?{parts.query}")
            answer = connection.getresponse()
            if answer.status != HTTP_OK:
                raise ValueError(f"{parts.path} answers {answer.status}")
            return answer.read(MAX_CONTROL_BYTES)
        except HTTPException as error:
            raise ValueError(f"{parts.path}: {error}") from error
        finally:
            connection.close()
