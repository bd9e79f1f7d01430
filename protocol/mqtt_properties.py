"""Properties of MQTT 5 packets (MQTT 5.0, section 2.2.2): one table, checked both ways.

A property is named by :class:`Property`; its value is an int, a str, a bytes, or for user properties a tuple
of pairs. A property that is unknown, doubled or in the wrong packet is malformed or a protocol error.
"""

from collections.abc import Mapping
from enum import IntEnum, StrEnum
from typing import Final

from protocol.errors import ErrorCode, ProtocolError, Reason

Value = int | str | bytes | tuple[tuple[str, str], ...]
Properties = Mapping["Property", Value]

MAX_USER_PROPERTIES: Final = 16


class MqttError(ProtocolError):
    """Bytes that are not MQTT, or a packet out of place; ``reason`` is what MQTT 5 calls it."""

    def __init__(self, reason: Reason, message: str) -> None:
        code = {
            Reason.MALFORMED_PACKET: ErrorCode.MQTT_MALFORMED,
            Reason.PACKET_TOO_LARGE: ErrorCode.TOO_LARGE,
        }.get(reason, ErrorCode.MQTT_PROTOCOL)
        super().__init__(code, message)
        self.reason = reason


def malformed(message: str) -> MqttError:
    """A packet that cannot be read."""
    return MqttError(Reason.MALFORMED_PACKET, message)


class Property(IntEnum):
    """Identifiers of properties."""

    PAYLOAD_FORMAT = 0x01
    MESSAGE_EXPIRY = 0x02
    CONTENT_TYPE = 0x03
    RESPONSE_TOPIC = 0x08
    CORRELATION_DATA = 0x09
    SUBSCRIPTION_ID = 0x0B
    SESSION_EXPIRY = 0x11
    ASSIGNED_CLIENT_ID = 0x12
    SERVER_KEEP_ALIVE = 0x13
    AUTHENTICATION_METHOD = 0x15
    AUTHENTICATION_DATA = 0x16
    REQUEST_PROBLEM = 0x17
    WILL_DELAY = 0x18
    REQUEST_RESPONSE = 0x19
    RESPONSE_INFORMATION = 0x1A
    SERVER_REFERENCE = 0x1C
    REASON_STRING = 0x1F
    RECEIVE_MAXIMUM = 0x21
    TOPIC_ALIAS_MAXIMUM = 0x22
    TOPIC_ALIAS = 0x23
    MAXIMUM_QOS = 0x24
    RETAIN_AVAILABLE = 0x25
    USER_PROPERTY = 0x26
    MAXIMUM_PACKET_SIZE = 0x27
    WILDCARD_AVAILABLE = 0x28
    SUBSCRIPTION_IDS_AVAILABLE = 0x29
    SHARED_AVAILABLE = 0x2A


class Place(StrEnum):
    """Where properties stand."""

    CONNECT = "CONNECT"
    WILL = "will"
    CONNACK = "CONNACK"
    PUBLISH = "PUBLISH"
    ACK = "acknowledgement"
    SUBSCRIBE = "SUBSCRIBE"
    UNSUBSCRIBE = "UNSUBSCRIBE"
    DISCONNECT = "DISCONNECT"


class _Form(StrEnum):
    BYTE = "byte"
    FLAG = "flag"
    SHORT = "short"
    LONG = "long"
    VARINT = "varint"
    TEXT = "text"
    BINARY = "binary"
    PAIR = "pair"


