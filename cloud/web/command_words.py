"""What people are told about commands: what each does, which step is missing, how far one came."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cloud.core.command import Group, GroupState, Happening, State, Step
from cloud.core.device_state import Tone
from cloud.postgres.commands import CommandRow
from cloud.services.commanding import Outlet
from protocol.commands import CODE_TEXTS, CommandCode, CommandKind


@dataclass(frozen=True, slots=True)
class KindWords:
    """``title`` for lists and buttons; ``effect``: what happens, in sentences, where it is no outlet."""

    title: str
    effect: str = ""


KINDS: Final[Mapping[CommandKind, KindWords]] = {
    CommandKind.OUTLET_OFF: KindWords("Switch off"),
    CommandKind.OUTLET_ON: KindWords("Switch on"),
    CommandKind.OUTLET_REBOOT: KindWords("Reboot"),
    CommandKind.SELF_TEST: KindWords(
        "Self-test",
        "The UPS runs its load from the battery for some seconds and judges the battery by it. Nothing loses"
        " power while the battery is good; a battery that is worn out may fail the load.",
    ),
    CommandKind.CALIBRATION_START: KindWords(
        "Runtime calibration",
        "The UPS runs its load from the battery until that is nearly empty, to learn how long it lasts. For"
        " hours afterwards there is little runtime for a real power failure.",
    ),
    CommandKind.CALIBRATION_ABORT: KindWords("Stop the calibration", "The UPS goes back to the mains."),
    CommandKind.MUTE: KindWords("Mute the alarm", "The beeper is silent until the next alarm."),
    CommandKind.IDENTIFY: KindWords("Identify", "The UPS beeps and flashes, so that you find it."),
}

GROUP_STATES: Final[Mapping[GroupState, tuple[str, Tone]]] = {
    GroupState.ON: ("On", Tone.GOOD),
    GroupState.OFF: ("Off", Tone.CALM),
    GroupState.REBOOTING: ("Rebooting", Tone.WARN),
    GroupState.SHUTTING_DOWN: ("Shutting down", Tone.WARN),
    GroupState.SLEEPING: ("Off until the mains are back", Tone.WARN),
}


def outlet_effect(kind: CommandKind, outlet: Outlet, others: Sequence[Outlet], title: str) -> str:
    """What switching a group does to what is plugged into it, and for how long."""
    what = f"Everything plugged into “{outlet.name}” of {title}"
    more = ""
    if outlet.group is Group.MOG and others:
        names = " and ".join(f"“{one.name}”" for one in others)
        more = f" On many models these outlets feed the others, too: {names} may lose power with them."
    match kind:
        case CommandKind.OUTLET_OFF:
            return f"{what} loses power at once, and has none until somebody switches it on again.{more}"
        case CommandKind.OUTLET_REBOOT:
            return (
                f"{what} loses power at once and gets it back after the time that is set on the UPS:"
                f" 8 seconds as delivered.{more}"
            )
        case _:
            return f"{what} gets power at once and starts. Make sure that nobody is working on it."


@dataclass(frozen=True, slots=True)
class StepWords:
    """What is missing, what to do next, and where."""

    missing: str
    next: str
    link: str = ""


STEPS: Final[Mapping[Step, StepWords]] = {
    Step.ROLE: StepWords(
        "Your role does not allow commands.", "Ask an owner or administrator of your company."
    ),
    Step.TWO_FACTOR: StepWords(
        "Two-Factor Authentication is not turned on for your account.",
        "Turn it on, then come back: outlets are switched with it only.",
        "/account/two-factor",
    ),
    Step.FRESH_FACTOR: StepWords(
        "You have not shown your second factor within the last five minutes.",
        "Enter a code of your authenticator app.",
    ),
    Step.RELEASING: StepWords("This device is being released.", "Keep it first."),
    Step.CLONE_SUSPECTED: StepWords(
        "Two devices use this device's key.", "Decide under Ownership what is right."
    ),
    Step.SMARTCONNECT_OFF: StepWords(
        "SmartConnect is switched off at the UPS.", "Enable it there; it takes no commands before."
    ),
    Step.OFFLINE: StepWords(
        "The device is not connected.",
        "Nothing is kept for later. Check its network and try again when it is online.",
    ),
    Step.SILENT: StepWords(
        "The agent gets no readings from its UPS.",
        "Check the cable between them; what the UPS would do cannot be seen.",
    ),
    Step.NO_GROUP: StepWords("This UPS has no such outlet group.", "Go back and choose one it has."),
    Step.ON_BATTERY: StepWords(
        "The UPS runs on battery.", "Wait for the mains. Only outlets can be switched anyway, if you say so."
    ),
    Step.FAULT: StepWords(
        "The UPS reports a fault.", "Have it looked at. Only outlets can be switched anyway, if you say so."
    ),
    Step.UNDER_WAY: StepWords(
        "Another outlet command is under way.", "Wait for its result: it takes a minute and a half at most."
    ),
    Step.TOO_MANY: StepWords("Too many commands within a minute.", "Wait a minute, then try again."),
    Step.GROUP_NAME: StepWords(
        "The typed name is not that of the outlet group.", "Type it as it stands on the page."
    ),
}


def refusal_text(missing: Sequence[Step]) -> str:
    """All missing steps for who asked by a program."""
    told = " ".join(f"{STEPS[one].missing} {STEPS[one].next}" for one in missing)
    return f"{told} Nothing was sent."


@dataclass(frozen=True, slots=True)
class StateWords:
    """How the state of a command is shown."""

    word: str
    tone: Tone
    icon: str
    sentence: str


STATES: Final[Mapping[State, StateWords]] = {
    State.REQUESTED: StateWords("Requested", Tone.CALM, "wait", "Waiting for the device to take it."),
    State.DELIVERED: StateWords("Delivered", Tone.CALM, "next", "The agent has it and is carrying it out."),
    State.DONE: StateWords("Done", Tone.GOOD, "check", "The UPS has done it."),
    State.FAILED: StateWords("Failed", Tone.BAD, "alert", "It was tried and did not succeed."),
    State.REFUSED: StateWords("Refused", Tone.BAD, "cross", "The device refused it. Nothing was switched."),
    State.EXPIRED: StateWords(
        "Expired", Tone.WARN, "wait", "It was not carried out in time, and will not be. Ask again if needed."
    ),
    State.UNKNOWN: StateWords(
        "Unknown",
        Tone.WARN,
        "alert",
        "The device had it and gave no answer. It is not repeated: look at the UPS before you ask again.",
    ),
}
OURS: Final[Mapping[str, str]] = {
    Happening.TIME_OVER.value: "",
    Happening.OWNER_CHANGED.value: "The device has another owner or key now.",
}


def outcome_text(row: CommandRow, state: State) -> str:
    """What became of it, in a sentence: the reason if there is one."""
    if row.code in CommandCode.__members__.values():
        return CODE_TEXTS[CommandCode(row.code)]
    return OURS.get(row.code) or row.detail or STATES[state].sentence
