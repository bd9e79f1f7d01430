"""Which writer gets what: order within a session, one writer at a low rate, all of them at a high one."""

from hypothesis import given
from hypothesis import strategies as st

from cloud.core.session import Standing
from cloud.core.upload import Upload
from cloud.gateway.lanes import LITTLE_BYTES, Lanes
from cloud.gateway.session import Session
from protocol.mqtt import V5
from protocol.topics import UpKind, UpTopic

TOPIC = UpTopic("k", UpKind.TELEMETRY, epoch=1, stream=1)
MUCH = LITTLE_BYTES
SIZES = st.sampled_from([0, 1, MUCH // 2, MUCH, 3 * MUCH])


def session() -> Session:
    return Session(
        link=None,  # type: ignore[arg-type]  # not looked at here
        voice=None,  # type: ignore[arg-type]  # the same
        kid="k",
        device_id=1,
        login_ms=1,
        version=V5,
        keep_alive_s=60,
        peer="127.0.0.1:1",
        nonce=b"",
        standing=Standing(),
    )


def upload(size: int, messages: int = 1) -> Upload:
    return Upload(messages, topic=TOPIC, joined=bytes(size), size=size, messages=messages)


def test_at_a_low_rate_the_first_writer_has_everything() -> None:
    lanes = Lanes(3)
    assert [lanes.enter(session(), upload(100)) for _ in range(20)] == [0] * 20


def test_at_a_high_rate_every_writer_gets_its_part() -> None:
    lanes = Lanes(2)
    assert [lanes.enter(session(), upload(MUCH)) for _ in range(6)] == [0, 1, 0, 1, 0, 1]


def test_a_session_stays_where_something_of_it_waits() -> None:
    lanes = Lanes(2)
    one, two = session(), session()
    parts = [upload(MUCH), upload(10)]
    assert [lanes.enter(one, part) for part in parts] == [0, 0]
    assert lanes.enter(two, upload(10)) == 1
    lanes.leave(one, parts[0])
    assert lanes.enter(one, upload(MUCH)) == 0
    lanes.leave(one, parts[1])
    assert lanes.enter(one, upload(1)) == 0


def test_a_session_of_which_nothing_waits_goes_where_less_is_to_do() -> None:
    lanes = Lanes(2)
    one, two = session(), session()
    part = upload(10)
    lanes.enter(one, part)
    lanes.leave(one, part)
    lanes.enter(two, upload(MUCH))
    assert lanes.enter(one, part) == 1


def test_messages_that_are_decided_one_by_one_count_like_those_that_came_together() -> None:
    lanes = Lanes(2)
    one = session()
    together = upload(MUCH, messages=4)
    together.joined, together.size, together.ids = bytes(MUCH), MUCH // 4, bytes(8)
    lanes.enter(one, together)
    for single in together.singles():
        assert one.waiting
        lanes.leave(one, single)
    assert (one.waiting, lanes.held_bytes) == (0, 0)


@given(st.lists(st.tuples(st.integers(0, 3), SIZES, st.booleans()), max_size=60), st.integers(1, 3))
def test_nothing_is_held_when_all_is_decided(steps: list[tuple[int, int, bool]], count: int) -> None:
    lanes = Lanes(count)
    sessions = [session() for _ in range(4)]
    waiting: list[tuple[Session, Upload]] = []
    for who, size, decides in steps:
        part = upload(size)
        before = sessions[who].waiting, sessions[who].lane
        lane = lanes.enter(sessions[who], part)
        assert 0 <= lane < count
        if before[0]:
            assert lane == before[1]
        waiting.append((sessions[who], part))
        assert lanes.held_bytes == sum(one.bytes_held() for _, one in waiting)
        if decides:
            lanes.leave(*waiting.pop(0))
    for device, part in waiting:
        lanes.leave(device, part)
    assert lanes.held_bytes == 0
    assert [device.waiting for device in sessions] == [0] * 4
