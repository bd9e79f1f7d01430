"""From packets to rows: fast ways give what the ordinary ones give."""

import json
from dataclasses import dataclass
from typing import Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.core.batch import (
    FENCE_COLUMNS,
    MAX_SEQ_STEP,
    MAX_STREAM_AHEAD,
    Template,
    build_table,
    decode_uploads,
    match_run,
    pubacks,
    sift,
)
from cloud.core.upload import Fence, Upload
from protocol import mqtt, topics
from protocol.codec import MAX_TELEMETRY_BYTES
from protocol.errors import DecodeError, ErrorCode
from protocol.mqtt import V5, V311, Publish, encode, find_packet
from protocol.topics import UpTopic
from tests.support import ingest
from tests.support.ingest import KID, NOW_MS, sample, upload

# --- packets ------------------------------------------------------------------------------------------------

TOPIC: Final = topics.telemetry(KID, 7, 1)
publishes = st.builds(
    Publish,
    topic=st.sampled_from([TOPIC] * 6 + [topics.telemetry(KID, 7, 2), topics.now(KID)]),
    payload=st.sampled_from([b"0123456789"] * 4 + [b"9876543210", b"\0" * 10, b"0123", b"01234567"]),
    qos=st.sampled_from([1] * 8 + [0, 2]),
    packet_id=st.integers(1, 65535),
    retain=st.sampled_from([False] * 8 + [True]),
    dup=st.sampled_from([False] * 8 + [True]),
    properties=st.sampled_from([{}] * 8 + [{mqtt.Property.PAYLOAD_FORMAT: 1}]),
)


def _encode(publish: Publish, version: int) -> bytes:
    if not publish.qos:
        publish = Publish(publish.topic, publish.payload, retain=publish.retain)
    return encode(publish, version)


def _template(version: int) -> Template:
    first = encode(Publish(TOPIC, b"0123456789", qos=1, packet_id=1), version)
    parsed = topics.parse(TOPIC)
    return Template(
        parsed, first[: first.index(b"d/") + len(TOPIC)], len(first), len(first) - 10, version == V5
    )


@given(
    st.lists(publishes, max_size=12),
    st.sampled_from([V311, V5]),
    st.integers(0, 14),
    st.integers(0, 40),
    st.binary(max_size=3),
)
def test_a_run_is_what_the_ordinary_decoder_reads(
    packets: list[Publish], version: int, most: int, cut: int, before: bytes
) -> None:
    data = before + b"".join(_encode(packet, version) for packet in packets)
    data = data[: max(len(before), len(data) - cut)]
    template = _template(version)
    expected: list[Publish] = []
    at = len(before)
    while len(expected) < most and (found := find_packet(data, at, 1000)) is not None:
        body, end = found
        packet = mqtt.decode(data[at], data[body:end], version, from_client=True)
        assert isinstance(packet, Publish)
        like = (packet.topic, packet.qos, packet.retain, packet.dup) == (TOPIC, 1, False, False)
        if not like or packet.properties or len(packet.payload) != 10:
            break
        expected.append(packet)
        at = end
    count, ids, payloads = match_run(template, data, len(before), most)
    assert count == len(expected)
    assert ids == b"".join(packet.packet_id.to_bytes(2, "big") for packet in expected)
    assert payloads == b"".join(packet.payload for packet in expected)


@pytest.mark.parametrize("version", [V311, V5])
def test_a_packet_identifier_of_zero_is_left_to_the_ordinary_decoder(version: int) -> None:
    good = encode(Publish(TOPIC, b"0123456789", qos=1, packet_id=0x0101), version)
    bad = good.replace(b"\1\1", b"\0\0")
    count, ids, _payloads = match_run(_template(version), good + bad + good, 0, 9)
    assert (count, ids) == (1, b"\1\1")


@given(st.lists(st.integers(1, 65535), max_size=20))
def test_pubacks_are_those_of_the_codec(ids: list[int]) -> None:
    packed = b"".join(packet_id.to_bytes(2, "big") for packet_id in ids)
    for version in (V311, V5):
        assert pubacks(packed) == b"".join(mqtt.puback(packet_id, version) for packet_id in ids)


# --- sift against a naive model -----------------------------------------------------------------------------

BAD: Final = b"\xff"


@dataclass(frozen=True)
class Message:
    """``seqs`` is None where the payload is no telemetry."""

    seqs: tuple[int, ...] | None


