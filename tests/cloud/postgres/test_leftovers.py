"""What ran out is removed, and nothing else."""

from cloud.postgres import leftovers
from cloud.postgres.leftovers import DAY_MS
from cloud.postgres.pool import make_pool

NOW = 1_800_000_000_000


async def test_only_what_ran_out_goes(database: str) -> None:
    async with make_pool(database, name="test") as pool:
        async with pool.connection() as connection:
            await connection.execute(
                "INSERT INTO account (email, email_norm, password_hash, created_ms)"
                " VALUES ('a@example.org', 'a@example.org', '', 0)"
            )
            await connection.execute("INSERT INTO company (name, created_ms) VALUES ('x', 0)")
            for off, name in ((0, b"old"), (1, b"new")):
                end_ms = NOW + off
                await connection.execute(
                    "INSERT INTO sign_up (token_hash, email, email_norm, known, password_hash, profile,"
                    " created_ms, expires_ms) VALUES (%s, '', '', false, '', '{}', 0, %s)",
                    [name, end_ms],
                )
                await connection.execute(
                    "INSERT INTO login_step (token_hash, account_id, company_id, created_ms, expires_ms)"
                    " VALUES (%s, 1, 1, 0, %s)",
                    [name, end_ms],
                )
                await connection.execute(
                    "INSERT INTO password_reset (token_hash, created_ms, expires_ms) VALUES (%s, 0, %s)",
                    [name, end_ms],
                )
                await connection.execute(
                    "INSERT INTO web_session (session_hash, account_id, company_id, csrf_key, created_ms,"
                    " seen_ms, expires_ms) VALUES (%s, 1, 1, '', 0, 0, %s)",
                    [name, end_ms],
                )
                await connection.execute(
                    "INSERT INTO mailed_code (purpose, holder, code_hash, made_ms) VALUES ('x', %s, '', %s)",
                    [name, end_ms - DAY_MS],
                )
                await connection.execute(
                    "INSERT INTO attempt (scope, subject, failures, last_ms) VALUES ('login', %s, 1, %s)",
                    [name.decode(), end_ms - 3_600_000],
                )
                await connection.execute(
                    "INSERT INTO attempt (scope, subject, failures, last_ms) SELECT scope, %s, 1, %s"
                    " FROM unnest(ARRAY['mail', 'code']) AS scope",
                    [name.decode(), end_ms - DAY_MS],
                )
                await connection.execute(
                    "INSERT INTO invitation (company_id, email, email_norm, role, token_hash, invited_by,"
                    " created_ms, expires_ms, ended_ms) VALUES (1, '', '', 'viewer', %s, 1, 0, %s, 0)",
                    [name, end_ms - 30 * DAY_MS],
                )
                await connection.execute(
                    "INSERT INTO rejected (device_id, ts_ms, kid, topic, code, reason, payload, size_bytes)"
                    " VALUES (1, %s, '', '', '', '', '', 0)",
                    [end_ms - 30 * DAY_MS],
                )
            await connection.execute(
                "INSERT INTO attempt (scope, subject, failures, last_ms) VALUES ('claim', 'old', 1, 0)"
            )
        assert await leftovers.forget(pool, NOW, 30) == 10
        assert await leftovers.forget(pool, NOW, 30) == 0
        assert await leftovers.forget(pool, NOW + 1, 30) == 10
