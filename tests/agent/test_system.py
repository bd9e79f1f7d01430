"""A server's database: its open request, its codes, whose registration it shows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.attachment import attach, detach, receive
from agent.core.system import (
    Database,
    Lead,
    Reading,
    ask,
    counted,
    enter,
    is_pressed,
    looked,
    open_request,
    own,
    pressed,
    shown,
    told,
)
from agent.system.store import cloud_secret_with, deleted, new_database
from protocol.codec import decode, encode
from protocol.system import (
    PassedOn,
    Registration,
    Source,
    Stand,
    System,
    SystemId,
    SystemNotice,
    SystemState,
)
from protocol.system_code import (
    CodeRefusal,
    CodeRefusedError,
    Operation,
    write_request,
    written_number,
)
from protocol.system_link import DetachReason
from tests.support.system_cloud import DAY_MS, SystemCloud

CLOUD = SystemCloud()
NOON = 20_000 * DAY_MS + DAY_MS // 2
TODAY = 20_000
STANDALONE = new_database(System.STANDALONE, "server", made_ms=NOON)
ENTERPRISE = new_database(System.ENTERPRISE_SERVER, "es", made_ms=NOON)
MINE = Registration(number="000001", registered_ms=NOON, integrator="Example Integrator")
OTHERS = Registration(number="000002", registered_ms=NOON, end_user="Example Hospital")


def at(wall_ms: int = NOON, mono_ms: int = 0, boot: str = "one") -> Reading:
    return Reading(wall_ms, mono_ms, boot)


def asked(
    database: Database = STANDALONE, operation: Operation = Operation.REGISTER, reading: Reading | None = None
) -> Database:
    return ask(database, operation, CLOUD.key(), bytes(range(10)), reading or at())


def request_of(database: Database) -> str:
    request = open_request(database)
    assert request is not None
    assert database.asked is not None
    return write_request(request, cloud_secret_with(database, database.asked.key))


def entered(database: Database, code: str, reading: Reading | None = None) -> Database:
    secret = None if database.asked is None else cloud_secret_with(database, database.asked.key)
    return enter(database, code, secret, reading or at())


def refusal(database: Database, code: str, reading: Reading | None = None) -> CodeRefusal:
    with pytest.raises(CodeRefusedError) as caught:
        entered(database, code, reading)
    return caught.value.refusal


def state(version: int = 1, **fields: object) -> SystemState:
    given_fields: dict[str, object] = {
        "system_id": STANDALONE.system_id,
        "counter": 1,
        "nonce": bytes(16),
        "server_time_ms": NOON,
        "version": version,
        "stand": Stand.REGISTERED,
        **fields,
    }
    return SystemState(**given_fields)  # type: ignore[arg-type]  # names of its fields


LEAD = Lead(system_id=ENTERPRISE.system_id, name="es", host="h", port=1, certificate=b"c", attached_ms=NOON)


def passed(counter: int, registration: Registration | None = OTHERS) -> PassedOn:
    return PassedOn(
        from_id=ENTERPRISE.system_id,
        to=STANDALONE.system_id,
        counter=counter,
        version=1,
        stand=Stand.UNREGISTERED if registration is None else Stand.REGISTERED,
        registration=registration,
    )


# --- the database -------------------------------------------------------------------------------------------


def test_the_system_id_is_the_key_s_and_nobody_else_s() -> None:
    assert SystemId.parse(STANDALONE.system_id).value == STANDALONE.system_id
    assert new_database(System.STANDALONE, "server", made_ms=NOON).system_id != STANDALONE.system_id


def test_a_deleted_database_leaves_its_old_id_to_people_and_nothing_else() -> None:
    full = told(asked(attach(STANDALONE, LEAD, NOON)), state(registration=MINE), NOON)
    fresh = deleted(full, made_ms=NOON + 1)
    assert fresh.system_id != full.system_id
    assert fresh.key != full.key
    assert fresh.link_key != full.link_key
    assert fresh.previous == (full.system_id,)
    assert (fresh.asked, fresh.entered, fresh.heard, fresh.lead, fresh.peers) == (None, None, None, None, ())
    assert shown(fresh).stand is Stand.UNREGISTERED


def test_it_survives_its_file() -> None:
    full = told(asked(attach(STANDALONE, LEAD, NOON)), state(registration=MINE), NOON)
    assert decode(encode(full), Database, 1 << 20) == full


def test_its_keys_are_not_shown() -> None:
    assert repr(STANDALONE.key) not in repr(STANDALONE)
    assert repr(STANDALONE.link_key) not in repr(STANDALONE)


@given(st.lists(st.integers(0, 2 * NOON), min_size=1, max_size=20))
def test_counters_grow_whatever_the_clock_does(walls: list[int]) -> None:
    database, last = STANDALONE, 0
    for wall_ms in walls:
        database = counted(database, wall_ms)
        assert database.counter > last
        last = database.counter


# --- codes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", list(Operation))
def test_a_code_registers_once(operation: Operation) -> None:
    database = asked(operation=operation)
    code = CLOUD.code(request_of(database), 77, day=TODAY)
    after = entered(database, code)
    assert shown(after).stand is Stand.REGISTERED
    assert shown(after).offline
    registration = shown(after).registration
    assert registration is not None
    assert registration.number == written_number(77)
    assert refusal(after, code) is CodeRefusal.NO_OPEN_REQUEST
    again = ask(after, operation, CLOUD.key(), bytes(10), at())
    assert refusal(again, code) is CodeRefusal.NOT_FOR_REQUEST


def test_nobody_asked() -> None:
    code = CLOUD.code(request_of(asked()), day=TODAY)
    assert refusal(STANDALONE, code) is CodeRefusal.NO_OPEN_REQUEST


def test_a_new_request_closes_the_one_before() -> None:
    first = asked()
    code = CLOUD.code(request_of(first), day=TODAY)
    second = ask(first, Operation.REGISTER, CLOUD.key(), bytes(10), at())
    assert refusal(second, code) is CodeRefusal.NOT_FOR_REQUEST


def test_another_server_s_code_and_a_forged_one_are_not_for_the_request() -> None:
    code = CLOUD.code(request_of(asked(ENTERPRISE)), day=TODAY)
    assert refusal(asked(), code) is CodeRefusal.NOT_FOR_REQUEST
    forger = SystemCloud()
    forged = ask(STANDALONE, Operation.REGISTER, forger.key(), bytes(range(10)), at())
    assert refusal(asked(), forger.code(request_of(forged), day=TODAY)) is CodeRefusal.NOT_FOR_REQUEST


def test_a_code_for_another_operation_is_told_so() -> None:
    database = asked()
    code = CLOUD.code(request_of(database), day=TODAY, operation=Operation.ASSOCIATE)
    assert refusal(database, code) is CodeRefusal.WRONG_OPERATION


def test_each_wrong_character_is_found_in_its_group() -> None:
    database = asked()
    code = CLOUD.code(request_of(database), day=TODAY)
    for place, sign in enumerate(code):
        if sign == "-":
            continue
        other = "7" if sign != "7" else "8"
        with pytest.raises(CodeRefusedError) as caught:
            entered(database, code[:place] + other + code[place + 1 :])
        assert caught.value.refusal is CodeRefusal.MISTYPED
        assert caught.value.group == place // 7 + 1
    assert shown(entered(database, code)).registration is not None


def test_a_key_that_was_rotated_after_the_request_still_counts() -> None:
    cloud = SystemCloud()
    database = ask(STANDALONE, Operation.REGISTER, cloud.key(), bytes(10), at())
    cloud.rotate()
    assert shown(entered(database, cloud.code(request_of(database), day=TODAY))).offline


@pytest.mark.parametrize(
    ("reading", "good"),
    [
        (at(NOON + DAY_MS // 2 - 1, DAY_MS // 2 - 1), True),
        (at(NOON + DAY_MS // 2, DAY_MS // 2), False),
        (at(NOON, DAY_MS // 2), False),  # the clock was put back, and the boot counts on
        (at(NOON - 30 * DAY_MS, 2 * DAY_MS), False),
        (at(NOON - 30 * DAY_MS, 1, "two"), True),  # as far as it can know, no time has passed
    ],
)
def test_expiry_by_both_clocks(reading: Reading, *, good: bool) -> None:
    database = asked()
    code = CLOUD.code(request_of(database), day=TODAY)
    if good:
        assert shown(entered(database, code, reading)).offline
    else:
        assert refusal(database, code, reading) is CodeRefusal.EXPIRED


def test_a_clock_that_is_put_back_after_a_restart_revives_no_code() -> None:
    database = asked()
    code = CLOUD.code(request_of(database), day=TODAY)
    late = looked(database, at(NOON + DAY_MS, 5, "two"))
    again = decode(encode(late), Database, 1 << 20)
    assert refusal(again, code, at(NOON, 1, "three")) is CodeRefusal.EXPIRED


def test_a_clock_that_was_wrong_when_nobody_asked_spoils_nothing() -> None:
    assert looked(STANDALONE, at(NOON + 10_000 * DAY_MS)) is STANDALONE
    later = ask(asked(reading=at(NOON + 10_000 * DAY_MS)), Operation.REGISTER, CLOUD.key(), bytes(10), at())
    assert shown(entered(later, CLOUD.code(request_of(later), day=TODAY))).offline


@given(
    st.lists(
        st.tuples(st.integers(-3 * DAY_MS, 3 * DAY_MS), st.integers(0, DAY_MS), st.sampled_from("ab")),
        max_size=8,
    )
)
def test_the_moment_that_counts_never_goes_back(steps: list[tuple[int, int, str]]) -> None:
    database, last = asked(), NOON
    mono = {"one": 0, "a": 0, "b": 0}
    for off_ms, passed_ms, boot in steps:
        mono[boot] += passed_ms
        reading = at(NOON + off_ms, mono[boot], boot)
        database = looked(database, reading)
        assert database.asked is not None
        assert database.asked.now_ms(reading) >= last
        last = database.asked.now_ms(reading)


# --- the cloud's word ---------------------------------------------------------------------------------------


def test_an_older_state_changes_nothing() -> None:
    newer = told(STANDALONE, state(5, registration=MINE), NOON)
    assert told(newer, state(4, registration=OTHERS), NOON) is newer
    assert shown(newer).registration == MINE


def test_the_same_state_again_is_no_news() -> None:
    first = told(STANDALONE, state(registration=MINE), NOON)
    second = told(first, state(registration=MINE), NOON + 1)
    assert second.at == first.at
    assert second.heard is not None
    assert second.heard.heard_ms == NOON + 1


def test_a_lead_s_registration_is_shown_as_the_lead_s() -> None:
    database = told(
        STANDALONE,
        state(source=Source.LEAD, source_id=ENTERPRISE.system_id, registration=OTHERS, own=MINE),
        NOON,
    )
    now = shown(database)
    assert (now.source, now.source_id, now.registration, now.own) == (
        Source.LEAD,
        ENTERPRISE.system_id,
        OTHERS,
        MINE,
    )
    alone = told(database, state(2, registration=MINE), NOON)
    assert (shown(alone).source, shown(alone).registration) == (Source.OWN, MINE)


def test_a_code_entered_after_the_cloud_s_word_counts_until_its_next() -> None:
    database = asked(told(STANDALONE, state(stand=Stand.UNREGISTERED), NOON))
    database = entered(database, CLOUD.code(request_of(database), 77, day=TODAY))
    assert shown(told(database, state(stand=Stand.UNREGISTERED), NOON)).offline
    assert not shown(told(database, state(2, registration=MINE), NOON)).offline


def test_what_the_cloud_said_of_a_registration_is_shown_when_a_code_names_it() -> None:
    known = replace(MINE, number=written_number(77))
    database = asked(told(STANDALONE, state(registration=known), NOON))
    after = entered(database, CLOUD.code(request_of(database), 77, day=TODAY))
    assert shown(after).registration == known


def test_register_now_counts_for_a_while_and_until_it_is_registered() -> None:
    database = pressed(STANDALONE, NOON)
    assert is_pressed(database, NOON + 1000)
    assert not is_pressed(database, NOON + 901_000)
    assert not is_pressed(database, NOON - 1)
    assert not is_pressed(told(database, state(registration=MINE), NOON), NOON + 1000)


def test_notices_come_once_and_in_order() -> None:
    def notice(number: int) -> SystemNotice:
        return SystemNotice(number=number, ts_ms=NOON, code="x", text=str(number))

    database = told(STANDALONE, state(1, notices=(notice(2), notice(1))), NOON)
    database = told(database, state(2, notices=(notice(3), notice(2))), NOON)
    assert [one.number for one in database.notices] == [1, 2, 3]


# --- whose registration is shown ----------------------------------------------------------------------------


def test_attached_it_shows_the_enterprise_server_s_and_its_own_comes_back() -> None:
    database = told(STANDALONE, state(registration=MINE), NOON)
    database = attach(database, LEAD, NOON)
    assert (shown(database).source, shown(database).registration) == (Source.ATTACHED, None)
    database = receive(database, passed(1), NOON)
    assert (shown(database).source, shown(database).registration) == (Source.ATTACHED, OTHERS)
    assert shown(database).own == own(database).own == MINE
    database = receive(database, passed(2, None), NOON)
    assert shown(database).registration is None
    database = detach(database, DetachReason.BY_ATTACHED, NOON)
    assert (shown(database).source, shown(database).registration) == (Source.OWN, MINE)


def test_the_later_of_cloud_and_link_counts_while_attached() -> None:
    database = receive(attach(STANDALONE, LEAD, NOON), passed(1), NOON)
    newer = replace(OTHERS, end_user="Example School")
    by_cloud = told(
        database,
        state(source=Source.ATTACHED, source_id=ENTERPRISE.system_id, registration=newer, own=MINE),
        NOON,
    )
    assert shown(by_cloud).registration == newer
    assert shown(by_cloud).own == MINE
    assert shown(receive(by_cloud, passed(2), NOON)).registration == OTHERS


def test_detached_before_the_cloud_knows_it_shows_its_own_or_nothing() -> None:
    """The cloud's last word is still that of the Enterprise Server."""
    attached: dict[str, Any] = {
        "source": Source.ATTACHED,
        "source_id": ENTERPRISE.system_id,
        "registration": OTHERS,
    }
    bare = detach(
        told(attach(STANDALONE, LEAD, NOON), state(**attached), NOON), DetachReason.BY_ATTACHED, NOON
    )
    assert (shown(bare).stand, shown(bare).source, shown(bare).registration) == (
        Stand.UNREGISTERED,
        Source.OWN,
        None,
    )
    rich = told(bare, state(2, own=MINE, **attached), NOON)
    assert (shown(rich).stand, shown(rich).source, shown(rich).registration) == (
        Stand.REGISTERED,
        Source.OWN,
        MINE,
    )
