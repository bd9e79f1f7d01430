"""The ledger of settings: who wins at the device."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from agent.core.settings import (
    Change,
    Ledger,
    Local,
    Moment,
    begin,
    finish,
    intend,
    look,
    overtake,
    plan,
    report_of,
    take,
    tell_again,
)
from protocol.messages import Desired, Scalar
from protocol.registers import check_write
from protocol.settings import words_of

KID = "k" * 27
OFFSET = 1_700_000_000_000


def at(mono_ms: int) -> Moment:
    """A moment of this boot."""
    return Moment("boot", mono_ms, OFFSET)


def wanted(version: int, set_ms: int | None = None, **settings: str | int) -> Desired:
    """What the cloud wants of a device of epoch 7."""
    times = {} if set_ms is None else dict.fromkeys(settings, set_ms)
    return Desired(kid=KID, epoch=7, version=version, settings={**settings}, set_ms=times)


def seen_first(**settings: str | int) -> Ledger:
    """A ledger after its first look."""
    ledger, changes = look(begin(Ledger(), 7, at(0)), settings, at(1))
    assert changes == ()
    return ledger


def carry_out(ledger: Ledger, now: Moment, **took: str) -> Ledger:
    """What the shell does, with a UPS that takes everything but ``took``'s names."""
    todo = plan(ledger, now)
    assert todo is not None
    before, outcome = dict(ledger.seen), {}
    for name, value in todo.writes.items():
        outcome[name] = took.get(name, "")
        if not outcome[name]:
            ledger, _ = look(intend(ledger, name, value), {name: value}, now)
    return finish(ledger, todo, outcome, before, now)[0]


def test_what_is_wanted_is_considered_once() -> None:
    ledger = take(seen_first(transfer_low=208), wanted(OFFSET + 10, transfer_low=190))
    done = carry_out(ledger, at(20))
    assert (done.base_version, done.wanted, done.seen["transfer_low"]) == (OFFSET + 10, None, 190)
    assert done.changed == {}
    assert take(done, wanted(OFFSET + 10, transfer_low=185)) == done
    assert take(done, wanted(OFFSET + 9, transfer_low=185)) == done
    assert take(done, replace(wanted(OFFSET + 99, transfer_low=185), epoch=8)) == done


def test_a_later_change_at_the_front_panel_wins_over_what_was_wanted_before() -> None:
    ledger, changes = look(seen_first(transfer_low=208), {"transfer_low": 185}, at(500))
    assert changes == (Change("transfer_low", 208, 185, "front panel"),)
    done = carry_out(take(ledger, wanted(OFFSET + 400, OFFSET + 400, transfer_low=190)), at(600))
    report = report_of(done, {}, at(700))
    assert report.settings == {"transfer_low": 185}
    assert report.changed == {"transfer_low": OFFSET + 500}
    assert report.base_version == OFFSET + 400
    assert report.overwritten == {}


def test_what_was_wanted_later_wins_over_the_front_panel() -> None:
    ledger, _ = look(seen_first(transfer_low=208), {"transfer_low": 185}, at(500))
    done = carry_out(take(ledger, wanted(OFFSET + 501, OFFSET + 501, transfer_low=190)), at(600))
    report = report_of(done, {}, at(700))
    assert report.settings == {"transfer_low": 190}
    assert report.changed == {}
    assert report.overwritten == {"transfer_low": 185}
    assert report.overwritten_ms == {"transfer_low": OFFSET + 500}


def test_times_count_for_each_setting_not_for_the_version() -> None:
    ledger, _ = look(seen_first(transfer_low=208, ups_name="A"), {"transfer_low": 185}, at(500))
    both = Desired(
        kid=KID,
        epoch=7,
        version=OFFSET + 900,
        settings={"transfer_low": 190, "ups_name": "B"},
        set_ms={"transfer_low": OFFSET + 400, "ups_name": OFFSET + 900},
    )
    done = carry_out(take(ledger, both), at(1000))
    assert done.seen == {"transfer_low": 185, "ups_name": "B"}


def test_our_own_write_is_no_change_at_the_front_panel_even_after_a_crash() -> None:
    ledger = take(seen_first(transfer_low=208), wanted(OFFSET + 10, transfer_low=190))
    crashed = intend(ledger, "transfer_low", 190)
    after, changes = look(crashed, {"transfer_low": 190}, at(50))
    assert changes == ()
    assert carry_out(after, at(60)).changed == {}
    todo = plan(after, at(60))
    assert todo is not None
    done, told = finish(after, todo, {"transfer_low": ""}, dict(after.seen), at(60))
    assert told == (Change("transfer_low", 208, 190, "portal"),)
    assert (done.writing, done.replacing) == ({}, {})


