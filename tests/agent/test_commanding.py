"""Which commands may be acted on: the rule in one place, and Hypothesis against it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.commanding import (
    CLOCKS_APART_MS,
    MAX_WAITING,
    RATE_LIMIT,
    RATE_WINDOW_MS,
    Answer,
    Effect,
    HelloTime,
    Ignored,
    Order,
    Situation,
    Status,
    effect,
    heard,
    judge,
    obstacle,
    refused_again,
    status_of,
)
from agent.core.sampling import Inventory, reading_of
from protocol.commands import CODE_TEXTS, MAX_LIFE_MS, OUTLET_KINDS, CommandCode, CommandKind
from protocol.messages import Command, CommandState, Scalar
from tests.golden.register_images import CAPTURES

KID = "k" * 43
EPOCH = 1_700_000_000_000
NOW_MS = 1_800_000_000_000
MONO_MS = 5_000_000
HERE = Situation(
    kid=KID,
    owned=True,
    epoch=EPOCH,
    smartconnect=True,
    counter=NOW_MS - 10_000,
    hello_time=HelloTime(NOW_MS - MONO_MS),
    mono_ms=MONO_MS,
    allow_outlet_control=True,
    groups=("mog", "sog0"),
)
REBOOT = Command(
    command_id="one",
    kid=KID,
    epoch=EPOCH,
    counter=NOW_MS,
    issued_ms=NOW_MS - 1_000,
    expires_ms=NOW_MS + 29_000,
    kind="outlet_reboot",
    arguments={"group": "sog0"},
)


def refused(code: CommandCode) -> Answer:
    return Answer(CommandState.REFUSED, code)


def test_a_sound_command_is_an_order_with_the_rest_of_its_life() -> None:
    assert judge(REBOOT, HERE) == Order(CommandKind.OUTLET_REBOOT, MONO_MS + 29_000, "sog0")
    forced = replace(REBOOT, arguments={"group": "mog", "force": True})
    assert judge(forced, HERE) == Order(CommandKind.OUTLET_REBOOT, MONO_MS + 29_000, "mog", force=True)
    for kind in CommandKind:
        arguments: dict[str, Scalar] = {"group": "sog0"} if kind in OUTLET_KINDS else {}
        order = judge(replace(REBOOT, kind=kind.value, arguments=arguments), HERE)
        assert isinstance(order, Order)
        assert order.kind is kind


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        (replace(HERE, hello_time=None), Ignored.NO_HELLO),
        (replace(HERE, owned=False), Ignored.NOT_OWNED),
        (replace(HERE, kid="j" * 43), Ignored.OTHER_DEVICE),
        (replace(HERE, epoch=EPOCH + 1), Ignored.OTHER_EPOCH),
        (replace(HERE, counter=NOW_MS), Ignored.REPLAYED),
        (replace(HERE, waiting=MAX_WAITING), Ignored.TOO_MANY_WAIT),
        (replace(HERE, smartconnect=False), refused(CommandCode.SMARTCONNECT_OFF)),
        (replace(HERE, allow_outlet_control=False), refused(CommandCode.OUTLET_CONTROL_OFF)),
        (replace(HERE, groups=("mog",)), refused(CommandCode.GROUP_ABSENT)),
        (replace(HERE, busy=True), refused(CommandCode.BUSY)),
        (replace(HERE, taken_ms=[MONO_MS - 1] * RATE_LIMIT), refused(CommandCode.RATE_LIMITED)),
        (
            replace(HERE, hello_time=HelloTime(NOW_MS - MONO_MS + 29_000)),
            Answer(CommandState.EXPIRED, CommandCode.EXPIRED),
        ),
    ],
)
def test_what_the_device_is_in_can_forbid_it(changed: Situation, why: object) -> None:
    assert judge(REBOOT, changed) == why


def test_old_commands_do_not_count_against_the_rate() -> None:
    assert isinstance(judge(REBOOT, replace(HERE, taken_ms=[MONO_MS - RATE_WINDOW_MS] * RATE_LIMIT)), Order)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"kid": ""}, Ignored.OTHER_DEVICE),
        ({"epoch": 0}, Ignored.OTHER_EPOCH),
        ({"counter": 0}, Ignored.MALFORMED),
        ({"counter": 2**63}, Ignored.MALFORMED),
        ({"command_id": ""}, Ignored.MALFORMED),
        ({"command_id": "a\nb"}, Ignored.MALFORMED),
        ({"command_id": "a" * 65}, Ignored.MALFORMED),
        ({"expires_ms": NOW_MS - 1_000}, refused(CommandCode.LIFE_INVALID)),
        ({"expires_ms": NOW_MS + MAX_LIFE_MS}, refused(CommandCode.LIFE_INVALID)),
        (
            {
                "issued_ms": NOW_MS + CLOCKS_APART_MS + 1,
                "expires_ms": NOW_MS + CLOCKS_APART_MS + 1 + MAX_LIFE_MS,
            },
            refused(CommandCode.LIFE_INVALID),
        ),
        (
            {"issued_ms": NOW_MS - MAX_LIFE_MS, "expires_ms": NOW_MS},
            Answer(CommandState.EXPIRED, CommandCode.EXPIRED),
        ),
        ({"kind": "factory_reset"}, refused(CommandCode.KIND_UNKNOWN)),
        ({"arguments": {}}, refused(CommandCode.ARGUMENTS_INVALID)),
        ({"arguments": {"group": "sog3"}}, refused(CommandCode.ARGUMENTS_INVALID)),
        ({"arguments": {"group": 0}}, refused(CommandCode.ARGUMENTS_INVALID)),
        ({"arguments": {"group": "sog0", "force": 1}}, refused(CommandCode.ARGUMENTS_INVALID)),
        ({"arguments": {"group": "sog0", "delay": 5}}, refused(CommandCode.ARGUMENTS_INVALID)),
        ({"kind": "mute"}, refused(CommandCode.ARGUMENTS_INVALID)),
        ({"kind": "self_test", "arguments": {"force": True}}, refused(CommandCode.ARGUMENTS_INVALID)),
    ],
)
def test_what_the_message_says_can_forbid_it(changes: dict[str, object], why: object) -> None:
    assert judge(replace(REBOOT, **changes), HERE) == why  # type: ignore[arg-type]  # fields of a command


_AROUND_NOW = st.integers(NOW_MS - 200_000, NOW_MS + 200_000)
_VALUES = st.sampled_from(["mog", "sog0", "sog1", "sog3", "", True, False, None, 0, 1])
COMMANDS = st.builds(
    Command,
    command_id=st.sampled_from(["one", "", "x" * 64, "x" * 65, "\0"]),
    kid=st.sampled_from([KID, "j" * 43]),
    epoch=st.sampled_from([EPOCH, EPOCH - 1, 0]),
    counter=st.one_of(_AROUND_NOW, st.sampled_from([0, -1, 2**63])),
    issued_ms=_AROUND_NOW,
    expires_ms=_AROUND_NOW,
    kind=st.sampled_from([*(kind.value for kind in CommandKind), "", "OUTLET_OFF"]),
    arguments=st.dictionaries(st.sampled_from(["group", "force", "other"]), _VALUES),
)
SITUATIONS = st.builds(
    Situation,
    kid=st.just(KID),
    owned=st.booleans(),
    epoch=st.just(EPOCH),
    smartconnect=st.booleans(),
    counter=st.one_of(st.just(0), _AROUND_NOW),
    hello_time=st.one_of(
        st.none(), st.integers(-100_000, 100_000).map(lambda ms: HelloTime(NOW_MS - MONO_MS + ms))
    ),
    mono_ms=st.just(MONO_MS),
    allow_outlet_control=st.booleans(),
    groups=st.sampled_from([("mog",), ("mog", "sog0"), ("mog", "sog0", "sog1", "sog2", "sog3")]),
    busy=st.booleans(),
    waiting=st.sampled_from([0, MAX_WAITING]),
    taken_ms=st.lists(st.integers(MONO_MS - 2 * RATE_WINDOW_MS, MONO_MS), max_size=RATE_LIMIT),
)


def may(command: Command, now: Situation) -> bool:
    """The rule of the issue in one expression, written without looking at the code that is tested."""
    arguments = dict(command.arguments)
    outlet = command.kind in {"outlet_off", "outlet_on", "outlet_reboot"}
    return (
        now.hello_time is not None
        and now.owned
        and now.smartconnect
        and not now.busy
        and now.waiting < MAX_WAITING
        and sum(at > MONO_MS - RATE_WINDOW_MS for at in now.taken_ms) < RATE_LIMIT
        and (command.kid, command.epoch) == (now.kid, now.epoch)
        and now.counter < command.counter < 2**63
        and command.counter > 0
        and command.command_id in {"one", "x" * 64}
        and 0 < command.expires_ms - command.issued_ms <= 60_000
        and 0 < command.expires_ms - MONO_MS - now.hello_time.offset_ms <= 70_000
        and command.kind in {kind.value for kind in CommandKind}
        and arguments.get("force", False) in ((True, False) if outlet else (False,))
        and isinstance(arguments.get("force", False), bool)
        and set(arguments) <= ({"group", "force"} if outlet else {"force"})
        and (
            not outlet or (now.allow_outlet_control and arguments.get("group") in set(now.groups) - {"sog3"})
        )
    )


@given(COMMANDS, SITUATIONS)
def test_nothing_is_an_order_but_what_the_rule_allows(command: Command, now: Situation) -> None:
    assert isinstance(judge(command, now), Order) == may(command, now)


@given(
    st.builds(
        replace,
        st.just(REBOOT),
        kind=st.sampled_from([kind.value for kind in CommandKind]),
        counter=st.integers(NOW_MS - 20_000, NOW_MS),
        expires_ms=st.integers(NOW_MS - 2_000, NOW_MS + 70_000),
        arguments=st.sampled_from([{}, {"group": "sog0"}, {"group": "mog", "force": True}]),
    ),
    st.builds(
        replace,
        st.just(HERE),
        busy=st.booleans(),
        allow_outlet_control=st.booleans(),
        smartconnect=st.sampled_from([True, True, False]),
    ),
)
def test_near_the_edge_of_the_rule_too(command: Command, now: Situation) -> None:
    assert isinstance(judge(command, now), Order) == may(command, now)


@given(COMMANDS, SITUATIONS)
def test_what_is_answered_once_is_never_an_order_again(command: Command, now: Situation) -> None:
    """Its counter is taken with the answer, so that no change of circumstances brings it back to life."""
    if isinstance(judge(command, now), Ignored):
        return
    later = replace(now, counter=command.counter, busy=False, smartconnect=True, allow_outlet_control=True)
    assert judge(command, later) is Ignored.REPLAYED or later.waiting == MAX_WAITING


def test_every_code_has_words_for_people() -> None:
    assert set(CODE_TEXTS) == set(CommandCode)


def test_the_clouds_time_is_never_taken_for_earlier_than_it_can_be() -> None:
    first = heard(None, NOW_MS, asked_ms=1_000, received_ms=21_000)
    assert first.offset_ms + 21_000 == NOW_MS + 20_000  # the hello may have been on its way for so long
    assert heard(first, NOW_MS, asked_ms=1_000, received_ms=22_000) == first
    later = heard(first, NOW_MS + 60_000, asked_ms=1_000, received_ms=31_000)
    assert later.offset_ms + 31_000 == NOW_MS + 60_000


# --- what the UPS shows ------------------------------------------------------------------------------------

ON, OFF = (0, 1), (0, 2)


def words(**rows: tuple[int, ...]) -> list[int]:
    """A status block with these rows, by the addresses of the reference."""
    at = {"ups": 0, "mog": 3, "sog0": 6, "sog1": 9, "test": 23, "calibration": 24, "ui": 26}
    block = [0, 2, 8, *(0 for _ in range(24))]
    for name, row in rows.items():
        block[at[name] : at[name] + len(row)] = row
    return block


def status(**rows: tuple[int, ...]) -> Status:
    return status_of(words(**({"mog": ON, "sog0": ON} | rows)), ("mog", "sog0"))


def order(kind: CommandKind, *, force: bool = False) -> Order:
    return Order(kind, MONO_MS, "sog0" if kind in OUTLET_KINDS else "", force)


def test_a_reading_does_not_show_the_exchanged_words() -> None:
    """Pages, events and the cloud's own rules look at bits 0 and 1 of a sample."""
    inventory = Inventory(groups=("mog", "sog0", "sog1", "sog2"))
    reading = reading_of(MONO_MS, CAPTURES[0].words, [0] * 44, inventory)
    assert reading.has("sog0_outlet_status", "on")
    assert reading.sample["sog0_outlet_status"] == 1


