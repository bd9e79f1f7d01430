"""Rules of companies as rows, and what they did lately."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, LiteralString

from psycopg import sql

from cloud.core.rule import Condition, Side
from cloud.postgres.pool import Pool
from cloud.postgres.transaction import Connection

APPLIES: Final[LiteralString] = (
    "r.ended_ms IS NULL AND r.company_id = o.company_id AND (r.scope = 'company'"
    " OR (r.scope = 'site' AND (r.scope_id = o.site_id OR EXISTS"
    " (SELECT 1 FROM site w WHERE w.site_id = o.site_id AND r.scope_id = ANY (w.above))))"
    " OR (r.scope = 'device' AND r.scope_id = o.device_id AND r.epoch = o.epoch))"
)
"""Whether rule ``r`` is about the device of the live ownership ``o``."""
_COLUMNS: Final[LiteralString] = (
    "r.rule_id, r.company_id, r.scope, r.scope_id, r.epoch, r.version, r.name, r.enabled, r.created_ms,"
    " r.changed_ms, r.subject, r.side, r.threshold, r.hysteresis, r.hold_ms, r.clear_ms, r.gap_ms, r.from_ms"
)
RULE_COLUMNS: Final = sql.SQL(_COLUMNS)


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule. ``scope_id`` is the number of the company, site or device; ``epoch`` that of its ownership."""

    rule_id: int
    company_id: int
    scope: str
    scope_id: int
    epoch: int
    version: int
    name: str
    enabled: bool
    created_ms: int
    changed_ms: int
    condition: Condition

    def covers(self, company_id: int, site_ids: Sequence[int], device_id: int, epoch: int) -> bool:
        """Whether it is about this device, at these sites, of which each lies in another; as ``APPLIES``."""
        if self.company_id != company_id:
            return False
        match self.scope:
            case "company":
                return True
            case "site":
                return self.scope_id in site_ids
        return (self.scope_id, self.epoch) == (device_id, epoch)


def rule_of(row: Sequence[Any]) -> Rule:
    """A row of ``RULE_COLUMNS``."""
    rule_id, company_id, scope, scope_id, epoch, version, name, enabled, created_ms, changed_ms = row[:10]
    subject, side, threshold, hysteresis, hold_ms, clear_ms, gap_ms, from_ms = row[10:18]
    condition = Condition(
        subject=subject,
        side=Side(side),
        threshold=threshold,
        hysteresis=hysteresis,
        hold_ms=hold_ms,
        clear_ms=clear_ms,
        gap_ms=gap_ms,
        from_ms=from_ms,
    )
    return Rule(
        rule_id,
        company_id,
        scope,
        scope_id,
        epoch,
        version,
        name,
        enabled,
        created_ms,
        changed_ms,
        condition,
    )


@dataclass(frozen=True, slots=True)
class Listed:
    """A rule as its company's pages show it.

    ``place``: title of its device or name of its site, empty where that is no longer the company's: then it
    is ``over``. ``raised``: devices it is raised on now.
    """

    rule: Rule
    place: str
    over: bool
    raised: int


@dataclass(frozen=True, slots=True)
class Deed:
    """Something a rule did: raised, or cleared, on a device."""

    device_id: int
    title: str
    ts_ms: int
    raised: bool
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True)
class RaisedOn:
    """A device on which a rule is raised. ``seen_ms``: when it was last heard."""

    device_id: int
    title: str
    raised_ms: int
    seen_ms: int


_TITLE: Final[LiteralString] = "coalesce(nullif(o.name, ''), nullif(d.model, ''), 'UPS ' || d.product_id)"
LIST: Final[LiteralString] = f"""
SELECT {_COLUMNS}, coalesce(p.name, {_TITLE}, ''),
       r.scope <> 'company' AND o.device_id IS NULL AND p.site_id IS NULL,
       (SELECT count(*) FROM rule_state s JOIN ownership l ON l.device_id = s.device_id AND l.epoch = s.epoch
         WHERE s.rule_id = r.rule_id AND l.until_ms IS NULL AND l.company_id = r.company_id
           AND s.phase IN ('raised', 'falling'))
  FROM rule r
  LEFT JOIN ownership o ON r.scope = 'device' AND o.device_id = r.scope_id AND o.epoch = r.epoch
   AND o.until_ms IS NULL AND o.company_id = r.company_id
  LEFT JOIN device d ON d.device_id = o.device_id
  LEFT JOIN site p ON r.scope = 'site' AND p.site_id = r.scope_id AND p.company_id = r.company_id
 WHERE r.company_id = %(company)s AND r.ended_ms IS NULL
   AND (%(rule)s::bigint IS NULL OR r.rule_id = %(rule)s)
 ORDER BY lower(r.name), r.rule_id"""  # noqa: S608  words of ours alone