def test_what_the_ups_refuses_is_said_and_stays_as_it_was() -> None:
    ledger = take(seen_first(transfer_low=208), wanted(OFFSET + 10, transfer_low=299, new_one=1))
    done = carry_out(ledger, at(20), transfer_low="refused_by_ups")
    assert done.refused == {"transfer_low": "refused_by_ups", "new_one": "unknown_setting"}
    assert done.seen == {"transfer_low": 208}
    assert done.base_version == OFFSET + 10


def test_the_agents_own_setting_needs_no_ups() -> None:
    ledger = take(begin(Ledger(), 7, at(0)), wanted(OFFSET + 10, report_interval_s=5))
    todo = plan(ledger, at(20))
    assert todo is not None
    assert not todo.needs_ups
    done, changes = finish(ledger, todo, {}, {"report_interval_s": 60}, at(20))
    assert changes == (Change("report_interval_s", 60, 5, "portal"),)
    assert report_of(done, {"report_interval_s": 60}, at(30)).settings == {"report_interval_s": 5}


def test_another_ownership_begins_with_nothing() -> None:
    ledger = take(seen_first(transfer_low=208), wanted(OFFSET + 10, transfer_low=190))
    after = begin(ledger, 8, at(20))
    assert after == Ledger(epoch=8, revision=after.revision)
    assert after.revision > ledger.revision
    assert plan(after, at(30)) is None


def test_a_ledger_from_a_backup_is_reported_as_newer_than_what_the_cloud_has() -> None:
    ledger = seen_first(transfer_low=208)
    assert overtake(ledger, ledger.revision, at(5)) == ledger
    assert overtake(ledger, ledger.revision + 50, at(5)).revision == ledger.revision + 51


def test_a_change_of_another_boot_keeps_the_time_it_was_known_by() -> None:
    local = Local(value=1, boot="other", mono_ms=5, ts_ms=OFFSET - 9)
    assert local.at_ms(at(0)) == OFFSET - 9
    assert replace(local, boot="boot").at_ms(at(0)) == OFFSET + 5


@given(
    st.dictionaries(
        st.sampled_from(["transfer_low", "name", "report_interval_s", "outlet_command", "sensitivity", "x"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    )
)
def test_nothing_that_is_wanted_leads_to_a_write_outside_the_list(settings: dict[str, Scalar]) -> None:
    ledger = take(
        seen_first(transfer_low=208, sensitivity="normal"),
        Desired(kid=KID, epoch=7, version=OFFSET + 10, settings=settings),
    )
    todo = plan(ledger, at(20))
    assert todo is not None
    for name, value in todo.writes.items():
        check_write(name, words_of(name, value))
    assert set(todo.own) <= {"report_interval_s"}
    assert {*todo.kept, *todo.own, *todo.writes, *todo.refused} == set(settings)


@given(
    st.lists(st.tuples(st.booleans(), st.integers(180, 183)), max_size=12),
    st.lists(st.integers(0, 12), max_size=4),
)
def test_both_ends_agree_on_the_newest_whatever_is_delivered_when(
    acts: list[tuple[bool, int]], deliveries: list[int]
) -> None:
    """The last act wins, be it in the portal or at the panel; a version may come late, twice or never."""
    ledger, panel, newest, last = seen_first(transfer_low=208), 208, None, 208
    for step, (in_portal, volts) in enumerate(acts, 1):
        now = at(step * 10)
        if in_portal:
            newest, last = wanted(OFFSET + step * 10, OFFSET + step * 10, transfer_low=volts), volts
        elif volts != panel:
            panel = last = volts
            ledger, _ = look(ledger, {"transfer_low": panel}, now)
        if newest is not None and step in deliveries:
            ledger = take(ledger, newest)
            if plan(ledger, now) is not None:
                ledger = carry_out(ledger, now)
                panel = int(str(ledger.seen["transfer_low"]))
    now = at(1000)
    if newest is not None:
        ledger = take(ledger, newest)
        if plan(ledger, now) is not None:
            ledger = carry_out(ledger, now)
    assert ledger.seen["transfer_low"] == last


def test_what_is_told_beside_the_settings_is_told_again() -> None:
    ledger = begin(Ledger(), 7, at(1))
    again = tell_again(ledger, at(1))
    assert again.revision == ledger.revision + 1
    days = {"battery_replace_by": "2029-05-17"}
    assert report_of(again, days, at(2)).settings == days
