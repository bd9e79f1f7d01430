"""MQTT 3.1.1 and 5 packets without I/O, both directions: used by the gateway and by the simulated fleet.

Sources: MQTT 3.1.1 (OASIS, 2014) and MQTT 5.0 (OASIS, 2019). Sizes are checked before anything is parsed, a
packet that is not exactly as the standard says raises MqttError with its MQTT 5 reason, and no input raises
anything else. QoS 2 is outside: its PUBLISH is read, so that it can be refused; its other packets are not.

==============  ======================================================
``find_packet``  where the next packet of a buffer ends
``decode``       one packet → a frozen value
``encode``       a value → one packet
``Reader``       bytes in, packets out, for whoever needs no more speed
==============  ======================================================
"""

from collections.abc import Callable, Iterator
from typing import Final

from protocol.errors import Reason
from protocol.mqtt_packets import (
    FROM_CLIENT,
    FROM_SERVER,
    MAX_FILTERS,
    NO_PROPERTIES,
    V5,
    V311,
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    PingReq,
    PingResp,
    PubAck,
    Publish,
    SubAck,
    Subscribe,
    Type,
    UnsubAck,
    Unsubscribe,
    Will,
)
from protocol.mqtt_properties import (
    Cursor,
    MqttError,
    Place,
    Properties,
    Property,
    malformed,
    put_binary,
    put_properties,
    put_text,
    put_varint,
    read_properties,
)

__all__ = [
    "V5",
    "V311",
    "ConnAck",
    "Connect",
    "Disconnect",
    "MqttError",
    "Packet",
    "PingReq",
    "PingResp",
    "Property",
    "PubAck",
    "Publish",
    "Reader",
    "SubAck",
    "Subscribe",
    "Type",
    "UnsubAck",
    "Unsubscribe",
    "Will",
    "decode",
    "encode",
    "find_packet",
    "puback",
]

# --- framing ------------------------------------------------------------------------------------------------


def find_packet(buffer: bytes, at: int, max_bytes: int) -> tuple[int, int] | None:
    """(start of body, end) of the packet that begins at ``at``; None until all of it is there.

    Raises MqttError (packet too large, malformed length) as soon as the length is known.
    """
    size = shift = 0
    body = at + 1
    while True:
        if body >= len(buffer):
            return None
        byte = buffer[body]
        body += 1
        size |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
        if shift > 21:
            raise malformed("The remaining length has more than four bytes.")
    if shift and not byte:
        raise malformed("The remaining length is longer than needed.")
    end = body + size
    if end - at > max_bytes:
        raise MqttError(Reason.PACKET_TOO_LARGE, f"A packet of {end - at} bytes; at most {max_bytes}.")
    return (body, end) if end <= len(buffer) else None


class Reader:
    """Bytes in, packets out. ``version`` of a server's reader follows the CONNECT it reads."""

    def __init__(self, *, from_client: bool, version: int = V311, max_packet_bytes: int = 262_144) -> None:
        self.version = version
        self._from_client = from_client
        self._max_bytes = max_packet_bytes
        self._buffer = b""

    def feed(self, data: bytes) -> Iterator[Packet]:
        """Packets that are complete now. Raises MqttError, after which the connection is of no more use."""
        buffer = self._buffer + data if self._buffer else data
        at = 0
        try:
            while found := find_packet(buffer, at, self._max_bytes):
                body, end = found
                packet = decode(buffer[at], buffer[body:end], self.version, from_client=self._from_client)
                at = end
                if isinstance(packet, Connect):
                    self.version = packet.version
                yield packet
        finally:
            self._buffer = buffer[at:]


# --- decode -------------------------------------------------------------------------------------------------


def decode(first: int, body: bytes, version: int, *, from_client: bool) -> Packet:
    """The packet with this first byte and body. Raises MqttError and nothing else.

    ``version`` is that of the connection; a CONNECT brings its own.
    """
    try:
        kind = Type(first >> 4)
    except ValueError as error:
        raise MqttError(Reason.PROTOCOL_ERROR, f"Packet type {first >> 4} is not spoken here.") from error
    if kind not in (FROM_CLIENT if from_client else FROM_SERVER):
        raise MqttError(Reason.PROTOCOL_ERROR, f"{kind.name} from the wrong side.")
    cursor = Cursor(body)
    if kind is Type.PUBLISH:
        packet: Packet = _read_publish(first & 0x0F, cursor, version)
    else:
        expected = 0x02 if kind in {Type.SUBSCRIBE, Type.UNSUBSCRIBE} else 0
        if first & 0x0F != expected:
            raise malformed(f"{kind.name} has flags {first & 0x0F:#x}.")
        packet = _READERS[kind](cursor, version)
    cursor.finish()
    return packet


