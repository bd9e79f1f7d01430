"""The messages of the wire, as frozen values.

Times are unix milliseconds. Bytes travel as base64 in JSON. A new field gets the default that an old peer
implies; unknown fields are ignored; unknown kinds are answered with a reason code.
"""

from dataclasses import dataclass, field
from enum import StrEnum

Scalar = str | int | float | bool | None
"""A value inside an event or a setting."""

WIRE_VERSION = 1


class Request(StrEnum):
    """What a device asks for in its announcement."""

    NONE = "none"
    RELEASE = "release"


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """Device → cloud: here I am, this is my label, and I am alive now (it carries the session's nonce)."""

    v: int = WIRE_VERSION
    product_id: str
    device_pub: bytes
    label_pub: bytes
    boot: str
    nonce: bytes
    ts_ms: int
    model: str = ""
    sku: str = ""
    serial: str = ""
    firmware: str = ""
    rated_real_power_w: int = 0
    rated_apparent_power_va: int = 0
    smartconnect: bool = False
    request: Request = Request.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """Cloud → device, after each SUBSCRIBE and each change: what the cloud holds of this device.

    ``login_ms`` is the ``iat`` of this connection's token and ``n`` counts within the connection, so an old
    hello never passes for a new one. ``stream`` and ``seq`` are the stored position (0, 0 at first).
    ``since_ms`` is when the present ownership began; 0 without one, and from clouds that do not say it.
    ``settings_revision`` is the newest `Reported` that is stored; -1 from clouds that do not say it.
    """

    kid: str
    login_ms: int
    n: int
    server_time_ms: int
    nonce: bytes
    owned: bool
    epoch: int = 0
    stream: int = 0
    seq: int = 0
    settings_version: int = 0
    key_set_version: int = 0
    since_ms: int = 0
    settings_revision: int = -1


class KeyUse(StrEnum):
    """What a key of the cloud's key set may sign."""

    NOTICE = "notice"
    COMMAND = "command"
    TIME = "time"


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudKey:
    """One public key (Ed25519) of the cloud, with its use and validity."""

    key_id: str
    use: KeyUse
    pub: bytes
    not_before_ms: int
    not_after_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemKey:
    """One public key (X25519) of the cloud, with which servers of building systems agree secrets."""

    number: int
    pub: bytes
    not_before_ms: int
    not_after_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySet:
    """The cloud's public keys, signed by the installation's root key; versions only grow."""

    version: int
    issued_ms: int
    keys: tuple[CloudKey, ...]
    systems: tuple[SystemKey, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedTime:
    """Answer of the time service: the server's clock, bound to the asker's nonce."""

    nonce: bytes
    time_ms: int


class EventKind(StrEnum):
    """Edges of state, decided at the device. Append only."""

    ON_BATTERY = "on_battery"
    MAINS_BACK = "mains_back"
    LOW_BATTERY = "low_battery"
    LOW_BATTERY_CLEARED = "low_battery_cleared"
    REPLACE_BATTERY = "replace_battery"
    REPLACE_BATTERY_CLEARED = "replace_battery_cleared"
    OVERLOAD = "overload"
    OVERLOAD_CLEARED = "overload_cleared"
    BYPASS = "bypass"
    BYPASS_ENDED = "bypass_ended"
    FAULT = "fault"
    FAULT_CLEARED = "fault_cleared"
    SELF_TEST = "self_test"
    CALIBRATION = "calibration"
    COMMUNICATION_LOST = "communication_lost"
    COMMUNICATION_RESTORED = "communication_restored"
    OUTLET_GROUP = "outlet_group"
    SETTING_CHANGED = "setting_changed"
    FIRMWARE_CHANGED = "firmware_changed"
    CLOCK_CORRECTED = "clock_corrected"
    SPOOL_OVERFLOW = "spool_overflow"
    SMARTCONNECT_ON = "smartconnect_on"
    SMARTCONNECT_OFF = "smartconnect_off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Device → cloud: an edge of state. Key: (device, stream, seq); ``seq`` counts events only."""

    stream: int
    seq: int
    ts_ms: int
    kind: EventKind
    values: dict[str, Scalar] = field(default_factory=dict)
    time_uncertain: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """Cloud → device: settings wanted, applied once per version within one ownership epoch.

    ``set_ms`` says when each was wanted, by the cloud's clock; what is missing there counts as ``version``.
    """

    kid: str
    epoch: int
    version: int
    settings: dict[str, Scalar]
    set_ms: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """Device → cloud: settings in force; ``base_version`` is the last desired version that was applied.

    ``changed``: setting → when it was changed at the device, where that stands. Of ``base_version``:
    ``refused``, setting → code; ``overwritten``, setting → the value of an earlier change at the device, and
    ``overwritten_ms``, when that was made.
    """

    epoch: int
    base_version: int
    revision: int
    settings: dict[str, Scalar]
    changed: dict[str, int] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    overwritten: dict[str, Scalar] = field(default_factory=dict)
    overwritten_ms: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Cloud → device: somebody looks; publish ``now`` every second for ``seconds``."""

    kid: str
    login_ms: int
    n: int
    seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Cloud → device: one order, bound to device key and epoch."""

    command_id: str
    kid: str
    epoch: int
    counter: int
    issued_ms: int
    expires_ms: int
    kind: str
    arguments: dict[str, Scalar] = field(default_factory=dict)


class CommandState(StrEnum):
    """How far a command came, as the device says. Append only."""

    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    EXPIRED = "expired"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """Device → cloud: outcome of one command; a lost reply of the UPS is ``unknown``, never repeated."""

    command_id: str
    epoch: int
    counter: int
    state: CommandState
    ts_ms: int
    code: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """The file an agent is given: where this cloud is and which root key it signs with. No secret in it.

    ``key_set`` is the sealed key set of that day, for servers without a network; b"" from older clouds.
    """

    audience: str
    root_pub: bytes
    ca_pem: str
    gateway_host: str
    gateway_port: int
    portal_url: str
    key_set: bytes = b""


ControlMessage = Hello | KeySet | Desired | Watch | Command
"""What travels on ``d/{kid}/control``."""