DEEDS: Final[LiteralString] = f"""
SELECT e.device_id, {_TITLE}, (extract(epoch FROM e.ts) * 1000)::bigint, e.kind = 'rule_raised', e.detail
  FROM ownership o JOIN device d ON d.device_id = o.device_id
  JOIN event e ON e.device_id = o.device_id AND e.epoch = o.epoch
 WHERE o.company_id = %(company)s AND o.until_ms IS NULL AND e.kind IN ('rule_raised', 'rule_cleared')
   AND e.ts > to_timestamp(%(since)s / 1000.0)
   AND (%(rule)s::bigint IS NULL OR (e.detail ->> 'rule_id')::bigint = %(rule)s)
 ORDER BY e.ts DESC, e.device_id, e.seq DESC LIMIT %(limit)s"""  # noqa: S608  words of ours alone
RAISED: Final[LiteralString] = f"""
SELECT s.device_id, {_TITLE}, s.raised_ms, l.seen_ms
  FROM rule_state s JOIN ownership o ON o.device_id = s.device_id AND o.epoch = s.epoch
  JOIN device d ON d.device_id = o.device_id JOIN latest l ON l.device_id = o.device_id
 WHERE s.rule_id = %(rule)s AND s.phase IN ('raised', 'falling') AND o.company_id = %(company)s
   AND o.until_ms IS NULL
 ORDER BY s.raised_ms DESC, s.device_id LIMIT %(limit)s"""  # noqa: S608  words of ours alone


async def list_rules(pool: Pool, company_id: int, rule_id: int | None = None) -> list[Listed]:
    """The rules of a company by name, or the one of this number."""
    async with pool.connection() as connection:
        found = await connection.execute(LIST, {"company": company_id, "rule": rule_id})
        return [Listed(rule_of(row), *row[18:]) for row in await found.fetchall()]


async def deeds(
    pool: Pool, company_id: int, *, since_ms: int, limit: int, rule_id: int | None = None
) -> list[Deed]:
    """What the company's rules, or one of them, did on its devices, newest first."""
    values = {"company": company_id, "rule": rule_id, "since": since_ms, "limit": limit}
    async with pool.connection() as connection:
        found = await connection.execute(DEEDS, values)
        return [Deed(*row) for row in await found.fetchall()]


async def raised_on(pool: Pool, company_id: int, rule_id: int, limit: int) -> list[RaisedOn]:
    """Devices of the company on which the rule is raised now, newest first."""
    async with pool.connection() as connection:
        found = await connection.execute(RAISED, {"company": company_id, "rule": rule_id, "limit": limit})
        return [RaisedOn(*row) for row in await found.fetchall()]


# --- changes ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRule:
    """A rule about to be written; ``condition.from_ms`` is when."""

    company_id: int
    account_id: int
    scope: str
    scope_id: int
    epoch: int
    name: str
    condition: Condition


async def count(connection: Connection, company_id: int) -> int:
    """How many a company has; its row is held until the transaction ends, so that the number stays right."""
    await connection.execute("SELECT 1 FROM company WHERE company_id = %s FOR NO KEY UPDATE", [company_id])
    found = await connection.execute(
        "SELECT count(*) FROM rule WHERE company_id = %s AND ended_ms IS NULL", [company_id]
    )
    row = await found.fetchone()
    return 0 if row is None else int(row[0])


async def epoch_of(connection: Connection, company_id: int, device_id: int) -> int | None:
    """Epoch of the company's live ownership of a device; None where it has none."""
    found = await connection.execute(
        "SELECT epoch FROM ownership WHERE device_id = %s AND company_id = %s AND until_ms IS NULL FOR SHARE",
        [device_id, company_id],
    )
    row = await found.fetchone()
    return None if row is None else int(row[0])


async def has_site(connection: Connection, company_id: int, site_id: int) -> bool:
    """Whether this site is the company's; it stays so until the transaction ends."""
    found = await connection.execute(
        "SELECT 1 FROM site WHERE site_id = %s AND company_id = %s FOR SHARE", [site_id, company_id]
    )
    return await found.fetchone() is not None


async def sites_of(pool: Pool, company_id: int, device_id: int) -> list[int]:
    """Where a device of the company is: its site and those it lies in; nothing: at none."""
    async with pool.connection() as connection:
        found = await connection.execute(
            "SELECT w.above || w.site_id FROM ownership o JOIN site w USING (site_id)"
            " WHERE o.device_id = %s AND o.company_id = %s AND o.until_ms IS NULL",
            [device_id, company_id],
        )
        row = await found.fetchone()
    return [] if row is None else list(row[0])