def _read_connect(cursor: Cursor, _version: int) -> Connect:
    if cursor.text() != "MQTT":
        raise MqttError(Reason.UNSUPPORTED_PROTOCOL_VERSION, "The protocol name is not MQTT.")
    version = cursor.number(1)
    if version not in {V311, V5}:
        raise MqttError(Reason.UNSUPPORTED_PROTOCOL_VERSION, f"Protocol level {version} is not spoken here.")
    flags = cursor.number(1)
    keep_alive_s = cursor.number(2)
    with_will, qos = bool(flags & 0x04), flags >> 3 & 3
    if flags & 0x01 or qos == 3 or (not with_will and flags & 0x38):
        raise malformed(f"CONNECT has flags {flags:#04x}.")
    if version == V311 and flags & 0x40 and not flags & 0x80:
        raise malformed("A password without a user name.")
    properties = read_properties(cursor, Place.CONNECT) if version == V5 else NO_PROPERTIES
    client_id = cursor.text()
    will = None
    if with_will:
        will_properties = read_properties(cursor, Place.WILL) if version == V5 else NO_PROPERTIES
        will = Will(cursor.text(), cursor.binary(), qos, bool(flags & 0x20), will_properties)
    username = cursor.text() if flags & 0x80 else None
    password = cursor.binary() if flags & 0x40 else None
    clean = bool(flags & 0x02)
    return Connect(client_id, version, clean, keep_alive_s, username, password, will, properties)


def _read_connack(cursor: Cursor, version: int) -> ConnAck:
    flags = cursor.number(1)
    if flags > 1:
        raise malformed("CONNACK has unknown flags.")
    code = cursor.number(1)
    properties = read_properties(cursor, Place.CONNACK) if version == V5 else NO_PROPERTIES
    return ConnAck(code, bool(flags), properties)


def _read_publish(flags: int, cursor: Cursor, version: int) -> Publish:
    qos = flags >> 1 & 3
    if qos == 3 or (flags & 0x08 and not qos):
        raise malformed(f"PUBLISH has flags {flags:#x}.")
    topic = cursor.text()
    packet_id = _read_packet_id(cursor) if qos else 0
    properties = read_properties(cursor, Place.PUBLISH) if version == V5 else NO_PROPERTIES
    if not topic and Property.TOPIC_ALIAS not in properties:
        raise MqttError(Reason.PROTOCOL_ERROR, "A message without a topic.")
    if "+" in topic or "#" in topic:
        raise MqttError(Reason.TOPIC_NAME_INVALID, "A topic with a wildcard.")
    payload = cursor.take(cursor.left)
    return Publish(topic, payload, qos, packet_id, bool(flags & 1), bool(flags & 8), properties)


def _read_packet_id(cursor: Cursor) -> int:
    packet_id = cursor.number(2)
    if not packet_id:
        raise MqttError(Reason.PROTOCOL_ERROR, "A packet identifier of 0.")
    return packet_id


def _read_puback(cursor: Cursor, version: int) -> PubAck:
    packet_id = _read_packet_id(cursor)
    if version != V5 or not cursor.left:
        return PubAck(packet_id)
    reason = cursor.number(1)
    return PubAck(packet_id, reason, read_properties(cursor, Place.ACK) if cursor.left else NO_PROPERTIES)


def _read_subscribe(cursor: Cursor, version: int) -> Subscribe:
    packet_id = _read_packet_id(cursor)
    properties = read_properties(cursor, Place.SUBSCRIBE) if version == V5 else NO_PROPERTIES
    filters: list[tuple[str, int]] = []
    while cursor.left:
        _check_count(filters)
        name, options = cursor.text(), cursor.number(1)
        if options & 3 == 3 or options & (0xC0 if version == V5 else 0xFC) or options >> 4 & 3 == 3:
            raise malformed(f"SUBSCRIBE has options {options:#04x}.")
        filters.append((name, options))
    if not filters:
        raise MqttError(Reason.PROTOCOL_ERROR, "SUBSCRIBE without a topic filter.")
    return Subscribe(packet_id, tuple(filters), properties)


def _check_count(filters: list[tuple[str, int]] | list[str]) -> None:
    if len(filters) == MAX_FILTERS:
        raise MqttError(Reason.IMPLEMENTATION_SPECIFIC, f"More than {MAX_FILTERS} topic filters.")


def _read_suback(cursor: Cursor, version: int) -> SubAck:
    packet_id = _read_packet_id(cursor)
    properties = read_properties(cursor, Place.ACK) if version == V5 else NO_PROPERTIES
    return SubAck(packet_id, tuple(cursor.take(cursor.left)), properties)


def _read_unsubscribe(cursor: Cursor, version: int) -> Unsubscribe:
    packet_id = _read_packet_id(cursor)
    properties = read_properties(cursor, Place.UNSUBSCRIBE) if version == V5 else NO_PROPERTIES
    filters: list[str] = []
    while cursor.left:
        _check_count(filters)
        filters.append(cursor.text())
    if not filters:
        raise MqttError(Reason.PROTOCOL_ERROR, "UNSUBSCRIBE without a topic filter.")
    return Unsubscribe(packet_id, tuple(filters), properties)


