"""One TCP connection of a device: bytes in, packets judged, uploads to the writer, PUBACKs out in order.

Theory of operation
-------------------
``data_received`` appends to a buffer and ``_parse`` takes packets from it. While a run of packets looks like
the one before it, they are taken as one slice (:func:`cloud.core.batch.match_run`); everything else goes
through the ordinary parser and :mod:`cloud.core.session`. Uploads go to the device's writer; when a writer
has decided some, ``flush`` sends what may leave by order.

Reading stops at a PUBLISH beyond the receive maximum, while a log-in is asked of the database, while the
gateway as a whole holds too much, and while the peer does not read what we send.
"""

import asyncio
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final, cast

import structlog

from cloud.core.batch import Template, Upload, match_run
from cloud.core.session import (
    UNOWNED_MAX_BYTES,
    AckQueue,
    Drop,
    Entry,
    Refusal,
    connack_code,
    judge_connect,
    judge_flags,
    judge_subscribe,
    judge_topic,
)
from cloud.gateway.announcing import announce
from cloud.gateway.session import Session
from protocol import faults
from protocol.errors import Reason
from protocol.mqtt import (
    V5,
    V311,
    ConnAck,
    Connect,
    Disconnect,
    MqttError,
    PingReq,
    PingResp,
    Property,
    Publish,
    SubAck,
    Subscribe,
    UnsubAck,
    Unsubscribe,
    decode,
    encode,
    find_packet,
    puback,
)
from protocol.topics import UpKind, UpTopic, control

if TYPE_CHECKING:
    from cloud.gateway.gateway import Gateway
    from protocol.mqtt_properties import Properties

CONNECT_TIMEOUT_S: Final = 10.0
MAX_CONNECT_BYTES: Final = 4096
"""Largest packet of a peer that has not logged in; a CONNECT of ours has about 600 bytes."""
QOS1_PUBLISH: Final = frozenset({0x32, 0x3A})
"""First bytes of a QoS 1 message that is not retained: sent first, sent again."""
PINGRESP: Final = encode(PingResp())

log = structlog.get_logger()


