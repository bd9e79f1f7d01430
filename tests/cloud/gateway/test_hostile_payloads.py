"""An owned device that sends what it likes: each message has its answer, and nobody beside it waits."""

import math
import struct
from typing import Final

import pytest

from cloud.core.batch import MAX_SEQ_STEP
from protocol import topics
from protocol.codec import MAX_EVENT_MS, pack_batch, pack_sample
from protocol.errors import Reason
from protocol.mqtt import V5, V311
from tests.cloud.gateway.conftest import Site
from tests.support.samples import with_seq

STREAM: Final = 5
BAD: Final = Reason.PAYLOAD_FORMAT_INVALID
FINE: Final = Reason.SUCCESS


def telemetry(*seqs: int, **values: float) -> bytes:
    return pack_batch(pack_sample({"ts": 1_000, **values, "seq": seq}) for seq in seqs)


def raw_seq(seq: int) -> bytes:
    """A sample whose seq no honest packer writes."""
    return pack_batch([with_seq(pack_sample({"ts": 1_000}), seq)])


def event(**changes: object) -> bytes:
    fields = {"stream": 1, "seq": 1, "ts_ms": 1, "kind": '"fault"', "values": "{}"} | changes
    return ("{" + ",".join(f'"{name}":{value}' for name, value in fields.items()) + "}").encode()


TELEMETRY: Final[dict[str, tuple[bytes, Reason]]] = {
    "empty": (b"", BAD),
    "no protobuf": (b"\xff\xff\xff", BAD),
    "zeros": (bytes(200), BAD),
    "one byte too few": (telemetry(1)[:-1], BAD),
    "one byte too many": (telemetry(1) + b"\0", BAD),
    "ts after 2100": (telemetry(1, ts=MAX_EVENT_MS + 1), BAD),
    "ts of 2^64 - 1": (telemetry(1, ts=2**64 - 1), BAD),
    "seq of 2^64 - 1": (raw_seq(2**64 - 1), BAD),
    "seq of 2^63": (raw_seq(2**63), BAD),
    "seq too far": (telemetry(MAX_SEQ_STEP + 5_000), BAD),
    "infinite": (telemetry(1, input_voltage=math.inf), BAD),
    "minus infinite": (telemetry(1, battery_voltage=-math.inf), BAD),
    "infinite energy": (telemetry(1, output_energy=math.inf), BAD),
    "too many bits": (telemetry(1, ups_status=2**31), BAD),
    "below the range": (telemetry(1, state_of_charge=-0.5), BAD),
    "bad among good": (telemetry(1, 2) + telemetry(3, state_of_charge=1e9), BAD),
    "a sample of 1970": (telemetry(100, ts=0), FINE),
    "not available": (telemetry(101, input_voltage=math.nan, output_energy=math.nan), FINE),
    "the same twice": (telemetry(102, 102, 102), FINE),
    "backwards": (telemetry(105, 104, 103), FINE),
    "a signalling NaN": (
        telemetry(106).replace(struct.pack("<f", math.nan), struct.pack("<I", 0x7F800001)),
        FINE,
    ),
}
JSON: Final[dict[str, tuple[bytes, Reason]]] = {
    "no JSON": (b"{", BAD),
    "no UTF-8": (b'{"ts":1,"seq":\xff}', BAD),
    "an unknown name that is no text": (b'{"ts":1,"seq":1,"\xff":1}', FINE),
    "deep": (b"[" * 100_000, BAD),
    "no sample": (b"[]", BAD),
    "negative": (b'{"ts":-1,"seq":1}', BAD),
    "a number of 5000 digits": (b'{"ts":' + b"9" * 5_000 + b"}", BAD),
    "a number of 25 digits": (b'{"ts":1,"seq":' + b"9" * 25 + b"}", BAD),
    "larger than a float": (b'{"ts":1,"seq":1,"input_voltage":1e39}', BAD),
    "larger than a double": (b'{"ts":1,"seq":1,"output_energy":1e999}', BAD),
    "not a number": (b'{"ts":1,"seq":1,"output_energy":NaN}', BAD),
    "an unknown name": (b'{"ts":1,"seq":107,"colour":"red"}', FINE),
    "a duplicate": (b'[{"ts":1,"seq":107},{"ts":1,"seq":1}]', FINE),
}
EVENTS: Final[dict[str, tuple[bytes, Reason]]] = {
    "no event": (b"null", BAD),
    "a kind nobody knows": (event(kind='"party"'), BAD),
    "a NUL": (event(values='{"cause":"a\\u0000b"}'), BAD),
    "a NUL in a name": (event(values='{"\\u0000":1}'), BAD),
    "half a surrogate": (event(values='{"cause":"\\ud800"}'), BAD),
    "a year nobody sees": (event(ts_ms=2**53 - 1), BAD),
    "a stream below one": (event(stream=0), BAD),
    "a seq of 2^63": (event(seq=2**63), BAD),
    "too many values": (event(values="{" + ",".join(f'"{i}":1' for i in range(65)) + "}"), BAD),
    "a list": (event(values='{"cause":[1]}'), BAD),
    "too large": (event(values='{"cause":"' + "x" * 9_000 + '"}'), BAD),
    "a number of 1000 digits": (event(values='{"n":' + "9" * 1_000 + "}"), FINE),
    "any other text": (event(seq=2, values='{"cause":"\\u0001\\uffff\\ud83d\\ude00"}'), FINE),
    "again": (event(seq=2), FINE),
}


