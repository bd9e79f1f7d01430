"""Commands: every state and happening, every safety step alone, counters and outlet groups."""

import dataclasses
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.core.command import (
    DEFAULT_NAMES,
    MAX_IN_RATE,
    OPEN,
    TRANSITIONS,
    USES_BATTERY,
    Circumstances,
    Group,
    GroupState,
    Happening,
    IllegalStepError,
    Order,
    State,
    Step,
    group_state,
    groups_of,
    missing_steps,
    next_counter,
    state_at,
    step,
    takes_result,
)
from cloud.core.language import speaking
from protocol.commands import OUTLET_KINDS, SWITCHED_GROUPS, CommandKind
from protocol.messages import CommandState
from tests.support.tongue import knowing_german

WELL = Circumstances(
    role_allows=True,
    two_factor=True,
    fresh=True,
    releasing=False,
    clone_suspected=False,
    smartconnect=True,
    online=True,
    answering=True,
    groups={Group.MOG: "Servers", Group.SOG0: "Printers"},
    on_battery=False,
    fault=False,
    outlet_under_way=False,
    lately=0,
)
REBOOT = Order(CommandKind.OUTLET_REBOOT, Group.SOG0, typed="Printers")
WRONG: dict[Step, dict[str, Any]] = {
    Step.ROLE: {"role_allows": False},
    Step.TWO_FACTOR: {"two_factor": False},
    Step.FRESH_FACTOR: {"fresh": False},
    Step.RELEASING: {"releasing": True},
    Step.CLONE_SUSPECTED: {"clone_suspected": True},
    Step.SMARTCONNECT_OFF: {"smartconnect": False},
    Step.OFFLINE: {"online": False},
    Step.SILENT: {"answering": False},
    Step.NO_GROUP: {"groups": {Group.MOG: "Servers"}},
    Step.ON_BATTERY: {"on_battery": True},
    Step.FAULT: {"fault": True},
    Step.UNDER_WAY: {"outlet_under_way": True},
    Step.TOO_MANY: {"lately": MAX_IN_RATE},
    Step.GROUP_NAME: {"groups": {Group.MOG: "Servers", Group.SOG0: "Copiers"}},
}
FOR_ALL = {
    Step.ROLE,
    Step.RELEASING,
    Step.CLONE_SUSPECTED,
    Step.SMARTCONNECT_OFF,
    Step.OFFLINE,
    Step.SILENT,
    Step.TOO_MANY,
}


# --- how far it came ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("state", "what"), list(itertools.product(State, Happening)))
def test_only_what_is_open_goes_on(state: State, what: Happening) -> None:
    if (state, what) not in TRANSITIONS:
        with pytest.raises(IllegalStepError):
            step(state, what)
        return
    after = step(state, what)
    assert state in OPEN
    assert after is State.DELIVERED if what is Happening.HANDED_OVER else after not in OPEN
    assert (after is State.UNKNOWN) == (state is State.DELIVERED)  # what was handed over may have been done


def test_time_shows_before_anybody_writes_it_down() -> None:
    assert state_at(State.REQUESTED, 1000, 999) is State.REQUESTED
    assert state_at(State.REQUESTED, 1000, 1000) is State.EXPIRED
    assert state_at(State.DELIVERED, 1000, 1000) is State.UNKNOWN
    assert state_at(State.DONE, None, 10**13) is State.DONE


def test_the_device_knows_better_than_we_and_its_first_word_stays() -> None:
    assert all(takes_result(state, reported=False) for state in State)
    assert [state for state in State if takes_result(state, reported=True)] == [State.UNKNOWN]
    assert {one.value for one in CommandState} <= {one.value for one in State}


# --- safety steps -------------------------------------------------------------------------------------------


def test_with_every_step_done_nothing_is_missing() -> None:
    for kind in CommandKind:
        assert missing_steps(dataclasses.replace(REBOOT, kind=kind), WELL) == ()


@pytest.mark.parametrize("missing", list(Step))
def test_each_step_alone_stops_an_outlet_command(missing: Step) -> None:
    assert set(WRONG) == set(Step)
    assert missing_steps(REBOOT, dataclasses.replace(WELL, **WRONG[missing])) == (missing,)


@pytest.mark.parametrize("missing", list(Step))
@pytest.mark.parametrize("kind", sorted(set(CommandKind) - OUTLET_KINDS))
def test_other_commands_need_what_concerns_them(kind: CommandKind, missing: Step) -> None:
    wanted = missing in FOR_ALL or (missing in {Step.ON_BATTERY, Step.FAULT} and kind in USES_BATTERY)
    found = missing_steps(Order(kind), dataclasses.replace(WELL, **WRONG[missing]))
    assert found == ((missing,) if wanted else ())


