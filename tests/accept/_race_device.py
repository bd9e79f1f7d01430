"""A device in the race: stays connected, announces itself while nobody owns it, streams while somebody does.

It obeys the newest hello. Besides, whenever an ownership ends or another begins, it sends samples of the old
one again, as a device does that has not heard of it yet: those must be acknowledged as dropped.
"""

import asyncio
import ssl
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from protocol import topics
from protocol.codec import pack_batch, pack_sample
from protocol.errors import Reason
from protocol.identity import ProductId, ProductKey, device_id_of, kid_of
from protocol.messages import Announcement, Hello, Installation, KeySet
from protocol.mqtt import V5, ConnAck, Connect, Disconnect, Packet, PubAck, Publish, Reader, Subscribe, encode
from protocol.signing import (
    is_key_set,
    label_key,
    login_token,
    open_control,
    public_bytes,
    seal_announcement,
)
from tests.accept import CheckError, expect
from tests.accept._claim_run import stopped

KEEP_ALIVE_S: Final = 600
TOKEN_LIFE_MS: Final = 3_000_000
ANNOUNCE_S: Final = 50.0
RETRY_S: Final = 5.0
PACE_S: Final = 0.25
"""Samples of one device come so often while it is owned."""
STALE: Final = 2
"""So many samples of the last ownership are sent after it has ended."""
STREAMING: Final = 4
"""So many acknowledged samples of an ownership say that the device streams."""
ON_LINE: Final = 2
Place = tuple[int, int, int]
"""Epoch, stream and number of a sample."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where the gateway is, and with what trust."""

    installation: Installation
    key_set: KeySet
    tls: ssl.SSLContext
    gate: asyncio.Semaphore
    """How many may be logging in at a time."""


@dataclass(slots=True)
class Heard:
    """What a device has learned, over all of its connections."""

    acked: set[Place] = field(default_factory=set)
    sent: set[Place] = field(default_factory=set)
    dropped: int = 0
    announced: int = 0
    epochs: list[int] = field(default_factory=list)
    losses: list[tuple[float, str]] = field(default_factory=list)
    """When a connection was lost (monotonic s), and why."""
    wrong: Counter[str] = field(default_factory=Counter)

    @property
    def newest_epoch_acked(self) -> int:
        """Samples acknowledged of the ownership it has heard of last."""
        return sum(epoch == self.epochs[-1] for epoch, _, _ in self.acked)


