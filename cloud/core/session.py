"""What an MQTT session of a device may do, without a socket, a clock or a database.

Theory of operation
-------------------
A session belongs to one device key, its *kid*, which is client id, user name and the name in all its topics.
``judge_connect`` refuses what is not offered before anything is asked of the database. Afterwards the
database says where the key stands (:class:`Standing`), and ``judge_flags``, ``judge_topic`` and
``judge_subscribe`` decide each packet:

==============  ========================================================================================
announce        always, within the quota of sessions that own nothing
now             taken from a bound key; from another one it is counted and dropped
telemetry,      own epoch: stored. A lower one: acknowledged, counted, dropped (0x10). A higher one, or any
event           where the device has never been owned: 0x87
result,         taken from a bound key, as their content says; from another one counted and dropped
reported
other topics    0x87 or 0x90
QoS 2, retain   the connection ends (0x9B, 0x9A)
==============  ========================================================================================

MQTT 3.1.1 has no reason in a PUBACK. There a refused message ends the connection, except one that only its
own content condemns: that is kept aside and acknowledged, so that it cannot come back for ever.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from protocol.errors import IdentityError, Reason, TopicError
from protocol.identity import check_kid
from protocol.mqtt import V5, V311, Connect, Publish, Subscribe
from protocol.topics import UpKind, UpTopic, control, parse

UNOWNED_MAX_BYTES: Final = 2048
"""Largest message of a session that owns nothing: a sealed announcement."""
UNOWNED_PERIOD_MS: Final = 10_000
"""Such a session may send one message in this time…"""
UNOWNED_BURST: Final = 6
"""…and this many at once: the first announcement, its repeats, a switch, a button."""
MAX_KEEP_ALIVE_S: Final = 1200
"""A longer keep-alive is shortened to this, so that a dead peer is noticed."""
MIN_KEEP_ALIVE_S: Final = 5


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a packet is not taken: the MQTT 5 reason, and words for the log."""

    reason: Reason
    why: str
    ends: bool = False
    """Whether the connection ends with it, with MQTT 5 too."""


# --- connect ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LoginRequest:
    """A CONNECT that may be asked of the database."""

    kid: str
    token: str = field(repr=False)
    keep_alive_s: int


def judge_connect(connect: Connect) -> LoginRequest | Refusal:
    """The log-in that a CONNECT asks for, or why it cannot be one."""
    if connect.will is not None:
        return Refusal(Reason.IMPLEMENTATION_SPECIFIC, "a will is not offered")
    if connect.version == V311 and not connect.clean_start:
        return Refusal(Reason.NOT_AUTHORIZED, "session state is not offered: connect with clean session")
    try:
        kid = check_kid(connect.client_id)
    except IdentityError:
        return Refusal(Reason.CLIENT_IDENTIFIER_NOT_VALID, "the client id is not a kid")
    if connect.username != kid:
        return Refusal(Reason.BAD_USER_NAME_OR_PASSWORD, "the user name is not the kid")
    if not connect.password:
        return Refusal(Reason.BAD_USER_NAME_OR_PASSWORD, "there is no log-in token")
    try:
        token = connect.password.decode("ascii")
    except UnicodeDecodeError:
        return Refusal(Reason.BAD_USER_NAME_OR_PASSWORD, "the log-in token is not text")
    return LoginRequest(kid, token, granted_keep_alive_s(connect.keep_alive_s))


def granted_keep_alive_s(asked_s: int) -> int:
    """The keep-alive in force; asking for none gets the longest."""
    return MAX_KEEP_ALIVE_S if not asked_s else min(max(asked_s, MIN_KEEP_ALIVE_S), MAX_KEEP_ALIVE_S)


_RETURN_CODES: Final = {
    Reason.SUCCESS: 0,
    Reason.UNSUPPORTED_PROTOCOL_VERSION: 1,
    Reason.CLIENT_IDENTIFIER_NOT_VALID: 2,
    Reason.SERVER_UNAVAILABLE: 3,
    Reason.SERVER_BUSY: 3,
    Reason.SERVER_SHUTTING_DOWN: 3,
    Reason.QUOTA_EXCEEDED: 3,
    Reason.BAD_USER_NAME_OR_PASSWORD: 4,
}


def connack_code(reason: Reason, version: int) -> int:
    """The code of a CONNACK; 3.1.1 has codes of its own (MQTT 3.1.1, section 3.2.2.3)."""
    return int(reason) if version == V5 else _RETURN_CODES.get(reason, 5)


# --- where a key stands -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Standing:
    """What the database says of a session's key."""

    known: bool = False
    """Whether the key has announced itself once."""
    revoked: bool = False
    owned: bool = False
    """Whether it is the bound key of an owned device."""
    epoch: int = 0
    """Of the ownership; where there is none, of the last one."""
    stream: int = 0
    seq: int = 0
    """The stored position."""
    login_ms: int = 0
    """``iat`` of the newest log-in with this key; 0 where it is unknown."""
    session_no: int = 0
    """``iat`` of the log-in that may write now."""
    settings_version: int = 0
    settings_open: bool = False
    """Whether the device has not considered that version, and it is signed for this key."""
    settings_revision: int = 0
    watch_until_ms: int = 0
    since_ms: int = 0
    """When the present ownership began; 0 without one."""
    command_waits: bool = False
    """Whether there is a command that nobody has got yet."""

    def hello_differs(self, other: "Standing") -> bool:
        """Whether a device must be told (the position alone is no news)."""
        return (self.owned, self.epoch, self.settings_version) != (
            other.owned,
            other.epoch,
            other.settings_version,
        )