class Connection(asyncio.Protocol):
    """See the module. Every method runs in the event loop."""

    def __init__(self, gateway: "Gateway", peer: str) -> None:
        self._gateway = gateway
        self._peer = peer
        self._buffer = b""
        self._acks = AckQueue()
        self._window = gateway.settings.receive_maximum
        self._max_bytes = MAX_CONNECT_BYTES
        self._version = V311
        self._template: Template | None = None
        self._session: Session | None = None
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._order = asyncio.Lock()
        self._asked = False
        self._connecting = False
        self._parsing = False
        self._stalled = False
        self._reading = True
        self._peer_reads = True
        self._why = "the peer closed the connection"

    # --- transport ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A TLS handshake has succeeded."""
        self._transport = cast("asyncio.Transport", transport)
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(CONNECT_TIMEOUT_S, self._too_late)

    def data_received(self, data: bytes) -> None:
        """Bytes of the peer."""
        if self._session is not None:
            self._session.heard_s = time.monotonic()
            self._session.heard_ms = time.time_ns() // 1_000_000
        self._buffer = self._buffer + data if self._buffer else data
        self._parse()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone; what was read is still stored."""
        if exc is not None:
            self._why = f"the connection broke: {exc}"
        if self._deadline is not None:
            self._deadline.cancel()
        for task in self._tasks:
            task.cancel()
        self._transport = None
        self._gateway.closed(self, self._session, self._why)
        self._session = None

    def pause_writing(self) -> None:
        """The peer does not read: we neither."""
        self._peer_reads = False
        self._regulate()

    def resume_writing(self) -> None:
        """The peer reads again."""
        self._peer_reads = True
        self._regulate()

    @property
    def suspended(self) -> bool:
        """Whether we do not read, so that its silence says nothing."""
        return not self._reading

    # --- Link: what others ask of the connection ------------------------------------------------------------

    def send(self, packet: bytes) -> None:
        """Write a packet, if the connection is still there."""
        if self._transport is not None:
            self._transport.write(packet)

    def flush(self) -> None:
        """Send the PUBACKs that are decided, and read on."""
        ready = self._acks.ready()
        if ready and self._transport is not None:
            faults.reach("gateway.puback")
            self._transport.write(ready)
        if self._stalled:
            self._parse()

    def end(self, refusal: Refusal) -> None:
        """End the connection; with MQTT 5 the peer is told why."""
        if self._transport is None:
            return
        self._why = refusal.why
        if self._session is not None and self._version == V5:
            self._transport.write(encode(Disconnect(refusal.reason), V5))
        self._transport.close()
        self._transport = None

    def forget_template(self) -> None:
        """Judge the next message anew."""
        self._template = None

    def regulate(self) -> None:
        """The gateway as a whole holds too much, or no longer so."""
        self._regulate()
        self._parse()

    # --- reading --------------------------------------------------------------------------------------------

    def _parse(self) -> None:
        """Take what is in the buffer, as far as it may be taken now."""
        if self._parsing or self._connecting or self._transport is None:
            return
        self._parsing, self._stalled = True, False
        try:
            self._buffer = self._buffer[self._take_packets(self._buffer) :]
        except MqttError as error:
            self._refuse(Refusal(error.reason, str(error), ends=True))
        finally:
            self._parsing = False
        self.flush_decided()
        self._regulate()

    def flush_decided(self) -> None:
        """Send what is decided already, without reading on."""
        ready = self._acks.ready()
        if ready and self._transport is not None:
            self._transport.write(ready)

    def _take_packets(self, buffer: bytes) -> int:
        """Judge packet after packet; how many bytes were taken."""
        at = 0
        while self._transport is not None and not self._connecting and not self._gateway.full:
            template = self._template
            room = self._window - self._acks.unacknowledged
            if template is not None and room > 0 and len(buffer) - at >= template.size:
                count, ids, payloads = match_run(template, buffer, at, room)
                if count:
                    size = template.size - template.payload_at
                    self._upload(
                        Upload(
                            count, topic=template.topic, ids=ids, joined=payloads, size=size, messages=count
                        )
                    )
                    at += count * template.size
                    continue
            found = find_packet(buffer, at, self._max_bytes)
            if found is None:
                break
            body, end = found
            first = buffer[at]
            if first in QOS1_PUBLISH and room <= 0:
                self._stalled = True
                break
            packet = decode(first, buffer[body:end], self._version, from_client=True)
            if isinstance(packet, Publish):
                self._take_publish(packet, buffer[at:body], end - at)
            else:
                self._take_other(packet)
            at = end
        return at

    def _regulate(self) -> None:
        """Read or do not read, as it should be now."""
        if self._transport is None:
            return
        reading = not (self._stalled or self._connecting or self._gateway.full) and self._peer_reads
        if reading != self._reading:
            self._reading = reading
            (self._transport.resume_reading if reading else self._transport.pause_reading)()
            if reading and self._session is not None:
                self._session.heard_s = time.monotonic()

    def _take_other(self, packet: Any) -> None:
        session = self._session
        if session is None:
            if not isinstance(packet, Connect):
                raise MqttError(Reason.PROTOCOL_ERROR, "The first packet is not a CONNECT.")
            self._connect(packet)
            return
        match packet:
            case PingReq():
                self.send(PINGRESP)
            case Subscribe():
                self._subscribe(session, packet)
            case Unsubscribe(packet_id, filters):
                own = control(session.kid)
                codes = tuple(0 if name == own else Reason.NO_SUBSCRIPTION_EXISTED for name in filters)
                session.subscribed = session.subscribed and own not in filters
                self.send(encode(UnsubAck(packet_id, codes if self._version == V5 else ()), self._version))
            case Disconnect(reason):
                self._why = (
                    "the device disconnected" if not reason else f"the device disconnected: {reason:#04x}"
                )
                if self._transport is not None:
                    self._transport.close()
                self._transport = None
            case _:
                raise MqttError(Reason.PROTOCOL_ERROR, f"A {type(packet).__name__} out of place.")

    # --- log-in ---------------------------------------------------------------------------------------------

    def _connect(self, connect: Connect) -> None:
        self._version, self._asked = connect.version, True
        request = judge_connect(connect)
        if isinstance(request, Refusal):
            self._refuse(request)
            return
        self._connecting = True

        async def log_in() -> None:
            outcome = await self._gateway.log_in(self, connect, request, self._peer)
            self._connecting = False
            if isinstance(outcome, Refusal):
                self._refuse(outcome)
            elif self._transport is None:
                self._gateway.closed(self, outcome, self._why)
            else:
                self._welcome(outcome, connect)
                self._parse()

        self._spawn(log_in())

    def _welcome(self, session: Session, connect: Connect) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._session = session
        self._max_bytes = self._gateway.settings.max_packet_bytes
        session.heard_s = time.monotonic()
        properties: dict[Property, int] = {
            Property.RECEIVE_MAXIMUM: self._window,
            Property.MAXIMUM_QOS: 1,
            Property.RETAIN_AVAILABLE: 0,
            Property.MAXIMUM_PACKET_SIZE: self._max_bytes,
            Property.WILDCARD_AVAILABLE: 0,
            Property.SUBSCRIPTION_IDS_AVAILABLE: 0,
            Property.SHARED_AVAILABLE: 0,
        }
        if session.keep_alive_s != connect.keep_alive_s:
            properties[Property.SERVER_KEEP_ALIVE] = session.keep_alive_s
        if connect.properties.get(Property.SESSION_EXPIRY):
            properties[Property.SESSION_EXPIRY] = 0
        self._connack(Reason.SUCCESS, cast("Properties", properties))

    def _connack(self, reason: Reason, properties: "Properties | None" = None) -> None:
        code = connack_code(reason, self._version)
        answer = ConnAck(code, properties=properties or {}) if self._version == V5 else ConnAck(code)
        self.send(encode(answer, self._version))

    def _refuse(self, refusal: Refusal) -> None:
        """End the connection over something the peer did, and say so in the log."""
        self._gateway.refused(self._session, refusal, self._peer)
        if self._session is None and (self._asked or refusal.reason is Reason.UNSUPPORTED_PROTOCOL_VERSION):
            self._connack(refusal.reason)
        self.end(refusal)

    def _too_late(self) -> None:
        if not self._connecting:
            self._refuse(Refusal(Reason.MAXIMUM_CONNECT_TIME, "no CONNECT in time", ends=True))

    # --- messages -------------------------------------------------------------------------------------------

    def _take_publish(self, publish: Publish, head: bytes, size: int) -> None:
        session = self._session
        if session is None:
            raise MqttError(Reason.PROTOCOL_ERROR, "The first packet is not a CONNECT.")
        refusal = judge_flags(publish)
        if refusal is None and Property.TOPIC_ALIAS in publish.properties:
            refusal = Refusal(Reason.TOPIC_ALIAS_INVALID, "topic aliases are not offered", ends=True)
        if refusal is not None:
            self._refuse(refusal)
            return
        verdict = judge_topic(session.kid, publish.topic, session.standing)
        announces = isinstance(verdict, UpTopic) and verdict.kind is UpKind.ANNOUNCE
        if (announces or not session.standing.owned) and not self._within_quota(session, publish):
            verdict = Refusal(
                Reason.QUOTA_EXCEEDED, "more or larger messages than a device without owner may send"
            )
        match verdict:
            case Drop():
                self._gateway.metrics.dropped.inc()
                reason = Reason.NO_MATCHING_SUBSCRIBERS if self._version == V5 else Reason.SUCCESS
                self._answer(publish, reason)
            case Refusal():
                self._gateway.refused(session, verdict, self._peer)
                if self._version == V5:
                    self._answer(publish, verdict.reason)
                else:
                    self.end(verdict)
            case UpTopic(kind=UpKind.ANNOUNCE):
                self._announce(session, publish)
            case UpTopic():
                self._keep(verdict, publish, head, size)

    def _within_quota(self, session: Session, publish: Publish) -> bool:
        now_ms = time.monotonic_ns() // 1_000_000
        return len(publish.payload) <= UNOWNED_MAX_BYTES and session.quota.take(now_ms)

    def _answer(self, publish: Publish, reason: Reason) -> None:
        """Acknowledge at once, in turn."""
        if publish.qos:
            self._acks.add(Entry(1, puback(publish.packet_id, self._version, reason)))

    def _keep(self, topic: UpTopic, publish: Publish, head: bytes, size: int) -> None:
        if topic.kind is UpKind.TELEMETRY and publish.qos and not publish.properties:
            prefix = head + len(publish.topic).to_bytes(2, "big") + publish.topic.encode()
            self._template = Template(topic, prefix, size, size - len(publish.payload), self._version == V5)
        packet_id = publish.packet_id.to_bytes(2, "big") if publish.qos else b""
        self._upload(Upload(publish.qos, topic=topic, ids=packet_id, payloads=[publish.payload], messages=1))

    def _upload(self, upload: Upload) -> None:
        if self._session is not None:
            if upload.count:
                self._acks.add(upload)
            self._gateway.store(self._session, upload)

    def _announce(self, session: Session, publish: Publish) -> None:
        entry = Entry(1)
        if publish.qos:
            self._acks.add(entry)

        async def work() -> None:
            async with self._order:
                outcome = await announce(self._gateway.pool, session, publish.payload)
            self._gateway.metrics.announcements.labels(outcome.name).inc()
            if outcome.refusal is not None:
                self._gateway.refused(session, outcome.refusal, self._peer)
                if outcome.refusal.ends or self._version != V5:
                    self.end(outcome.refusal)
                    return
            entry.acks = puback(publish.packet_id, self._version, outcome.reason)
            self.flush()
            if outcome.refusal is None:
                self._gateway.hub.look_at(session)

        self._spawn(work())

    def _subscribe(self, session: Session, subscribe: Subscribe) -> None:
        if Property.SUBSCRIPTION_ID in subscribe.properties:
            raise MqttError(Reason.SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED, "No subscription identifiers.")
        codes = judge_subscribe(session.kid, subscribe, self._version)
        self.send(encode(SubAck(subscribe.packet_id, codes), self._version))
        for (name, _options), code in zip(subscribe.filters, codes, strict=True):
            if code:
                refusal = Refusal(Reason(code), f"a device subscribes to its control topic only, not {name}")
                self._gateway.refused(session, refusal, self._peer)
        if 0 in codes:
            session.subscribed = True
            session.say(session.voice.key_set)
            self._gateway.hub.greet(session)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a connection failed", peer=self._peer, exc_info=error)
            self.end(Refusal(Reason.UNSPECIFIED, "a fault of the gateway", ends=True))
