"""When silence is an absence: hold-off, gateways that do not listen, ownerships that are over."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from cloud.core.absence import BEAT_AGE_MS, Presence, Verdict, judge
from cloud.core.device_state import QUIET_MS

NOW = 1_000_000_000
AFTER = 120_000
GONE = Presence(
    epoch=7,
    from_ms=1,
    seen_ms=NOW - AFTER - 1,
    connected=False,
    smartconnect=True,
    revoked=False,
    listening_since_ms=1,
    beat_ms=NOW,
)
TOLD = replace(GONE, absent_epoch=7, absent_since_ms=GONE.seen_ms)


def verdict(presence: Presence | None) -> Verdict:
    return judge(presence, NOW, AFTER)


def test_silence_longer_than_the_hold_off_is_an_absence() -> None:
    assert verdict(GONE) is Verdict.BEGINS
    assert verdict(replace(GONE, seen_ms=NOW - AFTER)) is Verdict.NOTHING
    assert verdict(replace(GONE, seen_ms=NOW - 20_000)) is Verdict.NOTHING


def test_a_session_that_was_never_seen_to_end_counts_as_the_pages_count_it() -> None:
    assert verdict(replace(GONE, connected=True)) is Verdict.NOTHING
    assert verdict(replace(GONE, connected=True, seen_ms=NOW - QUIET_MS - 1)) is Verdict.BEGINS


def test_while_no_gateway_listens_nobody_is_away() -> None:
    assert verdict(replace(GONE, beat_ms=NOW - BEAT_AGE_MS - 1)) is Verdict.NOTHING
    assert verdict(replace(GONE, beat_ms=0, listening_since_ms=0)) is Verdict.NOTHING


def test_after_a_gateway_started_everybody_has_the_hold_off_to_come_back() -> None:
    assert verdict(replace(GONE, listening_since_ms=NOW - AFTER)) is Verdict.NOTHING
    assert verdict(replace(GONE, listening_since_ms=NOW - AFTER - 1)) is Verdict.BEGINS


def test_a_new_ownership_begins_with_the_hold_off() -> None:
    assert verdict(replace(GONE, seen_ms=0, from_ms=NOW - AFTER)) is Verdict.NOTHING
    assert verdict(replace(GONE, seen_ms=0, from_ms=NOW - AFTER - 1)) is Verdict.BEGINS


def test_who_was_switched_off_or_locked_out_is_not_away() -> None:
    assert verdict(replace(GONE, smartconnect=False)) is Verdict.NOTHING
    assert verdict(replace(GONE, revoked=True)) is Verdict.NOTHING


def test_an_absence_ends_when_the_device_is_connected_and_was_heard() -> None:
    assert verdict(TOLD) is Verdict.NOTHING
    assert verdict(replace(TOLD, seen_ms=NOW)) is Verdict.NOTHING
    assert verdict(replace(TOLD, connected=True)) is Verdict.NOTHING
    assert verdict(replace(TOLD, seen_ms=NOW, connected=True)) is Verdict.ENDS


def test_the_next_owner_hears_nothing_of_it() -> None:
    assert verdict(replace(TOLD, epoch=8, seen_ms=NOW, connected=True)) is Verdict.FORGET
    assert verdict(None) is Verdict.FORGET


@given(
    st.builds(
        Presence,
        epoch=st.just(7),
        from_ms=st.integers(0, NOW),
        seen_ms=st.integers(0, NOW),
        connected=st.booleans(),
        smartconnect=st.booleans(),
        revoked=st.booleans(),
        listening_since_ms=st.integers(0, NOW),
        beat_ms=st.integers(0, NOW),
    )
)
def test_what_was_just_told_is_not_told_again(presence: Presence) -> None:
    if verdict(presence) is Verdict.BEGINS:
        told = replace(presence, absent_epoch=7, absent_since_ms=presence.heard_ms)
        assert verdict(told) is Verdict.NOTHING
