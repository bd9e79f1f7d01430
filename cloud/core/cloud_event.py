"""Events that the cloud itself finds: a device that is not heard, a rule that is broken.

They lie beside the devices' own events, in a stream that no device may use, and none of their kinds is a word
of the wire: what a device sends is never taken for what the cloud saw.
"""

from enum import StrEnum
from typing import Final

CLOUD_STREAM: Final = 0
"""Devices number their streams in unix milliseconds; the wire refuses a stream of 0."""


class CloudEventKind(StrEnum):
    """What the cloud finds. Append only; none of these is a :class:`protocol.messages.EventKind`."""

    DEVICE_OFFLINE = "device_offline"
    DEVICE_ONLINE = "device_online"
    RULE_RAISED = "rule_raised"
    RULE_CLEARED = "rule_cleared"