@given(st.fixed_dictionaries({one: st.booleans() for one in Step}), st.booleans())
def test_any_mixture_is_told_in_order_and_force_helps_with_two_only(
    wrong: dict[Step, bool], force: bool
) -> None:
    changes: dict[str, Any] = {}
    for one, is_wrong in wrong.items():
        changes |= WRONG[one] if is_wrong else {}
    found = missing_steps(dataclasses.replace(REBOOT, force=force), dataclasses.replace(WELL, **changes))
    assert list(found) == sorted(found, key=list(Step).index)
    forced = {Step.ON_BATTERY, Step.FAULT}
    hidden = {Step.OFFLINE, Step.SILENT, Step.NO_GROUP, Step.GROUP_NAME}  # by a graver one before them
    must = {one for one, is_wrong in wrong.items() if is_wrong} - hidden - (forced if force else set())
    assert must <= set(found)
    assert bool(found) == bool({one for one in wrong if wrong[one]} - (forced if force else set()))


def test_a_group_without_a_name_is_called_as_its_reader_speaks_and_answers_to_english_too() -> None:
    with knowing_german({"Outlet group 1": "Steckdosengruppe 1"}), speaking("de"):
        bits = {f"{group}_outlet_status": int(group is Group.SOG0) for group in Group}
        names = groups_of(bits, {})
        assert names == {Group.SOG0: "Steckdosengruppe 1"}
        now = dataclasses.replace(WELL, groups=names)
        named = dataclasses.replace(WELL, groups={Group.SOG0: "Printers"})
        for typed, steps in (
            ("steckdosengruppe 1", ()),
            ("Outlet group 1", ()),
            ("Printers", (Step.GROUP_NAME,)),
        ):
            assert missing_steps(dataclasses.replace(REBOOT, typed=typed), now) == steps
        assert missing_steps(dataclasses.replace(REBOOT, typed="Outlet group 1"), named) == (Step.GROUP_NAME,)


@pytest.mark.parametrize(
    ("typed", "fits"),
    [
        ("Printers", True),
        ("  printers ", True),
        ("Printer", False),
        ("", False),
        ("Servers", False),
        (None, True),
    ],
)
def test_the_name_is_typed_as_people_type(typed: str | None, *, fits: bool) -> None:
    order = dataclasses.replace(REBOOT, typed=typed)
    assert missing_steps(order, WELL) == (() if fits else (Step.GROUP_NAME,))


def test_an_outlet_command_without_a_group_is_none() -> None:
    assert missing_steps(Order(CommandKind.OUTLET_OFF, typed=""), WELL) == (Step.NO_GROUP,)


def test_arguments_travel_with_outlet_commands_only() -> None:
    assert REBOOT.arguments == {"group": "sog0", "force": False}
    assert Order(CommandKind.MUTE, Group.SOG0, force=True).arguments == {}


@given(st.integers(0, 2**50), st.integers(0, 2**50))
def test_counters_grow_and_follow_the_clock(last: int, now_ms: int) -> None:
    assert next_counter(last, now_ms) > last
    assert next_counter(last, now_ms) >= now_ms


# --- outlet groups ------------------------------------------------------------------------------------------


def test_groups_are_those_of_the_wire() -> None:
    assert tuple(Group) == SWITCHED_GROUPS
    assert set(DEFAULT_NAMES) == set(Group)


@pytest.mark.parametrize(
    ("bits", "state"),
    [
        (0, None),
        (0b1, GroupState.ON),
        (0b10, GroupState.OFF),
        (0b101, GroupState.REBOOTING),
        (0b110, GroupState.REBOOTING),
        (0b1001, GroupState.SHUTTING_DOWN),
        (0b10010, GroupState.SLEEPING),
    ],
)
def test_states_of_a_group(bits: int, state: GroupState | None) -> None:
    assert group_state(bits) is state


def test_a_group_has_its_own_name_or_a_plain_one() -> None:
    bits = {"mog_outlet_status": 1, "sog0_outlet_status": 2, "sog1_outlet_status": 0, "sog2_outlet_status": 0}
    found = groups_of(bits, {"sog0_name": " Printers ", "mog_name": "", "sog1_name": "nothing"})
    assert found == {Group.MOG: "Main outlets", Group.SOG0: "Printers"}