async def insert(connection: Connection, new: NewRule) -> int:
    """Write a rule; its number."""
    says = new.condition
    found = await connection.execute(
        "INSERT INTO rule (company_id, scope, scope_id, epoch, name, subject, side, threshold, hysteresis,"
        " hold_ms, clear_ms, gap_ms, from_ms, created_ms, changed_ms, account_id)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING rule_id",
        [
            *(new.company_id, new.scope, new.scope_id, new.epoch, new.name, says.subject, says.side.value),
            *(says.threshold, says.hysteresis, says.hold_ms, says.clear_ms, says.gap_ms),
            *(says.from_ms, says.from_ms, says.from_ms, new.account_id),
        ],
    )
    row = await found.fetchone()
    return 0 if row is None else int(row[0])


async def change(
    connection: Connection, company_id: int, rule_id: int, account_id: int, name: str, says: Condition
) -> bool:
    """Another name, other words; from ``says.from_ms`` on. What it said counts no longer where it differs."""
    done = await connection.execute(
        "UPDATE rule SET name = %(name)s, changed_ms = %(now)s, account_id = %(account)s,"
        " subject = %(subject)s, side = %(side)s, threshold = %(threshold)s, hysteresis = %(hysteresis)s,"
        " hold_ms = %(hold)s, clear_ms = %(clear)s, gap_ms = %(gap)s,"
        " version = CASE WHEN same THEN version ELSE version + 1 END,"
        " from_ms = CASE WHEN same THEN from_ms ELSE %(now)s END"
        " FROM (SELECT rule_id AS number, (subject, side, threshold, hysteresis, hold_ms, clear_ms, gap_ms)"
        "  = (%(subject)s, %(side)s, %(threshold)s::float8, %(hysteresis)s::float8, %(hold)s, %(clear)s,"
        "  %(gap)s) AS same FROM rule WHERE rule_id = %(rule)s FOR UPDATE) old"
        " WHERE rule_id = number AND company_id = %(company)s AND ended_ms IS NULL",
        {
            "rule": rule_id,
            "company": company_id,
            "account": account_id,
            "name": name,
            "now": says.from_ms,
            "subject": says.subject,
            "side": says.side.value,
            "threshold": says.threshold,
            "hysteresis": says.hysteresis,
            "hold": says.hold_ms,
            "clear": says.clear_ms,
            "gap": says.gap_ms,
        },
    )
    return done.rowcount == 1


async def switch(
    connection: Connection, company_id: int, rule_id: int, account_id: int, now_ms: int, *, enabled: bool
) -> bool:
    """On or off. Switched on again it begins anew: what was measured meanwhile is none of its business."""
    done = await connection.execute(
        "UPDATE rule SET enabled = %(on)s, account_id = %(account)s, changed_ms = %(now)s,"
        " version = version + (enabled <> %(on)s)::int,"
        " from_ms = CASE WHEN %(on)s AND NOT enabled THEN %(now)s ELSE from_ms END"
        " WHERE rule_id = %(rule)s AND company_id = %(company)s AND ended_ms IS NULL",
        {"rule": rule_id, "company": company_id, "account": account_id, "now": now_ms, "on": enabled},
    )
    return done.rowcount == 1


async def end(connection: Connection, company_id: int, rule_id: int, account_id: int, now_ms: int) -> bool:
    """It counts no longer; its row stays for what it did."""
    done = await connection.execute(
        "UPDATE rule SET ended_ms = %s, account_id = %s"
        " WHERE rule_id = %s AND company_id = %s AND ended_ms IS NULL",
        [now_ms, account_id, rule_id, company_id],
    )
    return done.rowcount == 1


async def erase_company(connection: Connection, company_id: int, now_ms: int) -> None:
    """Nobody is left: its rules end, and what they were called goes."""
    await connection.execute(
        "UPDATE rule SET ended_ms = coalesce(ended_ms, %s), name = '' WHERE company_id = %s",
        [now_ms, company_id],
    )


# --- batteries ----------------------------------------------------------------------------------------------


async def battery_installed_ms(pool: Pool, company_id: int, device_id: int) -> int | None:
    """When the battery was put in, as the owner said."""
    async with pool.connection() as connection:
        found = await connection.execute(
            "SELECT b.installed_ms FROM battery b JOIN ownership o ON o.device_id = b.device_id"
            " AND o.epoch = b.epoch WHERE o.device_id = %s AND o.company_id = %s AND o.until_ms IS NULL",
            [device_id, company_id],
        )
        row = await found.fetchone()
    return None if row is None else int(row[0])


async def set_battery(
    connection: Connection, device_id: int, epoch: int, installed_ms: int, account_id: int, now_ms: int
) -> None:
    """Keep when the battery of this ownership was put in."""
    await connection.execute(
        "INSERT INTO battery (device_id, epoch, installed_ms, changed_ms, account_id)"
        " VALUES (%s, %s, %s, %s, %s) ON CONFLICT (device_id, epoch) DO UPDATE"
        " SET installed_ms = excluded.installed_ms, changed_ms = excluded.changed_ms,"
        " account_id = excluded.account_id",
        [device_id, epoch, installed_ms, now_ms, account_id],
    )