def test_the_order_of_words_is_told_by_the_outlet_rows() -> None:
    assert status().low_word_first is False
    assert status().bits["sog0_outlet_status"] == {"on"}
    swapped = status(mog=(1, 0), sog0=(2, 0))
    assert swapped.low_word_first is True
    assert swapped.bits["sog0_outlet_status"] == {"off"}
    capture = status_of(CAPTURES[0].words, ("mog", "sog0", "sog1", "sog2"))  # of a real unit
    assert capture.low_word_first is True
    assert capture.bits["sog0_outlet_status"] == {"on"}
    assert not capture.bits["mog_outlet_status"]


@pytest.mark.parametrize(
    "rows", [{"mog": (0, 0), "sog0": (0, 0)}, {"mog": (0, 1), "sog0": (1, 0)}, {"sog0": (1, 1)}]
)
def test_a_unit_that_shows_no_order_is_not_switched(rows: dict[str, tuple[int, ...]]) -> None:
    found = status(**rows)
    assert found.low_word_first is None
    for force in (False, True):
        for kind in OUTLET_KINDS:
            assert obstacle(order(kind, force=force), found) is CommandCode.WORD_ORDER_UNKNOWN


def test_a_group_that_says_nothing_is_not_switched() -> None:
    found = status(sog0=(0, 0))
    assert obstacle(order(CommandKind.OUTLET_OFF), found) is CommandCode.WORD_ORDER_UNKNOWN


