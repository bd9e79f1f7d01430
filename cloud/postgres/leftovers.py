"""What time alone ends: rows about accounts that nobody reads any more, and old refused messages."""

from typing import Final

from cloud.core.account import FORGET_MS
from cloud.core.api_token import KEPT_MS
from cloud.postgres.pool import Pool

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000
# Shut by a deletion that crashed: whoever is still there goes on.
_REOPEN: Final = (
    "UPDATE company SET closed_ms = NULL WHERE closed_ms <= %s"
    " AND EXISTS (SELECT 1 FROM membership m WHERE m.company_id = company.company_id)"
)
_STATEMENTS: Final = (
    ("DELETE FROM sign_up WHERE expires_ms <= %s", 0),
    ("DELETE FROM email_change WHERE expires_ms <= %s", 0),
    ("DELETE FROM login_step WHERE expires_ms <= %s", 0),
    ("DELETE FROM password_reset WHERE expires_ms <= %s", 0),
    ("DELETE FROM web_session WHERE expires_ms <= %s", 0),
    ("DELETE FROM api_token WHERE expires_ms <= %s", KEPT_MS),
    ("DELETE FROM idempotency WHERE expires_ms <= %s", 0),
    # The count of mails is kept a day, so that nobody's pause begins anew every ten minutes.
    ("DELETE FROM mailed_code WHERE made_ms <= %s", DAY_MS),
    ("DELETE FROM attempt WHERE scope IN ('login', 'factor', 'sign_up') AND last_ms <= %s", FORGET_MS),
    ("DELETE FROM attempt WHERE scope IN ('claim account', 'claim network') AND last_ms <= %s", FORGET_MS),
    ("DELETE FROM attempt WHERE scope = 'slow lane' AND last_ms <= %s", 0),
    ("DELETE FROM attempt WHERE scope IN ('mail', 'code', 'system') AND last_ms <= %s", DAY_MS),
    ("DELETE FROM claim_place WHERE expires_ms <= %s", 0),
    (_REOPEN, HOUR_MS),
    ("DELETE FROM invitation WHERE accepted_by IS NULL AND expires_ms <= %s", 30 * DAY_MS),
)


async def forget(pool: Pool, now_ms: int, rejected_days: int) -> int:
    """Remove what ran out, and refused messages older than some days; how many rows there were."""
    rejected = ("DELETE FROM rejected WHERE ts_ms <= %s", rejected_days * DAY_MS)
    count = 0
    async with pool.connection() as connection:
        for statement, kept_ms in (*_STATEMENTS, rejected):
            count += (await connection.execute(statement, [now_ms - kept_ms])).rowcount
    return count
