"""The topic tree: build, parse, refuse."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import topics
from protocol.errors import TopicError
from protocol.topics import UpKind, UpTopic

KID = "abcdefghijklmnopqrstuvwxyz0"
numbers = st.integers(0, 2**63 - 1)


@given(numbers, numbers, st.booleans())
def test_telemetry_round_trip(epoch: int, stream: int, json: bool) -> None:
    topic = topics.telemetry(KID, epoch, stream, json=json)
    assert topics.parse(topic) == UpTopic(KID, UpKind.TELEMETRY, epoch, stream, json)


@given(numbers)
def test_other_topics_round_trip(epoch: int) -> None:
    assert topics.parse(topics.event(KID, epoch)) == UpTopic(KID, UpKind.EVENT, epoch)
    for build in (topics.announce, topics.now, topics.reported, topics.result):
        assert topics.parse(build(KID)).kind.value == build.__name__


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "d",
        f"d/{KID}",
        f"d/{KID}/control",
        f"d/{KID}/telemetry",
        f"d/{KID}/telemetry/1",
        f"d/{KID}/telemetry/1/2/xml",
        f"d/{KID}/telemetry/-1/2",
        f"d/{KID}/telemetry/01/2",
        f"d/{KID}/telemetry/1/9223372036854775808",
        f"d/{KID}/telemetry/1/",
        f"d/{KID}/telemetry/٣/1",
        f"d/{KID}/event",
        f"d/{KID}/announce/",
        f"e/{KID}/announce",
        f"/d/{KID}/announce",
        "d/+/announce",
        "d/#",
        "d/short/announce",
        f"d/{KID}/telemetry/{'9' * 200}/1",
    ],
)
def test_what_is_not_in_the_tree(topic: str) -> None:
    with pytest.raises(TopicError):
        topics.parse(topic)


@given(st.text(max_size=80))
def test_random_text_never_crashes(text: str) -> None:
    try:
        found = topics.parse(text)
    except TopicError:
        return
    assert found.kid in text