@pytest.mark.parametrize("bit", [2, 6, 7])
def test_on_battery_outlets_need_force_and_tests_are_refused(bit: int) -> None:
    found = status(ups=(0, 1 << bit))
    for kind in CommandKind:
        code = obstacle(order(kind), found)
        free = {CommandKind.CALIBRATION_ABORT, CommandKind.MUTE, CommandKind.IDENTIFY}
        assert code is (None if kind in free else CommandCode.ON_BATTERY)
        if kind in OUTLET_KINDS:
            assert obstacle(order(kind, force=True), found) is None


@pytest.mark.parametrize("bit", [5, 15])
def test_with_a_fault_outlets_need_force(bit: int) -> None:
    found = status(ups=(0, 2 | 1 << bit))
    for kind in OUTLET_KINDS:
        assert obstacle(order(kind), found) is CommandCode.FAULT
        assert obstacle(order(kind, force=True), found) is None
    assert obstacle(order(CommandKind.SELF_TEST), found) is None


REBOOTING = (0, 2 | 4)


@pytest.mark.parametrize(
    ("kind", "before", "after", "found"),
    [
        (CommandKind.OUTLET_OFF, {}, {"sog0": OFF}, Effect.SHOWN),
        (CommandKind.OUTLET_OFF, {}, {"sog0": ON}, Effect.NOT_YET),
        (CommandKind.OUTLET_OFF, {"sog0": REBOOTING}, {"sog0": REBOOTING}, Effect.NOT_YET),
        (CommandKind.OUTLET_OFF, {}, {"sog0": (0, 0)}, Effect.NOT_YET),
        (CommandKind.OUTLET_OFF, {}, {"mog": (1, 0), "sog0": (2, 0)}, Effect.NOT_YET),
        (CommandKind.OUTLET_ON, {"sog0": OFF}, {"sog0": ON}, Effect.SHOWN),
        (CommandKind.OUTLET_ON, {"sog0": OFF}, {"sog0": OFF}, Effect.NOT_YET),
        (CommandKind.OUTLET_REBOOT, {}, {"sog0": REBOOTING}, Effect.SHOWN),
        (CommandKind.OUTLET_REBOOT, {}, {"sog0": OFF}, Effect.SHOWN),
        (CommandKind.OUTLET_REBOOT, {"sog0": OFF}, {"sog0": OFF}, Effect.NOT_YET),
        (CommandKind.OUTLET_REBOOT, {}, {"sog0": ON}, Effect.NOT_YET),
        (CommandKind.SELF_TEST, {"test": (0x44,)}, {"test": (0x42,)}, Effect.SHOWN),
        (CommandKind.SELF_TEST, {"test": (0x44,)}, {"test": (0x44,)}, Effect.NOT_YET),
        (CommandKind.SELF_TEST, {"test": (0x44,)}, {"test": (0x250,)}, Effect.REFUSED),
        (CommandKind.CALIBRATION_START, {}, {"calibration": (0x42,)}, Effect.SHOWN),
        (CommandKind.CALIBRATION_START, {}, {"calibration": (0x4050,)}, Effect.REFUSED),
        (CommandKind.CALIBRATION_ABORT, {"calibration": (0x42,)}, {"calibration": (0x60,)}, Effect.SHOWN),
        (CommandKind.CALIBRATION_ABORT, {"calibration": (0x42,)}, {"calibration": (0x42,)}, Effect.NOT_YET),
        (CommandKind.MUTE, {"ui": (2,)}, {"ui": (4,)}, Effect.SHOWN),
        (CommandKind.MUTE, {"ui": (2,)}, {"ui": (2,)}, Effect.NOT_YET),
        (CommandKind.IDENTIFY, {}, {}, Effect.SHOWN),
    ],
)
def test_the_effect_is_read_from_the_status_words(
    kind: CommandKind, before: dict[str, tuple[int, ...]], after: dict[str, tuple[int, ...]], found: Effect
) -> None:
    assert effect(order(kind), status(**before), status(**after), answered=True)[0] is found


def test_a_beep_that_was_not_acknowledged_is_not_believed() -> None:
    beep = order(CommandKind.IDENTIFY)
    assert effect(beep, status(), status(), answered=False)[0] is Effect.NOT_YET


def test_a_refusal_names_its_reason() -> None:
    start = order(CommandKind.CALIBRATION_START)
    low_load = status(calibration=(0x4050,))
    assert effect(start, status(), low_load, answered=True) == (Effect.REFUSED, "load_too_low")
    assert effect(start, low_load, low_load, answered=True)[0] is Effect.NOT_YET
    assert refused_again(start, low_load) == "load_too_low"
    assert refused_again(start, status()) is None
    assert refused_again(order(CommandKind.MUTE), low_load) is None
