"""Devices, events and history as the API's JSON. Numbers that a device does not say are null."""

from typing import Annotated, Any

from msgspec import Meta, Struct

from cloud.core.device_state import Condition, DeviceView
from cloud.postgres.devices import EventRow
from cloud.postgres.event_log import Happened
from cloud.web.api.kinds import Ms
from cloud.web.event_search import Severity, severity_of
from cloud.web.sentences import detail_text, event_words, summary_of


class Device(Struct):
    """A device of your company."""

    device_id: str
    product_id: str
    title: Annotated[str, Meta(description="Its name, else its model.")]
    name: str
    description: str
    model: str
    sku: str
    serial: str
    firmware: str
    condition: Condition
    sentence: Annotated[str, Meta(description="Its condition for people.")]
    stale: Annotated[bool, Meta(description="Whether the values are only the last known ones.")]
    connected: bool
    smartconnect: Annotated[bool, Meta(description="Whether SmartConnect is enabled on it.")]
    ts_ms: Annotated[int | None, Meta(description="Unix ms of the shown values.")]
    seen_ms: Annotated[int | None, Meta(description="Unix ms when it was last heard.")]
    owned_since_ms: Ms
    epoch: Annotated[int, Meta(description="Number of your ownership.")]
    load_w: float | None
    values: Annotated[dict[str, float | None], Meta(description="Measurement point → value.")]
    bits: Annotated[dict[str, int], Meta(description="Measurement point → status bits of the device.")]


class DeviceList(Struct):
    """A page of the devices of your company that were searched for."""

    devices: list[Device]
    found: Annotated[int, Meta(description="How many the search finds, on all pages.")] = 0
    of: Annotated[int, Meta(description="How many your company has.")] = 0
    next: Annotated[str | None, Meta(description="What `after` is for the next page; null at the end.")] = (
        None
    )


class Event(Struct):
    """Something that happened to a device."""

    stream: int
    seq: int
    ts_ms: Ms
    time_uncertain: Annotated[bool, Meta(description="Whether the device did not know the time well.")]
    kind: str
    values: dict[str, Any]


class EventList(Struct):
    """The newest events of a device, newest first."""

    events: list[Event]


class LogEntry(Struct):
    """Something that happened to a device of your company."""

    ts_ms: Ms
    device_id: str
    product_id: str
    title: Annotated[str, Meta(description="Name of the device, else its model.")]
    severity: Severity
    kind: str
    sentence: Annotated[str, Meta(description="The event for people.")]
    time_uncertain: Annotated[bool, Meta(description="Whether the device did not know the time well.")]
    received_ms: Ms
    stream: int
    seq: int
    values: dict[str, Any]


class EventLog(Struct):
    """A page of events, newest first."""

    events: list[LogEntry]
    older: Annotated[str | None, Meta(description="What `before` is for the next page; null at the end.")]


def device_json(view: DeviceView, now_ms: int) -> Device:
    """One device. Its id is a text: JavaScript's numbers are too short for it."""
    summary = summary_of(view, now_ms)
    return Device(
        device_id=str(view.device_id),
        product_id=view.product_id,
        title=view.title,
        name=view.name,
        description=view.description,
        model=view.model,
        sku=view.sku,
        serial=view.serial,
        firmware=view.firmware,
        condition=summary.condition,
        sentence=summary.sentence,
        stale=not summary.current,
        connected=view.connected,
        smartconnect=view.smartconnect,
        ts_ms=view.ts_ms or None,
        seen_ms=view.seen_ms or None,
        owned_since_ms=view.from_ms,
        epoch=view.epoch,
        load_w=view.load_w,
        values=dict(view.values),
        bits=dict(view.bits),
    )


def event_json(row: EventRow) -> Event:
    """One event."""
    return Event(
        stream=row.stream,
        seq=row.seq,
        ts_ms=row.ts_ms,
        time_uncertain=row.time_uncertain,
        kind=row.kind,
        values=dict(row.detail),
    )


def log_json(event: Happened) -> LogEntry:
    """One event with its device."""
    row, word = event.row, event_words(event.row.kind).word
    detail = detail_text(row.detail)
    return LogEntry(
        ts_ms=row.ts_ms,
        device_id=str(row.device_id),
        product_id=event.product_id,
        title=event.title,
        severity=severity_of(row.kind),
        kind=row.kind,
        sentence=f"{word}: {detail}" if detail else word,
        time_uncertain=row.time_uncertain,
        received_ms=event.received_ms,
        stream=row.stream,
        seq=row.seq,
        values=dict(row.detail),
    )
