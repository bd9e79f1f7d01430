"""The packets of MQTT 3.1.1 and 5 as values (see :mod:`protocol.mqtt`, which reads and writes them)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from protocol.errors import Reason
from protocol.mqtt_properties import Properties, Property

V311: Final = 4
V5: Final = 5
MAX_FILTERS: Final = 16
"""Topic filters in one packet; ours need one."""

NO_PROPERTIES: Final[Mapping[Property, int]] = {}


class Type(IntEnum):
    """Packet types that are read and written here."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14


FROM_CLIENT: Final = frozenset(
    {
        Type.CONNECT,
        Type.PUBLISH,
        Type.PUBACK,
        Type.SUBSCRIBE,
        Type.UNSUBSCRIBE,
        Type.PINGREQ,
        Type.DISCONNECT,
    }
)
FROM_SERVER: Final = frozenset(
    {Type.CONNACK, Type.PUBLISH, Type.PUBACK, Type.SUBACK, Type.UNSUBACK, Type.PINGRESP, Type.DISCONNECT}
)


@dataclass(frozen=True, slots=True)
class Will:
    """What a server would publish when the client vanishes."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    properties: Properties = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Connect:
    """A client logs in; ``version`` is V311 or V5."""

    client_id: str
    version: int = V311
    clean_start: bool = True
    keep_alive_s: int = 60
    username: str | None = None
    password: bytes | None = field(default=None, repr=False)
    will: Will | None = None
    properties: Properties = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ConnAck:
    """The answer; ``code`` is an MQTT 5 reason or, with V311, a return code of 3.1.1 (section 3.2.2.3)."""

    code: int
    session_present: bool = False
    properties: Properties = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Publish:
    """A message; ``packet_id`` is 0 with QoS 0."""

    topic: str
    payload: bytes
    qos: int = 0
    packet_id: int = 0
    retain: bool = False
    dup: bool = False
    properties: Properties = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PubAck:
    """Acknowledgement of one QoS 1 message; with V311 the reason does not travel."""

    packet_id: int
    reason: int = Reason.SUCCESS
    properties: Properties = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Topic filters with their options byte (bits 0 and 1: QoS)."""

    packet_id: int
    filters: tuple[tuple[str, int], ...]
    properties: Properties = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SubAck:
    """One code a filter: the QoS granted, or 0x80 and above."""

    packet_id: int
    codes: tuple[int, ...]
    properties: Properties = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Topic filters no longer wanted."""

    packet_id: int
    filters: tuple[str, ...]
    properties: Properties = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UnsubAck:
    """One code a filter with V5, none with V311."""

    packet_id: int
    codes: tuple[int, ...] = ()
    properties: Properties = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PingReq:
    """Are you there?"""


@dataclass(frozen=True, slots=True)
class PingResp:
    """Yes."""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """The end; only with V5 has it a reason, and may a server send it."""

    reason: int = Reason.SUCCESS
    properties: Properties = field(default_factory=dict)


Packet = (
    Connect
    | ConnAck
    | Publish
    | PubAck
    | Subscribe
    | SubAck
    | Unsubscribe
    | UnsubAck
    | PingReq
    | PingResp
    | Disconnect
)
