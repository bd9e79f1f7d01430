"""What an answer of the gateway means for what was published.

=====================  ==================================================================================
stored                 0x00: it is in the cloud; delete it here
refused                0x99: the cloud will never take it and has kept a copy; log it, delete it here
await hello            0x87: not allowed now; 0x10: of an ownership that has ended. Keep it until the next
                       `hello` says how things stand, for what was taken since then is the next owner's
later                  0x97, 0x80, 0x83 and whatever else: keep it, back off, send the same again
=====================  ==================================================================================
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from protocol.errors import Reason


class Verdict(Enum):
    """What to do with a message after its PUBACK."""

    STORED = auto()
    REFUSED = auto()
    AWAIT_HELLO = auto()
    LATER = auto()


_VERDICTS: Final = {
    Reason.SUCCESS: Verdict.STORED,
    Reason.NO_MATCHING_SUBSCRIBERS: Verdict.AWAIT_HELLO,
    Reason.PAYLOAD_FORMAT_INVALID: Verdict.REFUSED,
    Reason.NOT_AUTHORIZED: Verdict.AWAIT_HELLO,
}


def judge(reason: int) -> Verdict:
    """The verdict of a PUBACK's reason code; an unknown code never deletes anything."""
    return _VERDICTS.get(reason, Verdict.LATER)  # type: ignore[call-overload, no-any-return]  # int is the key
