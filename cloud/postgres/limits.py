"""Places of open claims: counted under a lock of account and network, so that many at once gain nothing."""

from typing import Final

from cloud.core.limits import SPENT_MS, Places
from cloud.postgres.transaction import Connection

SCOPES: Final = ("claim account", "claim network")


async def lock(connection: Connection, account_id: int, network: str) -> None:
    """Hold account and network until the transaction ends, always in this order."""
    for scope, subject in zip(SCOPES, (str(account_id), network), strict=True):
        await connection.execute(
            "INSERT INTO attempt (scope, subject, failures, last_ms) VALUES (%s, %s, 0, 0)"
            " ON CONFLICT (scope, subject) DO UPDATE SET failures = attempt.failures WHERE false",
            [scope, subject],
        )


async def give_back(connection: Connection, account_id: int, network: str, now_ms: int) -> None:
    """Remove the places that need not be held any more: of decided claims, and those whose time is over."""
    await connection.execute(
        "DELETE FROM claim_place p WHERE (p.account_id = %(account)s OR p.network = %(network)s)"
        " AND (p.expires_ms <= %(now)s OR EXISTS (SELECT 1 FROM claim c WHERE c.device_id = p.device_id"
        " AND c.claim_id = p.claim_id AND (c.state IN ('won', 'refused')"
        " OR (c.state <> 'pending' AND p.taken_ms <= %(now)s - %(spent)s))))",
        {"account": account_id, "network": network, "now": now_ms, "spent": SPENT_MS},
    )


async def count(connection: Connection, account_id: int, network: str) -> Places:
    """The places held; :func:`give_back` first."""
    found = await connection.execute(
        "SELECT count(*) FILTER (WHERE p.account_id = %(account)s),"
        " count(*) FILTER (WHERE p.network = %(network)s),"
        " coalesce((SELECT last_ms FROM attempt WHERE scope = %(scope)s AND subject = %(account)s::text), 0)"
        " FROM claim_place p WHERE (p.account_id = %(account)s OR p.network = %(network)s)",
        {"account": account_id, "network": network, "scope": SCOPES[0]},
    )
    row = await found.fetchone()
    if row is None:
        raise AssertionError("an aggregate has one row")
    return Places(*row)


async def take(connection: Connection, account_id: int, network: str, now_ms: int, expires_ms: int) -> int:
    """Take a place; its number."""
    await connection.execute(
        "UPDATE attempt SET failures = failures + 1, last_ms = %s WHERE scope = %s AND subject = %s",
        [now_ms, SCOPES[0], str(account_id)],
    )
    await connection.execute(
        "UPDATE attempt SET failures = failures + 1, last_ms = %s WHERE scope = %s AND subject = %s",
        [now_ms, SCOPES[1], network],
    )
    made = await connection.execute(
        "INSERT INTO claim_place (account_id, network, taken_ms, expires_ms) VALUES (%s, %s, %s, %s)"
        " RETURNING place_id",
        [account_id, network, now_ms, expires_ms],
    )
    row = await made.fetchone()
    if row is None:
        raise AssertionError("an insert returns its row")
    return int(row[0])


async def name(connection: Connection, place_id: int, device_id: int, claim_id: str, expires_ms: int) -> None:
    """The place is this claim's until then; where the claim has a place already, that one stays alone."""
    await connection.execute(
        "DELETE FROM claim_place n USING claim_place o WHERE n.place_id = %s AND o.place_id <> n.place_id"
        " AND o.account_id = n.account_id AND o.device_id = %s AND o.claim_id = %s",
        [place_id, device_id, claim_id],
    )
    await connection.execute(
        "UPDATE claim_place SET device_id = %s, claim_id = %s, expires_ms = %s WHERE place_id = %s",
        [device_id, claim_id, expires_ms, place_id],
    )


async def free(connection: Connection, place_id: int) -> None:
    """Give a place back."""
    await connection.execute("DELETE FROM claim_place WHERE place_id = %s", [place_id])
