"""The life of an owned device, pair by pair: every owned state × every input, and what each of them does."""

from dataclasses import replace

import pytest

from cloud.core.claim import TRANSITIONS, IllegalTransitionError, decide, is_due, step
from cloud.core.device import (
    STATE_OF,
    Device,
    Key,
    KeyState,
    Matter,
    MatterKind,
    MatterStatus,
    Owner,
    State,
)
from cloud.core.effects import (
    CloseMatter,
    Ending,
    EndOwnership,
    MoveOwnership,
    NoteReminder,
    Notice,
    Notify,
    OpenMatter,
    Rekey,
)
from cloud.core.handover import OFFER_MS
from cloud.core.inputs import (
    Announced,
    Cancelled,
    Claimed,
    CloneCleared,
    CloneSuspected,
    DisputeDismissed,
    DisputeGranted,
    DisputeWithdrawn,
    Expired,
    Input,
    Objected,
    OfferDeclined,
    Offered,
    OfferTaken,
    OfferWithdrawn,
    OwnerLeft,
    Picked,
    RekeyApproved,
    RekeyDismissed,
    ReleaseAsked,
    ReleaseCancelled,
    SecondHandAsked,
    StolenLifted,
    StolenMarked,
)
from cloud.core.matter import SECOND_HAND_MS
from cloud.core.tenure import DRAIN_MS, FORGET_KEY_MS

NOW = 1_800_000_000_000
DAY = 86_400_000
OLD, NEW = "a" * 27, "b" * 27

MATTERS = {
    State.OFFERED: Matter(
        kind=MatterKind.OFFER, opened_ms=NOW, due_ms=NOW + OFFER_MS, company_id=2, account_id=12, ref="o"
    ),
    State.REKEY_REQUESTED: Matter(kind=MatterKind.REKEY, subject=NEW, opened_ms=NOW, kid=NEW, told_ms=NOW),
    State.SECOND_HAND: Matter(
        kind=MatterKind.SECOND_HAND,
        opened_ms=NOW,
        due_ms=NOW + SECOND_HAND_MS,
        company_id=2,
        account_id=12,
        kid=NEW,
        ref="c",
    ),
    State.DISPUTED: Matter(
        kind=MatterKind.DISPUTE, subject="2", opened_ms=NOW, company_id=2, account_id=12, told_ms=NOW
    ),
    State.RELEASING: Matter(kind=MatterKind.RELEASE, opened_ms=NOW, due_ms=NOW + DRAIN_MS),
    State.CLONE_SUSPECTED: Matter(kind=MatterKind.CLONE, opened_ms=NOW),
    State.STOLEN: Matter(kind=MatterKind.STOLEN, opened_ms=NOW),
}
INPUTS: tuple[Input, ...] = (
    Announced(OLD, smartconnect=True),
    Claimed("x", 3, 13, NOW + DAY),
    Picked("x", OLD),
    Cancelled("x"),
    Expired(),
    ReleaseAsked(),
    ReleaseCancelled(),
    Offered("o2", 11, 3, None, b"h"),
    OfferTaken(2, 12),
    OfferDeclined(),
    OfferWithdrawn(),
    RekeyApproved(NEW),
    RekeyDismissed(NEW),
    SecondHandAsked(2, 12, NEW, "c2"),
    Objected(),
    DisputeDismissed(2),
    DisputeWithdrawn(2),
    DisputeGranted(2),
    CloneSuspected(OLD),
    CloneCleared(),
    StolenMarked(),
    StolenLifted(),
    OwnerLeft(None, None),
)
ALWAYS = {Announced, Claimed, Picked, Cancelled, Expired, CloneSuspected, StolenMarked, OwnerLeft}
FREE = ALWAYS | {ReleaseAsked, Offered}
TAKEN: dict[State, set[type[Input]]] = {
    State.OWNED: FREE,
    State.OFFERED: FREE | {OfferTaken, OfferDeclined, OfferWithdrawn},
    State.REKEY_REQUESTED: FREE | {RekeyApproved, RekeyDismissed},
    State.SECOND_HAND: FREE | {Objected},
    State.DISPUTED: FREE | {DisputeDismissed, DisputeWithdrawn, DisputeGranted, SecondHandAsked},
    State.RELEASING: ALWAYS | {ReleaseAsked, ReleaseCancelled},
    State.CLONE_SUSPECTED: ALWAYS | {CloneCleared},
    State.STOLEN: ALWAYS | {StolenLifted},
}
"""What a device takes on which exactly one thing is open: written by hand, beside the table."""


def key(kid: str, state: KeyState = KeyState.CANDIDATE, *, at_ms: int = NOW) -> Key:
    return Key(kid, state, at_ms, smartconnect=True)


def owned(*matters: Matter, connected: bool = False) -> Device:
    keys = (key(OLD, KeyState.BOUND), key(NEW))
    return Device(keys, (), Owner(1, OLD, NOW - DAY, connected), NOW - DAY, matters)


def device_in(state: State) -> Device:
    matters = (MATTERS[state],) if state in MATTERS else ()
    return owned(*matters, connected=state is State.RELEASING)


