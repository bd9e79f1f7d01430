"""Wishes, reports, and who wins."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.core.settings import (
    ChangeState,
    Closed,
    Made,
    Note,
    Origin,
    Shadow,
    hear,
    of_epoch,
    wanted_of,
    wish,
)
from protocol.messages import Reported
from protocol.settings import SettingCode, SettingError

NOW = 1_700_000_000_000
KNOWN = Shadow(epoch=7, reported={"transfer_low": 208, "ups_name": "APCUPS"}, revision=5, reported_ms=NOW - 1)


def report(**changes: object) -> Reported:
    """A report of KNOWN's device, with these changes."""
    said = Reported(epoch=7, base_version=0, revision=6, settings=dict(KNOWN.reported))
    return replace(said, **changes)  # type: ignore[arg-type]  # fields of a report


def states(notes: tuple[Note, ...]) -> list[tuple[str, str, str]]:
    """Setting, origin ("wish" for a closed one) and state of each note."""
    return [
        (note.name, note.origin.value if isinstance(note, Made) else "wish", note.state.value)
        for note in notes
    ]


def test_a_wish_is_open_until_the_device_has_considered_it() -> None:
    wanting, notes = wish(KNOWN, {"transfer_low": 190}, 3, NOW)
    assert wanting.version == NOW
    assert wanted_of(wanting, "transfer_low") == 190
    assert notes == (Made("transfer_low", 190, Origin.PORTAL, NOW, NOW, ChangeState.PENDING, 3),)
    waiting, none = hear(wanting, report(), NOW + 1)
    assert set(waiting.wishes) == {"transfer_low"}
    assert none == ()
    settings = {"transfer_low": 190, "ups_name": "APCUPS"}
    done, notes = hear(waiting, report(revision=7, base_version=NOW, settings=settings), NOW + 2)
    assert done.wishes == {}
    assert done.reported["transfer_low"] == 190
    assert notes == (Closed("transfer_low", NOW, ChangeState.IN_FORCE),)


def test_versions_grow_even_when_the_clock_does_not_and_after_a_restore() -> None:
    first, _ = wish(KNOWN, {"transfer_low": 190}, 3, NOW)
    second, _ = wish(first, {"transfer_low": 191}, 3, NOW - 5_000)
    assert second.version == NOW + 1
    ahead, _ = hear(KNOWN, report(base_version=NOW + 9_000), NOW)
    third, _ = wish(ahead, {"transfer_low": 192}, 3, NOW)
    assert third.version == NOW + 9_001


def test_a_later_change_at_the_device_wins() -> None:
    wanting, _ = wish(KNOWN, {"transfer_low": 190}, 3, NOW)
    settings = {"transfer_low": 185, "ups_name": "APCUPS"}
    said = report(base_version=NOW, settings=settings, changed={"transfer_low": NOW + 500})
    after, notes = hear(wanting, said, NOW + 900)
    assert states(notes) == [("transfer_low", "device", "in_force"), ("transfer_low", "wish", "overtaken")]
    assert after.reported["transfer_low"] == 185
    assert after.at_device == {"transfer_low": NOW + 500}
    assert after.wishes == {}


def test_a_later_wish_wins_and_what_it_overwrote_is_written_down() -> None:
    wanting, _ = wish(KNOWN, {"transfer_low": 190}, 3, NOW)
    settings = {"transfer_low": 190, "ups_name": "APCUPS"}
    said = report(
        base_version=NOW,
        settings=settings,
        overwritten={"transfer_low": 185},
        overwritten_ms={"transfer_low": NOW - 800},
    )
    after, notes = hear(wanting, said, NOW + 1)
    assert states(notes) == [("transfer_low", "device", "replaced"), ("transfer_low", "wish", "in_force")]
    assert isinstance(notes[0], Made)
    assert notes[0].made_ms == NOW - 800
    later, again = hear(after, replace(said, revision=7), NOW + 2)
    assert again == ()
    assert later.revision == 7
    known, _ = hear(KNOWN, report(revision=6, changed={"transfer_low": NOW - 800}), NOW)
    wanting, _ = wish(known, {"transfer_low": 190}, 3, NOW)
    _, notes = hear(wanting, replace(said, revision=7), NOW + 3)
    assert states(notes) == [("transfer_low", "wish", "in_force")]


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"refused": {"transfer_low": "refused_by_ups"}}, SettingCode.REFUSED_BY_UPS),
        ({"settings": {"ups_name": "APCUPS"}}, SettingCode.NOT_OFFERED),
    ],
)
def test_a_refused_wish_says_why(said: dict[str, object], code: SettingCode) -> None:
    wanting, _ = wish(KNOWN, {"transfer_low": 190}, 3, NOW)
    _, notes = hear(wanting, report(base_version=NOW, **said), NOW + 1)
    assert notes[-1] == Closed("transfer_low", NOW, ChangeState.REFUSED, code)