@dataclass(frozen=True)
class Sent:
    """Messages of one share on one topic."""

    share: int
    stream: int
    as_json: bool
    messages: tuple[Message, ...]

    def upload(self) -> Upload:
        encode_batch = ingest.json if self.as_json else ingest.protobuf
        payloads = [
            BAD if message.seqs is None else encode_batch(sample(seq) for seq in message.seqs)
            for message in self.messages
        ]
        return upload(payloads, self.stream, as_json=self.as_json)


seqs = st.one_of(
    st.integers(0, 12), st.sampled_from([MAX_SEQ_STEP - 1, MAX_SEQ_STEP, MAX_SEQ_STEP + 3, 2 * MAX_SEQ_STEP])
)
messages = st.one_of(
    st.builds(lambda seq, count: Message(tuple(range(seq, seq + count))), seqs, st.integers(1, 4)),
    st.lists(seqs, min_size=1, max_size=4).map(lambda found: Message(tuple(found))),
    st.just(Message(None)),
)
sendings = st.lists(
    st.builds(
        Sent,
        share=st.integers(0, 2),
        stream=st.sampled_from([1, 2, 3, 3 + MAX_STREAM_AHEAD, 2**63 - 1]),
        as_json=st.booleans(),
        messages=st.lists(messages, min_size=1, max_size=4).map(tuple),
    ),
    max_size=6,
).map(lambda found: sorted(found, key=lambda sent: sent.share))
fence_lists = st.lists(
    st.builds(Fence, st.just(1), st.just(1), st.integers(0, 3), st.integers(0, 12)), min_size=3, max_size=3
)
MODEL_NOW_MS: Final = 3


def _naive(
    sent: list[Sent], fences: list[Fence]
) -> tuple[list[tuple[int, int, int]], int, set[tuple[int, int, ErrorCode]]]:
    """Rows (share, stream, seq), duplicates, refused (upload, message): one message after the other."""
    at = {i: (fence.stream, fence.seq) for i, fence in enumerate(fences)}
    rows: list[tuple[int, int, int]] = []
    duplicates, refused = 0, set()
    for i, one in enumerate(sent):
        for j, message in enumerate(one.messages):
            if message.seqs is None:
                refused.add((i, j, ErrorCode.MALFORMED))
                continue
            position, new, seen, fine = at[one.share], [], 0, True
            for seq in message.seqs:
                if (one.stream, seq) <= position:
                    seen += 1
                    continue
                step = seq - position[1] if one.stream == position[0] else seq
                fine = fine and step <= MAX_SEQ_STEP and one.stream <= MODEL_NOW_MS + MAX_STREAM_AHEAD
                if not fine:
                    break
                position = (one.stream, seq)
                new.append((one.share, one.stream, seq))
            if fine:
                at[one.share] = position
                rows += new
                duplicates += seen
            else:
                refused.add((i, j, ErrorCode.OUT_OF_RANGE))
    return rows, duplicates, refused


@given(sendings, fence_lists)
def test_sift_keeps_what_a_naive_reader_keeps(sent: list[Sent], fences: list[Fence]) -> None:
    uploads = [one.upload() for one in sent]
    sifted = sift(uploads, [one.share for one in sent], fences, MODEL_NOW_MS)
    rows, duplicates, refused = _naive(sent, fences)
    found = zip(sifted.share.tolist(), sifted.stream.tolist(), sifted.rows["seq"].tolist(), strict=True)
    assert list(found) == rows
    assert sifted.duplicates == duplicates
    places = {id(one): i for i, one in enumerate(uploads)}
    assert {(places[id(r.upload)], r.message, r.error.code) for r in sifted.rejections} == refused
    assert len(sifted.rejections) == len(refused)

    table = build_table(sifted, fences, [10, 11, 12], [None] * 3, NOW_MS, frozenset())
    for share, fence in enumerate(fences):
        ours = [(stream, seq) for who, stream, seq in rows if who == share]
        assert table.positions[share] == (ours[-1] if ours else (fence.stream, fence.seq))


def test_a_message_that_jumps_is_refused_whole_and_its_samples_may_come_again() -> None:
    jump = ingest.protobuf([sample(1), sample(2), sample(MAX_SEQ_STEP + 3)])
    again = ingest.protobuf([sample(1), sample(2)])
    sifted = sift([upload([jump, again])], [0], [Fence(1, 1, 1, 0)], NOW_MS)
    assert sifted.rows["seq"].tolist() == [1, 2]
    assert [(r.message, r.error.code) for r in sifted.rejections] == [(0, ErrorCode.OUT_OF_RANGE)]
    assert sifted.duplicates == 0


