"""What an MQTT session may do, as tables."""

from dataclasses import replace
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.core.session import (
    MAX_KEEP_ALIVE_S,
    MIN_KEEP_ALIVE_S,
    AckQueue,
    Bucket,
    Drop,
    Entry,
    LoginRequest,
    Refusal,
    Standing,
    connack_code,
    granted_keep_alive_s,
    judge_connect,
    judge_flags,
    judge_standing,
    judge_subscribe,
    judge_topic,
)
from protocol.errors import Reason
from protocol.mqtt import V5, V311, Connect, Publish, Subscribe, Will
from protocol.topics import UpTopic

KID: Final = "k" * 27
OTHER: Final = "o" * 27
TAKEN: Final = "taken"

# --- connect ------------------------------------------------------------------------------------------------

LOGIN: Final = Connect(KID, username=KID, password=b"token", keep_alive_s=60)


@pytest.mark.parametrize("version", [V311, V5])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"client_id": ""}, Reason.CLIENT_IDENTIFIER_NOT_VALID),
        ({"client_id": "k" * 26}, Reason.CLIENT_IDENTIFIER_NOT_VALID),
        ({"client_id": KID + "\n"}, Reason.CLIENT_IDENTIFIER_NOT_VALID),
        ({"client_id": OTHER}, Reason.BAD_USER_NAME_OR_PASSWORD),
        ({"username": None}, Reason.BAD_USER_NAME_OR_PASSWORD),
        ({"username": OTHER}, Reason.BAD_USER_NAME_OR_PASSWORD),
        ({"password": None}, Reason.BAD_USER_NAME_OR_PASSWORD),
        ({"password": b""}, Reason.BAD_USER_NAME_OR_PASSWORD),
        ({"password": "é".encode()}, Reason.BAD_USER_NAME_OR_PASSWORD),
        ({"will": Will("d/x", b"bye")}, Reason.IMPLEMENTATION_SPECIFIC),
    ],
)
def test_a_connect_is_refused_before_the_database_is_asked(
    change: dict[str, object], reason: Reason | None, version: int
) -> None:
    outcome = judge_connect(replace(LOGIN, version=version, **change))  # type: ignore[arg-type]  # a table
    if reason is None:
        assert outcome == LoginRequest(KID, "token", 60)
    else:
        assert isinstance(outcome, Refusal)
        assert outcome.reason is reason


def test_session_state_is_refused_where_it_cannot_be_declined() -> None:
    resumed = judge_connect(replace(LOGIN, version=V311, clean_start=False))
    assert isinstance(resumed, Refusal)
    assert resumed.reason is Reason.NOT_AUTHORIZED
    # With MQTT 5 the CONNACK says that there is no session to resume.
    assert isinstance(judge_connect(replace(LOGIN, version=V5, clean_start=False)), LoginRequest)


def test_a_log_in_token_is_never_printed() -> None:
    assert "token" not in repr(judge_connect(LOGIN)).replace("token=", "")


@given(st.integers(0, 65535))
def test_keep_alive_is_never_none_and_never_endless(asked_s: int) -> None:
    granted = granted_keep_alive_s(asked_s)
    assert MIN_KEEP_ALIVE_S <= granted <= MAX_KEEP_ALIVE_S
    if MIN_KEEP_ALIVE_S <= asked_s <= MAX_KEEP_ALIVE_S:
        assert granted == asked_s


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (Reason.SUCCESS, 0),
        (Reason.UNSUPPORTED_PROTOCOL_VERSION, 1),
        (Reason.CLIENT_IDENTIFIER_NOT_VALID, 2),
        (Reason.SERVER_UNAVAILABLE, 3),
        (Reason.SERVER_BUSY, 3),
        (Reason.QUOTA_EXCEEDED, 3),
        (Reason.BAD_USER_NAME_OR_PASSWORD, 4),
        (Reason.NOT_AUTHORIZED, 5),
        (Reason.IMPLEMENTATION_SPECIFIC, 5),
    ],
)
def test_connack_codes(reason: Reason, code: int) -> None:
    assert connack_code(reason, V311) == code
    assert connack_code(reason, V5) == reason


@given(st.sampled_from(Reason))
def test_3_1_1_knows_no_other_connack_codes(reason: Reason) -> None:
    assert connack_code(reason, V311) in range(6)
    assert (connack_code(reason, V311) == 0) is (reason is Reason.SUCCESS)


# --- standing -----------------------------------------------------------------------------------------------

