"""Owners in the database: the live ownership, what is open on it, and each change of it as SQL.

Every function works in the caller's transaction, which holds the device's row (:func:`claims.lock`).
"""

import json
from dataclasses import dataclass
from typing import Any, Final

from cloud.core.device import Matter, MatterKind, MatterStatus, Owner
from cloud.core.effects import EndOwnership, MoveOwnership, Notify, Rekey
from cloud.core.matter import REMIND_AFTER_MS
from cloud.postgres.transaction import Connection

TAKEOVER_WINDOW_MS: Final = 600_000


class StaleOwnershipError(Exception):
    """The database refused what the core decided; under the device's lock that is a fault of ours."""


# --- facts --------------------------------------------------------------------------------------------------


def _matter(row: tuple[Any, ...]) -> Matter:
    return Matter(
        kind=MatterKind(row[0]),
        subject=row[1],
        opened_ms=row[2],
        due_ms=row[3],
        status=MatterStatus(row[4]),
        told_ms=row[5],
        reminded=row[12],
        company_id=row[6],
        account_id=row[7],
        kid=row[8],
        ref=row[9],
        to_email=row[10],
        secret_hash=None if row[11] is None else bytes(row[11]),
    )


async def load(connection: Connection, device_id: int) -> tuple[Owner | None, int, tuple[Matter, ...]]:
    """The live ownership, the number of the last one, and what is open or was refused on the live one."""
    found = await connection.execute(
        "SELECT d.last_epoch, o.company_id, o.kid, o.epoch, coalesce(l.connected, false),"
        " coalesce(l.seen_ms, 0) FROM device d"
        " LEFT JOIN ownership o ON o.device_id = d.device_id AND o.until_ms IS NULL"
        " LEFT JOIN latest l ON l.device_id = d.device_id AND l.kid = o.kid AND NOT l.revoked"
        " WHERE d.device_id = %s",
        (device_id,),
    )
    row = await found.fetchone()
    if row is None or row[1] is None:
        return None, 0 if row is None else row[0], ()
    matters = await load_matters(connection, device_id, row[3])
    release = next((one for one in matters if one.kind is MatterKind.RELEASE), None)
    stored_ms = 0
    if release is not None:
        stored_ms = await newest_sample_ms(connection, device_id, row[3], release.opened_ms)
    return Owner(row[1], row[2], row[3], row[4], row[5], stored_ms), row[0], matters


async def load_matters(connection: Connection, device_id: int, epoch: int) -> tuple[Matter, ...]:
    """What is open on this ownership, and what was refused for its time."""
    found = await connection.execute(
        "SELECT kind, subject, opened_ms, due_ms, status, told_ms, company_id, account_id, kid, ref::text,"
        " to_email, secret_hash, reminded FROM (SELECT DISTINCT ON (kind, subject) * FROM matter"
        " WHERE device_id = %s AND epoch = %s AND (status = 'open'"
        " OR (kind IN ('rekey', 'dispute', 'second_hand') AND status IN ('dismissed', 'withdrawn')))"
        " ORDER BY kind, subject, (status = 'open') DESC, matter_id DESC) AS newest ORDER BY matter_id",
        (device_id, epoch),
    )
    return tuple([_matter(row) for row in await found.fetchall()])


async def newest_sample_ms(connection: Connection, device_id: int, epoch: int, from_ms: int) -> int:
    """Time of the newest stored sample of this ownership at or after ``from_ms``; 0 without one."""
    found = await connection.execute("SELECT newest_sample_ms(%s, %s, %s)", (device_id, epoch, from_ms))
    row = await found.fetchone()
    return 0 if row is None else int(row[0])


# --- matters ------------------------------------------------------------------------------------------------