def test_no_device_counts_its_streams_to_the_end() -> None:
    """The position outlives the owner: after the farthest stream there is always a next one."""
    farthest = NOW_MS + MAX_STREAM_AHEAD
    payload = ingest.protobuf([sample(1)])
    fences = [Fence(1, 1, 1, 0)]
    assert len(sift([upload([payload], farthest)], [0], fences, NOW_MS).rows) == 1
    assert len(sift([upload([payload], farthest + 1)], [0], fences, NOW_MS).rejections) == 1
    assert len(sift([upload([payload], farthest + 1)], [0], [Fence(1, 1, farthest, 1)], NOW_MS + 1).rows) == 1


def test_a_batch_without_telemetry_has_no_rows() -> None:
    fences = [Fence(1, 1, 5, 6)]
    sifted = sift([], [], fences, NOW_MS)
    table = build_table(sifted, fences, [10], [None], NOW_MS, frozenset())
    assert (table.copies, table.positions) == ({}, [(5, 6)])
    assert len(decode_uploads([]).rows) == 0


def test_an_upload_larger_than_a_payload_may_be_is_refused_on_the_fast_way_too() -> None:
    payload = ingest.protobuf([sample(seq) for seq in range(1, 2000)])
    assert len(payload) > MAX_TELEMETRY_BYTES
    decoded = decode_uploads([upload([payload])])
    assert decoded.errors[0].code is ErrorCode.TOO_LARGE


def test_one_upload_apart_is_the_same_messages() -> None:
    whole = upload([ingest.protobuf([sample(seq)]) for seq in (1, 2, 3)])
    singles = whole.singles()
    assert [single.split() for single in singles] == [[payload] for payload in whole.split()]
    assert b"".join(single.ids for single in singles) == whole.ids
    assert sum(single.count for single in singles) == whole.count
    assert sum(single.bytes_held() for single in singles) == whole.bytes_held()


def test_the_reason_of_a_refusal_is_short() -> None:
    broken = json.dumps([{"ts": 1, "ups_status": "x" * 5000}]).encode()
    sifted = sift([upload([broken], as_json=True)], [0], [Fence(1, 1, 1, 0)], NOW_MS)
    assert isinstance(sifted.rejections[0].error, DecodeError)
    assert len(str(sifted.rejections[0].error)) < 300


# --- what is shown ------------------------------------------------------------------------------------------


def _shown(*sent: tuple[int, int], snapshot: tuple[int, int] | None = None) -> tuple[int, int]:
    """(ts_ms, ups_status) that the fence would show, of rows and a snapshot given as the same pair."""
    fences = [Fence(1, 1, 1, 0)]
    rows = [sample(i, ts, ups_status=status) for i, (ts, status) in enumerate(sent, start=1)]
    sifted = sift([upload([ingest.protobuf(rows)])] if rows else [], [0] if rows else [], fences, NOW_MS)
    now = None
    if snapshot is not None:
        topic = UpTopic(KID, topics.UpKind.NOW)
        payload = ingest.protobuf([sample(0, snapshot[0], ups_status=snapshot[1])])
        now = decode_uploads([Upload(0, topic=topic, payloads=[payload], messages=1)]).rows
    table = build_table(sifted, fences, [10], [now], NOW_MS, frozenset())
    names = [name for name, _kind in FENCE_COLUMNS]
    ts_ms = np.frombuffer(table.fence[names.index("ts_ms")][-8:], ">i8")[0]
    status = np.frombuffer(table.fence[names.index("ups_status")][-4:], ">i4")[0]
    return int(ts_ms), int(status)


FUTURE: Final = NOW_MS + 600_001


@pytest.mark.parametrize(
    ("sent", "snapshot", "shown"),
    [
        ((), None, -1),
        (((NOW_MS, 1),), None, NOW_MS),
        (((NOW_MS - 9, 1), (NOW_MS, 2)), None, NOW_MS),
        (((FUTURE, 1),), None, -1),
        (((FUTURE - 1, 1),), None, FUTURE - 1),
        ((), (NOW_MS, 3), NOW_MS),
        ((), (FUTURE, 3), -1),
        (((NOW_MS - 9, 1),), (NOW_MS, 3), NOW_MS),
        (((NOW_MS, 1),), (NOW_MS - 9, 3), NOW_MS),
        (((FUTURE, 1),), (NOW_MS, 3), NOW_MS),
    ],
    ids=range(10),  # the same names in every test process, whatever the time
)
def test_what_is_shown_is_the_newest_that_is_not_of_the_future(
    sent: tuple[tuple[int, int], ...], snapshot: tuple[int, int] | None, shown: int
) -> None:
    ts_ms, status = _shown(*sent, snapshot=snapshot)
    assert ts_ms == shown
    everything = {*sent, *([snapshot] if snapshot else [])}
    assert shown == -1 or (ts_ms, status) in everything