EPOCH: Final = 7
STANDINGS: Final = {
    "stranger": Standing(),
    "candidate": Standing(known=True, login_ms=5),
    "released": Standing(known=True, epoch=EPOCH, login_ms=5),
    "owned": Standing(known=True, owned=True, epoch=EPOCH, login_ms=5, session_no=5, stream=3, seq=4),
}


@pytest.mark.parametrize(
    ("standing", "login_ms", "reason"),
    [
        (STANDINGS["stranger"], 5, None),
        (STANDINGS["candidate"], 5, None),
        (STANDINGS["candidate"], 6, None),
        (STANDINGS["candidate"], 4, Reason.SESSION_TAKEN_OVER),
        (STANDINGS["owned"], 5, None),
        (STANDINGS["owned"], 4, Reason.SESSION_TAKEN_OVER),
        (replace(STANDINGS["owned"], session_no=4), 5, Reason.SESSION_TAKEN_OVER),
        (replace(STANDINGS["owned"], session_no=6), 5, Reason.SESSION_TAKEN_OVER),
        (replace(STANDINGS["released"], session_no=6), 5, None),
        (replace(STANDINGS["candidate"], revoked=True), 5, Reason.ADMINISTRATIVE_ACTION),
        (replace(STANDINGS["owned"], revoked=True), 5, Reason.ADMINISTRATIVE_ACTION),
    ],
)
def test_a_session_ends_when_its_key_may_no_longer_write(
    standing: Standing, login_ms: int, reason: Reason | None
) -> None:
    outcome = judge_standing(standing, login_ms)
    assert (outcome and (outcome.reason, outcome.ends)) == (reason and (reason, True))


def test_what_a_device_must_be_told() -> None:
    owned = STANDINGS["owned"]
    assert owned.hello_differs(STANDINGS["released"])
    assert owned.hello_differs(replace(owned, epoch=8))
    assert owned.hello_differs(replace(owned, settings_version=1))
    assert not owned.hello_differs(replace(owned, stream=9, seq=9, watch_until_ms=9, login_ms=9))


# --- publish ------------------------------------------------------------------------------------------------

REFUSED: Final = Reason.NOT_AUTHORIZED
WRONG: Final = Reason.TOPIC_NAME_INVALID
OLD: Final = Drop.OLD_EPOCH
# What becomes of a topic, for: a stranger, a candidate, a key without owner that had one, the bound key.
TOPICS: Final[dict[str, tuple[str | Drop | Reason, ...]]] = {
    "announce": (TAKEN, TAKEN, TAKEN, TAKEN),
    "now": (Drop.NOT_OWNED, Drop.NOT_OWNED, Drop.NOT_OWNED, TAKEN),
    "telemetry/0/1": (REFUSED, REFUSED, OLD, OLD),
    "telemetry/6/1": (REFUSED, REFUSED, OLD, OLD),
    "telemetry/7/1": (REFUSED, REFUSED, OLD, TAKEN),
    "telemetry/7/1/json": (REFUSED, REFUSED, OLD, TAKEN),
    "telemetry/8/1": (REFUSED, REFUSED, REFUSED, REFUSED),
    "event/0": (REFUSED, REFUSED, OLD, OLD),
    "event/6": (REFUSED, REFUSED, OLD, OLD),
    "event/7": (REFUSED, REFUSED, OLD, TAKEN),
    "event/8": (REFUSED, REFUSED, REFUSED, REFUSED),
    "reported": (Drop.NOT_OWNED, Drop.NOT_OWNED, Drop.NOT_OWNED, TAKEN),
    "result": (Drop.NOT_OWNED, Drop.NOT_OWNED, Drop.NOT_OWNED, TAKEN),
    "control": (WRONG,) * 4,
    "telemetry": (WRONG,) * 4,
    "telemetry/7": (WRONG,) * 4,
    "telemetry/7/1/xml": (WRONG,) * 4,
    "telemetry/07/1": (WRONG,) * 4,
    "telemetry/-7/1": (WRONG,) * 4,
    "telemetry/9223372036854775808/1": (WRONG,) * 4,
    "": (WRONG,) * 4,
}


@pytest.mark.parametrize("place", range(4), ids=list(STANDINGS))
@pytest.mark.parametrize("rest", TOPICS)
def test_every_topic_in_every_standing(rest: str, place: int) -> None:
    standing = list(STANDINGS.values())[place]
    outcome = judge_topic(KID, f"d/{KID}/{rest}", standing)
    match TOPICS[rest][place]:
        case Reason() as reason:
            assert isinstance(outcome, Refusal)
            assert (outcome.reason, outcome.ends) == (reason, False)
        case Drop() as drop:
            assert outcome is drop
        case _:
            assert isinstance(outcome, UpTopic)
            assert outcome.kid == KID


