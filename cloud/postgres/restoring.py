"""What a restored database holds of the numbers that agents have seen; reads only."""

from dataclasses import dataclass
from typing import Final

import psycopg

from cloud.core.restoring import AHEAD_MS, Series
from cloud.postgres.migrate import packaged_migrations
from cloud.postgres.safety import DatabaseUnavailableError

CLOCK: Final = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint"
APPLIED: Final = "SELECT number FROM schema_migration"
NEWEST: Final = """
SELECT greatest(
    (SELECT max(seen_ms) FROM latest), (SELECT max(received_ms) FROM event),
    (SELECT max(ts_ms) FROM device_audit), (SELECT max(ts_ms) FROM account_audit),
    (SELECT max(announced_ms) FROM device_key), (SELECT max(seen_ms) FROM web_session),
    (SELECT max(issued_ms) FROM command), (SELECT max(reported_ms) FROM device_setting), 0)"""
SERIES: Final = (
    (
        "epochs",
        """SELECT count(*) FILTER (WHERE n > 0), coalesce(max(n), 0), count(*) FILTER (WHERE n > %(clock)s),
                  count(*) FILTER (WHERE n < known)
             FROM (SELECT d.last_epoch AS n, coalesce((SELECT max(epoch) FROM ownership o
                     WHERE o.device_id = d.device_id), 0) AS known FROM device d) numbers""",
    ),
    (
        "counters",
        """SELECT count(*) FILTER (WHERE n > 0), coalesce(max(n), 0), count(*) FILTER (WHERE n > %(clock)s),
                  count(*) FILTER (WHERE n < known)
             FROM (SELECT d.last_counter AS n, coalesce((SELECT max(counter) FROM command c
                     WHERE c.device_id = d.device_id), 0) AS known FROM device d) numbers""",
    ),
    (
        "settings_versions",
        """SELECT count(*) FILTER (WHERE n > 0), coalesce(max(n), 0), count(*) FILTER (WHERE n > %(clock)s),
                  count(*) FILTER (WHERE n < known)
             FROM (SELECT s.version AS n, greatest(s.base_version, (SELECT max(version) FROM setting_change c
                     WHERE c.device_id = s.device_id)) AS known FROM device_setting s) numbers""",
    ),
    (
        "log_ins",
        """SELECT count(*), coalesce(max(login_ms), 0), count(*) FILTER (WHERE login_ms > %(ahead)s),
                  count(*) FILTER (WHERE state = 'bound' AND login_ms < known)
             FROM (SELECT k.login_ms, k.state, coalesce((SELECT max(session_no) FROM latest l
                     WHERE l.device_id = k.device_id AND l.kid = k.kid AND NOT l.revoked), 0) AS known
                     FROM device_key k) numbers""",
    ),
)
LIVE_COMMANDS: Final = """
SELECT count(*) FROM command WHERE state IN ('requested', 'delivered') AND expires_ms > %(clock)s"""
QUEUED: Final = """
SELECT (SELECT count(*) FROM mail WHERE sent_ms IS NULL AND ended_ms IS NULL)
     + (SELECT count(*) FROM notice_delivery WHERE sent_ms IS NULL AND ended_ms IS NULL)"""


@dataclass(frozen=True, slots=True)
class Held:
    """What the database holds. Only the first two are known where its schema is older than this program's."""

    database_ms: int
    pending_migrations: int
    newest_ms: int = 0
    series: tuple[Series, ...] = ()
    live_commands: int = 0
    queued: int = 0


def read(dsn: str, clock_ms: int) -> Held:
    """Everything, as of one moment. DatabaseUnavailableError when it cannot be asked."""
    values = {"clock": clock_ms, "ahead": clock_ms + AHEAD_MS}
    name = "smartconnect restore-check"
    try:
        with psycopg.connect(dsn, connect_timeout=10, application_name=name) as connection:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")

            def number(query: str) -> int:
                row = connection.execute(query.encode(), values).fetchone()
                return 0 if row is None else int(row[0])

            database_ms = number(CLOCK)
            applied = {row[0] for row in connection.execute(APPLIED).fetchall()}
            pending = sum(one.number not in applied for one in packaged_migrations())
            if pending:
                return Held(database_ms, pending)
            series = []
            for title, query in SERIES:
                row = connection.execute(query.encode(), values).fetchone()
                series.append(Series(title, *(int(one) for one in row or (0, 0, 0, 0))))
            live, queued = number(LIVE_COMMANDS), number(QUEUED)
            return Held(database_ms, 0, number(NEWEST), tuple(series), live, queued)
    except psycopg.OperationalError as error:
        raise DatabaseUnavailableError(str(error)) from error
