"""Alarms: what is wrong with a device now, folded from its events one by one.

Theory of operation. Events are edges; an :class:`Alarm` is what lies between two of them. There is one alarm
for each topic of a device (and, for threshold rules, for each rule), and it lives in one ownership: an event
of a newer epoch starts it afresh, one of an older epoch is ignored. The same edge twice changes nothing.

::

          RAISE                CLEAR
    OVER ───────▶ STANDING ───────▶ OVER        ONCE: over as soon as it has begun

Each change counts (``changes``), so that whoever was told of one state sees that there is another, and how
unsteady it was meanwhile. An acknowledgement belongs to a standing alarm and ends with it. Who is told, and
when: :mod:`cloud.core.notice_plan`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from cloud.core.cloud_event import CloudEventKind
from protocol.messages import EventKind


class Topic(StrEnum):
    """What somebody may want to be told about. Append only: the values are stored."""

    ON_BATTERY = "on_battery"
    LOW_BATTERY = "low_battery"
    REPLACE_BATTERY = "replace_battery"
    OVERLOAD = "overload"
    BYPASS = "bypass"
    FAULT = "fault"
    OFFLINE = "offline"
    UPS_LINK = "ups_link"
    SMARTCONNECT = "smartconnect"
    RULE = "rule"
    SELF_TEST = "self_test"
    CALIBRATION = "calibration"
    OUTLET_GROUP = "outlet_group"
    SETTING_CHANGED = "setting_changed"
    FIRMWARE_CHANGED = "firmware_changed"
    READINGS_LOST = "readings_lost"


class Edge(StrEnum):
    """What an event does to its alarm."""

    RAISE = "raise"
    CLEAR = "clear"
    ONCE = "once"


EDGES: Final[Mapping[str, tuple[Topic, Edge]]] = MappingProxyType(
    {
        EventKind.ON_BATTERY: (Topic.ON_BATTERY, Edge.RAISE),
        EventKind.MAINS_BACK: (Topic.ON_BATTERY, Edge.CLEAR),
        EventKind.LOW_BATTERY: (Topic.LOW_BATTERY, Edge.RAISE),
        EventKind.LOW_BATTERY_CLEARED: (Topic.LOW_BATTERY, Edge.CLEAR),
        EventKind.REPLACE_BATTERY: (Topic.REPLACE_BATTERY, Edge.RAISE),
        EventKind.REPLACE_BATTERY_CLEARED: (Topic.REPLACE_BATTERY, Edge.CLEAR),
        EventKind.OVERLOAD: (Topic.OVERLOAD, Edge.RAISE),
        EventKind.OVERLOAD_CLEARED: (Topic.OVERLOAD, Edge.CLEAR),
        EventKind.BYPASS: (Topic.BYPASS, Edge.RAISE),
        EventKind.BYPASS_ENDED: (Topic.BYPASS, Edge.CLEAR),
        EventKind.FAULT: (Topic.FAULT, Edge.RAISE),
        EventKind.FAULT_CLEARED: (Topic.FAULT, Edge.CLEAR),
        CloudEventKind.DEVICE_OFFLINE: (Topic.OFFLINE, Edge.RAISE),
        CloudEventKind.DEVICE_ONLINE: (Topic.OFFLINE, Edge.CLEAR),
        EventKind.COMMUNICATION_LOST: (Topic.UPS_LINK, Edge.RAISE),
        EventKind.COMMUNICATION_RESTORED: (Topic.UPS_LINK, Edge.CLEAR),
        EventKind.SMARTCONNECT_OFF: (Topic.SMARTCONNECT, Edge.RAISE),
        EventKind.SMARTCONNECT_ON: (Topic.SMARTCONNECT, Edge.CLEAR),
        CloudEventKind.RULE_RAISED: (Topic.RULE, Edge.RAISE),
        CloudEventKind.RULE_CLEARED: (Topic.RULE, Edge.CLEAR),
        EventKind.SELF_TEST: (Topic.SELF_TEST, Edge.ONCE),
        EventKind.CALIBRATION: (Topic.CALIBRATION, Edge.ONCE),
        EventKind.OUTLET_GROUP: (Topic.OUTLET_GROUP, Edge.ONCE),
        EventKind.SETTING_CHANGED: (Topic.SETTING_CHANGED, Edge.ONCE),
        EventKind.FIRMWARE_CHANGED: (Topic.FIRMWARE_CHANGED, Edge.ONCE),
        EventKind.SPOOL_OVERFLOW: (Topic.READINGS_LOST, Edge.ONCE),
    }
)
"""What each kind of event means; kinds that are not here are told to nobody."""

DEFAULT_TOPICS: Final = frozenset(
    {
        *(Topic.ON_BATTERY, Topic.LOW_BATTERY, Topic.REPLACE_BATTERY),
        *(Topic.OVERLOAD, Topic.FAULT, Topic.OFFLINE),
    }
)
"""What a new company's owner is told."""

URGENT: Final = frozenset({Topic.LOW_BATTERY, Topic.OVERLOAD, Topic.FAULT})
"""What may come through quiet hours."""

SUBJECT_KEY: Final = "rule_id"
"""Name, in an event's detail, of what tells several alarms of one topic apart: the number of a rule."""


@dataclass(frozen=True, slots=True)
class Occurrence:
    """An event as far as alarms care. Place (stream, seq) orders the events of one topic of a device."""

    epoch: int
    stream: int
    seq: int
    at_ms: int
    received_ms: int
    topic: Topic
    edge: Edge
    subject: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Alarm:
    """One topic of one device. Times in unix ms: began, ended by the device's clock, changed by ours."""

    epoch: int
    stream: int
    seq: int
    began_ms: int
    changed_ms: int
    ended_ms: int | None = None
    changes: int = 1
    once: bool = False
    detail: str = ""
    acked_ms: int | None = None

    @property
    def standing(self) -> bool:
        """Whether it is so now."""
        return self.ended_ms is None


def occurrence(
    *,
    epoch: int,
    stream: int,
    seq: int,
    at_ms: int,
    received_ms: int,
    kind: str,
    subject: str = "",
    detail: str = "",
) -> Occurrence | None:
    """The event of this kind; None where it says nothing about an alarm.

    A clock that is ahead of ours counts as ours.
    """
    found = EDGES.get(kind)
    if found is None:
        return None
    return Occurrence(epoch, stream, seq, min(at_ms, received_ms), received_ms, *found, subject, detail)


def fold(alarm: Alarm | None, what: Occurrence) -> Alarm | None:
    """The alarm after an event; the very same object where that changes nothing."""
    if alarm is not None and (what.epoch, what.stream, what.seq) <= (alarm.epoch, alarm.stream, alarm.seq):
        return alarm
    if alarm is not None and what.epoch > alarm.epoch:
        alarm = None
    if what.edge is Edge.CLEAR:
        if alarm is None or not alarm.standing:
            return alarm
        return replace(
            alarm,
            stream=what.stream,
            seq=what.seq,
            changed_ms=what.received_ms,
            ended_ms=max(what.at_ms, alarm.began_ms),
            changes=alarm.changes + 1,
            acked_ms=None,
        )
    if what.edge is Edge.RAISE and alarm is not None and alarm.standing:
        return alarm
    once = what.edge is Edge.ONCE
    return Alarm(
        epoch=what.epoch,
        stream=what.stream,
        seq=what.seq,
        began_ms=what.at_ms,
        changed_ms=what.received_ms,
        ended_ms=what.at_ms if once else None,
        changes=(0 if alarm is None else alarm.changes) + (2 if once else 1),
        once=once,
        detail=what.detail,
    )
