"""What time alone ends about accounts: nobody reads it any more, so it goes."""

from typing import Final

from cloud.core.account import FORGET_MS
from cloud.postgres.pool import Pool

DAY_MS: Final = 86_400_000
_STATEMENTS: Final = (
    ("DELETE FROM sign_up WHERE expires_ms <= %s", 0),
    ("DELETE FROM email_change WHERE expires_ms <= %s", 0),
    ("DELETE FROM login_step WHERE expires_ms <= %s", 0),
    ("DELETE FROM password_reset WHERE expires_ms <= %s", 0),
    ("DELETE FROM web_session WHERE expires_ms <= %s", 0),
    # The count of mails is kept a day, so that nobody's pause begins anew every ten minutes.
    ("DELETE FROM mailed_code WHERE made_ms <= %s", DAY_MS),
    ("DELETE FROM attempt WHERE scope IN ('login', 'factor', 'sign_up') AND last_ms <= %s", FORGET_MS),
    ("DELETE FROM attempt WHERE scope IN ('claim account', 'claim network') AND last_ms <= %s", FORGET_MS),
    ("DELETE FROM claim_place WHERE expires_ms <= %s", 0),
    ("DELETE FROM invitation WHERE accepted_by IS NULL AND expires_ms <= %s", 30 * DAY_MS),
)


async def forget(pool: Pool, now_ms: int) -> int:
    """Remove what ran out; how many rows there were."""
    count = 0
    async with pool.connection() as connection:
        for statement, kept_ms in _STATEMENTS:
            count += (await connection.execute(statement, [now_ms - kept_ms])).rowcount
    return count