def test_the_inputs_here_are_all_there_are() -> None:
    assert {type(what) for what in INPUTS} == set(Input.__args__)
    assert set(TAKEN) == {state for state, _ in TRANSITIONS} - {
        State.UNSEEN,
        State.CANDIDATE,
        State.PENDING,
    }
    assert set(STATE_OF) == set(MatterKind)


@pytest.mark.parametrize("what", INPUTS, ids=lambda what: type(what).__name__)
@pytest.mark.parametrize("state", TAKEN)
def test_every_owned_state_and_input(state: State, what: Input) -> None:
    before = device_in(state)
    assert before.state is state
    if type(what) not in TAKEN[state]:
        with pytest.raises(IllegalTransitionError):
            step(before, what, NOW)
        return
    after, effects = step(before, what, NOW)
    changes = [one for one in effects if isinstance(one, EndOwnership | MoveOwnership | Rekey)]
    assert len(changes) == (after.owner != before.owner)
    if after.owner is None or after.owner.epoch != NOW - DAY:
        assert not after.matters
    opened = {(one.matter.kind, one.matter.subject) for one in effects if isinstance(one, OpenMatter)}
    closed = {(one.kind, one.subject) for one in effects if isinstance(one, CloseMatter)}
    was = {(one.kind, one.subject) for one in before.matters if one.status is MatterStatus.OPEN}
    now = {(one.kind, one.subject) for one in after.matters if one.status is MatterStatus.OPEN}
    assert now == (was - closed) | opened


def test_a_connected_device_is_released_when_it_has_drained_or_a_minute_has_passed() -> None:
    device, effects = step(owned(connected=True), ReleaseAsked(), NOW)
    assert device.state is State.RELEASING
    assert isinstance(effects[0], OpenMatter)
    assert decide(device, Expired(), NOW + DRAIN_MS - 1) == (device, ())
    assert device.owner is not None
    drained = replace(device, owner=replace(device.owner, stored_ms=NOW))
    for facts, at_ms in ((device, NOW + DRAIN_MS), (drained, NOW + 1)):
        after, effects = decide(facts, Expired(), at_ms)
        assert after.state is State.CANDIDATE
        assert effects[-2:] == (EndOwnership(NOW - DAY, Ending.RELEASED), Notify(Notice.RELEASED, 1))
        assert [one.state for one in after.keys] == [KeyState.CANDIDATE, KeyState.CANDIDATE]


def test_a_transfer_keeps_the_key_and_begins_an_epoch() -> None:
    after, effects = step(device_in(State.OFFERED), OfferTaken(2, 12), NOW)
    assert after.owner == Owner(2, OLD, NOW)
    assert MoveOwnership(NOW - DAY, 2, 12, Ending.TRANSFERRED) in effects
    with pytest.raises(IllegalTransitionError):
        step(device_in(State.OFFERED), OfferTaken(1, 11), NOW)


def test_an_offer_expires_after_seven_days() -> None:
    after, effects = decide(device_in(State.OFFERED), Expired(), NOW + OFFER_MS)
    assert after.open(MatterKind.OFFER) is None
    assert effects[0] == CloseMatter(MatterKind.OFFER, "", MatterStatus.EXPIRED)


def test_a_new_key_is_told_once_a_day_and_stays_dismissed() -> None:
    device, effects = step(owned(), Announced(NEW, smartconnect=True), NOW)
    assert Notify(Notice.REKEY_REQUESTED, 1) in effects
    third = Announced("c" * 27, smartconnect=True)
    device, effects = step(device, third, NOW + DAY - 1)
    assert not any(isinstance(one, Notify) for one in effects)
    device, _ = step(device, RekeyDismissed(NEW), NOW + DAY)
    device, effects = step(device, Announced(NEW, smartconnect=True), NOW + 2 * DAY)
    assert not any(isinstance(one, OpenMatter) for one in effects)


def test_a_silent_key_no_longer_asks() -> None:
    device, effects = decide(device_in(State.REKEY_REQUESTED), Expired(), NOW + FORGET_KEY_MS + 1)
    assert device.state is State.OWNED
    assert effects == (CloseMatter(MatterKind.REKEY, NEW, MatterStatus.EXPIRED),)


def test_an_approved_key_is_bound_in_the_same_epoch_and_the_old_one_revoked() -> None:
    before = owned(MATTERS[State.REKEY_REQUESTED], MATTERS[State.CLONE_SUSPECTED])
    after, effects = step(before, RekeyApproved(NEW), NOW)
    assert after.owner == Owner(1, NEW, NOW - DAY)
    assert [one.state for one in after.keys] == [KeyState.REVOKED, KeyState.BOUND]
    assert after.state is State.OWNED
    assert Rekey(NOW - DAY, NEW) in effects


def test_second_hand_by_the_bound_key() -> None:
    asks = Announced(OLD, smartconnect=True, release=True)
    device, effects = step(owned(connected=True), asks, NOW)
    assert device.state is State.SECOND_HAND
    assert Notify(Notice.SECOND_HAND_ASKED, 1) in effects
    assert step(device, asks, NOW + 1)[0].matters == device.matters
    kept, _ = step(device, Objected(), NOW + DAY)
    assert step(kept, asks, NOW + 2 * DAY)[0].state is State.OWNED
    after, effects = decide(device, Expired(), NOW + SECOND_HAND_MS)
    assert after.state is State.CANDIDATE
    assert EndOwnership(NOW - DAY, Ending.SECOND_HAND) in effects


