"""What is open on an owned device: opening, closing, and what the end of an ownership ends with it."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from cloud.core.device import (
    REFUSED,
    REMEMBERED,
    Device,
    KeyState,
    Matter,
    MatterKind,
    MatterStatus,
    Owner,
)
from cloud.core.effects import (
    CloseMatter,
    Effect,
    Ending,
    EndOwnership,
    MoveOwnership,
    NoteReminder,
    Notice,
    Notify,
    OpenMatter,
    Outcome,
)
from cloud.core.inputs import IllegalTransitionError, Input
from cloud.core.ownership import next_epoch

SECOND_HAND_MS: Final = 14 * 86_400_000
REMIND_AFTER_MS: Final = (3 * 86_400_000, 7 * 86_400_000)
"""So long after a second-hand request its owner is reminded that it runs."""
TELL_AGAIN_MS: Final = 86_400_000
"""The owner hears of further keys and claimants once a day."""


# --- helpers ------------------------------------------------------------------------------------------------


def owner_of(device: Device) -> Owner:
    """Its owner. AssertionError where it has none: the table of transitions asks of owned devices only."""
    if device.owner is None:
        raise AssertionError("the table asks this of owned devices only")
    return device.owner


def opened(device: Device, matter: Matter) -> Device:
    """The device with this matter, in place of an earlier one of the same kind and subject."""
    rest = (one for one in device.matters if (one.kind, one.subject) != (matter.kind, matter.subject))
    return replace(device, matters=(*rest, matter))


def closed(device: Device, matter: Matter, status: MatterStatus) -> tuple[Device, CloseMatter]:
    """The device without this matter (a refusal of some kinds is remembered), and what is to be stored."""
    kept: tuple[Matter, ...] = ()
    if matter.kind in REMEMBERED and status in REFUSED:
        kept = (replace(matter, status=status),)
    rest = tuple(one for one in device.matters if one is not matter)
    return replace(device, matters=(*rest, *kept)), CloseMatter(matter.kind, matter.subject, status)


def close_all(device: Device, matters: Iterable[Matter], status: MatterStatus) -> Outcome:
    """Without these, and whoever asked is told."""
    effects: list[Effect] = []
    for matter in matters:
        device, ended = closed(device, matter, status)
        effects += (ended, *_tell_asker(matter))
    return device, tuple(effects)


def _tell_asker(matter: Matter) -> tuple[Effect, ...]:
    """What who asked is told when something else ends the matter."""
    if matter.kind is MatterKind.OFFER:
        return (Notify(Notice.OFFER_WITHDRAWN, matter.company_id, matter.to_email),)
    if matter.kind is MatterKind.SECOND_HAND and matter.company_id is not None:
        return (Notify(Notice.SECOND_HAND_REFUSED, matter.company_id),)
    return ()


def need(device: Device, what: Input, kind: MatterKind, subject: str = "") -> Matter:
    """The open matter that ``what`` is about; IllegalTransitionError where there is none."""
    found = device.open(kind, subject)
    if found is None:
        raise IllegalTransitionError(device.state, what)
    return found


def all_open(device: Device) -> tuple[Matter, ...]:
    """Its matters that wait for an answer."""
    return tuple(one for one in device.matters if one.status is MatterStatus.OPEN)


def end_ownership(device: Device, reason: Ending, done: Matter | None = None) -> Outcome:
    """Without owner: what is open ends, ``done`` as done."""
    owner = owner_of(device)
    others = tuple(one for one in all_open(device) if one is not done)
    device, effects = close_all(device, others, MatterStatus.VOID)
    if done is not None:
        effects += (CloseMatter(done.kind, done.subject, MatterStatus.DONE),)
    keys = tuple(
        replace(key, state=KeyState.CANDIDATE) if key.state is KeyState.BOUND else key for key in device.keys
    )
    after = replace(device, keys=keys, owner=None, matters=())
    return after, (*effects, EndOwnership(owner.epoch, reason), Notify(Notice.RELEASED, owner.company_id))


def move_ownership(
    device: Device, what: tuple[int, int | None], reason: Ending, now_ms: int, done: Matter | None = None
) -> Outcome:
    """Another company's: what is open ends, ``done`` as done."""
    company_id, account_id = what
    owner = owner_of(device)
    others = tuple(one for one in all_open(device) if one is not done)
    device, effects = close_all(device, others, MatterStatus.VOID)
    if done is not None:
        effects += (CloseMatter(done.kind, done.subject, MatterStatus.DONE),)
    epoch = next_epoch(device.last_epoch, now_ms)
    new = Owner(company_id, owner.kid, epoch, owner.connected, owner.heard_ms)
    old_told = Notice.OFFER_TAKEN if reason is Ending.TRANSFERRED else Notice.LOST
    return replace(device, owner=new, last_epoch=epoch, matters=()), (
        *effects,
        MoveOwnership(owner.epoch, company_id, account_id, reason),
        Notify(old_told, owner.company_id),
        Notify(Notice.RECEIVED, company_id),
    )


def _told_lately(device: Device, kind: MatterKind, now_ms: int) -> bool:
    return any(
        now_ms - one.told_ms < TELL_AGAIN_MS for one in device.matters if one.kind is kind and one.told_ms
    )


def raise_matter(device: Device, matter: Matter, notice: Notice, now_ms: int) -> Outcome:
    """Open a matter of which the owner is told once a day."""
    owner = owner_of(device)
    told = () if _told_lately(device, matter.kind, now_ms) else (Notify(notice, owner.company_id),)
    before = device.remembered(matter.kind, matter.subject)
    told_ms = now_ms if told else 0 if before is None else before.told_ms
    matter = replace(matter, told_ms=told_ms)
    return opened(device, matter), (OpenMatter(matter), *told)


def reminders_due(matter: Matter, now_ms: int) -> int:
    """How many reminders of a second-hand request are out once the one that is due now is."""
    passed = sum(now_ms - matter.opened_ms >= after_ms for after_ms in REMIND_AFTER_MS)
    return max(matter.reminded, passed)


def remind(device: Device, matter: Matter, now_ms: int) -> Outcome:
    """Tell the owner that the request still runs: one mail, be it also that of an earlier, missed one."""
    reminded = replace(matter, reminded=reminders_due(matter, now_ms))
    told = Notify(Notice.SECOND_HAND_REMINDER, owner_of(device).company_id, due_ms=matter.due_ms)
    rest = tuple(reminded if one is matter else one for one in device.matters)
    return replace(device, matters=rest), (
        NoteReminder(matter.kind, matter.subject, reminded.reminded),
        told,
    )
