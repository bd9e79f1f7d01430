"""What a session hands to its writer, and what a writer believes of the session's device."""

from dataclasses import dataclass, field

from cloud.core.session import Entry
from protocol.errors import DecodeError, Reason
from protocol.topics import UpTopic


@dataclass(slots=True, eq=False)
class Upload(Entry):
    """Messages of one session on one topic, read together.

    ``joined`` holds the payloads where all have ``size`` bytes, else ``payloads`` holds them one by one.
    """

    topic: UpTopic = field(kw_only=True)
    ids: bytes = b""
    joined: bytes = b""
    size: int = 0
    payloads: list[bytes] = field(default_factory=list)
    messages: int = 0
    """Messages held, also those with QoS 0, which nobody acknowledges."""
    reasons: dict[int, Reason] = field(default_factory=dict)
    """What was refused, by message."""

    def split(self) -> list[bytes]:
        """Payload by payload."""
        if not self.size:
            return self.payloads
        return [self.joined[at : at + self.size] for at in range(0, len(self.joined), self.size)]

    def singles(self) -> list["Upload"]:
        """The same messages, each in an upload of its own."""
        count, ids = min(self.count, 1), self.ids
        return [
            Upload(count, topic=self.topic, ids=ids[2 * i : 2 * i + 2], payloads=[payload], messages=1)
            for i, payload in enumerate(self.split())
        ]

    def bytes_held(self) -> int:
        """Memory that its payloads take."""
        return len(self.joined) or sum(map(len, self.payloads))


@dataclass(frozen=True, slots=True)
class Fence:
    """What a writer believes the row of a device says; the database agrees, or nothing is written."""

    session_no: int
    epoch: int
    stream: int
    seq: int


@dataclass(slots=True, eq=False)
class Rejection:
    """A message that was not accepted, and why."""

    upload: Upload
    message: int
    error: DecodeError
