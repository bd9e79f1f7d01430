"""Whether a command may be acted on, and what the UPS shows of it afterwards. Pure: no clock, no line.

Theory of operation. A command has been opened: its signature by the cloud's command key holds. It is judged
in two steps. `judge` looks at the message: is it for this device and this ownership, newer than any before
it, alive, understood, allowed here? What fails the first of these is *ignored*: an answer would tell
strangers something, or would overwrite the one that a replayed command already had. Everything else is
*answered*, and takes the counter with it, so it never comes to life again. `obstacle` looks at the UPS as it
is at that moment. Then the write goes out, once, and `effect` compares the status words before and after.

Time is that of the connection's own hello: the cloud's clock cannot have been earlier than this when the
hello was asked for (`HelloTime`), so a command that waited in any queue on the way counts as late.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from agent.core.outlet_rows import high_word_first, low_word_first
from protocol.commands import MAX_LIFE_MS, OUTLET_KINDS, SWITCHED_GROUPS, CommandCode, CommandKind
from protocol.messages import CommandState
from protocol.registers import BLOCKS, GROUPS, decode_block

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from protocol.messages import Command
    from protocol.registers import Value

RATE_WINDOW_MS: Final = 60_000
RATE_LIMIT: Final = 10  # in a window: more than the cloud lets through, and no relay wears out
CLOCKS_APART_MS: Final = 10_000  # the machines of one cloud agree at least so far
MAX_COUNTER: Final = 2**63 - 1
MAX_ID_LENGTH: Final = 64
MAX_WAITING: Final = 64  # results that the cloud has not taken; then nothing more is done for it
READ_BACK_S: Final = 10.0  # a unit that was seen to be slow needed two
READ_BACK_EVERY_S: Final = 0.5


class Ignored(Enum):
    """Why a command gets no answer; counted, and logged once."""

    KEPT = "kept"  # retained, or from a queue
    NO_HELLO = "no_hello"
    NOT_OWNED = "not_owned"
    OTHER_DEVICE = "other_device"
    OTHER_EPOCH = "other_epoch"
    MALFORMED = "malformed"
    REPLAYED = "replayed"
    TOO_MANY_WAIT = "too_many_wait"


@dataclass(frozen=True, slots=True)
class Answer:
    """It is not acted on, and whoever asked is told."""

    state: CommandState
    code: CommandCode


@dataclass(frozen=True, slots=True)
class Order:
    """It may be acted on until ``until_mono_ms``, if the UPS allows."""

    kind: CommandKind
    until_mono_ms: int
    group: str = ""
    force: bool = False


@dataclass(frozen=True, slots=True)
class HelloTime:
    """``unix ms - monotonic ms`` of the cloud's clock, as late as this connection's hellos allow."""

    offset_ms: int


def heard(known: HelloTime | None, server_time_ms: int, asked_ms: int, received_ms: int) -> HelloTime:
    """After a hello. The first was made after it was asked for; of a later one only its arrival is known."""
    if known is None:
        return HelloTime(server_time_ms - asked_ms)
    return HelloTime(max(known.offset_ms, server_time_ms - received_ms))


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What a command is judged against. ``counter`` is the highest ever taken; times are monotonic ms."""

    kid: str
    owned: bool
    epoch: int
    smartconnect: bool
    counter: int
    hello_time: HelloTime | None
    mono_ms: int
    allow_outlet_control: bool
    groups: Sequence[str]
    busy: bool = False
    waiting: int = 0
    taken_ms: Sequence[int] = ()


