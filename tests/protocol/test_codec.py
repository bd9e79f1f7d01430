"""Samples in their constant layout, and JSON messages within limits."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import codec
from protocol.errors import DecodeError, ErrorCode
from protocol.messages import Event, EventKind, Hello
from tests.support.samples import sample_seq, sample_ts, unpack_sample, with_seq


def test_sample_typed_by_hand() -> None:
    """Tags by the protobuf encoding: (number << 3) | wire type; fixed64 = 1, fixed32 and float = 5."""
    sample = codec.pack_sample(
        {"ts": 1, "seq": 2, "ups_status": 2, "input_voltage": 230.0, "output_energy": 1.0}
    )
    assert sample.startswith(bytes.fromhex("09 0100000000000000 11 0200000000000000 1d 00000000 25 02000000"))
    assert bytes.fromhex("6d 00006643") in sample  # field 13, 230.0
    assert sample.endswith(bytes.fromhex("c901 000000000000f03f"))  # field 25, 1.0
    assert codec.pack_batch([sample])[:3] == bytes.fromhex("0a 9301")


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_the_place_can_be_changed_without_touching_the_rest(ts: int, seq: int, other: int) -> None:
    sample = codec.pack_sample({"ts": ts, "seq": seq, "output_voltage": 120.5})
    assert (sample_ts(sample), sample_seq(sample)) == (ts, seq)
    moved = with_seq(sample, other)
    assert (sample_ts(moved), sample_seq(moved)) == (ts, other)
    assert moved == codec.pack_sample({"ts": ts, "seq": other, "output_voltage": 120.5})


def test_absent_values() -> None:
    found = unpack_sample(codec.pack_sample({"ts": 1, "seq": 1, "input_voltage": None, "flags": None}))
    assert math.isnan(found["input_voltage"])
    assert found["flags"] == 0


def test_value_that_does_not_fit() -> None:
    with pytest.raises(DecodeError) as caught:
        codec.pack_sample({"ts": -1})
    assert caught.value.code is ErrorCode.OUT_OF_RANGE


def test_message_ignores_unknown_fields_and_fills_defaults() -> None:
    hello = codec.decode(
        b'{"kid":"k","login_ms":1,"n":1,"server_time_ms":1,"nonce":"AAA=","owned":false,"new":[1]}',
        Hello,
        1000,
    )
    assert (hello.nonce, hello.epoch) == (b"\0\0", 0)


@given(st.binary(max_size=200))
def test_random_bytes_are_no_event(data: bytes) -> None:
    with pytest.raises(DecodeError):
        codec.decode_event(data)


def test_event_round_trip_and_limits() -> None:
    event = Event(
        stream=1, seq=1, ts_ms=1, kind=EventKind.ON_BATTERY, values={"cause": "low_input_voltage", "v": 0.0}
    )
    assert codec.decode_event(codec.encode(event)) == event
    for bad in (
        Event(stream=0, seq=1, ts_ms=1, kind=EventKind.ON_BATTERY),
        Event(stream=1, seq=-1, ts_ms=1, kind=EventKind.ON_BATTERY),
        Event(stream=1, seq=1, ts_ms=codec.MAX_EVENT_MS + 1, kind=EventKind.ON_BATTERY),
        Event(stream=1, seq=1, ts_ms=1, kind=EventKind.ON_BATTERY, values={"cause": "a\0b"}),
        Event(stream=1, seq=1, ts_ms=1, kind=EventKind.ON_BATTERY, values={"\0": 1}),
        Event(stream=1, seq=1, ts_ms=1, kind=EventKind.ON_BATTERY, values={str(i): i for i in range(65)}),
    ):
        with pytest.raises(DecodeError) as caught:
            codec.decode_event(codec.encode(bad))
        assert caught.value.code is ErrorCode.OUT_OF_RANGE
    with pytest.raises(DecodeError) as caught:
        codec.decode_event(b'{"stream":1,"seq":1,"ts_ms":1,"kind":"flood"}')
    assert caught.value.code is ErrorCode.MALFORMED
    with pytest.raises(DecodeError) as caught:
        codec.decode_event(b" " * 9000)
    assert caught.value.code is ErrorCode.TOO_LARGE
