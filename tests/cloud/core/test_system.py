"""What may be done with a registration, and by whom."""

import pytest

from cloud.core import system as rules
from cloud.core.refusal import RefusalCode, RefusedError
from cloud.core.system import OfferKind, Server, Slot, System
from protocol.system import Source

A, B, C = 1, 2, 3
NOW = 1_800_000_000_000
OLD, NEW = "1" * 43, "2" * 43
BOTH = System(7, OLD, {Slot.INTEGRATOR: A, Slot.END_USER: B}, information_ms=NOW, personal_ms=NOW)


def refusal(code: RefusalCode) -> pytest.RaisesExc[RefusedError]:
    """Expects a refusal with this code."""
    return pytest.RaisesExc(RefusedError, check=lambda error: error.code is code)


def test_the_first_one_gets_the_slot_and_the_other_slot_stays_free() -> None:
    system, server = rules.register(Server(OLD), None, Slot.INTEGRATOR, A, 7)
    assert (system.number, system.holders, server.number) == (7, {Slot.INTEGRATOR: A}, 7)
    assert rules.register(server, system, Slot.INTEGRATOR, A, 8) == (system, server)
    with refusal(RefusalCode.SYSTEM_TAKEN):
        rules.register(server, system, Slot.INTEGRATOR, B, 8)
    taken, _ = rules.register(server, system, Slot.END_USER, B, 8)
    assert taken.holders == {Slot.INTEGRATOR: A, Slot.END_USER: B}
    assert (Slot.INTEGRATOR.other, Slot.END_USER.other) == (Slot.END_USER, Slot.INTEGRATOR)


def test_a_retired_system_id_is_never_registered_again() -> None:
    for system in (None, BOTH):
        with refusal(RefusalCode.SYSTEM_RETIRED):
            rules.register(Server(OLD, retired=True), system, Slot.END_USER, C, 8)
    with refusal(RefusalCode.SYSTEM_RETIRED):
        rules.associate(Server(NEW, retired=True), BOTH, A, OLD)


def test_a_new_system_id_takes_the_place_of_the_one_that_was_seen() -> None:
    after, server = rules.associate(Server(NEW), BOTH, B, OLD)
    assert (after.system_id, server.number, after.holders) == (NEW, 7, BOTH.holders)
    assert rules.associate(server, after, A, OLD) == (after, server)  # again: the same answer
    with refusal(RefusalCode.SUPERSEDED):
        rules.associate(Server("3" * 43), after, A, OLD)
    with refusal(RefusalCode.NOT_FOUND):
        rules.associate(Server(NEW), BOTH, C, OLD)
    with refusal(RefusalCode.SYSTEM_TAKEN):
        rules.associate(Server(NEW, number=9), BOTH, A, OLD)


def test_a_lead_has_no_lead_and_a_shadow_no_shadows() -> None:
    lead = System(8, NEW, {Slot.END_USER: B})
    after = rules.follow(BOTH, lead, B)
    assert after.lead == 8
    assert rules.stand_alone(after, A).lead is None
    for shadow, over in (
        (BOTH, BOTH),
        (BOTH, System(9, NEW, {Slot.END_USER: B}, lead=8)),
        (System(9, NEW, {Slot.END_USER: B}, shadows=1), lead),
        (BOTH, System(9, NEW, {Slot.END_USER: B}, shadows=rules.MOST_SHADOWS)),
    ):
        with refusal(RefusalCode.LEAD_REFUSED):
            rules.follow(shadow, over, B)
    for company in (A, C):  # holds no slot of the lead; of neither
        with refusal(RefusalCode.NOT_FOUND):
            rules.follow(BOTH, lead, company)


