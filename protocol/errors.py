"""Errors of the wire, and the reason codes that travel on it.

::

    ProtocolError                 the peer misbehaved, or its bytes are not ours
    ├── IdentityError             a Product ID, Product Key or kid that cannot be one
    ├── SignatureError            a signature, token or key set that does not verify
    ├── TopicError                a topic that is not in the tree
    ├── DecodeError               a payload that does not decode, or breaks a limit
    └── MqttError                 bytes that are not MQTT, or a packet out of place (protocol.mqtt)

Every error carries a stable ``code`` that people and programs may rely on: codes are appended, never
renamed.
"""

from enum import IntEnum, StrEnum


class ErrorCode(StrEnum):
    """Stable names of what went wrong. Append only."""

    PRODUCT_ID_INVALID = "product_id_invalid"
    PRODUCT_KEY_INVALID = "product_key_invalid"
    KID_INVALID = "kid_invalid"
    SIGNATURE_INVALID = "signature_invalid"
    TOKEN_INVALID = "token_invalid"  # noqa: S105  the name of an error
    TOKEN_EXPIRED = "token_expired"  # noqa: S105  the name of an error
    TOKEN_NOT_YET = "token_not_yet"  # noqa: S105  the name of an error
    TOKEN_TOO_LONG = "token_too_long"  # noqa: S105  the name of an error
    KEY_SET_INVALID = "key_set_invalid"
    TOPIC_INVALID = "topic_invalid"
    TOO_LARGE = "too_large"
    MALFORMED = "malformed"
    UNKNOWN_KIND = "unknown_kind"
    OUT_OF_RANGE = "out_of_range"
    MQTT_MALFORMED = "mqtt_malformed"
    MQTT_PROTOCOL = "mqtt_protocol"
    SYSTEM_ID_INVALID = "system_id_invalid"
    SYSTEM_ID_MISTYPED = "system_id_mistyped"
    REQUEST_INVALID = "request_invalid"
    REQUEST_MISTYPED = "request_mistyped"
    CODE_MISTYPED = "code_mistyped"
    CODE_EXPIRED = "code_expired"
    CODE_WRONG_OPERATION = "code_wrong_operation"
    CODE_NO_OPEN_REQUEST = "code_no_open_request"
    CODE_NOT_FOR_REQUEST = "code_not_for_request"


class Reason(IntEnum):
    """MQTT 5 reason codes that this product uses (MQTT 5.0, section 2.4)."""

    SUCCESS = 0x00
    NO_MATCHING_SUBSCRIBERS = 0x10
    NO_SUBSCRIPTION_EXISTED = 0x11
    UNSPECIFIED = 0x80
    MALFORMED_PACKET = 0x81
    PROTOCOL_ERROR = 0x82
    IMPLEMENTATION_SPECIFIC = 0x83
    UNSUPPORTED_PROTOCOL_VERSION = 0x84
    CLIENT_IDENTIFIER_NOT_VALID = 0x85
    BAD_USER_NAME_OR_PASSWORD = 0x86
    NOT_AUTHORIZED = 0x87
    SERVER_UNAVAILABLE = 0x88
    SERVER_BUSY = 0x89
    BANNED = 0x8A
    SERVER_SHUTTING_DOWN = 0x8B
    BAD_AUTHENTICATION_METHOD = 0x8C
    KEEP_ALIVE_TIMEOUT = 0x8D
    SESSION_TAKEN_OVER = 0x8E
    TOPIC_FILTER_INVALID = 0x8F
    TOPIC_NAME_INVALID = 0x90
    RECEIVE_MAXIMUM_EXCEEDED = 0x93
    TOPIC_ALIAS_INVALID = 0x94
    PACKET_TOO_LARGE = 0x95
    MESSAGE_RATE_TOO_HIGH = 0x96
    QUOTA_EXCEEDED = 0x97
    ADMINISTRATIVE_ACTION = 0x98
    PAYLOAD_FORMAT_INVALID = 0x99
    RETAIN_NOT_SUPPORTED = 0x9A
    QOS_NOT_SUPPORTED = 0x9B
    SHARED_SUBSCRIPTIONS_NOT_SUPPORTED = 0x9E
    CONNECTION_RATE_EXCEEDED = 0x9F
    MAXIMUM_CONNECT_TIME = 0xA0
    SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED = 0xA1
    WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED = 0xA2


class ProtocolError(Exception):
    """The peer's bytes are not what the wire allows.

    ``values`` stand in the message in braces; whoever shows it in another language has both.
    """

    def __init__(self, code: ErrorCode, message: str, **values: object) -> None:
        super().__init__(message.format(**values) if values else message)
        self.code = code
        self.message = message
        self.values = values


class IdentityError(ProtocolError):
    """Text that cannot be a Product ID, a Product Key or a kid."""


class SignatureError(ProtocolError):
    """A signature, token or key set that does not verify."""


class TopicError(ProtocolError):
    """A topic that is not in the topic tree."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.TOPIC_INVALID, message)


class DecodeError(ProtocolError):
    """A payload that does not decode, or that breaks a limit."""
