"""Claims and device keys in the database: the facts of one device, and each effect of the core as SQL.

Every function works in the caller's transaction. Whoever changes a device calls :func:`lock` first, so two
halves that arrive together see each other one after the other.
"""

import json
from dataclasses import dataclass, fields
from typing import Final

from cloud.core.device import ClaimState, Device, Key, KeyState, Pending
from cloud.core.effects import AddClaim
from cloud.postgres import owners
from cloud.postgres.transaction import Connection

MAX_TEXT: Final = 64
MAX_RATING: Final = 2_000_000_000
"""Ratings are stored as 32-bit integers."""


class DeviceMismatchError(Exception):
    """Two devices with one device_id: somebody searched long for such a pair. Refused, and an alarm."""


class BindRefusedError(Exception):
    """The database refused what the core decided; under the device's lock that is a fault of ours."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """What a device says it is, made fit to be stored: no control characters, bounded."""

    model: str
    sku: str
    serial: str
    firmware: str
    rated_real_power_w: int
    rated_apparent_power_va: int


def clean_text(text: str) -> str:
    """Text from a peer: printable characters only (PostgreSQL stores no NUL), capped."""
    return "".join(character for character in text if character.isprintable()).strip()[:MAX_TEXT]


def clean_rating(number: int) -> int:
    """A rating from a peer; what cannot be one is 0, as unknown."""
    return number if 0 <= number <= MAX_RATING else 0


@dataclass(frozen=True, slots=True)
class ClaimRow:
    """A claim as stored."""

    claim_id: str
    device_id: int
    product_id: str
    company_id: int
    account_id: int
    state: ClaimState
    reason: str
    picked_kid: str | None
    created_ms: int
    expires_ms: int
    decided_ms: int | None

    def pending(self) -> Pending:
        """The claim as the core knows it."""
        return Pending(
            self.claim_id, self.company_id, self.account_id, self.created_ms, self.expires_ms, self.picked_kid
        )


# --- lock and load ------------------------------------------------------------------------------------------


async def lock(
    connection: Connection, device_id: int, product_id: str, label_pub: bytes, now_ms: int
) -> None:
    """Hold the device's row until the transaction ends, made here if need be. DeviceMismatchError."""
    # The conflicting row is locked although WHERE false leaves it as it is: no new row version a minute.
    await connection.execute(
        "INSERT INTO device (device_id, product_id, label_pub, created_ms) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (device_id) DO UPDATE SET version = device.version WHERE false",
        (device_id, product_id, label_pub, now_ms),
    )
    found = await connection.execute(
        "SELECT product_id = %s AND label_pub = %s FROM device WHERE device_id = %s",
        (product_id, label_pub, device_id),
    )
    if await found.fetchone() != (True,):
        raise DeviceMismatchError(f"device {device_id} has another Product ID or label key")


async def lock_known(connection: Connection, device_id: int) -> bool:
    """Hold the row of a device that should exist; False where it does not."""
    found = await connection.execute(
        "SELECT 1 FROM device WHERE device_id = %s FOR NO KEY UPDATE", (device_id,)
    )
    return await found.fetchone() is not None


async def load(connection: Connection, device_id: int) -> Device:
    """The facts of a device that the core decides on."""
    keys = await connection.execute(
        "SELECT kid, state, announced_ms, smartconnect FROM device_key WHERE device_id = %s ORDER BY kid",
        (device_id,),
    )
    pending = await connection.execute(
        "SELECT claim_id::text, company_id, account_id, claim.created_ms, expires_ms, picked_kid FROM claim"
        " JOIN company USING (company_id) WHERE device_id = %s AND state = 'pending' AND closed_ms IS NULL"
        " ORDER BY claim.created_ms, claim_id",
        (device_id,),
    )
    owner, last_epoch, matters = await owners.load(connection, device_id)
    return Device(
        keys=tuple([Key(kid, KeyState(state), at, on) for kid, state, at, on in await keys.fetchall()]),
        pending=tuple([Pending(*values) for values in await pending.fetchall()]),
        owner=owner,
        last_epoch=last_epoch,
        matters=matters,
    )


# --- keys ---------------------------------------------------------------------------------------------------


