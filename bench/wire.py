"""PUBLISH packets as rows of a numpy matrix: encoded once, then only packet id, seq and ts are patched.

A generator that encodes each message would measure itself. Here a thousand packets cost some tens of
microseconds, so that one small process keeps a gateway busy.
"""

import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocol import topics
from protocol.codec import BATCH_HEADER, ENTRY_BYTES, OFFSETS, pack_batch, pack_sample
from protocol.mqtt import V5, Publish, encode
from protocol.points import POINTS, Wire

FIRST_SEQ = 1_000_000_000
"""Sequence numbers of a run start here: ten digits from first to last, so JSON keeps its length."""
ID_COUNT = 65_535
"""Packet ids run from 1 to this (MQTT 5.0, section 2.2.1)."""
_ANY_TS_MS = 1_700_000_000_000
_MARKED_ID = 0xABCD

VALUES: dict[str, float] = {
    "flags": 0,
    "ups_status": 2,
    "input_status": 1,
    "general_error": 0,
    "power_system_error": 0,
    "battery_system_error": 0,
    "mog_outlet_status": 1,
    "sog0_outlet_status": 1,
    "sog1_outlet_status": 1,
    "sog2_outlet_status": 1,
    "input_voltage": 231.4,
    "output_voltage": 230.2,
    "output_frequency": 50.02,
    "output_current": 2.31,
    "output_real_power_pct": 34.5,
    "output_apparent_power_pct": 36.1,
    "state_of_charge": 99.8,
    "battery_voltage": 54.7,
    "battery_temperature": 24.6,
    "runtime_remaining": 3180.0,
    "efficiency": 96.4,
    "bypass_voltage": 231.1,
    "output_energy": 1234567.0,
}
"""A UPS on mains, a third loaded; every point has a value."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What all messages of a run have in common."""

    json: bool
    samples: int


def json_payload(samples: int) -> bytes:
    """A payload as a plain sender writes it: one object, or an array of several."""
    one = {point.name: _plain(point.name, point.wire) for point in POINTS}
    message = [one] * samples if samples > 1 else one
    return json.dumps(message, separators=(",", ":")).encode()


def _plain(name: str, wire: Wire) -> float:
    value: float = {"ts": _ANY_TS_MS, "seq": FIRST_SEQ, **VALUES}[name]
    return float(value) if wire in {Wire.FLOAT, Wire.DOUBLE} else int(value)


def protobuf_payload(samples: int) -> bytes:
    """The same values in the constant layout."""
    return pack_batch([pack_sample({**VALUES, "ts": _ANY_TS_MS, "seq": FIRST_SEQ})] * samples)


class Packets:
    """A matrix of PUBLISH packets of one device, filled again and again."""

    def __init__(self, kid: str, epoch: int, stream: int, shape: Shape, rows: int) -> None:
        payload = json_payload(shape.samples) if shape.json else protobuf_payload(shape.samples)
        topic = topics.telemetry(kid, epoch, stream, json=shape.json)
        packet = encode(Publish(topic=topic, payload=payload, qos=1, packet_id=_MARKED_ID), V5)
        self.payload_bytes = len(payload)
        self._shape = shape
        self._matrix = np.tile(np.frombuffer(packet, np.uint8), (rows, 1))
        start = len(packet) - len(payload)
        self._id_at = packet.index(_MARKED_ID.to_bytes(2, "big"), len(topic))
        if shape.json:
            self._seq_at = _all(packet, str(FIRST_SEQ).encode(), start)
            self._ts_at = _all(packet, str(_ANY_TS_MS).encode(), start)
        else:
            entries = [start + len(BATCH_HEADER) + i * ENTRY_BYTES for i in range(shape.samples)]
            self._seq_at = [entry + OFFSETS["seq"] for entry in entries]
            self._ts_at = [entry + OFFSETS["ts"] for entry in entries]

    def fill(self, first: int, count: int, ts_ms: int) -> memoryview:
        """Bytes of the packets of messages ``first`` to ``first + count - 1``; valid until the next call."""
        rows = self._matrix[:count]
        index = np.arange(first, first + count)
        rows[:, self._id_at : self._id_at + 2] = _bytes(packet_ids(index), ">u2")
        for place, (seq_at, ts_at) in enumerate(zip(self._seq_at, self._ts_at, strict=True)):
            seq = FIRST_SEQ + index * self._shape.samples + place
            if self._shape.json:
                rows[:, seq_at : seq_at + 10] = _digits(seq, 10)
                rows[:, ts_at : ts_at + 13] = _digits(np.array([ts_ms]), 13)
            else:
                rows[:, seq_at : seq_at + 8] = _bytes(seq, "<u8")
                rows[:, ts_at : ts_at + 8] = _bytes(np.array([ts_ms]), "<u8")
        return rows.data.cast("B")


def packet_ids(index: NDArray[np.int64]) -> NDArray[np.int64]:
    """Packet id of each message of a connection."""
    return index % ID_COUNT + 1


def _bytes(numbers: NDArray[np.int64], kind: str) -> NDArray[np.uint8]:
    return numbers.astype(kind).view(np.uint8).reshape(len(numbers), -1)


def _digits(numbers: NDArray[np.int64], width: int) -> NDArray[np.uint8]:
    powers = 10 ** np.arange(width - 1, -1, -1, dtype=np.int64)
    return (numbers[:, None] // powers % 10 + ord("0")).astype(np.uint8)


def _all(data: bytes, part: bytes, start: int) -> list[int]:
    found = []
    at = data.find(part, start)
    while at >= 0:
        found.append(at)
        at = data.find(part, at + 1)
    return found
