"""One line between two servers: messages in and out, and what a failure means in plain words."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import TYPE_CHECKING, Final

from agent.background import in_daemon_thread
from agent.errors import ServerLinkError
from agent.system.certificate import calling_context, fingerprint
from protocol.codec import decode, encode
from protocol.errors import DecodeError
from protocol.system_link import MAX_LINE_BYTES, LinkMessage

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

CONNECT_TIMEOUT_S: Final = 5.0
CLOSE_TIMEOUT_S: Final = 1.0
OTHER_SERVER: Final = (
    "the server that answers there is not the Enterprise Server this one is attached to, and has no farewell"
    " of it. If that one is gone, detach this server"
)
NOT_KNOWN: Final = (
    "the Enterprise Server hung up at once. If it goes on so, it knows this server no more: detach this"
    " server and attach it again"
)


class Line:
    """One connection. ServerLinkError on every failure."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @property
    def certificate(self) -> bytes | None:
        """Of the other end, verified; None if it showed none."""
        found: ssl.SSLObject = self._writer.get_extra_info("ssl_object")
        return found.getpeercert(binary_form=True)

    async def say(self, message: LinkMessage) -> None:
        """Send one message."""
        try:
            self._writer.write(encode(message) + b"\n")
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await self._writer.drain()
        except (OSError, TimeoutError) as error:
            raise ServerLinkError(f"the line broke: {error}") from error

    async def hear(self, timeout_s: float) -> LinkMessage:
        """The next message."""
        try:
            async with asyncio.timeout(timeout_s):
                line = await self._reader.readuntil(b"\n")
            return decode(line, LinkMessage, MAX_LINE_BYTES)
        except TimeoutError as error:
            raise ServerLinkError("the other server is silent") from error
        except ssl.SSLError as error:
            raise ServerLinkError(explained(error)) from error
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise ServerLinkError("the other server hung up") from error
        except DecodeError as error:
            raise ServerLinkError(f"the other server says what is no message: {error}") from error

    async def close(self) -> None:
        """Hang up."""
        self._writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._writer.wait_closed()


async def call(host: str, port: int, certificate: bytes, key: Ed25519PrivateKey | None) -> Line:
    """Call the holder of this certificate; ``key`` None knocks."""
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(
                host, port, ssl=calling_context(certificate, key), limit=MAX_LINE_BYTES
            )
    except (OSError, TimeoutError) as error:
        raise ServerLinkError(f"{host}:{port}: {explained(error)}") from error
    return Line(reader, writer)


async def certificate_at(host: str, port: int, wanted: bytes | None) -> bytes:
    """The certificate shown there, with this fingerprint if one is wanted. Only the handshake is sent."""

    def fetch() -> bytes:
        pem = ssl.get_server_certificate((host, port), timeout=CONNECT_TIMEOUT_S)
        return ssl.PEM_cert_to_DER_cert(pem)

    try:
        found = await in_daemon_thread(fetch)
    except (OSError, ValueError) as error:
        raise ServerLinkError(f"{host}:{port}: {explained(error)}") from error
    if wanted is not None and fingerprint(found) != wanted:
        raise ServerLinkError(
            f"{host}:{port}: the server that answers there is not the one whose attach code this is."
            " Check the address"
        )
    return found


def explained(error: Exception) -> str:
    """What a person can do about a line that does not come up."""
    match error:
        case socket.gaierror():
            return "this name has no address: check it, and the name server of this machine"
        case ssl.SSLCertVerificationError():
            return OTHER_SERVER
        case ssl.SSLError():
            return (
                f"no encrypted connection ({error}): another program answers there, or something in between"
            )
        case ConnectionRefusedError():
            return "nothing listens there: is the Enterprise Server running, and is it its link_port?"
        case TimeoutError() | OSError():
            return (
                f"no connection ({error or 'no answer'}): is it up, and has its firewall an inbound rule for"
                " this TCP port?"
            )
        case _:
            return str(error)