_FIXED: Final = {_Form.BYTE: 1, _Form.FLAG: 1, _Form.SHORT: 2, _Form.LONG: 4}
_EVERYWHERE: Final = frozenset(Place)
P = Property
_TABLE: Final[Mapping[Property, tuple[_Form, frozenset[Place]]]] = {
    P.PAYLOAD_FORMAT: (_Form.FLAG, frozenset({Place.PUBLISH, Place.WILL})),
    P.MESSAGE_EXPIRY: (_Form.LONG, frozenset({Place.PUBLISH, Place.WILL})),
    P.CONTENT_TYPE: (_Form.TEXT, frozenset({Place.PUBLISH, Place.WILL})),
    P.RESPONSE_TOPIC: (_Form.TEXT, frozenset({Place.PUBLISH, Place.WILL})),
    P.CORRELATION_DATA: (_Form.BINARY, frozenset({Place.PUBLISH, Place.WILL})),
    P.SUBSCRIPTION_ID: (_Form.VARINT, frozenset({Place.PUBLISH, Place.SUBSCRIBE})),
    P.SESSION_EXPIRY: (_Form.LONG, frozenset({Place.CONNECT, Place.CONNACK, Place.DISCONNECT})),
    P.ASSIGNED_CLIENT_ID: (_Form.TEXT, frozenset({Place.CONNACK})),
    P.SERVER_KEEP_ALIVE: (_Form.SHORT, frozenset({Place.CONNACK})),
    P.AUTHENTICATION_METHOD: (_Form.TEXT, frozenset({Place.CONNECT, Place.CONNACK})),
    P.AUTHENTICATION_DATA: (_Form.BINARY, frozenset({Place.CONNECT, Place.CONNACK})),
    P.REQUEST_PROBLEM: (_Form.FLAG, frozenset({Place.CONNECT})),
    P.WILL_DELAY: (_Form.LONG, frozenset({Place.WILL})),
    P.REQUEST_RESPONSE: (_Form.FLAG, frozenset({Place.CONNECT})),
    P.RESPONSE_INFORMATION: (_Form.TEXT, frozenset({Place.CONNACK})),
    P.SERVER_REFERENCE: (_Form.TEXT, frozenset({Place.CONNACK, Place.DISCONNECT})),
    P.REASON_STRING: (_Form.TEXT, frozenset({Place.CONNACK, Place.ACK, Place.DISCONNECT})),
    P.RECEIVE_MAXIMUM: (_Form.SHORT, frozenset({Place.CONNECT, Place.CONNACK})),
    P.TOPIC_ALIAS_MAXIMUM: (_Form.SHORT, frozenset({Place.CONNECT, Place.CONNACK})),
    P.TOPIC_ALIAS: (_Form.SHORT, frozenset({Place.PUBLISH})),
    P.MAXIMUM_QOS: (_Form.FLAG, frozenset({Place.CONNACK})),
    P.RETAIN_AVAILABLE: (_Form.FLAG, frozenset({Place.CONNACK})),
    P.USER_PROPERTY: (_Form.PAIR, _EVERYWHERE),
    P.MAXIMUM_PACKET_SIZE: (_Form.LONG, frozenset({Place.CONNECT, Place.CONNACK})),
    P.WILDCARD_AVAILABLE: (_Form.FLAG, frozenset({Place.CONNACK})),
    P.SUBSCRIPTION_IDS_AVAILABLE: (_Form.FLAG, frozenset({Place.CONNACK})),
    P.SHARED_AVAILABLE: (_Form.FLAG, frozenset({Place.CONNACK})),
}
_NOT_ZERO: Final = frozenset({P.RECEIVE_MAXIMUM, P.MAXIMUM_PACKET_SIZE, P.TOPIC_ALIAS, P.SUBSCRIPTION_ID})


# --- the elements of every packet ---------------------------------------------------------------------------


class Cursor:
    """Reads the elements of one packet; every short read is a malformed packet."""

    __slots__ = ("at", "data", "end")

    def __init__(self, data: bytes, at: int = 0, end: int | None = None) -> None:
        self.data = data
        self.at = at
        self.end = len(data) if end is None else end

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return self.end - self.at

    def take(self, count: int) -> bytes:
        """The next bytes."""
        start = self.at
        if count > self.end - start:
            raise malformed("The packet ends too early.")
        self.at = start + count
        return self.data[start : self.at]

    def number(self, size: int) -> int:
        """An integer, most significant byte first."""
        return int.from_bytes(self.take(size), "big")

    def varint(self) -> int:
        """A variable byte integer in its shortest form (MQTT 5.0, section 1.5.5)."""
        value = 0
        for shift in (0, 7, 14, 21):
            byte = self.number(1)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if shift and not byte:
                    raise malformed("A variable byte integer is longer than needed.")
                return value
        raise malformed("A variable byte integer has more than four bytes.")

    def binary(self) -> bytes:
        """Bytes after their two-byte length."""
        return self.take(self.number(2))

    def text(self) -> str:
        """UTF-8 after its two-byte length, without U+0000."""
        raw = self.binary()
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise malformed("A text is not UTF-8.") from error
        if "\0" in text:
            raise malformed("A text holds U+0000.")
        return text

    def finish(self) -> None:
        """Malformed unless all was read."""
        if self.at != self.end:
            raise malformed(f"{self.end - self.at} bytes too many in the packet.")


