"""A TLS endpoint that acknowledges what it is told to, in the order it is told to."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

from cloud.config import Settings
from cloud.provision import provision
from protocol.mqtt import V5, ConnAck, Connect, Disconnect, Property, PubAck, Publish, Reader, encode

Answer = Callable[[list[int]], list[PubAck]]


def acknowledge(packet_ids: list[int]) -> list[PubAck]:
    """As a good server does."""
    return [PubAck(packet_id) for packet_id in packet_ids]


@dataclass
class Sink:
    """What came in."""

    port: int
    ca_file: str
    payloads: dict[str, list[bytes]] = field(default_factory=dict)
    goodbyes: int = 0


@contextlib.asynccontextmanager
async def sink(
    folder: Path, answer: Answer = acknowledge, window: int = 1000, code: int = 0
) -> AsyncIterator[Sink]:
    """A sink that runs until the block ends."""
    settings = Settings(state_dir=folder / "sink")
    provision(settings)
    found = Sink(0, str(settings.state_dir / "tls" / "ca.pem"))

    handlers: list[asyncio.Task[None] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handlers.append(asyncio.current_task())
        packets = Reader(from_client=True, version=V5)
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                ids = []
                for packet in packets.feed(data):
                    if isinstance(packet, Connect):
                        answered = ConnAck(code, properties={Property.RECEIVE_MAXIMUM: window})
                        writer.write(encode(answered, V5))
                    elif isinstance(packet, Publish):
                        found.payloads.setdefault(packet.topic, []).append(packet.payload)
                        ids.append(packet.packet_id)
                    elif isinstance(packet, Disconnect):
                        found.goodbyes += 1
                writer.write(b"".join(encode(ack, V5) for ack in answer(ids)))
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*settings.certificate_paths)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    found.port = server.sockets[0].getsockname()[1]
    async with server:
        yield found
        await asyncio.gather(*filter(None, handlers))  # the generator has closed all its connections
