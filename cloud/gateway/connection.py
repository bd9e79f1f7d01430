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
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, cast

import structlog

from cloud.core.session import Refusal, connack_code, judge_connect
from cloud.gateway.intake import Intake
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
    Packet,
    PingReq,
    PingResp,
    Property,
    Publish,
    Subscribe,
    Unsubscribe,
    decode,
    encode,
    find_packet,
)

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

    def __init__(self, gateway: "Gateway", peer: str, admitted: Callable[[], None]) -> None:
        """``admitted`` is called, perhaps twice, when the connection has logged in or is gone."""
        self._gateway = gateway
        self._admitted = admitted
        self._peer = peer
        self._buffer = b""
        self._max_bytes = MAX_CONNECT_BYTES
        self._version = V311
        self._session: Session | None = None
        self._intake: Intake | None = None
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._logging_in: asyncio.Task[None] | None = None
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
        for task in self._tasks - {self._logging_in}:  # a log-in that was stored must be known, to be ended
            task.cancel()
        self._transport = None
        self._admitted()
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
        self._acknowledge()
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
        if self._intake is not None:
            self._intake.forget_template()

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
            self.refuse(Refusal(error.reason, str(error), ends=True))
        finally:
            self._parsing = False
        self._acknowledge()
        self._regulate()

    def _acknowledge(self) -> None:
        ready = b"" if self._intake is None else self._intake.ready()
        if ready and self._transport is not None:
            faults.reach("gateway.puback")
            self._transport.write(ready)

    def _take_packets(self, buffer: bytes) -> int:
        """Judge packet after packet; how many bytes were taken."""
        at = 0
        while self._transport is not None and not self._connecting and not self._gateway.full:
            intake = self._intake
            if intake is not None and (taken := intake.take_run(buffer, at)):
                at += taken
                continue
            found = find_packet(buffer, at, self._max_bytes)
            if found is None:
                break
            body, end = found
            first = buffer[at]
            if first in QOS1_PUBLISH and intake is not None and intake.room <= 0:
                self._stalled = True
                break
            packet = decode(first, buffer[body:end], self._version, from_client=True)
            if intake is None:
                self._take_first(packet)
            elif isinstance(packet, Publish):
                intake.take_publish(packet, buffer[at:body], end - at)
            else:
                self._take_other(intake, packet)
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

    def _take_other(self, intake: Intake, packet: Packet) -> None:
        match packet:
            case PingReq():
                self.send(PINGRESP)
            case Subscribe():
                intake.subscribe(packet)
            case Unsubscribe():
                intake.unsubscribe(packet)
            case Disconnect(reason):
                self._why = f"the device disconnected ({reason:#04x})"
                if self._transport is not None:
                    self._transport.close()
                self._transport = None
            case _:
                raise MqttError(Reason.PROTOCOL_ERROR, f"A {type(packet).__name__} out of place.")

    # --- log-in ---------------------------------------------------------------------------------------------

    def _take_first(self, connect: Packet) -> None:
        if not isinstance(connect, Connect):
            raise MqttError(Reason.PROTOCOL_ERROR, "The first packet is not a CONNECT.")
        self._version, self._asked = connect.version, True
        request = judge_connect(connect)
        if isinstance(request, Refusal):
            self.refuse(request)
            return
        self._connecting = True

        async def log_in() -> None:
            outcome = await self._gateway.log_in(self, connect, request, self._peer)
            self._connecting = False
            if isinstance(outcome, Refusal):
                self.refuse(outcome)
            elif self._transport is None:
                self._gateway.closed(self, outcome, self._why)
            else:
                self._welcome(outcome, connect)
                self._parse()

        self._logging_in = self.spawn(log_in())

    def _welcome(self, session: Session, connect: Connect) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._admitted()
        self._session = session
        self._intake = Intake(self._gateway, session, self)
        self._max_bytes = self._gateway.settings.max_packet_bytes
        session.heard_s = time.monotonic()
        properties: dict[Property, int] = {
            Property.RECEIVE_MAXIMUM: self._gateway.settings.receive_maximum,
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

    def refuse(self, refusal: Refusal) -> None:
        """End the connection over something the peer did, and say so in the log."""
        self._gateway.refused(self._session, refusal, self._peer)
        if self._session is None and (self._asked or refusal.reason is Reason.UNSUPPORTED_PROTOCOL_VERSION):
            self._connack(refusal.reason)
        self.end(refusal)

    def _too_late(self) -> None:
        if not self._connecting:
            self.refuse(Refusal(Reason.MAXIMUM_CONNECT_TIME, "no CONNECT in time", ends=True))

    # --- tasks ----------------------------------------------------------------------------------------------

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run this beside the reading; it ends with the connection, unless it is the log-in."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a connection failed", peer=self._peer, exc_info=error)
            self.end(Refusal(Reason.UNSPECIFIED, "a fault of the gateway", ends=True))
