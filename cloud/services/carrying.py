"""Carrying out what the core has decided about a device, in the transaction that holds its row."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import structlog

from cloud.core.authz import Actor
from cloud.core.device import Device, Refusal
from cloud.core.effects import (
    AddClaim,
    AlreadyYours,
    Bind,
    CloseMatter,
    Effect,
    EndClaim,
    EndOwnership,
    IgnoreKey,
    MoveOwnership,
    NoteReminder,
    Notice,
    Notify,
    OpenMatter,
    RecordKey,
    Refuse,
    Rekey,
    SetPick,
    Wait,
)
from cloud.core.inputs import Claimed
from cloud.postgres import claims, commands, owners
from cloud.postgres.transaction import Connection
from protocol.messages import Announcement
from protocol.signing import open_announcement

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class By:
    """Who did it; nobody where a device or time did. ``operator``: the name of who runs the installation."""

    company_id: int | None = None
    account_id: int | None = None
    operator: str = ""

    @classmethod
    def of(cls, actor: Actor) -> "By":
        """A person."""
        return cls(actor.company_id, actor.account_id)


NOBODY: Final = By()


async def carry_out(
    connection: Connection,
    device_id: int,
    before: Device,
    effects: Iterable[Effect],
    now_ms: int,
    *,
    by: By = NOBODY,
    announcement: Announcement | None = None,
    link: str = "",
) -> None:
    """Write the effects of one decision.

    ``announcement`` is the one that led to it, if one did; ``link`` is the secret part of an offer's link.
    """
    waiting = {claim.claim_id: claim for claim in before.pending}
    for effect in effects:
        match effect:
            case RecordKey() if announcement is not None:
                await _note_key(connection, device_id, effect, announcement, now_ms)
            case AddClaim(claim=claim):
                waiting[claim.claim_id] = claim
                await claims.add_claim(connection, device_id, effect)
                await claims.audit(
                    connection,
                    device_id,
                    "claimed",
                    now_ms,
                    company_id=claim.company_id,
                    account_id=claim.account_id,
                )
            case SetPick(claim_id=claim_id, kid=kid):
                await claims.set_pick(connection, device_id, claim_id, kid)
                picker = waiting[claim_id]
                await claims.audit(
                    connection,
                    device_id,
                    "picked",
                    now_ms,
                    company_id=picker.company_id,
                    account_id=picker.account_id,
                    kid=kid,
                )
            case EndClaim(claim_id=claim_id, state=state):
                await claims.end_claim(connection, device_id, claim_id, state, now_ms)
                ended = waiting[claim_id]
                await claims.audit(connection, device_id, state.value, now_ms, company_id=ended.company_id)
                await claims.tell(connection, device_id)
            case Bind(claim_id=claim_id, kid=kid):
                await _bind(connection, device_id, claim_id, kid, now_ms)
            case OpenMatter() | CloseMatter() | NoteReminder():
                await _note_matter(connection, device_id, before, effect, by, now_ms)
            case EndOwnership():
                await owners.end(connection, device_id, effect, by.account_id, now_ms)
                await commands.end_open(connection, device_id, now_ms)
                log.info("ownership ended", device_id=device_id, epoch=effect.epoch, reason=effect.reason)
            case MoveOwnership():
                epoch = await owners.move(connection, device_id, effect, now_ms)
                await commands.end_open(connection, device_id, now_ms)
                log.info("ownership moved", device_id=device_id, epoch=epoch, reason=effect.reason)
            case Rekey():
                await owners.rekey(connection, device_id, effect, by.account_id, now_ms)
                await commands.end_open(connection, device_id, now_ms)
                log.info("device re-keyed", device_id=device_id, epoch=effect.epoch, kid=effect.kid)
            case Notify():
                await owners.add_notice(
                    connection,
                    device_id,
                    effect,
                    epoch=before.owner.epoch if before.owner else None,
                    now_ms=now_ms,
                    link=link if effect.kind is Notice.OFFERED else "",
                )
            case Refuse() | Wait() | AlreadyYours() | IgnoreKey() | RecordKey():
                pass  # answers: bind_device and refuse_at_once store what of them is stored


async def _note_matter(
    connection: Connection,
    device_id: int,
    before: Device,
    effect: OpenMatter | CloseMatter | NoteReminder,
    by: By,
    now_ms: int,
) -> None:
    """Store, write down and hint that something was opened, recalled or closed."""
    if before.owner is None:
        raise AssertionError("what is open is open on an ownership")
    epoch = before.owner.epoch
    if isinstance(effect, OpenMatter):
        matter = effect.matter
        await owners.open_matter(connection, device_id, epoch, matter)
        kind, subject, kid, verb = matter.kind, matter.subject, matter.kid, "opened"
    elif isinstance(effect, NoteReminder):
        kind, subject, kid, verb = effect.kind, effect.subject, None, "reminded"
        await owners.note_reminder(connection, device_id, kind, subject, effect.reminded)
    else:
        await owners.close_matter(connection, device_id, effect.kind, effect.subject, effect.status, now_ms)
        kind, subject, kid, verb = effect.kind, effect.subject, None, effect.status.value
    await claims.audit(
        connection,
        device_id,
        f"{kind}_{verb}",
        now_ms,
        epoch=epoch,
        company_id=by.company_id,
        account_id=by.account_id,
        kid=kid,
        **({"subject": subject} if subject else {}),
        **({"operator": by.operator} if by.operator else {}),
    )
    await claims.tell(connection, device_id)


async def _note_key(
    connection: Connection, device_id: int, effect: RecordKey, announcement: Announcement, now_ms: int
) -> None:
    news = effect.changed
    if effect.inventory:
        news |= await claims.set_inventory(connection, device_id, _inventory(announcement))
    if effect.bound:
        await claims.refresh_fence(connection, device_id, effect.kid)
    if news:
        await claims.tell(connection, device_id)
    if effect.changed:
        await claims.audit(
            connection,
            device_id,
            "announced",
            now_ms,
            kid=effect.kid,
            smartconnect="on" if announcement.smartconnect else "off",
        )


async def _bind(connection: Connection, device_id: int, claim_id: str, kid: str, now_ms: int) -> None:
    epoch = await claims.bind(connection, device_id, claim_id, kid, now_ms)
    sealed = await claims.announcement_of(connection, device_id, kid)
    if sealed is not None:  # where several keys announce, another one may have spoken last
        await claims.set_inventory(connection, device_id, _inventory(open_announcement(sealed)))
    log.info("device bound", device_id=device_id, epoch=epoch, kid=kid, claim_id=claim_id)


async def refuse_at_once(
    connection: Connection, device_id: int, what: Claimed, reason: Refusal, now_ms: int
) -> None:
    """Store a claim as refused from the start, and write that down; once per claim."""
    stored = await claims.add_refused(
        connection,
        device_id,
        claim_id=what.claim_id,
        company_id=what.company_id,
        account_id=what.account_id,
        reason=reason.value,
        now_ms=now_ms,
    )
    if stored:
        await claims.audit(
            connection,
            device_id,
            "refused",
            now_ms,
            company_id=what.company_id,
            account_id=what.account_id,
            reason=reason.value,
        )


def _inventory(announcement: Announcement) -> claims.Inventory:
    return claims.Inventory(
        model=claims.clean_text(announcement.model),
        sku=claims.clean_text(announcement.sku),
        serial=claims.clean_text(announcement.serial),
        firmware=claims.clean_text(announcement.firmware),
        rated_real_power_w=claims.clean_rating(announcement.rated_real_power_w),
        rated_apparent_power_va=claims.clean_rating(announcement.rated_apparent_power_va),
    )
