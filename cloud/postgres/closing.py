"""A company that closes: shut first, so that nothing comes to it any more, then emptied.

``company.closed_ms`` is set from the moment somebody begins to delete its last account. A shut company waits
for nothing: ``claims.load`` leaves its claims out, ``bind_device`` refuses them, and whoever would give it
something asks ``is_open`` first, after the device's row is held (order of locks: device, company).
"""

from typing import NamedTuple

from cloud.postgres.transaction import Connection


async def is_open(connection: Connection, company_id: int) -> bool:
    """Whether the company may be given anything; it stays so until the transaction ends."""
    found = await connection.execute(
        "SELECT 1 FROM company WHERE company_id = %s AND closed_ms IS NULL FOR SHARE", (company_id,)
    )
    return await found.fetchone() is not None


async def hold_invitations(connection: Connection, account_id: int) -> None:
    """Hold the open invitations of a person's companies: before these, as those who accept them do."""
    await connection.execute(
        "SELECT 1 FROM invitation WHERE ended_ms IS NULL AND company_id IN"
        " (SELECT company_id FROM membership WHERE account_id = %s) ORDER BY invitation_id FOR UPDATE",
        (account_id,),
    )


async def shut(connection: Connection, company_id: int, now_ms: int) -> None:
    """From this commit on no claim and no device comes to the company, and its bulk jobs end."""
    await connection.execute("UPDATE company SET closed_ms = %s WHERE company_id = %s", (now_ms, company_id))
    jobs = await connection.execute(
        "UPDATE bulk_job SET state = 'interrupted', ended_ms = %s WHERE company_id = %s AND state = 'running'"
        " RETURNING job_id",
        (now_ms, company_id),
    )
    await connection.execute(
        "UPDATE bulk_row SET result = 'interrupted' WHERE job_id = ANY(%s) AND result = 'open'",
        ([row[0] for row in await jobs.fetchall()],),
    )


async def reopen(connection: Connection, account_id: int) -> None:
    """The account was not deleted after all: its companies go on."""
    await connection.execute(
        "UPDATE company SET closed_ms = NULL WHERE closed_ms IS NOT NULL AND company_id IN"
        " (SELECT company_id FROM membership WHERE account_id = %s)",
        (account_id,),
    )


# --- what a company has or waits for ------------------------------------------------------------------------


class LeftOver(NamedTuple):
    """Numbers of devices: owned, with a pending claim (be its time over or not), and disputed to others."""

    owned: list[int]
    awaited: list[int]
    disputed: list[int]


async def left_over(connection: Connection, company_id: int) -> LeftOver:
    """What a company has or may get."""
    found = await connection.execute(
        "SELECT ARRAY(SELECT device_id FROM ownership WHERE company_id = %(company)s AND until_ms IS NULL"
        " ORDER BY device_id), ARRAY(SELECT device_id FROM claim WHERE company_id = %(company)s"
        " AND state = 'pending' ORDER BY device_id), ARRAY(SELECT m.device_id FROM matter m"
        " JOIN ownership o ON o.device_id = m.device_id AND o.epoch = m.epoch AND o.until_ms IS NULL"
        " WHERE m.company_id = %(company)s AND m.kind = 'dispute' AND m.status = 'open' ORDER BY 1)",
        {"company": company_id},
    )
    return LeftOver(*(await found.fetchall())[0])


async def end_claims(connection: Connection, device_id: int, company_id: int, now_ms: int) -> None:
    """End what the company waits for on a device whose row is held, and write that down."""
    await connection.execute(
        "WITH ended AS (UPDATE claim SET decided_ms = %(now)s,"
        " state = CASE WHEN expires_ms <= %(now)s THEN 'expired' ELSE 'cancelled' END"
        " WHERE device_id = %(device)s AND company_id = %(company)s AND state = 'pending' RETURNING state)"
        " INSERT INTO device_audit (device_id, ts_ms, kind, company_id, detail)"
        " SELECT %(device)s, %(now)s, state, %(company)s, '{}' FROM ended",
        {"device": device_id, "company": company_id, "now": now_ms},
    )