def test_slots_are_offered_by_holders_and_taken_once() -> None:
    free = System(7, OLD, {Slot.INTEGRATOR: A})
    assert rules.may_offer(free, A, Slot.END_USER) is OfferKind.INVITE
    assert rules.may_offer(free, A, Slot.INTEGRATOR) is OfferKind.HAND_OVER
    with refusal(RefusalCode.SLOT_TAKEN):
        rules.may_offer(BOTH, A, Slot.END_USER)
    with refusal(RefusalCode.NOT_FOUND):
        rules.may_offer(BOTH, C, Slot.END_USER)
    assert rules.take(free, Slot.END_USER, OfferKind.INVITE, A, C).holders[Slot.END_USER] == C
    with refusal(RefusalCode.SLOT_TAKEN):
        rules.take(BOTH, Slot.END_USER, OfferKind.INVITE, A, C)
    with refusal(RefusalCode.LINK_INVALID):
        rules.take(BOTH, Slot.END_USER, OfferKind.HAND_OVER, A, C)
    with refusal(RefusalCode.LINK_INVALID):
        rules.take(free, Slot.END_USER, OfferKind.INVITE, C, B)


def test_consents_are_the_end_users_own() -> None:
    handed = rules.take(BOTH, Slot.END_USER, OfferKind.HAND_OVER, B, C)
    assert (handed.holders[Slot.END_USER], handed.confirmed) == (C, False)
    kept = rules.take(BOTH, Slot.INTEGRATOR, OfferKind.HAND_OVER, A, C)
    assert kept.confirmed
    with refusal(RefusalCode.OTHER_SLOT):
        rules.consent(BOTH, A, information=True, personal=True, share_ups=True, now_ms=NOW)
    one = rules.consent(handed, C, information=True, personal=False, share_ups=True, now_ms=NOW)
    assert (one.information_ms, one.confirmed, one.share_ups) == (NOW, False, True)
    both = rules.consent(one, C, information=True, personal=True, share_ups=True, now_ms=NOW + 5)
    assert (both.information_ms, both.personal_ms, both.confirmed) == (NOW, NOW + 5, True)


def test_who_leaves_takes_nothing_along_and_the_last_one_ends_it() -> None:
    without = rules.leave(BOTH, Slot.END_USER, B)
    assert (without.holders, without.confirmed, without.ended) == ({Slot.INTEGRATOR: A}, False, False)
    assert rules.leave(without, Slot.INTEGRATOR, A).ended
    assert rules.leave(BOTH, Slot.INTEGRATOR, A).confirmed
    for company, slot in ((A, Slot.END_USER), (C, Slot.INTEGRATOR)):
        with refusal(RefusalCode.NOT_FOUND):
            rules.leave(BOTH, slot, company)


def test_the_end_user_decides_about_the_end() -> None:
    ended = rules.end(BOTH, B)
    assert (ended.ended, ended.holders, ended.slots_of(B)) == (True, {}, frozenset())
    with refusal(RefusalCode.OTHER_SLOT):
        rules.end(BOTH, A)
    assert rules.end(System(7, OLD, {Slot.INTEGRATOR: A}), A).ended
    with refusal(RefusalCode.NOT_FOUND):
        rules.end(ended, B)


def test_what_is_shown_always_says_where_it_comes_from() -> None:
    own = System(7, OLD, {Slot.END_USER: B}, lead=8)
    lead = System(8, NEW, {Slot.END_USER: B})
    enterprise = System(9, "3" * 43, {Slot.END_USER: C})
    assert rules.shown(None, None, None, None).number is None
    alone = rules.shown(System(7, OLD, {Slot.END_USER: B}), None, None, None)
    assert (alone.number, alone.source) == (7, Source.OWN)
    led = rules.shown(own, lead, None, None)
    assert (led.number, led.source, led.source_id) == (8, Source.LEAD, NEW)
    attached = rules.shown(own, lead, enterprise, None)
    assert (attached.number, attached.source, attached.source_id) == (9, Source.ATTACHED, "3" * 43)
    upper = System(9, "3" * 43, {Slot.END_USER: B}, lead=8)
    assert rules.shown(own, lead, upper, lead).number == 8
    for gone in (System(8, NEW, {Slot.END_USER: B}, ended=True), System(8, NEW, {Slot.END_USER: C})):
        assert rules.shown(own, gone, None, None).number == 7  # ended, or nobody holds both any more
        assert rules.shown(own, lead, upper, gone).number == 9
    ended = System(9, "3" * 43, {}, ended=True)
    assert rules.shown(own, lead, ended, None).source is Source.LEAD
    assert rules.shown(System(7, OLD, {}, ended=True), None, None, None).number is None