@pytest.mark.parametrize("version", [V311, V5])
async def test_each_message_has_its_answer_and_a_neighbour_does_not_wait(site: Site, version: int) -> None:
    hostile, epoch = await site.owned(version)
    healthy, healthy_epoch = await site.owned()
    kid = hostile.identity.kid
    sent = [
        *((topics.telemetry(kid, epoch, STREAM), *case) for case in TELEMETRY.values()),
        *((topics.telemetry(kid, epoch, STREAM, json=True), *case) for case in JSON.values()),
        *((topics.event(kid, epoch), *case) for case in EVENTS.values()),
        (topics.telemetry(kid, epoch, 2**63 - 1), telemetry(1), BAD),
    ]
    names = [*TELEMETRY, *JSON, *EVENTS, "the last stream"]
    for seq, (topic, payload, _reason) in enumerate(sent, start=1):
        await hostile.send(hostile.publish(topic, payload))
        await healthy.send(healthy.telemetry(healthy_epoch, STREAM, seq))
    answers = [ack.reason for ack in await hostile.wait_acks(len(sent))]
    expected = [reason if version == V5 else 0 for _topic, _payload, reason in sent]
    assert dict(zip(names, answers, strict=True)) == dict(zip(names, expected, strict=True))
    assert {ack.reason for ack in await healthy.wait_acks(len(sent))} == {0}
    assert await site.stored(healthy) == [(STREAM, seq) for seq in range(1, len(sent) + 1)]
    assert await site.stored(hostile) == [(STREAM, seq) for seq in (100, 101, 102, 105, 106, 107)]
    refused = await site.rows("SELECT count(*), max(length(payload)), max(size_bytes) FROM rejected")
    assert refused == [(sum(reason is BAD for _t, _p, reason in sent), 1024, 100_000)]
    assert await site.rows("SELECT count(*) FROM event") == [(2,)]
    # It goes on where it was.
    await hostile.send(hostile.telemetry(epoch, STREAM, 108))
    assert [ack.reason for ack in await hostile.wait_acks(1)] == [0]
    assert not hostile.closed


async def test_snapshots_nobody_can_read_change_nothing(site: Site) -> None:
    """QoS 0: nobody is told, but it is kept aside."""
    hostile, epoch = await site.owned()
    topic = topics.now(hostile.identity.kid)
    bad = [payload for payload, reason in TELEMETRY.values() if reason is BAD]
    seq_alone = 1  # a snapshot's seq says nothing, so one too far is no fault
    good_ms = epoch + 5_000
    for payload in [*bad, telemetry(0, ts=good_ms, input_voltage=231.0)]:
        await hostile.send(hostile.publish(topic, payload, qos=0))
    await hostile.send(hostile.publish(topics.event(hostile.identity.kid, epoch), event()))
    assert [ack.reason for ack in await hostile.wait_acks(1)] == [0]
    assert await site.rows("SELECT ts_ms, input_voltage FROM latest") == [(good_ms, 231.0)]
    assert await site.rows("SELECT count(*) FROM rejected") == [(len(bad) - seq_alone,)]
    assert await site.stored(hostile) == []