async def open_matter(connection: Connection, device_id: int, epoch: int, matter: Matter) -> None:
    """Store that this is open."""
    await connection.execute(
        "INSERT INTO matter (device_id, epoch, kind, subject, opened_ms, due_ms, told_ms, company_id,"
        " account_id, kid, ref, to_email, secret_hash)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s::uuid, %s, %s)",
        (
            *(device_id, epoch, matter.kind.value, matter.subject, matter.opened_ms, matter.due_ms),
            *(matter.told_ms, matter.company_id, matter.account_id, matter.kid, matter.ref),
            *(matter.to_email, matter.secret_hash),
        ),
    )


async def close_matter(
    connection: Connection, device_id: int, kind: MatterKind, subject: str, status: MatterStatus, now_ms: int
) -> None:
    """Store how it ended."""
    await connection.execute(
        "UPDATE matter SET status = %s, closed_ms = greatest(%s, opened_ms)"
        " WHERE device_id = %s AND kind = %s AND subject = %s AND status = 'open'",
        (status.value, now_ms, device_id, kind.value, subject),
    )


async def note_reminder(
    connection: Connection, device_id: int, kind: MatterKind, subject: str, reminded: int
) -> None:
    """Store how many reminders are out."""
    await connection.execute(
        "UPDATE matter SET reminded = %s WHERE device_id = %s AND kind = %s AND subject = %s"
        " AND status = 'open'",
        (reminded, device_id, kind.value, subject),
    )


# --- changes of the owner -----------------------------------------------------------------------------------


async def end(
    connection: Connection, device_id: int, effect: EndOwnership, account_id: int | None, now_ms: int
) -> None:
    """The device has no owner from now on. StaleOwnershipError."""
    done = await connection.execute(
        "SELECT end_ownership(%s, %s, %s, %s, %s)",
        (device_id, effect.epoch, effect.reason.value, account_id, now_ms),
    )
    await _expect(done, device_id)


async def move(connection: Connection, device_id: int, effect: MoveOwnership, now_ms: int) -> int:
    """Another company owns it from now on; the new epoch. StaleOwnershipError."""
    done = await connection.execute(
        "SELECT move_ownership(%s, %s, %s, %s, %s, %s)",
        (device_id, effect.epoch, effect.company_id, effect.account_id, effect.reason.value, now_ms),
    )
    return int(await _expect(done, device_id))


async def rekey(
    connection: Connection, device_id: int, effect: Rekey, account_id: int | None, now_ms: int
) -> None:
    """It goes on with another key. StaleOwnershipError."""
    done = await connection.execute(
        "SELECT rekey_device(%s, %s, %s, %s, %s)", (device_id, effect.epoch, effect.kid, account_id, now_ms)
    )
    await _expect(done, device_id)


async def _expect(done: Any, device_id: int) -> Any:
    row = await done.fetchone()
    if row is None or not row[0]:
        raise StaleOwnershipError(f"device {device_id} has another owner than was loaded")
    return row[0]


async def note_takeover(connection: Connection, device_id: int, kid: str, now_ms: int) -> int:
    """A live session of this key was ended by another log-in; how often lately (0: it is not bound)."""
    done = await connection.execute(
        "SELECT note_takeover(%s, %s, %s, %s)", (device_id, kid, now_ms, TAKEOVER_WINDOW_MS)
    )
    row = await done.fetchone()
    return 0 if row is None or row[0] is None else int(row[0])


# --- telling ------------------------------------------------------------------------------------------------


async def add_notice(
    connection: Connection,
    device_id: int,
    notice: Notify,
    *,
    epoch: int | None,
    now_ms: int,
    link: str = "",
) -> None:
    """Somebody is to be told; the portal makes a mail of it. ``link``: the secret of an offer's link."""
    detail: dict[str, str | int] = {"link": link} if link else {}
    if notice.due_ms is not None:
        detail["due_ms"] = notice.due_ms
    await connection.execute(
        "INSERT INTO ownership_notice (device_id, ts_ms, kind, epoch, company_id, to_email, detail)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)",
        (
            *(device_id, now_ms, notice.kind.value, epoch, notice.company_id, notice.to_email),
            json.dumps(detail),
        ),
    )


