"""What people are told about commands: what each does, which step is missing, how far one came."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Final

from cloud.core.command import Group, GroupState, Happening, State, Step
from cloud.core.device_state import Tone
from cloud.core.language import N_, gettext
from cloud.postgres.commands import CommandRow
from cloud.services.commanding import Outlet
from protocol.commands import CODE_TEXTS, CommandCode, CommandKind


@dataclass(frozen=True, slots=True)
class KindWords:
    """``title`` for lists and buttons; ``effect``: what happens, in sentences, where it is no outlet.

    ``of_outlet``: what is done with an outlet group.
    """

    title: str
    effect: str = ""
    of_outlet: str = ""


KINDS: Final[Mapping[CommandKind, KindWords]] = {
    CommandKind.OUTLET_OFF: KindWords(N_("Switch off"), of_outlet=N_("Switch off {outlet}")),
    CommandKind.OUTLET_ON: KindWords(N_("Switch on"), of_outlet=N_("Switch on {outlet}")),
    CommandKind.OUTLET_REBOOT: KindWords(N_("Reboot"), of_outlet=N_("Reboot {outlet}")),
    CommandKind.SELF_TEST: KindWords(
        N_("Self-test"),
        N_(
            "The UPS runs its load from the battery for some seconds and judges the battery by it. Nothing"
            " loses power while the battery is good; a battery that is worn out may fail the load."
        ),
    ),
    CommandKind.CALIBRATION_START: KindWords(
        N_("Runtime calibration"),
        N_(
            "The UPS runs its load from the battery until that is nearly empty, to learn how long it lasts."
            " For hours afterwards there is little runtime for a real power failure."
        ),
    ),
    CommandKind.CALIBRATION_ABORT: KindWords(
        N_("Stop the calibration"), N_("The UPS goes back to the mains.")
    ),
    CommandKind.MUTE: KindWords(N_("Mute the alarm"), N_("The beeper is silent until the next alarm.")),
    CommandKind.IDENTIFY: KindWords(N_("Identify"), N_("The UPS beeps and flashes, so that you find it.")),
}

GROUP_STATES: Final[Mapping[GroupState, tuple[str, Tone]]] = {
    GroupState.ON: (N_("On"), Tone.GOOD),
    GroupState.OFF: (N_("Off"), Tone.CALM),
    GroupState.REBOOTING: (N_("Rebooting"), Tone.WARN),
    GroupState.SHUTTING_DOWN: (N_("Shutting down"), Tone.WARN),
    GroupState.SLEEPING: (N_("Off until the mains are back"), Tone.WARN),
}

EFFECTS: Final[Mapping[CommandKind, str]] = {
    CommandKind.OUTLET_OFF: N_(
        "Everything plugged into “{outlet}” of {device} loses power at once, and has none until somebody"
        " switches it on again."
    ),
    CommandKind.OUTLET_REBOOT: N_(
        "Everything plugged into “{outlet}” of {device} loses power at once and gets it back after the time"
        " that is set on the UPS: 8 seconds as delivered."
    ),
    CommandKind.OUTLET_ON: N_(
        "Everything plugged into “{outlet}” of {device} gets power at once and starts. Make sure that nobody"
        " is working on it."
    ),
}


def outlet_effect(kind: CommandKind, outlet: Outlet, others: Sequence[Outlet], title: str) -> str:
    """What switching a group does to what is plugged into it, and for how long."""
    said = gettext(EFFECTS[kind], outlet=outlet.name, device=title)
    if kind is CommandKind.OUTLET_ON or outlet.group is not Group.MOG or not others:
        return said
    names = reduce(
        lambda first, second: gettext("{first} and {second}", first=first, second=second),
        (f"“{one.name}”" for one in others),
    )
    more = gettext(
        "On many models these outlets feed the others, too: {names} may lose power with them.", names=names
    )
    return f"{said} {more}"


@dataclass(frozen=True, slots=True)
class StepWords:
    """What is missing, what to do next, and where."""

    missing: str
    next: str
    link: str = ""


STEPS: Final[Mapping[Step, StepWords]] = {
    Step.ROLE: StepWords(
        N_("Your role does not allow commands."), N_("Ask an owner or administrator of your company.")
    ),
    Step.TWO_FACTOR: StepWords(
        N_("Two-Factor Authentication is not turned on for your account."),
        N_("Turn it on, then come back: outlets are switched with it only."),
        "/account/two-factor",
    ),
    Step.FRESH_FACTOR: StepWords(
        N_("You have not shown your second factor within the last five minutes."),
        N_("Enter a code of your authenticator app."),
    ),
    Step.RELEASING: StepWords(N_("This device is being released."), N_("Keep it first.")),
    Step.CLONE_SUSPECTED: StepWords(
        N_("Two devices use this device's key."), N_("Decide under Ownership what is right.")
    ),
    Step.SMARTCONNECT_OFF: StepWords(
        N_("SmartConnect is switched off at the UPS."), N_("Enable it there; it takes no commands before.")
    ),
    Step.OFFLINE: StepWords(
        N_("The device is not connected."),
        N_("Nothing is kept for later. Check its network and try again when it is online."),
    ),
    Step.SILENT: StepWords(
        N_("The agent gets no readings from its UPS."),
        N_("Check the cable between them; what the UPS would do cannot be seen."),
    ),
    Step.NO_GROUP: StepWords(N_("This UPS has no such outlet group."), N_("Go back and choose one it has.")),
    Step.ON_BATTERY: StepWords(
        N_("The UPS runs on battery."),
        N_("Wait for the mains. Only outlets can be switched anyway, if you say so."),
    ),
    Step.FAULT: StepWords(
        N_("The UPS reports a fault."),
        N_("Have it looked at. Only outlets can be switched anyway, if you say so."),
    ),
    Step.UNDER_WAY: StepWords(
        N_("Another outlet command is under way."),
        N_("Wait for its result: it takes a minute and a half at most."),
    ),
    Step.TOO_MANY: StepWords(N_("Too many commands within a minute."), N_("Wait a minute, then try again.")),
    Step.GROUP_NAME: StepWords(
        N_("The typed name is not that of the outlet group."), N_("Type it as it stands on the page.")
    ),
}


def refusal_text(missing: Sequence[Step]) -> str:
    """All missing steps for who asked by a program."""
    told = " ".join(step_text(one) for one in missing)
    return told + " " + gettext("Nothing was sent.")


def step_text(step: Step) -> str:
    """What is missing and what to do next."""
    words = step_words(step)
    return f"{words.missing} {words.next}"


def step_words(step: Step) -> StepWords:
    """What is missing and what to do next, in the language that is spoken."""
    words = STEPS[step]
    return StepWords(gettext(words.missing), gettext(words.next), words.link)


@dataclass(frozen=True, slots=True)
class StateWords:
    """How the state of a command is shown."""

    word: str
    tone: Tone
    icon: str
    sentence: str


STATES: Final[Mapping[State, StateWords]] = {
    State.REQUESTED: StateWords(N_("Requested"), Tone.CALM, "wait", N_("Waiting for the device to take it.")),
    State.DELIVERED: StateWords(
        N_("Delivered"), Tone.CALM, "next", N_("The agent has it and is carrying it out.")
    ),
    State.DONE: StateWords(N_("Done"), Tone.GOOD, "check", N_("The UPS has done it.")),
    State.FAILED: StateWords(N_("Failed"), Tone.BAD, "alert", N_("It was tried and did not succeed.")),
    State.REFUSED: StateWords(
        N_("Refused"), Tone.BAD, "cross", N_("The device refused it. Nothing was switched.")
    ),
    State.EXPIRED: StateWords(
        N_("Expired"),
        Tone.WARN,
        "wait",
        N_("It was not carried out in time, and will not be. Ask again if needed."),
    ),
    State.UNKNOWN: StateWords(
        N_("Unknown"),
        Tone.WARN,
        "alert",
        N_("The device had it and gave no answer. It is not repeated: look at the UPS before you ask again."),
    ),
}
PASSED: Final[Mapping[State, str]] = {
    State.REQUESTED: N_("requested after {time}"),
    State.DELIVERED: N_("delivered after {time}"),
    State.DONE: N_("done after {time}"),
    State.FAILED: N_("failed after {time}"),
    State.REFUSED: N_("refused after {time}"),
    State.EXPIRED: N_("expired after {time}"),
    State.UNKNOWN: N_("unknown after {time}"),
}
"""A step on a command's way."""
OURS: Final[Mapping[str, str]] = {
    Happening.TIME_OVER.value: "",
    Happening.OWNER_CHANGED.value: N_("The device has another owner or key now."),
}


def outcome_text(row: CommandRow, state: State) -> str:
    """What became of it, in a sentence: the reason if there is one."""
    if row.code in CommandCode.__members__.values():
        return gettext(CODE_TEXTS[CommandCode(row.code)])
    return gettext(OURS.get(row.code, "")) or row.detail or gettext(STATES[state].sentence)
