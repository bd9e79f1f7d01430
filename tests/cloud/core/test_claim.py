"""The claim table: every state × every input, and long random lives. Owned devices: test_tenure.py."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.core.claim import (
    TRANSITIONS,
    AddClaim,
    AlreadyYours,
    Announced,
    Bind,
    Cancelled,
    Claimed,
    Effect,
    EndClaim,
    Expired,
    IgnoreKey,
    IllegalTransitionError,
    Input,
    Picked,
    RecordKey,
    Refuse,
    SetPick,
    Wait,
    decide,
    step,
)
from cloud.core.device import (
    LIVE_MS,
    ClaimState,
    Device,
    Key,
    KeyState,
    Owner,
    Pending,
    Refusal,
    State,
    Waiting,
    bindable_key,
    live_keys,
    why_waiting,
)
from cloud.core.effects import Notify, OpenMatter

NOW = 1_800_000_000_000
DAY = 86_400_000
KIDS = ("a" * 27, "b" * 27, "c" * 27)
COMPANIES = (1, 2, 3)


def key(kid: str = KIDS[0], *, age_ms: int = 0, on: bool = True, state: KeyState = KeyState.CANDIDATE) -> Key:
    return Key(kid, state, NOW - age_ms, on)


def pending(company: int = 1, *, at_ms: int = NOW - 1000, picked: str | None = None) -> Pending:
    return Pending(f"claim-{company}", company, 10 + company, at_ms, NOW + DAY, picked)


# --- which input does what in which state, pair by pair -----------------------------------------------------


def test_an_announcement_makes_a_candidate() -> None:
    device, effects = step(Device(), Announced(KIDS[0], smartconnect=True), NOW)
    assert device.state is State.CANDIDATE
    assert effects == (RecordKey(KIDS[0], inventory=True, bound=False, changed=True),)


def test_a_repeated_announcement_is_no_news_but_one_after_silence_is() -> None:
    for age_ms, changed in ((60_000, False), (LIVE_MS + 1, True)):
        _, effects = step(Device(keys=(key(age_ms=age_ms),)), Announced(KIDS[0], smartconnect=True), NOW)
        assert effects == (RecordKey(KIDS[0], inventory=True, bound=False, changed=changed),)


def test_a_claim_of_an_unseen_device_waits() -> None:
    device, effects = step(Device(), Claimed("x", 1, 11, NOW + DAY), NOW)
    assert device.state is State.PENDING
    assert effects == (
        AddClaim(Pending("x", 1, 11, NOW, NOW + DAY)),
        Wait("x", Waiting.FOR_DEVICE),
    )


def test_announce_first_then_claim_binds_at_once() -> None:
    device, effects = step(Device(keys=(key(age_ms=LIVE_MS),)), Claimed("x", 1, 11, NOW + DAY), NOW)
    assert device.owner == Owner(1, KIDS[0], NOW)
    assert device.key(KIDS[0]) == key(age_ms=LIVE_MS, state=KeyState.BOUND)
    assert effects[-1] == Bind("x", KIDS[0])


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ((key(age_ms=LIVE_MS + 1),), Waiting.FOR_DEVICE),
        ((key(state=KeyState.REVOKED),), Waiting.FOR_DEVICE),
        ((key(on=False),), Waiting.SMARTCONNECT_OFF),
        ((key(), key(KIDS[1])), Waiting.SEVERAL_KEYS),
    ],
)
def test_what_is_not_bindable_waits_and_says_why(keys: tuple[Key, ...], reason: Waiting) -> None:
    device, effects = step(Device(keys=keys), Claimed("x", 1, 11, NOW + DAY), NOW)
    assert device.state is State.PENDING
    assert effects[-1] == Wait("x", reason)


def test_a_silent_key_beside_the_live_one_does_not_matter() -> None:
    device, _ = step(
        Device(keys=(key(), key(KIDS[1], age_ms=LIVE_MS + 1))), Claimed("x", 1, 11, NOW + DAY), NOW
    )
    assert device.owner == Owner(1, KIDS[0], NOW)


def test_claim_first_then_the_announcement_binds_the_oldest_and_refuses_the_others() -> None:
    waiting = (pending(2, at_ms=NOW - 5), pending(1, at_ms=NOW - 9), pending(3, at_ms=NOW - 1))
    device, effects = step(Device(pending=waiting), Announced(KIDS[0], smartconnect=True), NOW)
    assert device.owner == Owner(1, KIDS[0], NOW)
    assert device.pending == ()
    assert effects[1:] == (
        Bind("claim-1", KIDS[0]),
        Refuse("claim-2", Refusal.OWNED_ELSEWHERE),
        Refuse("claim-3", Refusal.OWNED_ELSEWHERE),
    )


def test_smartconnect_off_keeps_everybody_waiting_until_it_is_on() -> None:
    device, effects = step(Device(pending=(pending(),)), Announced(KIDS[0], smartconnect=False), NOW)
    assert effects[-1] == Wait("claim-1", Waiting.SMARTCONNECT_OFF)
    device, effects = step(device, Announced(KIDS[0], smartconnect=True), NOW + 10)
    assert effects[-1] == Bind("claim-1", KIDS[0])


def test_the_same_company_joins_its_own_claim() -> None:
    before = Device(pending=(pending(),))
    device, effects = step(before, Claimed("again", 1, 99, NOW + 9 * DAY), NOW)
    assert device == before
    assert effects == (Wait("claim-1", Waiting.FOR_DEVICE),)


def test_the_order_of_claims_does_not_follow_a_clock_that_goes_back() -> None:
    device, _ = step(Device(pending=(pending(1, at_ms=NOW + 50),)), Claimed("x", 2, 12, NOW + DAY), NOW)
    assert [claim.created_ms for claim in device.pending] == [NOW + 50, NOW + 51]


def test_an_owned_device_is_yours_already_or_somebody_elses() -> None:
    owned = Device(keys=(key(state=KeyState.BOUND),), owner=Owner(1, KIDS[0], 7), last_epoch=7)
    assert step(owned, Claimed("x", 1, 12, NOW + DAY), NOW) == (owned, (AlreadyYours(7),))
    device, effects = step(owned, Claimed("x", 2, 12, NOW + DAY), NOW)
    assert device == replace(owned, matters=device.matters)
    assert effects[0] == Refuse("x", Refusal.OWNED_ELSEWHERE)


def test_a_second_key_on_an_owned_device_stays_a_candidate() -> None:
    owned = Device(keys=(key(state=KeyState.BOUND),), owner=Owner(1, KIDS[0], 7), last_epoch=7)
    device, effects = step(owned, Announced(KIDS[1], smartconnect=True), NOW)
    assert device == replace(owned, keys=(*owned.keys, key(KIDS[1])), matters=device.matters)
    assert effects[0] == RecordKey(KIDS[1], inventory=False, bound=False, changed=True)


def test_the_bound_key_brings_inventory_and_smartconnect() -> None:
    owned = Device(keys=(key(state=KeyState.BOUND),), owner=Owner(1, KIDS[0], 7), last_epoch=7)
    device, effects = step(owned, Announced(KIDS[0], smartconnect=False), NOW)
    assert device.owner == owned.owner
    assert effects == (RecordKey(KIDS[0], inventory=True, bound=True, changed=True),)


@pytest.mark.parametrize("owner", [None, Owner(1, KIDS[1], 7)])
def test_a_revoked_key_is_ignored(owner: Owner | None) -> None:
    device = Device(keys=(key(state=KeyState.REVOKED, age_ms=DAY),), owner=owner)
    assert step(device, Announced(KIDS[0], smartconnect=True), NOW) == (device, (IgnoreKey(KIDS[0]),))


def test_a_pick_binds_that_key_and_no_other_ever_after() -> None:
    device = Device(keys=(key(), key(KIDS[1])), pending=(pending(),))
    bound, effects = step(device, Picked("claim-1", KIDS[1]), NOW)
    assert bound.owner == Owner(1, KIDS[1], NOW)
    assert effects == (SetPick("claim-1", KIDS[1]), Bind("claim-1", KIDS[1]))
    only_the_other = Device(keys=(key(),), pending=(pending(picked=KIDS[1]),))
    same, effects = step(only_the_other, Announced(KIDS[0], smartconnect=True), NOW)
    assert same.owner is None
    assert effects[-1] == Wait("claim-1", Waiting.SEVERAL_KEYS)


def test_who_must_still_pick_does_not_hold_up_who_has_picked() -> None:
    waiting = (pending(1, at_ms=NOW - 9), pending(2, at_ms=NOW - 5))
    device = Device(keys=(key(), key(KIDS[1])), pending=waiting)
    bound, effects = step(device, Picked("claim-2", KIDS[1]), NOW)
    assert bound.owner == Owner(2, KIDS[1], NOW)
    assert effects[-1] == Refuse("claim-1", Refusal.OWNED_ELSEWHERE)


@pytest.mark.parametrize(
    "what", [Picked("claim-1", KIDS[2]), Picked("claim-9", KIDS[0]), Cancelled("claim-9")]
)
def test_strange_picks_and_cancellations_are_illegal(what: Input) -> None:
    with pytest.raises(IllegalTransitionError):
        step(Device(keys=(key(),), pending=(pending(),)), what, NOW)


def test_cancelling_and_expiring_leave_the_others() -> None:
    over = replace(pending(2), expires_ms=NOW)
    device = Device(pending=(pending(1), over))
    assert step(device, Cancelled("claim-1"), NOW) == (
        Device(pending=(over,)),
        (EndClaim("claim-1", ClaimState.CANCELLED),),
    )
    assert step(device, Expired(), NOW) == (
        Device(pending=(pending(1),)),
        (EndClaim("claim-2", ClaimState.EXPIRED),),
    )


def test_a_claim_whose_time_is_over_is_ended_before_anything_else() -> None:
    late = Device(pending=(replace(pending(), expires_ms=NOW),))
    device, effects = decide(late, Announced(KIDS[0], smartconnect=True), NOW)
    assert device.state is State.CANDIDATE
    assert effects[0] == EndClaim("claim-1", ClaimState.EXPIRED)
    assert decide(late, Expired(), NOW) == (Device(), (EndClaim("claim-1", ClaimState.EXPIRED),))
    device, effects = decide(late, Claimed("new", 1, 11, NOW + DAY), NOW)
    assert [claim.claim_id for claim in device.pending] == ["new"]


# --- every state × every input ------------------------------------------------------------------------------

times = st.integers(NOW - 2 * LIVE_MS, NOW)
candidates = st.builds(
    Key,
    kid=st.sampled_from(KIDS),
    state=st.sampled_from([KeyState.CANDIDATE, KeyState.CANDIDATE, KeyState.REVOKED]),
    announced_ms=times,
    smartconnect=st.booleans(),
)
key_lists = st.lists(candidates, max_size=3, unique_by=lambda one: one.kid).map(tuple)
pending_lists = st.lists(
    st.builds(
        Pending,
        claim_id=st.sampled_from(["p1", "p2", "p3"]),
        company_id=st.sampled_from(COMPANIES),
        account_id=st.just(5),
        created_ms=times,
        expires_ms=st.integers(NOW - DAY, NOW + DAY),
        picked_kid=st.none() | st.sampled_from(KIDS),
    ),
    min_size=1,
    max_size=3,
    unique_by=(lambda one: one.claim_id, lambda one: one.company_id, lambda one: one.created_ms),
).map(tuple)
owners = st.builds(
    lambda keys, company: Device(
        tuple(replace(one, state=KeyState.BOUND) if one is keys[0] else one for one in keys),
        (),
        Owner(company, keys[0].kid, NOW - DAY),
        NOW - DAY,
    ),
    key_lists.filter(bool),
    st.sampled_from(COMPANIES),
)
devices = {
    State.UNSEEN: st.builds(Device, last_epoch=st.integers(0, NOW + 5)),
    State.CANDIDATE: st.builds(Device, keys=key_lists.filter(bool), last_epoch=st.integers(0, NOW + 5)),
    State.PENDING: st.builds(
        Device, keys=key_lists, pending=pending_lists, last_epoch=st.integers(0, NOW + 5)
    ),
    State.OWNED: owners,
}
inputs: dict[type[Input], st.SearchStrategy[Input]] = {
    Announced: st.builds(Announced, kid=st.sampled_from(KIDS), smartconnect=st.booleans()),
    Claimed: st.builds(
        Claimed,
        claim_id=st.just("new"),
        company_id=st.sampled_from(COMPANIES),
        account_id=st.just(6),
        expires_ms=st.just(NOW + DAY),
    ),
    Picked: st.builds(Picked, claim_id=st.sampled_from(["p1", "p2"]), kid=st.sampled_from(KIDS)),
    Cancelled: st.builds(Cancelled, claim_id=st.sampled_from(["p1", "p2"])),
    Expired: st.builds(Expired),
}


ALLOWED_TOGETHER = (Refuse, EndClaim, RecordKey, AddClaim, SetPick, Bind, Wait, OpenMatter, Notify)


def check(before: Device, what: Input, after: Device, effects: tuple[Effect, ...], now_ms: int) -> None:
    """What every step must keep."""
    companies = [claim.company_id for claim in after.pending]
    assert len(companies) == len(set(companies))
    assert len({one.kid for one in after.keys}) == len(after.keys)
    assert after.last_epoch >= before.last_epoch
    binds = [effect for effect in effects if isinstance(effect, Bind)]
    assert len(binds) == (before.owner is None and after.owner is not None)
    if before.owner is not None:
        assert after.owner == before.owner
        assert after.last_epoch == before.last_epoch
        assert not after.pending
    if after.owner is not None:
        bound = [one for one in after.keys if one.state is KeyState.BOUND]
        assert [one.kid for one in bound] == [after.owner.kid]
    if binds and after.owner is not None:
        assert after.owner.epoch == after.last_epoch > before.last_epoch
        check_winner(before, what, binds[0], effects, now_ms)
    else:
        waits = {effect.claim_id: effect.reason for effect in effects if isinstance(effect, Wait)}
        for claim in after.pending:
            assert claim.claim_id not in waits or waits[claim.claim_id] is why_waiting(after, claim, now_ms)
    assert all(
        isinstance(
            effect, Refuse | EndClaim | RecordKey | AddClaim | SetPick | Bind | Wait | OpenMatter | Notify
        )
        or effects == (effect,)
        for effect in effects
    )


def check_winner(before: Device, what: Input, bind: Bind, effects: tuple[Effect, ...], now_ms: int) -> None:
    """The winner's key was bindable, no older claim had one, and everybody else was told."""
    keys, claims = before.keys, before.pending
    if isinstance(what, Announced):
        keys = (
            *(one for one in keys if one.kid != what.kid),
            Key(what.kid, KeyState.CANDIDATE, now_ms, what.smartconnect),
        )
    claims += tuple(effect.claim for effect in effects if isinstance(effect, AddClaim))
    if isinstance(what, Picked):
        claims = tuple(
            replace(one, picked_kid=what.kid) if one.claim_id == what.claim_id else one for one in claims
        )
    facts = Device(keys, claims)
    bindable = [one for one in claims if bindable_key(facts, one, now_ms) is not None]
    winner = min(bindable, key=lambda one: one.created_ms)
    assert winner.claim_id == bind.claim_id
    chosen = facts.key(bind.kid)
    assert chosen in live_keys(facts, now_ms)
    assert chosen is not None
    assert chosen.smartconnect
    assert winner.picked_kid == chosen.kid if winner.picked_kid else len(live_keys(facts, now_ms)) == 1
    refused = {effect.claim_id for effect in effects if isinstance(effect, Refuse)}
    assert refused == {one.claim_id for one in claims} - {winner.claim_id}