@dataclass(frozen=True, slots=True)
class NoticeRow:
    """A notice nobody was mailed yet. ``link`` is the secret of an offer's link."""

    device_id: int
    notice_id: int
    ts_ms: int
    kind: str
    company_id: int | None
    to_email: str | None
    link: str | None
    due_ms: int | None
    product_id: str
    model: str


async def take_notices(connection: Connection, limit: int) -> list[NoticeRow]:
    """The oldest ones; locked until the transaction ends, those of another portal left out."""
    found = await connection.execute(
        "SELECT n.device_id, n.notice_id, n.ts_ms, n.kind, n.company_id, n.to_email, n.detail->>'link',"
        " (n.detail->>'due_ms')::bigint, d.product_id, d.model FROM ownership_notice n"
        " JOIN device d USING (device_id)"
        " WHERE n.mailed_ms IS NULL ORDER BY n.ts_ms, n.notice_id LIMIT %s FOR UPDATE OF n SKIP LOCKED",
        (limit,),
    )
    return [NoticeRow(*row) for row in await found.fetchall()]


async def mark_mailed(connection: Connection, device_id: int, notice_id: int, now_ms: int) -> None:
    """Its mails are in the outbox; the secret it held is forgotten."""
    await connection.execute(
        "UPDATE ownership_notice SET mailed_ms = %s, detail = detail - 'link'"
        " WHERE device_id = %s AND notice_id = %s",
        (now_ms, device_id, notice_id),
    )


async def heads_of(connection: Connection, company_id: int) -> list[tuple[str, int | None, str]]:
    """E-mail addresses, accounts and languages of a company's owners and administrators."""
    found = await connection.execute(
        "SELECT a.email, a.account_id, a.language FROM membership m JOIN account a USING (account_id)"
        " WHERE m.company_id = %s AND m.role IN ('owner', 'admin') AND a.disabled_ms IS NULL"
        " ORDER BY a.account_id",
        (company_id,),
    )
    return [(row[0], row[1], row[2]) for row in await found.fetchall()]


async def language_of(connection: Connection, email_norm: str) -> str | None:
    """The language of whoever has this folded e-mail address; None where nobody is known to."""
    found = await connection.execute("SELECT language FROM account WHERE email_norm = %s", (email_norm,))
    row = await found.fetchone()
    return None if row is None else str(row[0])


# --- looking ------------------------------------------------------------------------------------------------


async def due(connection: Connection, now_ms: int, limit: int) -> list[int]:
    """Devices on which something is due, or may be: releases, second-hand requests to void or to recall."""
    found = await connection.execute(
        "SELECT DISTINCT m.device_id FROM matter m LEFT JOIN latest l ON l.device_id = m.device_id"
        " WHERE m.status = 'open' AND m.due_ms IS NOT NULL AND (m.due_ms <= %(now)s OR m.kind = 'release'"
        " OR (m.kind = 'second_hand' AND m.kid IS NOT NULL AND l.seen_ms > m.opened_ms)"
        " OR (m.kind = 'second_hand' AND m.reminded < (SELECT count(*) FROM unnest(%(after)s::bigint[])"
        " AS after_ms WHERE m.opened_ms + after_ms <= %(now)s)))"
        " ORDER BY m.device_id LIMIT %(limit)s",
        {"now": now_ms, "after": list(REMIND_AFTER_MS), "limit": limit},
    )
    return [row[0] for row in await found.fetchall()]


@dataclass(frozen=True, slots=True)
class OpenRow:
    """Something open on a device, as an operator sees it. A claimant is there in a dispute only."""

    device_id: int
    product_id: str
    model: str
    opened_ms: int
    owner_id: int
    owner: str
    claimant_id: int | None
    claimant: str | None