def judge_standing(standing: Standing, login_ms: int) -> Refusal | None:
    """Why a session that logged in with this ``iat`` must end now, if so."""
    if standing.revoked:
        return Refusal(Reason.ADMINISTRATIVE_ACTION, "the device key was revoked", ends=True)
    if standing.login_ms > login_ms:
        return Refusal(Reason.SESSION_TAKEN_OVER, "the key has logged in elsewhere", ends=True)
    if standing.owned and standing.session_no != login_ms:
        return Refusal(Reason.SESSION_TAKEN_OVER, "another session may write", ends=True)
    return None


# --- publish ------------------------------------------------------------------------------------------------


class Drop(Enum):
    """A message that is acknowledged, counted and not kept."""

    OLD_EPOCH = "old_epoch"
    NOT_OWNED = "not_owned"


def judge_flags(publish: Publish) -> Refusal | None:
    """QoS 2 and retained messages end the connection (MQTT 5.0, sections 3.2.2.3.4 and 3.2.2.3.5)."""
    if publish.qos > 1:
        return Refusal(Reason.QOS_NOT_SUPPORTED, "QoS 2 is not offered", ends=True)
    if publish.retain:
        return Refusal(Reason.RETAIN_NOT_SUPPORTED, "retained messages are not offered", ends=True)
    return None


def judge_topic(kid: str, topic: str, standing: Standing) -> UpTopic | Drop | Refusal:
    """What becomes of messages on this topic: taken, dropped or refused."""
    try:
        found = parse(topic)
    except TopicError as error:
        return Refusal(Reason.TOPIC_NAME_INVALID, str(error))
    if found.kid != kid:
        return Refusal(Reason.NOT_AUTHORIZED, "the topic is another device's")
    match found.kind:
        case UpKind.ANNOUNCE:
            return found
        case UpKind.NOW | UpKind.RESULT | UpKind.REPORTED:
            return found if standing.owned else Drop.NOT_OWNED
        case UpKind.TELEMETRY | UpKind.EVENT:
            return judge_epoch(found, standing.epoch, owned=standing.owned)


def judge_epoch(topic: UpTopic, epoch: int, *, owned: bool) -> UpTopic | Drop | Refusal:
    """Telemetry and events belong to the present ownership, or are old, or cannot be."""
    if owned and topic.epoch == epoch:
        return topic
    if epoch and topic.epoch <= epoch:
        return Drop.OLD_EPOCH
    return Refusal(Reason.NOT_AUTHORIZED, "the epoch is above the device's")


class Bucket:
    """A quota: ``burst`` messages at once, and one more every ``period_ms``."""

    __slots__ = ("_at_ms", "_burst", "_left", "_period_ms")

    def __init__(self, burst: int, period_ms: int) -> None:
        self._burst = burst
        self._period_ms = period_ms
        self._left = float(burst)
        self._at_ms = 0

    def take(self, now_ms: int) -> bool:
        """Whether one more is within the quota now."""
        gained = max(0, now_ms - self._at_ms) / self._period_ms
        self._left = min(float(self._burst), self._left + gained)
        self._at_ms = now_ms
        if self._left < 1:
            return False
        self._left -= 1
        return True


# --- subscribe ----------------------------------------------------------------------------------------------


def judge_subscribe(kid: str, subscribe: Subscribe, version: int) -> tuple[int, ...]:
    """A code a filter: 0 (QoS 0) for the own ``control`` topic, a failure for every other."""
    return tuple(_judge_filter(kid, name, version) for name, _options in subscribe.filters)


def _judge_filter(kid: str, name: str, version: int) -> int:
    if name == control(kid):
        return 0
    if version == V311:
        return Reason.UNSPECIFIED
    if name.startswith("$share/"):
        return Reason.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED
    if "+" in name or "#" in name:
        return Reason.WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED
    return Reason.NOT_AUTHORIZED


# --- the order of PUBACKs -----------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class Entry:
    """Messages that are acknowledged together; ``acks`` is None until they are decided."""

    count: int
    acks: bytes | None = None


class AckQueue:
    """PUBACKs leave in the order of the PUBLISHes (MQTT 3.1.1, section 4.6), whatever is decided first."""

    __slots__ = ("_entries", "unacknowledged")

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque()
        self.unacknowledged = 0
        """Messages read and not acknowledged: what the receive maximum limits."""

    def add(self, entry: Entry) -> None:
        """One more entry at the end."""
        self._entries.append(entry)
        self.unacknowledged += entry.count

    def ready(self) -> bytes:
        """What may be sent now; it leaves the queue."""
        entries = self._entries
        out: list[bytes] = []
        while entries and (acks := entries[0].acks) is not None:
            out.append(acks)
            self.unacknowledged -= entries.popleft().count
        return out[0] if len(out) == 1 else b"".join(out)

    def waiting(self) -> Iterable[Entry]:
        """Entries that are not decided, or wait behind one."""
        return tuple(self._entries)