def _read_unsuback(cursor: Cursor, version: int) -> UnsubAck:
    packet_id = _read_packet_id(cursor)
    properties = read_properties(cursor, Place.ACK) if version == V5 else NO_PROPERTIES
    return UnsubAck(packet_id, tuple(cursor.take(cursor.left)), properties)


def _read_disconnect(cursor: Cursor, version: int) -> Disconnect:
    if version != V5 or not cursor.left:
        return Disconnect()
    reason = cursor.number(1)
    return Disconnect(reason, read_properties(cursor, Place.DISCONNECT) if cursor.left else NO_PROPERTIES)


_READERS: Final[dict[Type, Callable[[Cursor, int], Packet]]] = {
    Type.CONNECT: _read_connect,
    Type.CONNACK: _read_connack,
    Type.PUBACK: _read_puback,
    Type.SUBSCRIBE: _read_subscribe,
    Type.SUBACK: _read_suback,
    Type.UNSUBSCRIBE: _read_unsubscribe,
    Type.UNSUBACK: _read_unsuback,
    Type.PINGREQ: lambda _cursor, _version: PingReq(),
    Type.PINGRESP: lambda _cursor, _version: PingResp(),
    Type.DISCONNECT: _read_disconnect,
}


# --- encode -------------------------------------------------------------------------------------------------


def encode(packet: Packet, version: int = V311) -> bytes:
    """Bytes of a packet; ValueError where a field does not fit. A Connect brings its own version."""
    match packet:
        case Connect():
            return _framed(Type.CONNECT << 4, _connect_body(packet))
        case ConnAck(code, present, properties):
            body = bytes([present, code]) + _put(properties, Place.CONNACK, version)
            return _framed(Type.CONNACK << 4, body)
        case Publish():
            return _publish(packet, version)
        case PubAck(packet_id, reason, properties):
            body = packet_id.to_bytes(2, "big")
            if version == V5 and (reason or properties):
                body += bytes([reason]) + (_put(properties, Place.ACK, version) if properties else b"")
            return _framed(Type.PUBACK << 4, body)
        case Subscribe(packet_id, filters, properties):
            body = packet_id.to_bytes(2, "big") + _put(properties, Place.SUBSCRIBE, version)
            body += b"".join(put_text(name) + bytes([options]) for name, options in filters)
            return _framed(Type.SUBSCRIBE << 4 | 2, body)
        case Unsubscribe(packet_id, names, properties):
            body = packet_id.to_bytes(2, "big") + _put(properties, Place.UNSUBSCRIBE, version)
            return _framed(Type.UNSUBSCRIBE << 4 | 2, body + b"".join(map(put_text, names)))
        case SubAck(packet_id, codes, properties) | UnsubAck(packet_id, codes, properties):
            kind = Type.SUBACK if isinstance(packet, SubAck) else Type.UNSUBACK
            body = packet_id.to_bytes(2, "big") + _put(properties, Place.ACK, version)
            return _framed(kind << 4, body + bytes(codes))
        case PingReq():
            return _framed(Type.PINGREQ << 4, b"")
        case PingResp():
            return _framed(Type.PINGRESP << 4, b"")
        case Disconnect(reason, properties):
            body = b""
            if version == V5 and (reason or properties):
                body = bytes([reason]) + (_put(properties, Place.DISCONNECT, version) if properties else b"")
            return _framed(Type.DISCONNECT << 4, body)


def puback(packet_id: int, version: int, reason: int = Reason.SUCCESS) -> bytes:
    """A PUBACK without the detour over a value; with V311 the reason does not travel."""
    if reason and version == V5:
        return b"\x40\x03" + packet_id.to_bytes(2, "big") + bytes([reason])
    return b"\x40\x02" + packet_id.to_bytes(2, "big")


def _framed(first: int, body: bytes) -> bytes:
    return bytes([first]) + put_varint(len(body)) + body


def _put(properties: Properties, place: Place, version: int) -> bytes:
    return put_properties(properties, place) if version == V5 else b""


def _connect_body(packet: Connect) -> bytes:
    will = packet.will
    flags = packet.clean_start << 1 | (packet.password is not None) << 6 | (packet.username is not None) << 7
    if will is not None:
        flags |= 0x04 | will.qos << 3 | will.retain << 5
    body = put_text("MQTT") + bytes([packet.version, flags]) + packet.keep_alive_s.to_bytes(2, "big")
    body += _put(packet.properties, Place.CONNECT, packet.version) + put_text(packet.client_id)
    if will is not None:
        body += _put(will.properties, Place.WILL, packet.version)
        body += put_text(will.topic) + put_binary(will.payload)
    if packet.username is not None:
        body += put_text(packet.username)
    if packet.password is not None:
        body += put_binary(packet.password)
    return body


def _publish(packet: Publish, version: int) -> bytes:
    first = Type.PUBLISH << 4 | packet.dup << 3 | packet.qos << 1 | packet.retain
    packet_id = packet.packet_id.to_bytes(2, "big") if packet.qos else b""
    properties = _put(packet.properties, Place.PUBLISH, version)
    return _framed(first, put_text(packet.topic) + packet_id + properties + packet.payload)