async def open_of_kind(connection: Connection, kind: MatterKind) -> list[OpenRow]:
    """What is open of this kind, the oldest first."""
    found = await connection.execute(
        "SELECT m.device_id, d.product_id, d.model, m.opened_ms, o.company_id, c.name, m.company_id, a.name"
        " FROM matter m JOIN device d USING (device_id)"
        " JOIN ownership o ON o.device_id = m.device_id AND o.epoch = m.epoch AND o.until_ms IS NULL"
        " JOIN company c ON c.company_id = o.company_id LEFT JOIN company a ON a.company_id = m.company_id"
        " WHERE m.kind = %s AND m.status = 'open' ORDER BY m.opened_ms, m.device_id, m.matter_id",
        (kind.value,),
    )
    return [OpenRow(*row) for row in await found.fetchall()]


@dataclass(frozen=True, slots=True)
class OfferRow:
    """An open offer as whoever may take it sees it."""

    device_id: int
    offer_id: str
    product_id: str
    model: str
    from_company: str
    to_email: str | None
    company_id: int | None
    secret_hash: bytes | None
    due_ms: int


async def find_offer(connection: Connection, device_id: int, offer_id: str) -> OfferRow | None:
    """The open offer of this name."""
    found = await connection.execute(
        "SELECT m.device_id, m.ref::text, d.product_id, d.model, c.name, m.to_email, m.company_id,"
        " m.secret_hash, m.due_ms FROM matter m JOIN device d USING (device_id)"
        " JOIN ownership o ON o.device_id = m.device_id AND o.epoch = m.epoch AND o.until_ms IS NULL"
        " JOIN company c ON c.company_id = o.company_id"
        " WHERE m.device_id = %s AND m.kind = 'offer' AND m.status = 'open' AND m.ref = %s::uuid",
        (device_id, offer_id),
    )
    row = await found.fetchone()
    return None if row is None else OfferRow(*row)


async def offers_to(connection: Connection, company_id: int, now_ms: int) -> list[OfferRow]:
    """The open offers that were made to this company."""
    found = await connection.execute(
        "SELECT m.device_id, m.ref::text, d.product_id, d.model, c.name, m.to_email, m.company_id,"
        " m.secret_hash, m.due_ms FROM matter m JOIN device d USING (device_id)"
        " JOIN ownership o ON o.device_id = m.device_id AND o.epoch = m.epoch AND o.until_ms IS NULL"
        " JOIN company c ON c.company_id = o.company_id"
        " WHERE m.company_id = %s AND m.kind = 'offer' AND m.status = 'open' AND m.due_ms > %s"
        " ORDER BY m.due_ms LIMIT 100",
        (company_id, now_ms),
    )
    return [OfferRow(*row) for row in await found.fetchall()]


async def last_owner(connection: Connection, device_id: int) -> tuple[int, str] | None:
    """The company whose ownership ended last, and why it ended."""
    found = await connection.execute(
        "SELECT company_id, ended_by FROM ownership WHERE device_id = %s AND until_ms IS NOT NULL"
        " ORDER BY epoch DESC LIMIT 1",
        (device_id,),
    )
    row = await found.fetchone()
    return None if row is None else (row[0], row[1])


async def took_offer(connection: Connection, device_id: int, offer_id: str) -> bool:
    """Whether the live ownership began with this offer."""
    found = await connection.execute(
        "SELECT 1 FROM matter m JOIN ownership o ON o.device_id = m.device_id AND o.until_ms IS NULL"
        " WHERE m.device_id = %s AND m.kind = 'offer' AND m.status = 'done' AND m.ref = %s::uuid"
        " AND o.epoch = (SELECT min(epoch) FROM ownership n WHERE n.device_id = m.device_id"
        " AND n.epoch > m.epoch)",
        (device_id, offer_id),
    )
    return await found.fetchone() is not None


async def email_of(connection: Connection, account_id: int) -> str:
    """The folded e-mail address of an account; empty where there is none."""
    found = await connection.execute("SELECT email_norm FROM account WHERE account_id = %s", (account_id,))
    row = await found.fetchone()
    return "" if row is None else str(row[0])