@pytest.mark.parametrize("place", range(4), ids=list(STANDINGS))
@pytest.mark.parametrize("rest", [rest for rest, outcomes in TOPICS.items() if outcomes[0] is not WRONG])
def test_no_topic_of_another_key_is_ever_taken(rest: str, place: int) -> None:
    outcome = judge_topic(KID, f"d/{OTHER}/{rest}", list(STANDINGS.values())[place])
    assert isinstance(outcome, Refusal)
    assert outcome.reason is Reason.NOT_AUTHORIZED


@given(st.text(max_size=140), st.sampled_from(sorted(STANDINGS)))
def test_any_text_as_a_topic_is_refused(topic: str, name: str) -> None:
    outcome = judge_topic(KID, topic, STANDINGS[name])
    assert isinstance(outcome, Refusal)
    assert outcome.reason is Reason.TOPIC_NAME_INVALID


@pytest.mark.parametrize(
    ("qos", "retain", "reason"),
    [
        (0, False, None),
        (1, False, None),
        (2, False, Reason.QOS_NOT_SUPPORTED),
        (2, True, Reason.QOS_NOT_SUPPORTED),
        (0, True, Reason.RETAIN_NOT_SUPPORTED),
        (1, True, Reason.RETAIN_NOT_SUPPORTED),
    ],
)
def test_qos_2_and_retained_messages_end_the_connection(
    qos: int, retain: bool, reason: Reason | None
) -> None:
    outcome = judge_flags(Publish("t", b"", qos=qos, retain=retain))
    assert (outcome and (outcome.reason, outcome.ends)) == (reason and (reason, True))


@given(st.lists(st.integers(-3_000, 30_000), max_size=60))
def test_a_quota_lets_a_burst_through_and_then_one_a_period(steps: list[int]) -> None:
    bucket, now_ms, taken = Bucket(6, 10_000), 1_000_000, []
    for step in steps:
        now_ms += step
        if bucket.take(now_ms):
            taken.append(now_ms)
    forward_ms = sum(step for step in steps if step > 0)
    assert len(taken) <= 6 + forward_ms // 10_000
    if all(step >= 10_000 for step in steps):
        assert len(taken) == len(steps)


# --- subscribe ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "code"),
    [
        (f"d/{KID}/control", 0),
        (f"d/{OTHER}/control", Reason.NOT_AUTHORIZED),
        (f"d/{KID}/announce", Reason.NOT_AUTHORIZED),
        (f"d/{KID}/#", Reason.WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED),
        ("d/+/control", Reason.WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED),
        ("#", Reason.WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED),
        (f"$share/g/d/{KID}/control", Reason.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED),
        ("$SYS/broker", Reason.NOT_AUTHORIZED),
        ("", Reason.NOT_AUTHORIZED),
    ],
)
def test_only_the_own_control_topic_is_granted(name: str, code: int) -> None:
    for qos in range(3):
        assert judge_subscribe(KID, Subscribe(1, ((name, qos),)), V5) == (code,)
        assert judge_subscribe(KID, Subscribe(1, ((name, qos),)), V311) == (0x80 if code else 0,)


def test_each_filter_has_its_own_code() -> None:
    subscribe = Subscribe(1, (("#", 0), (f"d/{KID}/control", 1), (f"d/{OTHER}/control", 0)))
    assert judge_subscribe(KID, subscribe, V311) == (0x80, 0, 0x80)


# --- the order of PUBACKs -----------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 5), min_size=1, max_size=8), st.data())
def test_pubacks_leave_in_order_and_once_whatever_is_decided_first(
    counts: list[int], data: st.DataObject
) -> None:
    queue = AckQueue()
    entries = [Entry(count) for count in counts]
    for entry in entries:
        queue.add(entry)
    sent = b""
    for place in data.draw(st.permutations(range(len(entries)))):
        entries[place].acks = bytes([place]) * counts[place]
        sent += queue.ready()
        undecided = [i for i, entry in enumerate(entries) if entry.acks is None]
        first = undecided[0] if undecided else len(entries)
        assert sent == b"".join(bytes([i]) * counts[i] for i in range(first))
        assert queue.unacknowledged == sum(counts[first:])
        assert list(queue.waiting()) == entries[first:]
    assert queue.ready() == b""
