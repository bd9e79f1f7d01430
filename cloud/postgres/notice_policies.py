"""Policies, channels, windows and who has unsubscribed, in the caller's transaction.

What a person removes is ended, not deleted: the log of what was sent still names it.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from psycopg.rows import class_row

from cloud.core.notice import Topic
from cloud.core.notice_policy import Area, Policy, Quiet, Scope, Window
from cloud.postgres.transaction import Connection


@dataclass(frozen=True, slots=True)
class Target:
    """Who is told: ``kind`` role, account or channel; ``step`` 1 when nobody has acknowledged in time."""

    step: int
    kind: str
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRow:
    """A policy as it is stored and as a person edits it."""

    policy_id: int = 0
    name: str
    scope: str = Scope.COMPANY.value
    scope_id: int = 0
    scope_epoch: int = 0
    topics: list[str]
    delay_s: int = 0
    recoveries: bool = True
    quiet_from_min: int | None = None
    quiet_until_min: int | None = None
    quiet_zone: str = "UTC"
    quiet_lets_urgent: bool = True
    escalate_after_s: int | None = None
    enabled: bool = True
    created_ms: int = 0

    def policy(self) -> Policy:
        """What the core decides with."""
        quiet = None
        if self.quiet_from_min is not None and self.quiet_until_min is not None:
            quiet = Quiet(self.quiet_from_min, self.quiet_until_min, self.quiet_zone, self.quiet_lets_urgent)
        return Policy(
            policy_id=self.policy_id,
            area=Area(Scope(self.scope), self.scope_id, self.scope_epoch),
            topics=frozenset(map(Topic, self.topics)),
            created_ms=self.created_ms,
            delay_s=self.delay_s,
            recoveries=self.recoveries,
            quiet=quiet,
            escalate_after_s=self.escalate_after_s,
        )


@dataclass(frozen=True, slots=True)
class ChannelRow:
    """Where messages go beside mailboxes; ``shown`` holds nothing secret, ``sealed`` all of it."""

    channel_id: int
    company_id: int
    kind: str
    name: str
    shown: str
    sealed: bytes
    created_ms: int


@dataclass(frozen=True, slots=True)
class WindowRow:
    """Work on devices, with an end."""

    window_id: int
    scope: str
    scope_id: int
    scope_epoch: int
    from_ms: int
    until_ms: int
    reason: str

    def window(self) -> Window:
        """What the core decides with."""
        return Window(Area(Scope(self.scope), self.scope_id, self.scope_epoch), self.from_ms, self.until_ms)


_POLICY_FIELDS: Final = tuple(field.name for field in dataclasses.fields(PolicyRow))
_POLICY: Final = ", ".join(_POLICY_FIELDS)
_WRITTEN: Final = tuple(name for name in _POLICY_FIELDS if name not in {"policy_id", "created_ms"})


async def is_known(connection: Connection, company_id: int) -> bool:
    """Whether the company was given its first policy."""
    found = await connection.execute(
        "SELECT 1 FROM notice_policy WHERE company_id = %s LIMIT 1", (company_id,)
    )
    return await found.fetchone() is not None


async def policies(connection: Connection, company_id: int) -> list[PolicyRow]:
    """All policies of a company, switched off ones too, by number."""
    async with connection.cursor(row_factory=class_row(PolicyRow)) as cursor:
        await cursor.execute(
            f"SELECT {_POLICY} FROM notice_policy WHERE company_id = %s AND ended_ms IS NULL"  # noqa: S608  our columns
            " ORDER BY policy_id",
            (company_id,),
        )
        return await cursor.fetchall()


async def insert_policy(connection: Connection, company_id: int, row: PolicyRow, now_ms: int) -> int:
    """A new policy; its number."""
    values = dataclasses.asdict(row)
    done = await connection.execute(
        f"INSERT INTO notice_policy (company_id, created_ms, {', '.join(_WRITTEN)})"  # noqa: S608  our columns
        f" VALUES (%s, %s, {', '.join(['%s'] * len(_WRITTEN))}) RETURNING policy_id",
        (company_id, now_ms, *(values[name] for name in _WRITTEN)),
    )
    return int((await done.fetchall())[0][0])


async def update_policy(connection: Connection, company_id: int, row: PolicyRow) -> bool:
    """Write all fields of a policy; False where the company has none of this number."""
    values = dataclasses.asdict(row)
    done = await connection.execute(
        f"UPDATE notice_policy SET {', '.join(f'{name} = %s' for name in _WRITTEN)}"  # noqa: S608  our columns
        " WHERE policy_id = %s AND company_id = %s AND ended_ms IS NULL",
        (*(values[name] for name in _WRITTEN), row.policy_id, company_id),
    )
    return done.rowcount == 1


async def end_policy(connection: Connection, company_id: int, policy_id: int, now_ms: int) -> bool:
    """Nobody is told anything by it any more."""
    done = await connection.execute(
        "UPDATE notice_policy SET ended_ms = %s WHERE policy_id = %s AND company_id = %s"
        " AND ended_ms IS NULL",
        (now_ms, policy_id, company_id),
    )
    return done.rowcount == 1


async def targets(connection: Connection, policy_ids: Iterable[int]) -> dict[int, list[Target]]:
    """Who is told, by policy."""
    found = await connection.execute(
        "SELECT policy_id, step, kind, target FROM notice_target WHERE policy_id = ANY(%s)"
        " ORDER BY policy_id, step, kind, target",
        (sorted(policy_ids),),
    )
    result: dict[int, list[Target]] = {}
    for row in await found.fetchall():
        result.setdefault(row[0], []).append(Target(*row[1:]))
    return result


async def set_targets(connection: Connection, policy_id: int, given: Iterable[Target]) -> None:
    """These and no others."""
    await connection.execute("DELETE FROM notice_target WHERE policy_id = %s", (policy_id,))
    async with connection.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO notice_target (policy_id, step, kind, target) VALUES (%s, %s, %s, %s)",
            [(policy_id, one.step, one.kind, one.target) for one in set(given)],
        )


@dataclass(frozen=True, slots=True)
class Reader:
    """A member who may be told; ``gone`` are the policies whose mails they have unsubscribed from."""

    account_id: int
    role: str
    email: str
    time_zone: str
    language: str
    gone: list[int]


async def readers(connection: Connection, company_id: int) -> list[Reader]:
    """All members whose account is there, with the address and the language they have now."""
    found = await connection.execute(
        "SELECT a.account_id, m.role, a.email, a.time_zone, a.language,"
        " ARRAY(SELECT o.policy_id FROM notice_opt_out o WHERE o.account_id = a.account_id)"
        " FROM membership m JOIN account a USING (account_id)"
        " WHERE m.company_id = %s AND a.disabled_ms IS NULL ORDER BY a.account_id",
        (company_id,),
    )
    return [Reader(*row) for row in await found.fetchall()]


async def opt_out(connection: Connection, policy_id: int, account_id: int, now_ms: int) -> None:
    """No more mails of this policy to this person."""
    await connection.execute(
        "INSERT INTO notice_opt_out (policy_id, account_id, since_ms) SELECT policy_id, %s, %s"
        " FROM notice_policy WHERE policy_id = %s AND EXISTS (SELECT 1 FROM account WHERE account_id = %s)"
        " ON CONFLICT DO NOTHING",
        (account_id, now_ms, policy_id, account_id),
    )


async def opt_in(connection: Connection, policy_id: int, account_id: int) -> None:
    """Mails again."""
    await connection.execute(
        "DELETE FROM notice_opt_out WHERE policy_id = %s AND account_id = %s", (policy_id, account_id)
    )


# --- channels -----------------------------------------------------------------------------------------------

_CHANNEL: Final = "channel_id, company_id, kind, name, shown, sealed, created_ms"


async def channels(connection: Connection, company_id: int) -> list[ChannelRow]:
    """The channels of a company, by number."""
    async with connection.cursor(row_factory=class_row(ChannelRow)) as cursor:
        await cursor.execute(
            f"SELECT {_CHANNEL} FROM notice_channel WHERE company_id = %s AND ended_ms IS NULL"  # noqa: S608  our columns
            " ORDER BY channel_id",
            (company_id,),
        )
        return await cursor.fetchall()


async def insert_channel(
    connection: Connection, company_id: int, kind: str, name: str, shown: str, now_ms: int
) -> int:
    """A new channel, its secret still to be sealed for its number."""
    done = await connection.execute(
        "INSERT INTO notice_channel (company_id, kind, name, shown, created_ms) VALUES (%s, %s, %s, %s, %s)"
        " RETURNING channel_id",
        (company_id, kind, name, shown, now_ms),
    )
    return int((await done.fetchall())[0][0])


async def seal_channel(connection: Connection, channel_id: int, sealed: bytes) -> None:
    """Store what is secret of it."""
    await connection.execute(
        "UPDATE notice_channel SET sealed = %s WHERE channel_id = %s", (sealed, channel_id)
    )


async def end_channel(connection: Connection, company_id: int, channel_id: int, now_ms: int) -> bool:
    """Nothing is sent there any more, and what was secret of it is forgotten."""
    done = await connection.execute(
        "UPDATE notice_channel SET ended_ms = %s, sealed = '' WHERE channel_id = %s AND company_id = %s"
        " AND ended_ms IS NULL",
        (now_ms, channel_id, company_id),
    )
    await connection.execute(
        "DELETE FROM notice_target t USING notice_policy p WHERE t.policy_id = p.policy_id"
        " AND p.company_id = %s AND t.kind = 'channel' AND t.target = %s",
        (company_id, str(channel_id)),
    )
    return done.rowcount == 1


# --- windows ------------------------------------------------------------------------------------------------


async def windows(connection: Connection, company_id: int, after_ms: int) -> list[WindowRow]:
    """Windows that end after this moment, the next one first."""
    async with connection.cursor(row_factory=class_row(WindowRow)) as cursor:
        await cursor.execute(
            "SELECT window_id, scope, scope_id, scope_epoch, from_ms, until_ms, reason"
            " FROM maintenance_window WHERE company_id = %s AND until_ms > %s ORDER BY from_ms, window_id",
            (company_id, after_ms),
        )
        return await cursor.fetchall()


async def insert_window(
    connection: Connection, company_id: int, account_id: int, row: WindowRow, now_ms: int
) -> int:
    """A new window; its number."""
    done = await connection.execute(
        "INSERT INTO maintenance_window (company_id, account_id, scope, scope_id, scope_epoch, from_ms,"
        " until_ms, reason, created_ms) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING window_id",
        (
            *(company_id, account_id, row.scope, row.scope_id, row.scope_epoch),
            *(row.from_ms, row.until_ms, row.reason, now_ms),
        ),
    )
    return int((await done.fetchall())[0][0])


async def end_window(connection: Connection, company_id: int, window_id: int, now_ms: int) -> bool:
    """The work is done earlier, or never begins. False where there is no such window."""
    done = await connection.execute(
        "UPDATE maintenance_window SET until_ms = %(now)s, from_ms = least(from_ms, %(now)s - 1)"
        " WHERE window_id = %(window)s AND company_id = %(company)s AND until_ms > %(now)s",
        {"now": now_ms, "window": window_id, "company": company_id},
    )
    return done.rowcount == 1


async def paces(connection: Connection, policy_ids: Sequence[int]) -> dict[tuple[int, int], tuple[int, ...]]:
    """When messages went out lately, by policy and site."""
    found = await connection.execute(
        "SELECT policy_id, site_id, times_ms FROM notice_pace WHERE policy_id = ANY(%s)", (list(policy_ids),)
    )
    return {(row[0], row[1]): tuple(row[2]) for row in await found.fetchall()}


async def save_pace(connection: Connection, policy_id: int, site_id: int, times_ms: Sequence[int]) -> None:
    """Another message went out."""
    await connection.execute(
        "INSERT INTO notice_pace (policy_id, site_id, times_ms) VALUES (%s, %s, %s)"
        " ON CONFLICT (policy_id, site_id) DO UPDATE SET times_ms = excluded.times_ms",
        (policy_id, site_id, list(times_ms)),
    )
