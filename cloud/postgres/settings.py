"""Settings of devices: the shadow of each, its history, and those that live in the ownership.

The portal changes a shadow under the lock of the device's row, a writer under that of ``latest``; both lock
the row in ``device_setting`` after it. Reports of devices are stored by :mod:`cloud.postgres.reported`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from psycopg.types.json import Jsonb

from cloud.core.settings import ChangeState, Closed, Made, Note, Origin, Shadow, Wish
from cloud.postgres.pool import Pool
from cloud.postgres.transaction import Connection
from protocol.messages import Scalar

SHOWN_CHANGES: Final = 30
KEPT_CHANGES: Final = 1000

# One of these is locked, and made before, with an epoch that no ownership has.
MAKE: Final = (
    "INSERT INTO device_setting (device_id, epoch) VALUES (%s, 0) ON CONFLICT (device_id) DO NOTHING"
)
COLUMNS: Final = "epoch, version, wishes, base_version, revision, reported, at_device, reported_ms"
LOAD: Final = f"SELECT {COLUMNS} FROM device_setting WHERE device_id = %s"  # noqa: S608  names of ours alone
LOCK: Final = f"{LOAD} FOR UPDATE"
STORE: Final = (
    "UPDATE device_setting SET epoch = %(epoch)s, version = %(version)s, wishes = %(wishes)s,"
    " base_version = %(base_version)s, revision = %(revision)s, reported = %(reported)s,"
    " at_device = %(at_device)s, reported_ms = %(reported_ms)s,"
    " sealed = CASE WHEN %(wishes)s::jsonb = '{}' THEN NULL ELSE coalesce(%(sealed)s, sealed) END,"
    " kid = coalesce(%(kid)s, kid) WHERE device_id = %(device)s"
)
END_OLDER: Final = (
    "UPDATE setting_change SET state = 'replaced', closed_ms = %(now)s"
    " WHERE device_id = %(device)s AND epoch = %(epoch)s AND name = %(name)s AND state = %(state)s"
)
ADD: Final = (
    "INSERT INTO setting_change (device_id, epoch, name, value, origin, account_id, made_ms, version, state,"
    " closed_ms) VALUES (%(device)s, %(epoch)s, %(name)s, %(value)s, %(origin)s, %(account)s, %(made)s,"
    " %(version)s, %(state)s, %(closed)s)"
)
FORGET: Final = (
    "DELETE FROM setting_change WHERE device_id = %(device)s AND epoch = %(epoch)s AND state <> 'pending'"
    " AND change_id < (SELECT change_id FROM setting_change WHERE device_id = %(device)s"
    " AND epoch = %(epoch)s ORDER BY change_id DESC OFFSET %(kept)s LIMIT 1)"
)
"""A device that changes its mind all day must not fill the disk."""
CLOSE: Final = (
    "UPDATE setting_change SET state = %(state)s, code = %(code)s, closed_ms = %(now)s"
    " WHERE device_id = %(device)s AND epoch = %(epoch)s AND name = %(name)s AND version = %(version)s"
    " AND state = 'pending'"
)


@dataclass(frozen=True, slots=True)
class Profile:
    """What of a device's settings lives in its ownership, and whose that is."""

    epoch: int
    kid: str
    name: str
    description: str
    time_zone: str
    notifications: bool
    device_sensitivity_s: int


