"""Streams, records and the ledger, without any file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core import spool
from agent.core.spool import Boot, Ledger, Position, Stream, decode_ledger, encode_ledger
from agent.core.spool_record import (
    NOWHERE,
    EventDone,
    Place,
    Record,
    Samples,
    StoredEvent,
    decode_records,
    encode_record,
    end_of,
)
from protocol.codec import pack_sample
from protocol.messages import EventKind
from protocol.points import SampleFlag
from tests.support.samples import unpack_sample

SAMPLES = st.builds(
    Samples,
    ordinal=st.integers(1, 2**40),
    first_seq=st.integers(1, 2**60),
    boot=st.integers(0, 2**31),
    samples=st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=5).map(tuple),
)
EVENTS = st.builds(
    StoredEvent,
    number=st.integers(1, 2**40),
    epoch=st.integers(1, 2**60),
    stream=st.integers(1, 2**60),
    seq=st.integers(1, 2**60),
    boot=st.integers(1, 99),
    mono_ms=st.integers(0, 2**50),
    kind=st.sampled_from(EventKind),
    values=st.dictionaries(st.text(max_size=8), st.none() | st.booleans() | st.integers(-9, 9) | st.text()),
)
RECORDS = SAMPLES | EVENTS | st.builds(EventDone, number=st.integers(1, 2**60))


@given(st.lists(RECORDS, max_size=6))
def test_records_come_back(records: list[Record]) -> None:
    data = b"".join(encode_record(record) for record in records)
    assert [record for _, record in decode_records(data)] == records


@given(st.lists(RECORDS, min_size=1, max_size=4), st.data())
def test_a_cut_or_damaged_tail_yields_a_sound_prefix(records: list[Record], data: st.DataObject) -> None:
    whole = b"".join(encode_record(record) for record in records)
    cut = data.draw(st.integers(0, len(whole)))
    noise = data.draw(st.binary(max_size=40) | st.just(bytes(64)))
    found = [record for _, record in decode_records(whole[:cut] + noise)]
    assert found == records[: len(found)] or cut == len(whole)


@given(st.binary(max_size=300))
def test_noise_is_never_a_crash(noise: bytes) -> None:
    list(decode_records(noise))
    decode_ledger(noise)


def test_zeros_are_no_records() -> None:
    assert list(decode_records(bytes(4096))) == []


def test_the_ledger_comes_back_and_damage_is_seen() -> None:
    ledger = Ledger(epoch=3, streams=(Stream(1, 5, 3, published=True),), boots=(Boot(1, "b", 7, 8),))
    data = encode_ledger(ledger)
    assert decode_ledger(data) == ledger
    for index in range(len(data)):
        broken = bytearray(data)
        broken[index] ^= 1
        assert decode_ledger(bytes(broken)) is None


LEDGER = Ledger(
    epoch=1,
    last_stream=40,
    next_ordinal=5,
    streams=(
        Stream(1, 10, 1, published=True),
        Stream(2, 20, 1, published=True),
        Stream(3, 30, 1),
        Stream(4, 40, 1),
    ),
)


@pytest.mark.parametrize(
    ("position", "place"),
    [
        (Position(), NOWHERE),
        (Position(9, 99), NOWHERE),
        (Position(10, 7), Place(1, 7)),
        (Position(15, 1), end_of(1)),
        (Position(20, 3), Place(2, 3)),
        (Position(35, 3), end_of(2)),  # streams 30 and 40 were never published
    ],
)
def test_a_position_trims_published_streams_only(position: Position, place: Place) -> None:
    assert spool.delivered(LEDGER, position) == place


def test_lifting_keeps_order_and_goes_above_everything() -> None:
    ledger, lifted = spool.renumber(LEDGER, Position(35, 3))
    assert lifted == ((30, 41), (40, 42))
    assert [stream.number for stream in ledger.streams] == [10, 20, 41, 42]
    assert ledger.last_stream == 42


def test_nothing_is_lifted_without_need() -> None:
    assert spool.renumber(LEDGER, Position(20, 3)) == (LEDGER, ())


@given(
    st.lists(st.tuples(st.integers(1, 60), st.booleans()), max_size=6),
    st.integers(0, 90),
)
def test_lifted_streams_grow_and_lie_above_the_position(shape: list[tuple[int, bool]], at: int) -> None:
    numbers = sorted({number for number, _ in shape})
    published = sum(flag for _, flag in shape[: len(numbers)])
    streams = tuple(Stream(i + 1, number, 1, published=i < published) for i, number in enumerate(numbers))
    ledger = Ledger(last_stream=max(numbers, default=0), streams=streams)
    after, _ = spool.renumber(ledger, Position(at, 1))
    kept = [stream.number for stream in after.streams]
    assert kept == sorted(set(kept))
    assert all(stream.published or stream.number > at for stream in after.streams)


@pytest.mark.parametrize(
    ("now_ms", "floor", "number"), [(100, 0, 100), (7, 0, 41), (7, 60, 61), (50, 49, 50)]
)
def test_a_new_stream_is_above_all_others(now_ms: int, floor: int, number: int) -> None:
    ledger, stream = spool.open_stream(LEDGER, now_ms, floor)
    assert (stream.ordinal, stream.number, stream.published) == (5, number, False)
    assert ledger.last_stream == number


def test_a_sample_gets_its_time_and_place() -> None:
    blob = pack_sample({"ts": 500, "input_voltage": 230.0, "flags": SampleFlag.FROM_FUTURE})
    assert spool.mono_of(blob) == 500
    values = unpack_sample(spool.placed(blob, 1_700_000_000_500, 9, uncertain=True))
    assert (values["ts"], values["seq"], values["input_voltage"]) == (1_700_000_000_500, 9, 230.0)
    assert values["flags"] == SampleFlag.FROM_FUTURE | SampleFlag.TIME_UNCERTAIN


def batch(ordinal: int, first_seq: int, count: int) -> Samples:
    return Samples(ordinal, first_seq, 1, tuple(pack_sample({"ts": first_seq + i}) for i in range(count)))


@pytest.mark.parametrize(
    ("after", "limit", "expected"),
    [
        (NOWHERE, 10, (1, 1, 5)),  # merged up to the gap
        (NOWHERE, 4, (1, 1, 4)),
        (Place(1, 2), 10, (1, 3, 3)),  # a half-delivered record is cut
        (Place(1, 5), 10, (1, 9, 1)),  # after the gap
        (Place(1, 9), 10, (2, 1, 2)),  # another stream, another publish
        (Place(2, 2), 10, None),
    ],
)
def test_merging_into_one_publish(after: Place, limit: int, expected: tuple[int, int, int] | None) -> None:
    waiting = [batch(1, 1, 3), batch(1, 4, 2), batch(1, 9, 1), batch(2, 1, 2)]
    outgoing = spool.merge(LEDGER, waiting, after, limit)
    found = None if outgoing is None else (outgoing.ordinal, outgoing.first_seq, len(outgoing.samples))
    assert found == expected


def test_without_a_known_boot_the_time_is_a_guess() -> None:
    assert spool.time_of_boot(Ledger(), 1) == (0, True)
    assert spool.time_of_boot(Ledger(boots=(Boot(1, "b", 5),)), 1) == (5, True)
    assert spool.time_of_boot(Ledger(boots=(Boot(1, "b", 5, 6),)), 1) == (6, False)


@pytest.mark.parametrize(
    ("sizes", "limit", "count"), [([], 0, 0), ([9], 5, 0), ([5, 5, 5], 10, 1), ([5, 5, 5], 1, 2)]
)
def test_how_many_segments_go(sizes: list[int], limit: int, count: int) -> None:
    assert spool.oldest_to_drop(sizes, limit) == count