def put_varint(value: int) -> bytes:
    """A variable byte integer; ValueError above 268 435 455."""
    if not 0 <= value <= 268_435_455:
        raise ValueError("a variable byte integer is 0 to 268435455")
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def put_binary(value: bytes) -> bytes:
    """Two-byte length and the bytes; ValueError where they are too many."""
    if len(value) > 0xFFFF:
        raise ValueError("at most 65535 bytes fit into one element")
    return len(value).to_bytes(2, "big") + value


def put_text(value: str) -> bytes:
    """UTF-8 with its length; ValueError for U+0000, lone surrogates and too long texts."""
    if "\0" in value:
        raise ValueError("a text must not hold U+0000")
    return put_binary(value.encode("utf-8"))


# --- properties ---------------------------------------------------------------------------------------------


def read_properties(cursor: Cursor, place: Place) -> dict[Property, Value]:
    """The properties at the cursor. Raises MqttError."""
    length = cursor.varint()
    if length > cursor.left:
        raise malformed("The properties are longer than the packet.")
    inner = Cursor(cursor.data, cursor.at, cursor.at + length)
    cursor.at += length
    found: dict[Property, Value] = {}
    pairs: list[tuple[str, str]] = []
    while inner.left:
        prop, form = _known(inner.varint(), place)
        if form is _Form.PAIR:
            if len(pairs) == MAX_USER_PROPERTIES:
                raise MqttError(Reason.IMPLEMENTATION_SPECIFIC, "Too many user properties.")
            pairs.append((inner.text(), inner.text()))
            continue
        if prop in found:
            raise MqttError(Reason.PROTOCOL_ERROR, f"{prop.name} stands twice.")
        found[prop] = _read_value(inner, prop, form)
    if pairs:
        found[Property.USER_PROPERTY] = tuple(pairs)
    return found


def _known(number: int, place: Place) -> tuple[Property, _Form]:
    try:
        prop = Property(number)
    except ValueError as error:
        raise malformed(f"There is no property {number:#04x}.") from error
    form, places = _TABLE[prop]
    if place not in places:
        raise MqttError(Reason.PROTOCOL_ERROR, f"{prop.name} does not belong into {place}.")
    return prop, form


def _read_value(cursor: Cursor, prop: Property, form: _Form) -> Value:
    value: Value
    if form in _FIXED:
        value = cursor.number(_FIXED[form])
        if form is _Form.FLAG and value > 1:
            raise MqttError(Reason.PROTOCOL_ERROR, f"{prop.name} is 0 or 1.")
    elif form is _Form.VARINT:
        value = cursor.varint()
    elif form is _Form.TEXT:
        value = cursor.text()
    else:
        value = cursor.binary()
    if prop in _NOT_ZERO and value == 0:
        # A topic alias has a reason code of its own (MQTT 5.0, section 3.3.2.3.4).
        alias = prop is Property.TOPIC_ALIAS
        reason = Reason.TOPIC_ALIAS_INVALID if alias else Reason.PROTOCOL_ERROR
        raise MqttError(reason, f"{prop.name} must not be 0.")
    return value


def put_properties(properties: Properties, place: Place) -> bytes:
    """Length and properties, by growing identifier; ValueError where one does not belong or fit."""
    if not properties:
        return b"\0"
    out = bytearray()
    for prop, value in sorted(properties.items()):
        form, places = _TABLE[prop]
        if place not in places:
            raise ValueError(f"{prop.name} does not belong into {place}")
        if form is _Form.PAIR:
            if not isinstance(value, tuple):
                raise ValueError("user properties are a tuple of pairs")
            for name, text in value:
                out += put_varint(prop) + put_text(name) + put_text(text)
            continue
        out += put_varint(prop) + _put_value(prop, form, value)
    return put_varint(len(out)) + bytes(out)


def _put_value(prop: Property, form: _Form, value: Value) -> bytes:
    if form is _Form.TEXT and isinstance(value, str):
        return put_text(value)
    if form is _Form.BINARY and isinstance(value, bytes):
        return put_binary(value)
    if isinstance(value, int):
        if form is _Form.VARINT:
            return put_varint(value)
        if form in _FIXED and 0 <= value < 1 << 8 * _FIXED[form]:
            return value.to_bytes(_FIXED[form], "big")
    raise ValueError(f"{prop.name} cannot be {value!r}")
