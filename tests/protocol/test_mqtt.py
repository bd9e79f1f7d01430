"""MQTT packets: a table of bytes typed by hand from the standards, round trips, and random bytes."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import ErrorCode, Reason
from protocol.mqtt import (
    V5,
    V311,
    ConnAck,
    Connect,
    Disconnect,
    MqttError,
    Packet,
    PingReq,
    PingResp,
    Property,
    PubAck,
    Publish,
    Reader,
    SubAck,
    Subscribe,
    UnsubAck,
    Unsubscribe,
    Will,
    decode,
    encode,
    find_packet,
    puback,
)

# packet, version, from the client, bytes as the standards' tables give them
CASES: list[tuple[Packet, int, bool, str]] = [
    (Connect("c"), V311, True, "10 0d 0004 4d515454 04 02 003c 0001 63"),
    (
        Connect("c", username="u", password=b"p", keep_alive_s=10),
        V311,
        True,
        "10 13 0004 4d515454 04 c2 000a 0001 63 0001 75 0001 70",
    ),
    (
        Connect("c", V5, will=Will("t", b"x", 1, retain=True)),
        V5,
        True,
        "10 15 0004 4d515454 05 2e 003c 00 0001 63 00 0001 74 0001 78",
    ),
    (
        Connect("", V5, clean_start=False, properties={Property.RECEIVE_MAXIMUM: 7}),
        V5,
        True,
        "10 10 0004 4d515454 05 00 003c 03 210007 0000",
    ),
    (ConnAck(0), V311, False, "20 02 00 00"),
    (ConnAck(5, session_present=True), V311, False, "20 02 01 05"),
    (
        ConnAck(0, properties={Property.MAXIMUM_QOS: 1, Property.MAXIMUM_PACKET_SIZE: 1024}),
        V5,
        False,
        "20 0a 00 00 07 24 01 27 00000400",
    ),
    (Publish("a/b", b"hi"), V311, True, "30 07 0003 612f62 6869"),
    (Publish("a", b"", 1, 10, retain=True, dup=True), V311, True, "3b 05 0001 61 000a"),
    (Publish("a", b"x", 1, 10), V5, False, "32 07 0001 61 000a 00 78"),
    (
        Publish("", b"x", 1, 10, properties={Property.TOPIC_ALIAS: 1}),
        V5,
        True,
        "32 09 0000 000a 03 23 0001 78",
    ),
    (
        Publish("a", b"", properties={Property.USER_PROPERTY: (("k", "v"), ("k", "w"))}),
        V5,
        True,
        "30 12 0001 61 0e 26 0001 6b 0001 76 26 0001 6b 0001 77",
    ),
    (PubAck(258), V311, False, "40 02 0102"),
    (PubAck(258), V5, False, "40 02 0102"),
    (PubAck(258, Reason.PAYLOAD_FORMAT_INVALID), V5, False, "40 03 0102 99"),
    (
        PubAck(1, Reason.QUOTA_EXCEEDED, {Property.REASON_STRING: "r"}),
        V5,
        False,
        "40 08 0001 97 04 1f 0001 72",
    ),
    (Subscribe(1, (("a", 1),)), V311, True, "82 06 0001 0001 61 01"),
    (Subscribe(1, (("a", 0x2C), ("b", 2))), V5, True, "82 0b 0001 00 0001 61 2c 0001 62 02"),
    (SubAck(1, (0, 0x80)), V311, False, "90 04 0001 00 80"),
    (SubAck(1, (0,)), V5, False, "90 04 0001 00 00"),
    (Unsubscribe(1, ("a", "b")), V311, True, "a2 08 0001 0001 61 0001 62"),
    (Unsubscribe(1, ("a",)), V5, True, "a2 06 0001 00 0001 61"),
    (UnsubAck(1), V311, False, "b0 02 0001"),
    (UnsubAck(1, (0x11,)), V5, False, "b0 04 0001 00 11"),
    (PingReq(), V311, True, "c0 00"),
    (PingResp(), V311, False, "d0 00"),
    (Disconnect(), V311, True, "e0 00"),
    (Disconnect(), V5, True, "e0 00"),
    (Disconnect(Reason.SESSION_TAKEN_OVER), V5, False, "e0 01 8e"),
    (Disconnect(0, {Property.SESSION_EXPIRY: 0}), V5, True, "e0 07 00 05 11 00000000"),
]


@pytest.mark.parametrize(("packet", "version", "from_client", "raw"), CASES)
def test_bytes_are_those_of_the_standard(packet: Packet, version: int, from_client: bool, raw: str) -> None:
    data = bytes.fromhex(raw)
    assert encode(packet, version) == data
    found = find_packet(data, 0, 1000)
    assert found is not None
    body, end = found
    assert end == len(data)
    assert decode(data[0], data[body:], version, from_client=from_client) == packet


# bytes, version, from the client, reason
WRONG: list[tuple[str, int, bool, Reason]] = [
    ("00 00", V311, True, Reason.PROTOCOL_ERROR),  # type 0
    ("f0 00", V5, True, Reason.PROTOCOL_ERROR),  # AUTH is not offered
    ("50 02 0001", V5, True, Reason.PROTOCOL_ERROR),  # PUBREC: no QoS 2
    ("20 02 00 00", V311, True, Reason.PROTOCOL_ERROR),  # CONNACK from a client
    ("10 0d 0004 4d515454 04 02 003c 0001 63", V311, False, Reason.PROTOCOL_ERROR),  # CONNECT from a server
    ("11 0d 0004 4d515454 04 02 003c 0001 63", V311, True, Reason.MALFORMED_PACKET),  # flags of CONNECT
    ("10 0f 0006 4d5149736470 03 02 003c 0001 63", V311, True, Reason.UNSUPPORTED_PROTOCOL_VERSION),  # 3.1
    ("10 0d 0004 4d515454 06 02 003c 0001 63", V311, True, Reason.UNSUPPORTED_PROTOCOL_VERSION),
    ("10 0d 0004 4d515454 04 03 003c 0001 63", V311, True, Reason.MALFORMED_PACKET),  # reserved bit
    ("10 0d 0004 4d515454 04 0a 003c 0001 63", V311, True, Reason.MALFORMED_PACKET),  # will QoS, no will
    ("10 0d 0004 4d515454 04 1e 003c 0001 63", V311, True, Reason.MALFORMED_PACKET),  # will QoS 3
    ("10 10 0004 4d515454 04 42 003c 0001 63 0001 70", V311, True, Reason.MALFORMED_PACKET),  # no user
    ("10 0e 0004 4d515454 04 02 003c 0001 63 00", V311, True, Reason.MALFORMED_PACKET),  # a byte too many
    ("10 0d 0004 4d515454 04 02 003c 0002 63", V311, True, Reason.MALFORMED_PACKET),  # ends too early
    ("10 0d 0004 4d515454 04 02 003c 0001 ff", V311, True, Reason.MALFORMED_PACKET),  # not UTF-8
    ("10 0d 0004 4d515454 04 02 003c 0001 00", V311, True, Reason.MALFORMED_PACKET),  # U+0000
    ("10 11 0004 4d515454 05 02 003c 03 21 0000 0001 63", V5, True, Reason.PROTOCOL_ERROR),  # maximum 0
    (
        "10 14 0004 4d515454 05 02 003c 06 21 0001 21 0001 0001 63",
        V5,
        True,
        Reason.PROTOCOL_ERROR,
    ),  # doubled
    ("10 11 0004 4d515454 05 02 003c 03 22 0000 0001 63 00", V5, True, Reason.MALFORMED_PACKET),
    ("10 11 0004 4d515454 05 02 003c 03 7e 0000 0001 63", V5, True, Reason.MALFORMED_PACKET),  # unknown
    ("10 11 0004 4d515454 05 02 003c 03 23 0001 0001 63", V5, True, Reason.PROTOCOL_ERROR),  # alias there
    ("10 0e 0004 4d515454 05 02 003c 7f 0001 63", V5, True, Reason.MALFORMED_PACKET),  # too long
    ("36 05 0001 61 0001", V311, True, Reason.MALFORMED_PACKET),  # QoS 3
    ("38 03 0001 61", V311, True, Reason.MALFORMED_PACKET),  # DUP with QoS 0
    ("32 05 0001 61 0000", V311, True, Reason.PROTOCOL_ERROR),  # packet identifier 0
    ("30 03 0001 23", V311, True, Reason.TOPIC_NAME_INVALID),  # topic "#"
    ("30 03 0001 2b", V311, True, Reason.TOPIC_NAME_INVALID),  # topic "+"
    ("30 02 0000", V311, True, Reason.PROTOCOL_ERROR),  # no topic
    ("30 07 0001 61 03 23 0000", V5, True, Reason.TOPIC_ALIAS_INVALID),
    ("80 06 0001 0001 61 01", V311, True, Reason.MALFORMED_PACKET),  # flags of SUBSCRIBE
    ("82 02 0001", V311, True, Reason.PROTOCOL_ERROR),  # no filter
    ("82 06 0001 0001 61 03", V311, True, Reason.MALFORMED_PACKET),  # QoS 3
    ("82 06 0001 0001 61 04", V311, True, Reason.MALFORMED_PACKET),  # options of MQTT 5
    ("82 07 0001 00 0001 61 30", V5, True, Reason.MALFORMED_PACKET),  # retain handling 3
    ("a2 02 0001", V311, True, Reason.PROTOCOL_ERROR),
    ("40 03 0001 00", V311, False, Reason.MALFORMED_PACKET),  # a reason with 3.1.1
    ("20 02 02 00", V311, False, Reason.MALFORMED_PACKET),
    ("c0 01 00", V311, True, Reason.MALFORMED_PACKET),
    ("c1 00", V311, True, Reason.MALFORMED_PACKET),
    ("82 80 01 0001" + "0001 61 00" * 31, V311, True, Reason.IMPLEMENTATION_SPECIFIC),  # 31 filters
]


@pytest.mark.parametrize(("raw", "version", "from_client", "reason"), WRONG)
def test_wrong_packets_are_named(raw: str, version: int, from_client: bool, reason: Reason) -> None:
    data = bytes.fromhex(raw)
    body = 3 if data[1] >= 0x80 else 2
    with pytest.raises(MqttError) as caught:
        decode(data[0], data[body:], version, from_client=from_client)
    assert caught.value.reason is reason


def test_sizes_are_checked_before_the_packet_is_there() -> None:
    with pytest.raises(MqttError) as caught:
        find_packet(bytes.fromhex("10 ff ff ff 7f"), 0, 1000)
    assert caught.value.reason is Reason.PACKET_TOO_LARGE
    assert caught.value.code is ErrorCode.TOO_LARGE
    assert find_packet(bytes.fromhex("10 e5 07"), 0, 1000) is None  # 997 bytes and three before them


@pytest.mark.parametrize("raw", ["10 ff ff ff ff", "10 80 80 80 80 01", "10 80 00", "10 ff 80 00"])
def test_a_malformed_length_is_refused(raw: str) -> None:
    with pytest.raises(MqttError) as caught:
        find_packet(bytes.fromhex(raw), 0, 1 << 28)
    assert caught.value.reason is Reason.MALFORMED_PACKET


def test_packets_are_found_where_the_last_ended() -> None:
    data = bytes.fromhex("c0 00 30 03 0001 61 c0")
    assert find_packet(data, 0, 100) == (2, 2)
    assert find_packet(data, 2, 100) == (4, 7)
    assert find_packet(data, 7, 100) is None
    assert find_packet(b"", 0, 100) is None


def test_the_short_puback_is_the_same() -> None:
    assert puback(513, V5) == encode(PubAck(513), V5)
    assert puback(513, V5, 0x97) == encode(PubAck(513, 0x97), V5)
    assert puback(513, V311, 0x97) == encode(PubAck(513), V311)


def test_the_password_is_never_shown() -> None:
    assert "secret" not in repr(Connect("c", username="u", password=b"secret"))


@pytest.mark.parametrize(
    "wrong",
    [
        Publish("a\0b", b""),
        Publish("x" * 70000, b""),
        ConnAck(0, properties={Property.TOPIC_ALIAS: 1}),
        ConnAck(0, properties={Property.RECEIVE_MAXIMUM: 70000}),
        ConnAck(0, properties={Property.REASON_STRING: 3}),
        ConnAck(0, properties={Property.USER_PROPERTY: "no pairs"}),
    ],
)
def test_what_does_not_fit_is_not_written(wrong: Packet) -> None:
    with pytest.raises(ValueError, match=r".+"):
        encode(wrong, V5)


# --- properties of the codec --------------------------------------------------------------------------------

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
TOPIC = st.text(st.characters(codec="utf-8", exclude_characters="\0+#"), min_size=1, max_size=30)
ID = st.integers(1, 65535)
USER = st.fixed_dictionaries(
    {}, optional={Property.USER_PROPERTY: st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=3).map(tuple)}
)
LIMITS = st.fixed_dictionaries(
    {},
    optional={
        Property.RECEIVE_MAXIMUM: st.integers(1, 65535),
        Property.MAXIMUM_PACKET_SIZE: st.integers(1, 2**32 - 1),
        Property.SESSION_EXPIRY: st.integers(0, 2**32 - 1),
    },
)
WILLS = st.builds(Will, TOPIC, st.binary(max_size=9), st.integers(0, 2), st.booleans(), USER)


def _connects(version: int) -> st.SearchStrategy[Packet]:
    properties = LIMITS if version == V5 else st.just({})
    wills = WILLS if version == V5 else WILLS.map(lambda w: Will(w.topic, w.payload, w.qos, w.retain))
    return st.builds(
        Connect,
        TEXT,
        st.just(version),
        st.booleans(),
        st.integers(0, 65535),
        TEXT,
        st.none() | st.binary(max_size=20),
        st.none() | wills,
        properties,
    )


def _publishes(version: int) -> st.SearchStrategy[Packet]:
    properties = USER if version == V5 else st.just({})
    common = (st.booleans(),)
    return st.one_of(
        st.builds(
            Publish,
            TOPIC,
            st.binary(max_size=300),
            st.just(0),
            st.just(0),
            *common,
            st.just(False),
            properties,
        ),
        st.builds(
            Publish,
            TOPIC,
            st.binary(max_size=300),
            st.sampled_from([1, 2]),
            ID,
            *common,
            st.booleans(),
            properties,
        ),
    )


def _others(version: int) -> st.SearchStrategy[Packet]:
    code = st.integers(0, 255) if version == V5 else st.just(0)
    filters = st.lists(st.tuples(TEXT, st.integers(0, 2)), min_size=1, max_size=4).map(tuple)
    return st.one_of(
        st.builds(Subscribe, ID, filters),
        st.builds(Unsubscribe, ID, st.lists(TEXT, min_size=1, max_size=4).map(tuple)),
        st.builds(PubAck, ID, code),
        st.builds(Disconnect, code),
        st.just(PingReq()),
    )


VERSION = st.sampled_from([V311, V5])
SENT = VERSION.flatmap(
    lambda v: st.tuples(st.just(v), _connects(v), st.lists(st.one_of(_publishes(v), _others(v)), max_size=5))
)


@given(SENT, st.data())
def test_a_stream_cut_anywhere_gives_the_same_packets(
    sent: tuple[int, Packet, list[Packet]], data: st.DataObject
) -> None:
    version, first, rest = sent
    packets = [first, *rest]
    stream = b"".join(encode(packet, version) for packet in packets)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    reader = Reader(from_client=True)
    found: list[Packet] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += reader.feed(stream[start:end])
    assert found == packets


ANSWERS = VERSION.flatmap(
    lambda v: st.tuples(
        st.just(v),
        st.one_of(
            st.builds(ConnAck, st.integers(0, 255), st.booleans(), LIMITS if v == V5 else st.just({})),
            st.builds(SubAck, ID, st.lists(st.integers(0, 255), max_size=4).map(tuple)),
            st.builds(UnsubAck, ID, st.lists(st.integers(0, 255), max_size=4).map(tuple)),
            st.just(PingResp()),
        ),
    )
)


@given(ANSWERS)
def test_answers_round_trip(answer: tuple[int, Packet]) -> None:
    version, packet = answer
    reader = Reader(from_client=False, version=version)
    assert list(reader.feed(encode(packet, version))) == [packet]


@given(st.binary(max_size=200), VERSION, st.booleans())
def test_random_bytes_raise_mqtt_errors_only(data: bytes, version: int, from_client: bool) -> None:
    reader = Reader(from_client=from_client, version=version, max_packet_bytes=150)
    with contextlib.suppress(MqttError):
        list(reader.feed(data))


@given(st.integers(0, 255), st.binary(max_size=100), VERSION, st.booleans())
def test_random_bodies_raise_mqtt_errors_only(
    first: int, body: bytes, version: int, from_client: bool
) -> None:
    with contextlib.suppress(MqttError):
        assert decode(first, body, version, from_client=from_client) is not None


@given(SENT, st.integers(0, 10_000), st.integers(1, 255))
def test_a_flipped_bit_never_crashes(sent: tuple[int, Packet, list[Packet]], place: int, change: int) -> None:
    version, first, rest = sent
    stream = bytearray(b"".join(encode(packet, version) for packet in [first, *rest]))
    stream[place % len(stream)] ^= change
    with contextlib.suppress(MqttError):
        list(Reader(from_client=True).feed(bytes(stream)))