def judge(command: Command, now: Situation) -> Ignored | Answer | Order:
    """What becomes of a command whose signature holds."""
    ignored = _stranger(command, now)
    if ignored is not None:
        return ignored
    assert now.hello_time is not None  # noqa: S101  checked just before
    now_ms = now.mono_ms + now.hello_time.offset_ms
    if not 0 < command.expires_ms - command.issued_ms <= MAX_LIFE_MS:
        return _refused(CommandCode.LIFE_INVALID)
    if command.expires_ms > now_ms + MAX_LIFE_MS + CLOCKS_APART_MS:
        return _refused(CommandCode.LIFE_INVALID)
    if command.expires_ms <= now_ms:
        return Answer(CommandState.EXPIRED, CommandCode.EXPIRED)
    order = _understood(command, command.expires_ms - now.hello_time.offset_ms)
    if isinstance(order, CommandCode):
        return _refused(order)
    code = _not_here(order, now)
    return order if code is None else _refused(code)


def _refused(code: CommandCode) -> Answer:
    return Answer(CommandState.REFUSED, code)


def _stranger(command: Command, now: Situation) -> Ignored | None:
    """Why it is nobody's to answer."""
    sound_id = 0 < len(command.command_id) <= MAX_ID_LENGTH and command.command_id.isprintable()
    reasons = (
        (now.hello_time is None, Ignored.NO_HELLO),
        (not now.owned, Ignored.NOT_OWNED),
        (command.kid != now.kid, Ignored.OTHER_DEVICE),
        (command.epoch != now.epoch, Ignored.OTHER_EPOCH),
        (not sound_id or not 0 < command.counter <= MAX_COUNTER, Ignored.MALFORMED),
        (command.counter <= now.counter, Ignored.REPLAYED),
        (now.waiting >= MAX_WAITING, Ignored.TOO_MANY_WAIT),
    )
    return next((reason for holds, reason in reasons if holds), None)


def _understood(command: Command, until_mono_ms: int) -> Order | CommandCode:
    """The order in it. An argument that is not known could have meant something: it is refused."""
    try:
        kind = CommandKind(command.kind)
    except ValueError:
        return CommandCode.KIND_UNKNOWN
    given = dict(command.arguments)
    force = given.pop("force", False)
    if kind not in OUTLET_KINDS:
        return Order(kind, until_mono_ms) if not given and force is False else CommandCode.ARGUMENTS_INVALID
    group = given.pop("group", None)
    if given or not isinstance(group, str) or group not in SWITCHED_GROUPS or not isinstance(force, bool):
        return CommandCode.ARGUMENTS_INVALID
    return Order(kind, until_mono_ms, group, force)


def _not_here(order: Order, now: Situation) -> CommandCode | None:
    """Why this agent does not do it, or not now."""
    recent = sum(1 for taken_ms in now.taken_ms if now.mono_ms - taken_ms < RATE_WINDOW_MS)
    switches = order.kind in OUTLET_KINDS
    reasons = (
        (not now.smartconnect, CommandCode.SMARTCONNECT_OFF),
        (switches and not now.allow_outlet_control, CommandCode.OUTLET_CONTROL_OFF),
        (switches and order.group not in now.groups, CommandCode.GROUP_ABSENT),
        (recent >= RATE_LIMIT, CommandCode.RATE_LIMITED),
        (now.busy, CommandCode.BUSY),
    )
    return next((code for holds, code in reasons if holds), None)


# --- the UPS before and after ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Status:
    """The status block. ``low_word_first`` is the word order of the outlet rows; None: it does not show."""

    bits: Mapping[str, frozenset[str]]
    low_word_first: bool | None = None

    def has(self, row: str, *names: str) -> bool:
        """Whether a row has one of these bits."""
        return not self.bits[row].isdisjoint(names)


_STATUS: Final = BLOCKS["status"]
_ROWS: Final = (
    "ups_status",
    "battery_test_status",
    "runtime_calibration_status",
    "user_interface_status",
    *(f"{group}_outlet_status" for group in GROUPS),
)


def status_of(words: Sequence[int], groups: Sequence[str]) -> Status:
    """Status of the words of its block."""
    order = low_word_first(words, groups)
    block = high_word_first(words, groups)
    values = decode_block(_STATUS.start, block)
    return Status({name: _bits(values[name]) for name in _ROWS}, order)


def _bits(value: Value) -> frozenset[str]:
    return value if isinstance(value, frozenset) else frozenset()


