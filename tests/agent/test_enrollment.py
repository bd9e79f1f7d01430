"""Enrollment: every phase with every input, and what `hello` makes the agent do."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.enrollment import (
    ANNOUNCE_EVERY_MS,
    MAX_WATCH_MS,
    Announce,
    Connected,
    Disconnected,
    Effect,
    Enrollment,
    Greeted,
    HelloRefusedError,
    IllegalTransitionError,
    Input,
    Phase,
    Remember,
    Reset,
    SendNow,
    Settle,
    Switched,
    Wipe,
    login_ms,
    step,
    tick,
    watched,
)
from agent.core.spool import Position
from protocol.messages import Hello, Watch

KID = "K" * 27
LOGIN = 5_000
NONCE = bytes(range(32))
EPOCH = 900


def state(phase: Phase = Phase.GREETING, *, owned: bool = False, smartconnect: bool = True) -> Enrollment:
    return Enrollment(
        kid=KID,
        smartconnect=smartconnect,
        owned=owned,
        epoch=EPOCH if owned else 0,
        phase=phase,
        login_ms=LOGIN if phase is not Phase.OFFLINE else 0,
    )


def hello(n: int = 1, *, owned: bool = False, epoch: int = EPOCH, stream: int = 0, seq: int = 0) -> Hello:
    return Hello(
        kid=KID,
        login_ms=LOGIN,
        n=n,
        server_time_ms=1,
        nonce=NONCE,
        owned=owned,
        epoch=epoch if owned else 0,
        stream=stream,
        seq=seq,
    )


def greet(before: Enrollment, message: Hello) -> tuple[Enrollment, tuple[Effect, ...]]:
    return step(before, Greeted(message, 1), 10_000, 0.5)


def test_a_connection_begins_anew() -> None:
    before = replace(state(Phase.OFFLINE), last_n=7, nonce=NONCE, watch_until_ms=9)
    after, effects = step(before, Connected(LOGIN), 0, 0.0)
    assert (after.phase, after.login_ms, after.last_n, after.nonce) == (Phase.GREETING, LOGIN, -1, b"")
    assert effects == ()
    assert not after.publishes


def test_first_hello_without_owner_announces() -> None:
    after, effects = greet(state(), hello())
    assert after.phase is Phase.UNOWNED
    assert effects == (Announce(),)
    assert after.nonce == NONCE
    assert not after.spools
    assert not after.publishes


def test_first_hello_with_owner_wipes_settles_remembers_announces_and_shows() -> None:
    after, effects = greet(state(), hello(owned=True, stream=4, seq=2))
    assert effects == (Wipe(EPOCH), Settle(Position(4, 2)), Remember(), Announce(), SendNow())
    assert after.publishes
    assert after.spools


@pytest.mark.parametrize("epoch", [EPOCH - 1, EPOCH + 1])
def test_another_epoch_wipes_higher_or_lower(epoch: int) -> None:
    after, effects = greet(state(Phase.OWNED, owned=True), hello(owned=True, epoch=epoch))
    assert effects[0] == Wipe(epoch)
    assert after.epoch == epoch


def test_the_same_epoch_only_settles() -> None:
    _, effects = greet(state(Phase.OWNED, owned=True), hello(owned=True, stream=4, seq=2))
    assert effects == (Settle(Position(4, 2)), SendNow())


def test_released_it_keeps_what_it_has_and_announces() -> None:
    after, effects = greet(state(Phase.OWNED, owned=True), hello())
    assert effects == (Remember(), Announce())
    assert after.epoch == EPOCH
    assert not after.publishes
    assert not after.publishes_events


def test_owned_without_an_epoch_is_refused() -> None:
    with pytest.raises(HelloRefusedError):
        greet(state(), hello(owned=True, epoch=0))


@pytest.mark.parametrize(
    "wrong", [{"kid": "L" * 27}, {"login_ms": LOGIN - 1}, {"login_ms": LOGIN + 1}, {"n": 3}, {"n": 2}]
)
def test_hellos_and_watches_of_another_time_are_refused(wrong: dict[str, object]) -> None:
    before = replace(state(Phase.UNOWNED), last_n=3, last_watch_n=3)
    with pytest.raises(HelloRefusedError):
        greet(before, replace(hello(4), **wrong))  # type: ignore[arg-type]  # fields of a hello
    with pytest.raises(HelloRefusedError):
        watched(before, replace(Watch(kid=KID, login_ms=LOGIN, n=4, seconds=3), **wrong), 0)  # type: ignore[arg-type]  # as above


def test_a_watch_is_bounded() -> None:
    message = Watch(kid=KID, login_ms=LOGIN, n=4, seconds=10**6)
    assert watched(state(Phase.OWNED), message, 100).watch_until_ms == 100 + MAX_WATCH_MS
    assert watched(state(Phase.OWNED), replace(message, seconds=-5), 100).watch_until_ms == 100


def test_switched_off_stops_telemetry_but_not_the_event_that_says_so() -> None:
    after, effects = step(state(Phase.OWNED, owned=True), Switched(on=False), 0, 0.0)
    assert effects == (Remember(), Announce())
    assert not after.publishes
    assert not after.spools
    assert after.publishes_events
    back, effects = step(after, Switched(on=True), 0, 0.0)
    assert effects == (Remember(), Announce(), SendNow())
    assert back.publishes
    assert step(back, Switched(on=True), 0, 0.0) == (back, ())


def test_switched_without_a_connection_is_remembered_only() -> None:
    for phase in (Phase.OFFLINE, Phase.GREETING):
        after, effects = step(state(phase), Switched(on=False), 0, 0.0)
        assert (after.smartconnect, effects) == (False, (Remember(),))


def test_reset_it_asks_and_is_silent_until_it_is_free_or_another_s() -> None:
    asked, effects = step(state(Phase.OWNED, owned=True), Reset(on=True), 0, 0.0)
    assert effects == (Remember(), Announce())
    assert not asked.spools
    assert not asked.publishes
    assert not asked.publishes_events
    assert step(asked, Reset(on=True), 0, 0.0) == (asked, ())
    again, _ = step(step(asked, Disconnected(), 0, 0.0)[0], Connected(LOGIN), 0, 0.0)
    still, effects = greet(again, hello(owned=True))
    assert effects == (Settle(Position(0, 0)), Announce())
    assert (still.release, still.publishes) == (True, False)
    for news in (hello(2), hello(2, owned=True, epoch=EPOCH + 1), hello(2, owned=True, epoch=EPOCH - 1)):
        after, effects = greet(still, news)
        assert not after.release
        assert Remember() in effects
    back, effects = step(asked, Reset(on=False), 0, 0.0)
    assert effects == (Remember(), Announce(), SendNow())
    assert back.publishes


def test_reset_without_a_connection_is_remembered_only() -> None:
    for phase in (Phase.OFFLINE, Phase.GREETING):
        after, effects = step(state(phase, owned=True), Reset(on=True), 0, 0.0)
        assert (after.release, after.spools, effects) == (True, False, (Remember(),))


def test_disconnected_nobody_looks() -> None:
    before = replace(state(Phase.OWNED, owned=True), watch_until_ms=99, nonce=NONCE)
    after, effects = step(before, Disconnected(), 0, 0.0)
    assert (after.phase, after.watch_until_ms, after.nonce, effects) == (Phase.OFFLINE, 0, b"", ())
    assert after.spools  # an owned device goes on collecting


@given(
    st.sampled_from(Phase),
    st.sampled_from(
        [
            Connected(9),
            Greeted(hello(5), 1),
            Greeted(hello(5, owned=True), 1),
            Switched(on=False),
            Reset(on=True),
            Disconnected(),
        ]
    ),
)
def test_every_phase_with_every_input(phase: Phase, event: Input) -> None:
    legal = {
        Phase.OFFLINE: (Connected, Switched, Reset, Disconnected),
        Phase.GREETING: (Greeted, Switched, Reset, Disconnected),
        Phase.UNOWNED: (Greeted, Switched, Reset, Disconnected),
        Phase.OWNED: (Greeted, Switched, Reset, Disconnected),
    }[phase]
    before = state(phase, owned=phase is Phase.OWNED)
    if isinstance(event, legal):
        after, _ = step(before, event, 0, 0.0)
        assert after.kid == before.kid
    else:
        with pytest.raises(IllegalTransitionError):
            step(before, event, 0, 0.0)


@given(st.floats(0, 1, exclude_max=True))
def test_announcements_are_a_minute_apart_a_fifth_more_or_less(draw: float) -> None:
    after, _ = step(state(), Greeted(hello(), 1), 1_000, draw)
    wait_ms = after.announce_at_ms - 1_000
    assert 0.8 * ANNOUNCE_EVERY_MS <= wait_ms <= 1.2 * ANNOUNCE_EVERY_MS
    assert tick(after, after.announce_at_ms - 1, draw) == (after, ())
    again, effects = tick(after, after.announce_at_ms, draw)
    assert effects == (Announce(),)
    assert again.announce_at_ms > after.announce_at_ms


def test_only_without_owner_time_alone_announces() -> None:
    for phase in (Phase.OFFLINE, Phase.GREETING, Phase.OWNED):
        assert tick(state(phase), 10**9, 0.0)[1] == ()


@given(st.integers(0, 2**53), st.integers(0, 2**53))
def test_the_iat_of_a_token_always_grows(last_ms: int, now_ms: int) -> None:
    assert login_ms(last_ms, now_ms) > last_ms
    assert login_ms(last_ms, now_ms) >= now_ms