async def record_key(
    connection: Connection,
    device_id: int,
    *,
    kid: str,
    device_pub: bytes,
    login_ms: int,
    smartconnect: bool,
    request: str,
    announcement: bytes,
    now_ms: int,
) -> bool:
    """Store an announcement; False where the key has logged in anew since, so that nothing was stored."""
    stored = await connection.execute(
        "INSERT INTO device_key AS k (device_id, kid, device_pub, state, login_ms, announced_ms,"
        " smartconnect, request, announcement, created_ms)"
        " VALUES (%(device)s, %(kid)s, %(pub)s, 'candidate', %(login)s, %(now)s, %(on)s, %(request)s,"
        " %(sealed)s, %(now)s)"
        " ON CONFLICT (device_id, kid) DO UPDATE SET login_ms = excluded.login_ms,"
        " announced_ms = excluded.announced_ms, smartconnect = excluded.smartconnect,"
        " request = excluded.request, announcement = excluded.announcement"
        " WHERE k.login_ms <= excluded.login_ms AND k.device_pub = excluded.device_pub",
        {
            "device": device_id,
            "kid": kid,
            "pub": device_pub,
            "login": login_ms,
            "now": now_ms,
            "on": smartconnect,
            "request": request,
            "sealed": announcement,
        },
    )
    return stored.rowcount == 1


async def announcement_of(connection: Connection, device_id: int, kid: str) -> bytes | None:
    """The sealed announcement of a key, as it was received."""
    found = await connection.execute(
        "SELECT announcement FROM device_key WHERE device_id = %s AND kid = %s", (device_id, kid)
    )
    row = await found.fetchone()
    return None if row is None else bytes(row[0])


async def set_inventory(connection: Connection, device_id: int, inventory: Inventory) -> bool:
    """Store what the device is; True where that is news."""
    values = {
        "device": device_id,
        "model": inventory.model,
        "sku": inventory.sku,
        "serial": inventory.serial,
        "firmware": inventory.firmware,
        "watts": inventory.rated_real_power_w,
        "va": inventory.rated_apparent_power_va,
    }
    done = await connection.execute(
        "UPDATE device SET model = %(model)s, sku = %(sku)s, serial = %(serial)s, firmware = %(firmware)s,"
        " rated_real_power_w = %(watts)s, rated_apparent_power_va = %(va)s"
        " WHERE device_id = %(device)s AND (model, sku, serial, firmware, rated_real_power_w,"
        " rated_apparent_power_va) IS DISTINCT FROM"
        " (%(model)s, %(sku)s, %(serial)s, %(firmware)s, %(watts)s, %(va)s)",
        values,
    )
    return done.rowcount == 1


async def refresh_fence(connection: Connection, device_id: int, kid: str) -> None:
    """Bring what the bound key's announcement says to its row in ``latest``.

    Its SmartConnect, and its log-in where that is newer: a key the cloud did not know may have had two
    connections, and the one that wrote nothing yet is the newer one.
    """
    await connection.execute(
        "UPDATE latest l SET smartconnect = k.smartconnect, session_no = greatest(l.session_no, k.login_ms)"
        " FROM device_key k WHERE l.device_id = %(device)s AND l.kid = %(kid)s"
        " AND k.device_id = l.device_id AND k.kid = l.kid"
        " AND (l.smartconnect <> k.smartconnect OR l.session_no < k.login_ms)",
        {"device": device_id, "kid": kid},
    )


async def forget_keys(connection: Connection, device_id: int, before_ms: int) -> int:
    """Delete the candidates that were not heard since; how many."""
    done = await connection.execute(
        "DELETE FROM device_key k WHERE device_id = %s AND state = 'candidate' AND announced_ms < %s"
        " AND NOT EXISTS (SELECT 1 FROM matter m WHERE m.device_id = k.device_id AND m.kid = k.kid"
        " AND m.status = 'open')",
        (device_id, before_ms),
    )
    return done.rowcount


# --- claims -------------------------------------------------------------------------------------------------


async def add_claim(connection: Connection, device_id: int, effect: AddClaim) -> None:
    """Store a pending claim."""
    claim = effect.claim
    await connection.execute(
        "INSERT INTO claim (device_id, claim_id, company_id, account_id, state, created_ms, expires_ms)"
        " VALUES (%s, %s, %s, %s, 'pending', %s, %s)",
        (
            device_id,
            claim.claim_id,
            claim.company_id,
            claim.account_id,
            claim.created_ms,
            claim.expires_ms,
        ),
    )


async def add_refused(
    connection: Connection,
    device_id: int,
    *,
    claim_id: str,
    company_id: int,
    account_id: int,
    reason: str,
    now_ms: int,
) -> bool:
    """Store a claim that was refused at once: one row a company and ownership, however often they try.

    False where there is one already.
    """
    done = await connection.execute(
        "INSERT INTO claim (device_id, claim_id, company_id, account_id, state, reason, created_ms,"
        " expires_ms, decided_ms)"
        " SELECT %(device)s, %(claim)s, %(company)s, %(account)s, 'refused', %(reason)s, %(now)s, %(now)s,"
        " %(now)s WHERE NOT EXISTS (SELECT 1 FROM claim c JOIN ownership o ON o.device_id = c.device_id"
        " AND o.until_ms IS NULL WHERE c.device_id = %(device)s AND c.company_id = %(company)s"
        " AND c.state = 'refused' AND c.reason = %(reason)s AND c.decided_ms >= o.from_ms)",
        {
            "device": device_id,
            "claim": claim_id,
            "company": company_id,
            "account": account_id,
            "reason": reason,
            "now": now_ms,
        },
    )
    return done.rowcount == 1


