"""A small real SMTP server on loopback (RFC 5321, STARTTLS, AUTH PLAIN): it keeps what it is given."""

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage


@dataclass
class SmtpSink:
    """What it answers and what it took. ``refuse`` maps an address to the reply that its RCPT gets."""

    port: int = 0
    tls: ssl.SSLContext | None = None
    password: str | None = None
    refuse: dict[str, str] = field(default_factory=dict)
    drop_after_data: bool = False
    ascii_only: bool = False
    messages: list[EmailMessage] = field(default_factory=list)
    connections: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await self._talk(reader, writer)
        writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        secure = proved = False
        writer.write(b"220 sink ESMTP\r\n")
        while line := await reader.readline():
            verb, _, rest = line.decode().strip().partition(" ")
            match verb.upper():
                case "EHLO":
                    offers = ["STARTTLS"] if self.tls is not None and not secure else []
                    offers += ["AUTH PLAIN"] if self.password is not None else []
                    names = ["sink", *offers, *([] if self.ascii_only else ["SMTPUTF8"])]
                    *before, last = [*names, "HELP"]
                    reply = "".join(f"250-{name}\r\n" for name in before) + f"250 {last}"
                case "STARTTLS" if self.tls is not None:
                    writer.write(b"220 go on\r\n")
                    await writer.start_tls(self.tls)
                    secure = True
                    continue
                case "AUTH":
                    given = base64.b64decode(rest.split()[-1]).decode().split("\0")
                    proved = given[-1] == self.password
                    reply = "235 welcome" if proved else "535 no"
                case "MAIL":
                    reply = "250 ok" if proved or self.password is None else "530 log in first"
                case "RCPT":
                    address = rest.partition("<")[2].partition(">")[0]
                    reply = self.refuse.get(address, "250 ok")
                case "DATA":
                    writer.write(b"354 go on\r\n")
                    content = await reader.readuntil(b"\r\n.\r\n")
                    plain = content[:-3].replace(b"\r\n..", b"\r\n.")
                    self.messages.append(message_from_bytes(plain, policy=policy.default))
                    if self.drop_after_data:
                        writer.transport.abort()
                        return
                    reply = "250 taken"
                case "QUIT":
                    writer.write(b"221 bye\r\n")
                    return
                case _:
                    reply = "250 ok"
            writer.write(reply.encode() + b"\r\n")


@contextlib.asynccontextmanager
async def smtp_sink(**how: object) -> AsyncIterator[SmtpSink]:
    """A sink on a free port of 127.0.0.1 while the block runs."""
    sink = SmtpSink(**how)  # type: ignore[arg-type]  # its own fields
    server = await asyncio.start_server(sink.serve, "127.0.0.1", sink.port)
    sink.port = server.sockets[0].getsockname()[1]
    try:
        yield sink
    finally:
        server.close()