CLOUD_COLUMNS: Final = ("name", "description", "time_zone", "notifications", "device_sensitivity_s")


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the history. ``who`` is empty where the device or nobody known made it."""

    name: str
    value: Scalar
    origin: Origin
    who: str
    made_ms: int
    state: ChangeState
    code: str
    closed_ms: int | None


# --- rows and values ----------------------------------------------------------------------------------------


def shadow_of(row: Sequence[Any]) -> Shadow:
    """A row of ``COLUMNS``."""
    epoch, version, wishes, base_version, revision, reported, at_device, reported_ms = row
    return Shadow(
        epoch=epoch,
        version=version,
        wishes={
            name: Wish(one["value"], one["set_ms"], one["version"], one["account_id"])
            for name, one in wishes.items()
        },
        base_version=base_version,
        revision=revision,
        reported=reported,
        at_device=at_device,
        reported_ms=reported_ms,
    )


def values_of(device_id: int, shadow: Shadow, sealed: bytes | None, kid: str | None) -> dict[str, object]:
    """Arguments of STORE; None for ``sealed`` and ``kid`` leaves what is there."""
    wishes = {
        name: {
            "value": one.value,
            "set_ms": one.set_ms,
            "version": one.version,
            "account_id": one.account_id,
        }
        for name, one in shadow.wishes.items()
    }
    return {
        "device": device_id,
        "epoch": shadow.epoch,
        "version": shadow.version,
        "wishes": Jsonb(wishes),
        "base_version": shadow.base_version,
        "revision": shadow.revision,
        "reported": Jsonb(dict(shadow.reported)),
        "at_device": Jsonb(dict(shadow.at_device)),
        "reported_ms": shadow.reported_ms,
        "sealed": sealed,
        "kid": kid,
    }


def statements_of(
    device_id: int, epoch: int, notes: Sequence[Note], now_ms: int
) -> list[tuple[str, dict[str, object]]]:
    """What writes these notes into the history, in order."""
    found: list[tuple[str, dict[str, object]]] = []
    for note in notes:
        known = {"device": device_id, "epoch": epoch, "name": note.name, "now": now_ms}
        ends_older = note.state in {ChangeState.PENDING, ChangeState.IN_FORCE}
        if ends_older:
            found.append((END_OLDER, {**known, "state": note.state.value}))
        match note:
            case Made():
                open_still = note.state is ChangeState.PENDING
                found.append(
                    (
                        ADD,
                        {
                            **known,
                            "value": Jsonb(note.value),
                            "origin": note.origin.value,
                            "account": note.account_id,
                            "made": note.made_ms,
                            "version": note.version,
                            "state": note.state.value,
                            "closed": None if open_still else now_ms,
                        },
                    )
                )
            case Closed():
                closing = {"version": note.version, "state": note.state.value, "code": note.code}
                found.append((CLOSE, {**known, **closing}))
    if any(isinstance(note, Made) for note in notes):
        found.append((FORGET, {"device": device_id, "epoch": epoch, "kept": KEPT_CHANGES}))
    return found


# --- the portal's side --------------------------------------------------------------------------------------


async def lock(connection: Connection, device_id: int) -> Shadow:
    """Hold the shadow of a device, made here if need be."""
    await connection.execute(MAKE, [device_id])
    row = await (await connection.execute(LOCK, [device_id])).fetchone()
    if row is None:
        raise AssertionError("a row that was just made is there")
    return shadow_of(row)


async def load(connection: Connection, device_id: int) -> Shadow:
    """The shadow of a device as it is."""
    row = await (await connection.execute(LOAD, [device_id])).fetchone()
    return Shadow() if row is None else shadow_of(row)


async def store(
    connection: Connection,
    device_id: int,
    shadow: Shadow,
    notes: Sequence[Note],
    *,
    sealed: bytes | None,
    kid: str | None,
    now_ms: int,
) -> None:
    """Write a shadow that is held, and its history."""
    await connection.execute(STORE, values_of(device_id, shadow, sealed, kid))
    for statement, arguments in statements_of(device_id, shadow.epoch, notes, now_ms):
        await connection.execute(statement, arguments)


async def find_profile(connection: Connection, device_id: int, company_id: int) -> Profile | None:
    """What lives in the live ownership of this company; None where it owns no such device."""
    found = await connection.execute(
        "SELECT epoch, kid, name, description, time_zone, notifications, device_sensitivity_s FROM ownership"
        " WHERE device_id = %s AND company_id = %s AND until_ms IS NULL",
        [device_id, company_id],
    )
    row = await found.fetchone()
    return None if row is None else Profile(*row)


async def store_profile(
    connection: Connection, device_id: int, epoch: int, values: Mapping[str, Scalar]
) -> None:
    """Write all of ``CLOUD_COLUMNS`` of the ownership of this epoch."""
    await connection.execute(
        "UPDATE ownership SET name = %(name)s, description = %(description)s, time_zone = %(time_zone)s,"
        " notifications = %(notifications)s, device_sensitivity_s = %(device_sensitivity_s)s"
        " WHERE device_id = %(device)s AND epoch = %(epoch)s",
        {**values, "device": device_id, "epoch": epoch},
    )


async def add_notes(
    connection: Connection, device_id: int, epoch: int, notes: Sequence[Note], now_ms: int
) -> None:
    """Write the history alone."""
    for statement, arguments in statements_of(device_id, epoch, notes, now_ms):
        await connection.execute(statement, arguments)


_CHANGE: Final = (
    "c.name, c.value, c.origin, coalesce(nullif(trim(a.first_name || ' ' || a.last_name), ''), a.email, ''),"
    " c.made_ms, c.state, c.code, c.closed_ms"
)
LIST: Final = (
    f"SELECT {_CHANGE} FROM setting_change c LEFT JOIN account a USING (account_id)"  # noqa: S608  names of ours
    " WHERE c.device_id = %s AND c.epoch = %s ORDER BY c.change_id DESC LIMIT %s"
)
LAST: Final = (
    f"SELECT DISTINCT ON (c.name) {_CHANGE} FROM setting_change c"  # noqa: S608  names of ours
    " LEFT JOIN account a USING (account_id)"
    " WHERE c.device_id = %s AND c.epoch = %s AND c.state <> 'replaced'"
    " ORDER BY c.name, c.change_id DESC"
)


async def list_changes(
    connection: Connection, device_id: int, epoch: int, limit: int = SHOWN_CHANGES
) -> list[Change]:
    """The newest changes of one ownership, newest first."""
    found = await connection.execute(LIST, [device_id, epoch, limit])
    return [_change(*row) for row in await found.fetchall()]


async def last_changes(connection: Connection, device_id: int, epoch: int) -> dict[str, Change]:
    """The newest change of each setting that nobody has changed again."""
    found = await connection.execute(LAST, [device_id, epoch])
    return {row[0]: _change(*row) for row in await found.fetchall()}


def _change(
    name: str,
    value: Scalar,
    origin: str,
    who: str,
    made_ms: int,
    state: str,
    code: str,
    closed_ms: int | None,
) -> Change:
    return Change(name, value, Origin(origin), who, made_ms, ChangeState(state), code, closed_ms)


async def bound_key(connection: Connection, device_id: int) -> tuple[int, str]:
    """Epoch and key of the live ownership; 0 and "" without one."""
    found = await connection.execute(
        "SELECT epoch, kid FROM ownership WHERE device_id = %s AND until_ms IS NULL", [device_id]
    )
    row = await found.fetchone()
    return (0, "") if row is None else (row[0], row[1])


async def open_kid(connection: Connection, device_id: int) -> str | None:
    """The key that the open wishes are signed for; None where there are none."""
    found = await connection.execute(
        "SELECT kid FROM device_setting WHERE device_id = %s AND sealed IS NOT NULL", [device_id]
    )
    row = await found.fetchone()
    return None if row is None else str(row[0])


async def sealed_for_others(pool: Pool, limit: int = 100) -> list[int]:
    """Devices whose open wishes are signed for a key that they no longer have."""
    async with pool.connection() as connection:
        found = await connection.execute(
            "SELECT s.device_id FROM device_setting s JOIN latest l USING (device_id)"
            " WHERE s.sealed IS NOT NULL AND l.epoch = s.epoch AND l.kid <> s.kid AND NOT l.revoked LIMIT %s",
            [limit],
        )
        return [device_id for (device_id,) in await found.fetchall()]


# --- for others ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NoticeSettings:
    """What the notices about a device are to keep to."""

    notifications: bool
    device_sensitivity_s: int
    time_zone: str


async def notice_settings(connection: Connection, device_id: int) -> NoticeSettings:
    """How its owner wants to be told about a device; nobody is told about one that nobody owns."""
    found = await connection.execute(
        "SELECT notifications, device_sensitivity_s, time_zone FROM ownership"
        " WHERE device_id = %s AND until_ms IS NULL",
        [device_id],
    )
    row = await found.fetchone()
    return NoticeSettings(False, 0, "UTC") if row is None else NoticeSettings(*row)


async def sensitivity_s(connection: Connection, device_id: int) -> int:
    """Device Sensitivity: seconds on battery before anybody is told; 0 at once."""
    return (await notice_settings(connection, device_id)).device_sensitivity_s


# --- the gateway's side -------------------------------------------------------------------------------------

FIND_SEALED: Final = (
    "SELECT s.device_id, s.version, s.sealed FROM device_setting s"
    " JOIN latest l ON l.device_id = s.device_id AND l.epoch = s.epoch AND l.kid = s.kid AND NOT l.revoked"
    " WHERE s.device_id = ANY (%s) AND s.sealed IS NOT NULL"
)


async def find_sealed(pool: Pool, device_ids: Sequence[int]) -> dict[int, tuple[int, bytes]]:
    """Version and signed bytes of what is wanted of these devices, for their bound keys."""
    async with pool.connection() as connection:
        found = await connection.execute(FIND_SEALED, [list(device_ids)])
        return {device_id: (version, bytes(sealed)) for device_id, version, sealed in await found.fetchall()}
