"""Webhooks: a signed POST to an address that a person has typed.

Signature: ``Smartconnect-Signature: v1=HEX``, HMAC-SHA256 with the channel's secret over the timestamp of the
header ``Smartconnect-Timestamp`` (unix seconds), a full stop, and the body. A receiver checks both and
refuses old timestamps. ``Smartconnect-Delivery`` is the same at every try: a receiver that remembers it takes
each message once.

What a stranger's address may not do to us: lead to hosts that are not public (every address the name has at
the moment of connecting is judged, and only those are connected to), redirect, or answer without end.
"""

import asyncio
import errno
import hmac
import socket
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from cloud.core.language import N_
from cloud.core.public_address import is_public

TIMEOUT_S: Final = 10.0
MAX_ANSWER_BYTES: Final = 4096
USER_AGENT: Final = "SmartConnect-Webhook/1"
ANSWERED: Final = N_("the receiver answered {status}")
REDIRECTED: Final = N_("the receiver answered {status}: redirects are not followed")
GONE: Final = N_("the receiver answered {status}: it is gone for good")


class ChannelError(Exception):
    """It was not taken. ``final``: there is no use in trying again."""

    def __init__(self, text: str, *, final: bool = False) -> None:
        super().__init__(text)
        self.final = final


class PublicResolver(AbstractResolver):
    """Gives the public addresses of a name only."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """As aiohttp asks; OSError where the name has no public address."""
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port, type=socket.SOCK_STREAM, family=family, flags=socket.AI_ADDRCONFIG
        )
        public = [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=int(address[1]),
                family=kind,
                proto=proto,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, proto, _, address in found
            if is_public(str(address[0]))
        ]
        if not public:
            raise OSError(errno.EACCES, f"{host} is no host of the public internet")
        return public

    async def close(self) -> None:
        """Nothing is held."""


def check_url(url: str, *, private: bool) -> str:
    """The address without what may be secret of it, for people. ValueError says why it cannot be used."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError(N_("This is not a web address.")) from None
    if parts.scheme not in {"https", "http"} or not host or not url.isprintable() or " " in url:
        raise ValueError(N_("A webhook’s address begins with https:// and names a host."))
    if parts.username is not None or parts.password is not None:
        raise ValueError(N_("Leave user and password out of the address: our messages are signed."))
    if not private:
        if parts.scheme != "https":
            raise ValueError(N_("A webhook’s address begins with https://."))
        literal = host.replace(".", "").isdigit() or ":" in host
        if (literal and not is_public(host)) or host == "localhost" or host.endswith(".localhost"):
            raise ValueError(N_("This address is not one of the public internet."))
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}/…"


def sign(secret: bytes, timestamp_s: int, body: bytes) -> str:
    """Value of the signature's header."""
    return "v1=" + hmac.digest(secret, f"{timestamp_s}.".encode() + body, "sha256").hex()


async def post(
    url: str, secret: bytes, body: bytes, *, delivery_id: int, timestamp_s: int, private: bool
) -> None:
    """Send one message; done when the receiver says 2xx. ChannelError."""
    try:
        check_url(url, private=private)
    except ValueError as error:
        raise ChannelError(str(error), final=True) from None
    headers = {
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
        "Smartconnect-Delivery": str(delivery_id),
        "Smartconnect-Timestamp": str(timestamp_s),
        "Smartconnect-Signature": sign(secret, timestamp_s, body),
    }
    connector = aiohttp.TCPConnector(
        resolver=None if private else PublicResolver(), use_dns_cache=False, force_close=True, limit=1
    )
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(
                connector=connector, timeout=timeout, trust_env=False, cookie_jar=aiohttp.DummyCookieJar()
            ) as http,
            http.post(url, data=body, headers=headers, allow_redirects=False) as answer,
        ):
            await answer.content.read(MAX_ANSWER_BYTES)
            status = answer.status
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        raise ChannelError(f"{type(error).__name__}: {error}") from error
    if 300 <= status < 400:
        raise ChannelError(REDIRECTED.format(status=status))
    if status == 410:  # RFC 9110 section 15.5.11
        raise ChannelError(GONE.format(status=status), final=True)
    if not 200 <= status < 300:
        raise ChannelError(ANSWERED.format(status=status))