@pytest.mark.parametrize("state", devices)
@pytest.mark.parametrize("kind", inputs)
@given(data=st.data())
def test_every_state_and_input(state: State, kind: type[Input], data: st.DataObject) -> None:
    before = data.draw(devices[state])
    what = data.draw(inputs[kind])
    assert before.state is state
    if (state, kind) not in TRANSITIONS:
        with pytest.raises(IllegalTransitionError):
            step(before, what, NOW)
        return
    try:
        after, effects = step(before, what, NOW)
    except IllegalTransitionError:
        assert isinstance(what, Picked | Cancelled)
        return
    check(before, what, after, effects, NOW)


@settings(max_examples=300)
@given(st.lists(st.tuples(st.one_of(*inputs.values()), st.integers(0, LIVE_MS)), max_size=40))
def test_long_lives(life: list[tuple[Input, int]]) -> None:
    device, now_ms = Device(), NOW
    lives = [device]
    for number, (what, pause_ms) in enumerate(life):
        now_ms += pause_ms
        if isinstance(what, Claimed):
            what = replace(what, claim_id=f"p{number % 3 + 1}", expires_ms=now_ms + LIVE_MS)  # noqa: PLW2901
            if any(claim.claim_id == what.claim_id for claim in device.pending):
                continue
        try:
            after, effects = decide(device, what, now_ms)
        except IllegalTransitionError:
            continue
        ended = {effect.claim_id for effect in effects if isinstance(effect, EndClaim)}
        counted = replace(
            device, pending=tuple(claim for claim in device.pending if claim.claim_id not in ended)
        )
        check(counted, what, after, tuple(one for one in effects if not isinstance(one, EndClaim)), now_ms)
        device = after
        lives.append(device)
    assert all(one.last_epoch <= other.last_epoch for one, other in pairwise(lives))
