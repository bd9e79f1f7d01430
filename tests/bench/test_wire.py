"""Patched packets are the packets that encoding each message would give."""

import json

import pytest

from bench.wire import FIRST_SEQ, ID_COUNT, Packets, Shape
from protocol.codec import SAMPLE_BYTES
from protocol.columns import decode_json_payloads, decode_payloads
from protocol.identity import kid_of
from protocol.mqtt import V5, Publish, Reader
from protocol.topics import UpKind, parse
from tests.support.samples import unpack_sample

KID = kid_of(bytes(32))
NOW_MS = 1_800_000_123_456


def published(shape: Shape, first: int, count: int) -> list[Publish]:
    packets = Packets(KID, 7, 8, shape, rows=count).fill(first, count, NOW_MS)
    found = list(Reader(from_client=True, version=V5).feed(bytes(packets)))
    assert all(isinstance(packet, Publish) for packet in found)
    return [packet for packet in found if isinstance(packet, Publish)]


@pytest.mark.parametrize("json_format", [False, True])
@pytest.mark.parametrize("samples", [1, 10])
def test_every_message_has_its_own_place_and_time(json_format: bool, samples: int) -> None:
    messages = published(Shape(json_format, samples), first=5, count=3)
    decode = decode_json_payloads if json_format else decode_payloads
    decoded = decode([message.payload for message in messages])
    assert not decoded.errors
    assert list(decoded.rows["seq"]) == [FIRST_SEQ + 5 * samples + i for i in range(3 * samples)]
    assert set(decoded.rows["ts"]) == {NOW_MS}
    assert [message.packet_id for message in messages] == [6, 7, 8]
    assert all(message.qos == 1 and not message.dup and not message.retain for message in messages)
    topic = parse(messages[0].topic)
    assert (topic.kid, topic.kind, topic.epoch, topic.stream) == (KID, UpKind.TELEMETRY, 7, 8)
    assert topic.json is json_format


def test_packet_ids_skip_zero_when_they_wrap() -> None:
    messages = published(Shape(json=False, samples=1), first=ID_COUNT - 1, count=2)
    assert [message.packet_id for message in messages] == [ID_COUNT, 1]


def test_one_json_sample_is_an_object_and_several_are_an_array() -> None:
    assert isinstance(json.loads(published(Shape(json=True, samples=1), 0, 1)[0].payload), dict)
    assert len(json.loads(published(Shape(json=True, samples=2), 0, 1)[0].payload)) == 2


def test_protobuf_and_json_say_the_same() -> None:
    packed = published(Shape(json=False, samples=1), 0, 1)[0].payload
    text = published(Shape(json=True, samples=1), 0, 1)[0].payload
    assert json.loads(text) == pytest.approx(unpack_sample(packed[-SAMPLE_BYTES:]))
