"""The topic tree: build and parse.

::

    up    d/{kid}/announce                             QoS 1   sealed announcement
          d/{kid}/telemetry/{epoch}/{stream}[/json]    QoS 1   Batch of samples
          d/{kid}/now                                  QoS 0   Batch of one sample, not stored
          d/{kid}/event/{epoch}                        QoS 1   Event
          d/{kid}/reported                             QoS 1   Reported
          d/{kid}/result                               QoS 1   CommandResult
    down  d/{kid}/control                              QoS 0   sealed hello, key set, desired, watch, command
"""

from dataclasses import dataclass
from enum import StrEnum

from protocol.errors import IdentityError, TopicError
from protocol.identity import check_kid

MAX_TOPIC_LENGTH = 128
MAX_NUMBER = 2**63 - 1


class UpKind(StrEnum):
    """What a device publishes."""

    ANNOUNCE = "announce"
    TELEMETRY = "telemetry"
    NOW = "now"
    EVENT = "event"
    REPORTED = "reported"
    RESULT = "result"


@dataclass(frozen=True, slots=True)
class UpTopic:
    """A parsed topic of a device; epoch and stream are 0 where the kind has none."""

    kid: str
    kind: UpKind
    epoch: int = 0
    stream: int = 0
    json: bool = False


def announce(kid: str) -> str:
    """Where a device announces itself."""
    return f"d/{kid}/announce"


def telemetry(kid: str, epoch: int, stream: int, *, json: bool = False) -> str:
    """Where a device of this ownership (epoch) sends batches of this stream, packed or as JSON."""
    return f"d/{kid}/telemetry/{epoch}/{stream}" + ("/json" if json else "")


def now(kid: str) -> str:
    """Where a watched device sends what it measures now; not stored as history."""
    return f"d/{kid}/now"


def event(kid: str, epoch: int) -> str:
    """Where a device of this ownership (epoch) tells events."""
    return f"d/{kid}/event/{epoch}"


def reported(kid: str) -> str:
    """Where a device says which settings it has taken on."""
    return f"d/{kid}/reported"


def result(kid: str) -> str:
    """Where a device says what became of a command."""
    return f"d/{kid}/result"


def control(kid: str) -> str:
    """What a device subscribes to: everything the cloud tells it."""
    return f"d/{kid}/control"


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or (text[0] == "0" and text != "0") or len(text) > 19:
        raise TopicError("A number in a topic is decimal, without sign or leading zeros.")
    value = int(text)
    if value > MAX_NUMBER:
        raise TopicError("A number in a topic is below 2^63.")
    return value


def parse(topic: str) -> UpTopic:
    """UpTopic of a topic a device may publish to; TopicError for every other text."""
    if len(topic) > MAX_TOPIC_LENGTH:
        raise TopicError("The topic is longer than any of ours.")
    level = topic.split("/")
    if len(level) < 3 or level[0] != "d":
        raise TopicError("The topic is not below d/{kid}.")
    try:
        kid = check_kid(level[1])
    except IdentityError as error:
        raise TopicError(str(error)) from error
    match level[2:]:
        case [("announce" | "now" | "reported" | "result") as kind]:
            return UpTopic(kid, UpKind(kind))
        case ["event", epoch]:
            return UpTopic(kid, UpKind.EVENT, epoch=_number(epoch))
        case ["telemetry", epoch, stream]:
            return UpTopic(kid, UpKind.TELEMETRY, _number(epoch), _number(stream))
        case ["telemetry", epoch, stream, "json"]:
            return UpTopic(kid, UpKind.TELEMETRY, _number(epoch), _number(stream), json=True)
        case _:
            raise TopicError("The topic is not in the topic tree.")