def obstacle(order: Order, status: Status) -> CommandCode | None:
    """Why the UPS, as it is now, must not be told to do it."""
    if order.kind in {CommandKind.SELF_TEST, CommandKind.CALIBRATION_START}:
        busy = status.has("ups_status", "on_battery", "input_bad", "test_in_progress")
        return CommandCode.ON_BATTERY if busy else None
    if order.kind not in OUTLET_KINDS:
        return None
    if not order.force and status.has("ups_status", "on_battery", "input_bad", "test_in_progress"):
        return CommandCode.ON_BATTERY
    if not order.force and status.has("ups_status", "fault", "fault_state"):
        return CommandCode.FAULT
    if status.low_word_first is None or not status.has(f"{order.group}_outlet_status", "on", "off"):
        return CommandCode.WORD_ORDER_UNKNOWN
    return None


class Effect(Enum):
    """What the status words show of a command."""

    SHOWN = auto()
    REFUSED = auto()
    NOT_YET = auto()


def effect(order: Order, before: Status, after: Status, *, answered: bool) -> tuple[Effect, str]:
    """What the UPS shows, and a word on it. ``answered``: it has acknowledged the write itself."""
    match order.kind:
        case CommandKind.OUTLET_OFF | CommandKind.OUTLET_ON | CommandKind.OUTLET_REBOOT:
            return _outlet_effect(order, before, after)
        case CommandKind.SELF_TEST:
            return _test_effect("battery_test_status", before, after)
        case CommandKind.CALIBRATION_START:
            return _test_effect("runtime_calibration_status", before, after)
        case CommandKind.CALIBRATION_ABORT:
            runs = after.has("runtime_calibration_status", "pending", "in_progress")
            return (Effect.NOT_YET if runs else Effect.SHOWN), ""
        case CommandKind.MUTE:
            silent = after.has("user_interface_status", "alarm_muted") or not after.has(
                "user_interface_status", "alarm_sounding"
            )
            return (Effect.SHOWN if silent else Effect.NOT_YET), ""
        case CommandKind.IDENTIFY:  # a beep leaves no trace
            return (Effect.SHOWN if answered else Effect.NOT_YET), ""


def _outlet_effect(order: Order, before: Status, after: Status) -> tuple[Effect, str]:
    row = f"{order.group}_outlet_status"
    is_on, is_off = after.has(row, "on"), after.has(row, "off")
    if after.low_word_first != before.low_word_first or is_on == is_off:
        return Effect.NOT_YET, ""
    reboots = after.has(row, "rebooting")
    match order.kind:
        case CommandKind.OUTLET_ON:
            shown = is_on and not after.has(row, "shutting_down", "rebooting")
        case CommandKind.OUTLET_OFF:
            shown = is_off and not after.has(row, "rebooting", "sleeping")
        case _:
            shown = reboots or (is_off and before.has(row, "on"))
    return (Effect.SHOWN if shown else Effect.NOT_YET), "rebooting" if reboots else "on" if is_on else "off"


def _test_effect(row: str, before: Status, after: Status) -> tuple[Effect, str]:
    if after.has(row, "pending", "in_progress"):
        return Effect.SHOWN, "in progress"
    if after.bits[row] == before.bits[row]:
        return Effect.NOT_YET, ""
    if after.has(row, "refused"):
        return Effect.REFUSED, _why(after.bits[row])
    return (Effect.SHOWN if after.bits[row] else Effect.NOT_YET), ""


def refused_again(order: Order, after: Status) -> str | None:
    """Why a test that shows nothing new was refused, as it was the last time; None if it was not."""
    rows = {
        CommandKind.SELF_TEST: "battery_test_status",
        CommandKind.CALIBRATION_START: "runtime_calibration_status",
    }
    row = rows.get(order.kind)
    return _why(after.bits[row]) if row is not None and after.has(row, "refused") else None


def _why(bits: frozenset[str]) -> str:
    return ", ".join(sorted(bit.removeprefix("why_") for bit in bits if bit.startswith("why_")))