async def set_pick(connection: Connection, device_id: int, claim_id: str, kid: str) -> None:
    """Store which key the claimant picked."""
    await connection.execute(
        "UPDATE claim SET picked_kid = %s WHERE device_id = %s AND claim_id = %s AND state = 'pending'",
        (kid, device_id, claim_id),
    )


async def end_claim(
    connection: Connection, device_id: int, claim_id: str, state: ClaimState, now_ms: int
) -> None:
    """Store how a pending claim ended."""
    await connection.execute(
        "UPDATE claim SET state = %s, decided_ms = %s"
        " WHERE device_id = %s AND claim_id = %s AND state = 'pending'",
        (state.value, now_ms, device_id, claim_id),
    )


async def bind(connection: Connection, device_id: int, claim_id: str, kid: str, now_ms: int) -> int:
    """Make the claimant the owner; the new epoch. BindRefusedError."""
    done = await connection.execute("SELECT bind_device(%s, %s, %s, %s)", (device_id, claim_id, kid, now_ms))
    row = await done.fetchone()
    if row is None or row[0] is None:
        raise BindRefusedError(f"claim {claim_id} could not be bound to {kid}")
    return int(row[0])


_CLAIM: Final = (
    "SELECT c.claim_id::text, c.device_id, d.product_id, c.company_id, c.account_id, c.state, c.reason,"
    " c.picked_kid, c.created_ms, c.expires_ms, c.decided_ms"
    " FROM claim c JOIN device d ON d.device_id = c.device_id"
)


async def find_claim(
    connection: Connection,
    company_id: int,
    device_id: int,
    claim_id: str | None = None,
    *,
    state: ClaimState | None = None,
) -> ClaimRow | None:
    """A company's claim of this name, or its newest one on the device, in this state; a waiting one first."""
    found = await connection.execute(
        f"{_CLAIM} WHERE c.device_id = %(device)s AND c.company_id = %(company)s"
        " AND (%(claim)s::uuid IS NULL OR c.claim_id = %(claim)s::uuid)"
        " AND (%(state)s::text IS NULL OR c.state = %(state)s::text)"
        " ORDER BY (c.state = 'pending') DESC, c.created_ms DESC, c.claim_id LIMIT 1",
        {
            "device": device_id,
            "company": company_id,
            "claim": claim_id,
            "state": None if state is None else state.value,
        },
    )
    row = await found.fetchone()
    if row is None:
        return None
    names = tuple(field.name for field in fields(ClaimRow))
    return ClaimRow(**dict(zip(names, row, strict=True)) | {"state": ClaimState(row[5])})


async def overdue(connection: Connection, now_ms: int, limit: int) -> list[int]:
    """Devices on which a pending claim's time is over."""
    found = await connection.execute(
        "SELECT DISTINCT device_id FROM claim WHERE state = 'pending' AND expires_ms <= %s"
        " ORDER BY device_id LIMIT %s",
        (now_ms, limit),
    )
    return [row[0] for row in await found.fetchall()]


async def silent(connection: Connection, before_ms: int, limit: int) -> list[int]:
    """Devices with a candidate key that was not heard since."""
    found = await connection.execute(
        "SELECT DISTINCT device_id FROM device_key WHERE state = 'candidate' AND announced_ms < %s"
        " ORDER BY device_id LIMIT %s",
        (before_ms, limit),
    )
    return [row[0] for row in await found.fetchall()]


# --- telling ------------------------------------------------------------------------------------------------


async def tell(connection: Connection, device_id: int) -> None:
    """Something that a hello or a page shows has changed: count it, and hint at it."""
    await connection.execute("UPDATE device SET version = version + 1 WHERE device_id = %s", (device_id,))
    await connection.execute("SELECT pg_notify('device', %s)", (str(device_id),))


async def audit(
    connection: Connection,
    device_id: int,
    kind: str,
    now_ms: int,
    *,
    epoch: int | None = None,
    company_id: int | None = None,
    account_id: int | None = None,
    kid: str | None = None,
    **detail: str,
) -> None:
    """Write down what happened to a device, and by whom."""
    await connection.execute(
        "INSERT INTO device_audit (device_id, ts_ms, kind, epoch, company_id, account_id, kid, detail)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        (device_id, now_ms, kind, epoch, company_id, account_id, kid, json.dumps(detail)),
    )