@pytest.mark.parametrize(
    "asks", [Announced(OLD, smartconnect=True, release=True), SecondHandAsked(2, 12, NEW, "c")]
)
def test_the_owner_is_reminded_of_a_second_hand_request_twice(asks: Input) -> None:
    device, _ = step(owned(MATTERS[State.DISPUTED]), asks, NOW)
    told = [Notify(Notice.SECOND_HAND_REMINDER, 1, due_ms=NOW + SECOND_HAND_MS)]
    mails: list[tuple[int, int]] = []
    for day in range(14):
        for late in (-1, 0, 1):
            device, effects = decide(device, Expired(), NOW + day * DAY + late)
            reminders = [one for one in effects if isinstance(one, Notify)]
            assert reminders in ([], told)
            mails += [(day, late)] * len(reminders)
    assert mails == [(3, 0), (7, 0)]
    assert device.open(MatterKind.SECOND_HAND) is not None
    assert decide(device, Expired(), NOW + SECOND_HAND_MS)[0].owner is None


def test_a_portal_that_was_away_sends_one_reminder_and_an_objection_ends_them() -> None:
    device, _ = step(owned(), Announced(OLD, smartconnect=True, release=True), NOW)
    device, effects = decide(device, Expired(), NOW + 9 * DAY)
    assert effects == (
        NoteReminder(MatterKind.SECOND_HAND, "", 2),
        Notify(Notice.SECOND_HAND_REMINDER, 1, due_ms=NOW + SECOND_HAND_MS),
    )
    assert decide(device, Expired(), NOW + 10 * DAY)[1] == ()
    device, _ = step(owned(), Announced(OLD, smartconnect=True, release=True), NOW)
    device, _ = step(device, Objected(), NOW + DAY)
    assert not is_due(device, NOW + 4 * DAY)


def test_second_hand_by_a_new_key_is_void_when_the_bound_key_is_heard() -> None:
    device, _ = step(owned(MATTERS[State.DISPUTED]), SecondHandAsked(2, 12, NEW, "c"), NOW)
    assert device.open(MatterKind.SECOND_HAND) is not None
    spoken, effects = step(device, Announced(OLD, smartconnect=True), NOW + 1)
    assert spoken.open(MatterKind.SECOND_HAND) is None
    assert Notify(Notice.SECOND_HAND_REFUSED, 2) in effects
    assert device.owner is not None
    heard = replace(device, owner=replace(device.owner, heard_ms=NOW + 1))
    voided, effects = decide(heard, Expired(), NOW + SECOND_HAND_MS)
    assert voided.owner is not None
    assert CloseMatter(MatterKind.SECOND_HAND, "", MatterStatus.VOID) in effects
    silent, _ = decide(device, Expired(), NOW + SECOND_HAND_MS)
    assert [claim.picked_kid for claim in silent.pending] == [NEW]
    won, _ = step(silent, Announced(NEW, smartconnect=True), NOW + SECOND_HAND_MS + 1)
    assert won.owner is not None
    assert (won.owner.company_id, won.owner.kid) == (2, NEW)


def test_theft_and_suspicion_stop_what_would_move_the_device() -> None:
    acts = (MATTERS[State.OFFERED], MATTERS[State.SECOND_HAND])
    for what in (StolenMarked(), CloneSuspected(OLD)):
        after, effects = step(owned(*acts), what, NOW)
        assert {one.kind for one in after.matters} <= {MatterKind.STOLEN, MatterKind.CLONE}
        assert {one.status for one in effects if isinstance(one, CloseMatter)} == {MatterStatus.VOID}
    unmoved, effects = step(owned(), CloneSuspected(NEW), NOW)
    assert (unmoved, effects) == (owned(), ())


def test_a_dismissed_claimant_opens_nothing_more_and_a_withdrawn_one_may() -> None:
    disputed = device_in(State.DISPUTED)
    claimed = Claimed("y", 2, 12, NOW + DAY)
    for what, opens in ((DisputeDismissed(2), False), (DisputeWithdrawn(2), True)):
        answered, _ = step(disputed, what, NOW)
        _, effects = step(answered, claimed, NOW + 1)
        assert any(isinstance(one, OpenMatter) for one in effects) is opens
    granted, _ = step(disputed, DisputeGranted(2), NOW)
    assert granted.owner == Owner(2, OLD, NOW)


def test_a_closed_company_hands_over_or_lets_go() -> None:
    given, _ = step(device_in(State.STOLEN), OwnerLeft(3, 13), NOW)
    assert given.owner == Owner(3, OLD, NOW)
    free, _ = step(device_in(State.STOLEN), OwnerLeft(None, None), NOW)
    assert free.owner is None
    with pytest.raises(IllegalTransitionError):
        step(owned(), OwnerLeft(1, 11), NOW)