class RaceDevice:
    """One device key with the label of these codes; ``speaks`` says whether it announces itself."""

    def __init__(self, site: Site, codes: tuple[ProductId, ProductKey], *, speaks: bool = True) -> None:
        self.product_id, self.product_key = codes
        self.speaks = speaks
        self.heard = Heard()
        self.hello: Hello | None = None
        self.awaited = asyncio.Event()
        """Somebody's claim waits for it."""
        self._site = site
        self._key = Ed25519PrivateKey.generate()
        self._label = label_key(*codes)
        self.kid = kid_of(public_bytes(self._key))
        self.device_id = device_id_of(self.product_id, public_bytes(self._label))
        self._iat_ms = 0
        self._stream = 0
        self._seq = 0
        self._packet_id = 0
        self._waiting: dict[int, Place | None] = {}
        self._announce_at_s = 0.0
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def live(self) -> bool:
        """Whether it is connected, nobody owns it, and it is announced. Raises what broke it."""
        self._raise_broken()
        return self.hello is not None and not self.hello.owned and self._announced

    @property
    def owned(self) -> bool:
        """Whether it is connected and knows that somebody owns it. Raises what broke it."""
        self._raise_broken()
        return self.hello is not None and self.hello.owned

    @property
    def streaming(self) -> bool:
        """Whether it is owned, and samples of this very ownership are acknowledged. Raises what broke it."""
        return self.owned and self.heard.newest_epoch_acked >= STREAMING

    def start(self) -> None:
        """Connect, and again whenever the connection is lost, until ``stop``."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End; whatever broke it meanwhile is raised."""
        self._stopping = True
        if self._task is not None:
            await stopped(self._task)

    def _raise_broken(self) -> None:
        if self._task is not None and self._task.done():
            self._task.result()

    # --- the connection -------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while not self._stopping:  # a connection lost in the very moment of the stop is no new attempt
            try:
                await self._converse(await self._log_in())
            except (OSError, TimeoutError) as error:
                self.heard.losses.append((time.monotonic(), str(error) or type(error).__name__))
            finally:
                self.hello, self._announced = None, False
                self._waiting.clear()
                if self._writer is not None:
                    self._writer.transport.abort()
            await asyncio.sleep(RETRY_S / 10)

    async def _converse(self, reader: asyncio.StreamReader) -> None:
        """Listen and speak until either ends, then end both; raises what it ended with.

        A lost connection is the listener's OSError, which ``_run`` keeps as a loss. Anything else of either
        is a fault, and the speaker's goes first: it has no business ending at all.
        """
        listener, speaker = asyncio.create_task(self._listen(reader)), asyncio.create_task(self._speak())
        try:
            await asyncio.wait((listener, speaker), return_when=asyncio.FIRST_COMPLETED)
        finally:
            try:
                await stopped(listener)
            finally:
                await stopped(speaker)

    async def _log_in(self) -> asyncio.StreamReader:
        async with self._site.gate:
            installation = self._site.installation
            reader, self._writer = await asyncio.open_connection(
                installation.gateway_host, installation.gateway_port, ssl=self._site.tls
            )
            self._iat_ms = max(self._iat_ms + 1, time.time_ns() // 1_000_000)
            token = login_token(
                self._key,
                audience=installation.audience,
                device_id=self.device_id,
                iat_ms=self._iat_ms,
                exp_ms=self._iat_ms + TOKEN_LIFE_MS,
            )
            self._send(Connect(self.kid, V5, True, KEEP_ALIVE_S, self.kid, token.encode()))
            self._send(Subscribe(1, ((topics.control(self.kid), 0),)))
        return reader

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        packets = Reader(from_client=False, version=V5)
        while data := await reader.read(65_536):
            for packet in packets.feed(data):
                self._take(packet)
        raise ConnectionError("the gateway closed the connection")

    def _take(self, packet: Packet) -> None:
        match packet:
            case ConnAck(code=code) if code:
                raise ConnectionError(f"a log-in was refused with {code:#x}")
            case Disconnect(reason=reason):
                raise ConnectionError(f"the gateway disconnects with {reason:#x}")
            case PubAck(packet_id=packet_id, reason=reason):
                self._acknowledged(self._waiting.pop(packet_id), reason)
            case Publish(payload=payload) if not is_key_set(payload):
                found = open_control(payload, self._site.key_set, None)
                if isinstance(found, Hello):
                    self._obey(found)

    def _acknowledged(self, place: Place | None, reason: int) -> None:
        if place is None:
            self._announced = reason < 0x80
            self.heard.announced += self._announced
            self._announce_at_s = time.monotonic() + (ANNOUNCE_S if self._announced else RETRY_S)
        elif reason == Reason.NO_MATCHING_SUBSCRIBERS:
            self.heard.dropped += 1
        elif reason:
            self.heard.wrong[f"{reason:#x}"] += 1
        else:
            self.heard.acked.add(place)

    # --- what it says ---------------------------------------------------------------------------------------

    def _obey(self, hello: Hello) -> None:
        expect(hello.kid == self.kid and hello.login_ms == self._iat_ms, "a hello is another connection's")
        before, self.hello = self.hello, hello
        if before is None or (before.owned, before.epoch) != (hello.owned, hello.epoch):
            self._announced, self._announce_at_s = False, 0.0
            if before is not None and before.owned:
                for _ in range(STALE):
                    self._sample(before.epoch)
            if hello.owned:
                self._stream = max(self._stream + 1, hello.stream + 1, hello.server_time_ms)
                self._seq = 0
                if hello.epoch not in self.heard.epochs:
                    self.heard.epochs.append(hello.epoch)

    async def _speak(self) -> None:
        while True:
            await asyncio.sleep(PACE_S)
            if self.hello is None:
                continue
            if self.hello.owned:
                self._sample(self.hello.epoch)
            elif self.speaks and time.monotonic() >= self._announce_at_s:
                self._announce(self.hello)

    def _sample(self, epoch: int) -> None:
        self._seq += 1
        now_ms = time.time_ns() // 1_000_000
        sample = {"ts": now_ms, "seq": self._seq, "ups_status": ON_LINE, "output_voltage": 230.0}
        place = (epoch, self._stream, self._seq)
        self.heard.sent.add(place)
        topic = topics.telemetry(self.kid, epoch, self._stream)
        self._publish(topic, pack_batch([pack_sample(sample)]), place)

    def _announce(self, hello: Hello) -> None:
        self._announce_at_s = time.monotonic() + ANNOUNCE_S
        announcement = Announcement(
            product_id=self.product_id.value,
            device_pub=public_bytes(self._key),
            label_pub=public_bytes(self._label),
            boot="boot",
            nonce=hello.nonce,
            ts_ms=time.time_ns() // 1_000_000,
            model="Smart-UPS 1500",
            sku="SMT1500IC",
            serial="AS1234567890",
            firmware="UPS 04.1",
            smartconnect=True,
        )
        sealed = seal_announcement(announcement, self._label, self._key)
        self._publish(topics.announce(self.kid), sealed, None)

    def _publish(self, topic: str, payload: bytes, place: Place | None) -> None:
        self._packet_id = self._packet_id % 65_535 + 1
        self._waiting[self._packet_id] = place
        self._send(Publish(topic, payload, qos=1, packet_id=self._packet_id))

    def _send(self, packet: Packet) -> None:
        if self._writer is None:
            raise CheckError("a device without a connection speaks")
        self._writer.write(encode(packet, V5))

    _announced = False
    _stopping = False
