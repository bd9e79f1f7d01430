"""Devices, events and history as the API's JSON. Numbers that a device does not say are null."""

from cloud.core.device_state import DeviceView, condition_of
from cloud.postgres.devices import EventRow
from cloud.services.charting import CHART_POINTS, History
from cloud.web.sentences import summary_of

JSON = dict[str, object]


def device_json(view: DeviceView, now_ms: int) -> JSON:
    """One device. Its id is a text: JavaScript's numbers are too short for it."""
    summary = summary_of(view, now_ms)
    return {
        "device_id": str(view.device_id),
        "product_id": view.product_id,
        "title": view.title,
        "model": view.model,
        "sku": view.sku,
        "serial": view.serial,
        "firmware": view.firmware,
        "condition": condition_of(view, now_ms),
        "sentence": summary.sentence,
        "connected": view.connected,
        "smartconnect": view.smartconnect,
        "ts_ms": view.ts_ms or None,
        "seen_ms": view.seen_ms or None,
        "owned_since_ms": view.from_ms,
        "epoch": view.epoch,
        "load_w": view.load_w,
        "values": dict(view.values),
        "bits": dict(view.bits),
    }


def sample_json(view: DeviceView) -> JSON:
    """The newest values as the charts take them."""
    return {
        "t_s": view.ts_ms / 1000,
        "on_battery": view.on_battery,
        "values": {name: view.values[name] for name in CHART_POINTS},
    }


def history_json(history: History) -> JSON:
    """Columns of a chart."""
    return {
        "t_s": history.times_s,
        "points": history.points,
        "on_battery": history.on_battery,
        "gap_s": history.gap_s,
        "from_s": history.from_s,
        "to_s": history.to_s,
        "imported_until_s": history.imported_until_s,
    }


def event_json(row: EventRow) -> JSON:
    """One event."""
    return {
        "stream": row.stream,
        "seq": row.seq,
        "ts_ms": row.ts_ms,
        "time_uncertain": row.time_uncertain,
        "kind": row.kind,
        "values": dict(row.detail),
    }
