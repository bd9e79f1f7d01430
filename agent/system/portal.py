"""Asks the portal over HTTPS, by a proxy if there is one: its key set, and states for reports."""

from __future__ import annotations

import json
import ssl
import urllib.parse
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import TYPE_CHECKING, Final

from agent.background import in_daemon_thread
from agent.errors import SystemRefusedError, UplinkDatesError, UplinkDownError
from agent.proxy import LOOPBACK, STRAIGHT, ProxyError
from agent.time_service import HTTP_PORT, HTTPS_PORT, check_dates, connected
from agent.uplink import DATES_ONLY, tls_context
from protocol.system import MAX_STATE_BYTES

if TYPE_CHECKING:
    from agent.proxy import Way
    from agent.time_service import TimeService
    from protocol.messages import Installation

TIMEOUT_S: Final = 10.0
HTTP_OK: Final = 200
EXCHANGE: Final = "/api/v1/systems/exchange"
KEYS: Final = "/api/v1/keys"


class Portal:
    """The portal of one installation. UplinkDownError, UplinkDatesError, SystemRefusedError."""

    def __init__(self, installation: Installation, way: Way = STRAIGHT) -> None:
        self._way = way
        self._base = installation.portal_url.rstrip("/")
        self._tls = tls_context(installation.ca_pem) if installation.ca_pem else ssl.create_default_context()

    async def ask(self, path: str, body: bytes | None, time: TimeService) -> bytes:
        """The answer to a GET, or to a POST of ``body``. A wrong clock here is made up for once."""
        parts = urllib.parse.urlsplit(self._base + path)
        plain = parts.scheme == "http" and parts.hostname in LOOPBACK
        if not plain and parts.scheme != "https":
            raise UplinkDownError(f"{self._base or 'nothing'} is no https address of a portal")
        try:
            return await in_daemon_thread(lambda: self._ask(parts, body, self._tls, None))
        except UplinkDatesError:
            if not await time.fetch():
                raise
        now_ms = time.now_ms()
        return await in_daemon_thread(lambda: self._ask(parts, body, time.tls, now_ms))

    def _ask(
        self, parts: urllib.parse.SplitResult, body: bytes | None, tls: ssl.SSLContext, dates_ms: int | None
    ) -> bytes:
        host, is_tls = parts.hostname or "", parts.scheme == "https"
        port = parts.port or (HTTPS_PORT if is_tls else HTTP_PORT)
        connection = (HTTPSConnection if is_tls else HTTPConnection)(host, port, timeout=TIMEOUT_S)
        try:
            connection.sock = connected(self._way, host, port, TIMEOUT_S, tls if is_tls else None)
            if dates_ms is not None and isinstance(connection.sock, ssl.SSLSocket):
                check_dates(connection.sock.getpeercert() or {}, dates_ms)
            kind = {} if body is None else {"Content-Type": "application/json"}
            connection.request("GET" if body is None else "POST", parts.path, body=body, headers=kind)
            answer = connection.getresponse()
            text = answer.read(MAX_STATE_BYTES + 1)
        except ssl.SSLCertVerificationError as error:
            kind_of = UplinkDatesError if error.verify_code in DATES_ONLY else UplinkDownError
            raise kind_of(
                f"{parts.netloc} does not show the certificate of this cloud's portal: {error.verify_message}"
            ) from error
        except ProxyError as error:
            raise UplinkDownError(str(error)) from error
        except (OSError, HTTPException) as error:
            raise UplinkDownError(f"no answer of the portal at {parts.netloc}: {error}") from error
        finally:
            connection.close()
        if answer.status != HTTP_OK:
            raise _refusal(answer.status, text)
        return text


def _refusal(status: int, text: bytes) -> SystemRefusedError:
    """What the portal's problem+json says (RFC 9457)."""
    try:
        problem = json.loads(text)
        return SystemRefusedError(str(problem["code"])[:64], str(problem.get("detail", ""))[:500])
    except (ValueError, KeyError, TypeError, AttributeError):
        return SystemRefusedError(f"http_{status}", f"the portal answers with status {status}")