def test_a_report_counts_once_and_never_late() -> None:
    settings = {"transfer_low": 185, "ups_name": "APCUPS"}
    said = report(settings=settings, changed={"transfer_low": NOW})
    after, notes = hear(KNOWN, said, NOW)
    assert states(notes) == [("transfer_low", "device", "in_force")]
    assert hear(after, said, NOW + 1) == (after, ())
    assert hear(after, report(revision=5), NOW + 1) == (after, ())


def test_the_days_of_a_battery_are_nobodys_change() -> None:
    days = {"battery_install_date": "2024-05-17", "battery_replace_by": "2029-05-17"}
    told, none = hear(KNOWN, report(settings={**KNOWN.reported, **days}), NOW)
    assert told.reported["battery_replace_by"] == "2029-05-17"
    moved, still_none = hear(
        told, report(revision=7, settings={**told.reported, "battery_replace_by": "2029-05-01"}), NOW
    )
    assert moved.reported["battery_replace_by"] == "2029-05-01"
    assert (none, still_none) == ((), ())


def test_a_report_in_the_middle_of_carrying_out_is_no_change_at_the_device() -> None:
    wanting, _ = wish(KNOWN, {"transfer_low": 190}, 3, NOW)
    settings = {"transfer_low": 190, "ups_name": "APCUPS"}
    middle, notes = hear(wanting, report(settings=settings), NOW + 1)
    assert notes == ()
    _, notes = hear(middle, report(revision=7, base_version=NOW, settings=settings), NOW + 2)
    assert states(notes) == [("transfer_low", "wish", "in_force")]


def test_a_difference_that_nobody_explains_is_the_devices() -> None:
    _, notes = hear(KNOWN, report(settings={"transfer_low": 185, "ups_name": "APCUPS"}), NOW + 1)
    assert states(notes) == [("transfer_low", "device", "in_force")]


def test_a_clock_ahead_of_ours_counts_as_now() -> None:
    settings = {"transfer_low": 185, "ups_name": "APCUPS"}
    after, notes = hear(KNOWN, report(settings=settings, changed={"transfer_low": NOW + 10**9}), NOW)
    assert after.at_device == {"transfer_low": NOW}
    assert isinstance(notes[0], Made)
    assert notes[0].made_ms == NOW


def test_another_ownership_begins_without_wishes_and_with_the_version() -> None:
    wanting, _ = wish(KNOWN, {"transfer_low": 190}, 3, NOW)
    assert of_epoch(wanting, 7) is wanting
    assert of_epoch(wanting, 8) == Shadow(epoch=8, version=NOW)


def test_what_a_device_does_not_have_cannot_be_wished() -> None:
    for name, value in (("sensitivity", "low"), ("name", "rack"), ("device_sensitivity_s", 5)):
        with pytest.raises(SettingError) as refused:
            wish(KNOWN, {name: value}, 3, NOW)
        assert refused.value.code is SettingCode.NOT_OFFERED
    assert wish(Shadow(epoch=7), {"report_interval_s": 5}, 3, NOW)[0].wishes


def test_wanting_what_is_makes_no_version() -> None:
    assert wish(KNOWN, {"transfer_low": 208}, 3, NOW) == (KNOWN, ())


@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.integers(180, 200), st.integers(0, 20)), min_size=1, max_size=12
    )
)
def test_reports_in_any_order_end_in_the_newest(said: list[tuple[int, int, int]]) -> None:
    """Whatever comes late or twice: the shadow is what the highest revision said."""
    shadow = replace(KNOWN, revision=-1)
    for revision, volts, base in said:
        settings = {"transfer_low": volts, "ups_name": "APCUPS"}
        shadow, _ = hear(shadow, report(revision=revision, base_version=base, settings=settings), NOW)
    best = max(revision for revision, _, _ in said)
    first = next(one for one in said if one[0] == best)
    assert (shadow.reported["transfer_low"], shadow.base_version) == (first[1], first[2])
