"""Each process' role can do its job, as all tests of gateway, portal and jobs show; here: nothing else."""

from collections.abc import Iterator, Mapping

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from cloud.postgres import roles
from cloud.postgres.migrate import migrate
from cloud.postgres.partitions import ensure_days
from cloud.postgres.roles import Part, grant_rights, login_dsn, password_of

FORBIDDEN: Mapping[Part, tuple[str, ...]] = {
    Part.GATEWAY: (
        "SELECT 1 FROM telemetry",
        "SELECT 1 FROM telemetry_late",
        "SELECT 1 FROM v_telemetry",
        "SELECT 1 FROM rollup",
        "SELECT detail FROM event",
        "DELETE FROM telemetry",
        "UPDATE telemetry SET epoch = 1",
        "UPDATE event SET kind = ''",
        "SELECT 1 FROM account",
        "SELECT 1 FROM web_session",
        "SELECT 1 FROM membership",
        "SELECT 1 FROM mail",
        "SELECT name FROM company",
        "SELECT name FROM ownership",
        "INSERT INTO ownership DEFAULT VALUES",
        "UPDATE ownership SET company_id = 1",
        "UPDATE claim SET company_id = 1",
        "UPDATE device_key SET state = 'bound'",
        "UPDATE device_key SET device_pub = ''",
        "UPDATE device SET last_epoch = 0",
        "UPDATE command SET sealed = ''",
        "INSERT INTO command DEFAULT VALUES",
        "INSERT INTO manifest DEFAULT VALUES",
        "SELECT ensure_telemetry_days(current_date, 1)",
        "SELECT forget_shown(1)",
    ),
    Part.PORTAL: (
        "INSERT INTO telemetry DEFAULT VALUES",
        "COPY telemetry FROM STDIN",
        "SELECT 1 FROM telemetry",
        "SELECT 1 FROM telemetry_late",
        "SELECT 1 FROM v_telemetry",
        "SELECT 1 FROM rollup",
        "SELECT was_owned_by(1, 1, 1)",
        "DELETE FROM telemetry",
        "INSERT INTO event (device_id) VALUES (1)",
        "UPDATE event SET kind = ''",
        "DELETE FROM event",
        "UPDATE latest SET session_no = 1",
        "UPDATE latest SET epoch = 1",
        "INSERT INTO ownership DEFAULT VALUES",
        "UPDATE ownership SET company_id = 1",
        "UPDATE ownership SET until_ms = 1",
        "DELETE FROM ownership",
        "UPDATE device_key SET state = 'bound'",
        "UPDATE device SET last_epoch = 0",
        "UPDATE claim SET company_id = 1",
        "INSERT INTO operator VALUES (1, 1)",
        "INSERT INTO manifest DEFAULT VALUES",
        "DELETE FROM device_audit",
        "UPDATE device_audit SET kind = ''",
        "SELECT ensure_telemetry_days(current_date, 1)",
        "SELECT note_takeover(1, '', 1, 1)",
        "SELECT 1 FROM v_audit",
    ),
    Part.JOBS: (
        "INSERT INTO telemetry DEFAULT VALUES",
        "DELETE FROM telemetry",
        "SELECT password_hash FROM account",
        "UPDATE account SET email = ''",
        "SELECT 1 FROM web_session",
        "SELECT 1 FROM totp",
        "SELECT 1 FROM recovery_code",
        "SELECT 1 FROM passkey",
        "SELECT 1 FROM api_token",
        "SELECT text FROM mail",
        "SELECT 1 FROM invitation",
        "INSERT INTO membership DEFAULT VALUES",
        "UPDATE company SET name = ''",
        "UPDATE ownership SET name = ''",
        "UPDATE latest SET session_no = 1",
        "SELECT bind_device(1, gen_random_uuid(), '', 1)",
        "SELECT end_ownership(1, 1, '', 1, 1)",
        "SELECT company_samples(1, 1, 1, 1, 1, 1, 1, 1, 1)",
        "SELECT 1 FROM registration",
        "SELECT 1 FROM manifest",
    ),
}
EVERYBODY = (
    "CREATE TABLE mine (number integer)",
    "DROP TABLE telemetry",
    "TRUNCATE telemetry",
    "ALTER TABLE ownership DISABLE ROW LEVEL SECURITY",
    "DROP INDEX ownership_live",
    "SELECT 1 FROM schema_migration",
    "CREATE ROLE friend",
    "SET ROLE smartconnect",
    "SELECT pg_read_file('/etc/hostname')",
    "SELECT rolpassword FROM pg_authid",
)


@pytest.fixture
def owner(database: str) -> Iterator[psycopg.Connection]:
    """Whoever owns the tables."""
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


@pytest.mark.parametrize("part", Part)
def test_what_is_not_its_job_is_refused(database: str, part: Part) -> None:
    with psycopg.connect(login_dsn(database, part), autocommit=True) as connection:
        allowed = []
        for statement in (*FORBIDDEN[part], *EVERYBODY):
            try:
                connection.execute(statement.encode())
            except psycopg.errors.InsufficientPrivilege:
                continue
            allowed.append(statement)
    assert allowed == []


def test_every_table_was_thought_of(owner: psycopg.Connection) -> None:
    """A new table is out of every process' reach: its migration comes with a line in rights.sql."""
    found = owner.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
        " AND NOT relispartition AND relname <> 'schema_migration' AND NOT EXISTS (SELECT 1 FROM"
        " unnest(%s::text[]) AS role WHERE has_any_column_privilege(role, oid, 'SELECT, INSERT'))",
        [[part.group for part in Part]],
    )
    assert found.fetchall() == []


def test_nothing_of_ours_is_for_whoever_may_connect(owner: psycopg.Connection) -> None:
    tables = owner.execute(
        "SELECT relname FROM pg_class, aclexplode(relacl) AS a WHERE relnamespace = 'public'::regnamespace"
        " AND a.grantee = 0"
    ).fetchall()
    functions = owner.execute(
        "SELECT proname FROM pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner))) AS a"
        " WHERE pronamespace = 'public'::regnamespace AND prosecdef AND a.grantee = 0"
    ).fetchall()
    assert (tables, functions) == ([], [])


def test_functions_with_the_owners_rights_look_nowhere_else(owner: psycopg.Connection) -> None:
    found = owner.execute(
        "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prosecdef"
        " AND NOT EXISTS (SELECT 1 FROM unnest(proconfig) AS one WHERE one LIKE 'search_path=%pg_temp')"
    )
    assert found.fetchall() == []


def test_rights_that_somebody_added_or_took_are_put_right(database: str, owner: psycopg.Connection) -> None:
    owner.execute("GRANT SELECT ON account TO smartconnect_gateway")
    owner.execute("REVOKE UPDATE ON latest FROM smartconnect_gateway")
    assert grant_rights(owner)
    with psycopg.connect(login_dsn(database, Part.GATEWAY), autocommit=True) as gateway:
        gateway.execute("UPDATE latest SET seen_ms = 1")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            gateway.execute("SELECT 1 FROM account")


def test_a_wall_that_is_missing_or_was_another_is_built_anew(owner: psycopg.Connection) -> None:
    walls = "SELECT tablename, policyname, roles::text, qual FROM pg_policies ORDER BY 1, 2"
    before = owner.execute(walls.encode()).fetchall()
    owner.execute("DROP POLICY of_whom_it_acts_for ON site")
    owner.execute("CREATE POLICY of_whom_it_acts_for ON latest USING (false)")
    owner.execute("CREATE POLICY of_everybody ON latest USING (false)")
    owner.execute("DROP POLICY of_whom_it_acts_for ON account")
    owner.execute("CREATE POLICY of_whom_it_acts_for ON account USING (true)")
    assert grant_rights(owner)
    assert owner.execute(walls.encode()).fetchall() == before
    assert len(before) > 40


def test_partitions_that_the_jobs_make_belong_to_the_owner(database: str, owner: psycopg.Connection) -> None:
    found = owner.execute("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD')").fetchone()
    assert found is not None
    owner.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(f"telemetry_{found[0]}")))
    assert ensure_days(login_dsn(database, Part.JOBS)) == 1
    owners = owner.execute(
        "SELECT count(DISTINCT relowner) FROM pg_class WHERE oid = 'telemetry'::regclass OR relispartition"
    )
    assert owners.fetchone() == (1,)


@pytest.fixture
def plain_owner(empty_database: str) -> Iterator[str]:
    """Connection string of somebody who owns the database, and is nothing else on its server."""
    name = sql.Identifier("test_plain_owner")
    known = conninfo_to_dict(empty_database)
    with psycopg.connect(empty_database, autocommit=True) as connection:
        database, superuser = sql.Identifier(str(known["dbname"])), sql.Identifier(str(known["user"]))
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'plain'").format(name))
        connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(database, name))
        yield make_conninfo(empty_database, user="test_plain_owner", password="plain")
        connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(database, superuser))
        connection.execute(sql.SQL("REASSIGN OWNED BY {} TO {}").format(name, superuser))
        connection.execute(sql.SQL("DROP ROLE {}").format(name))


def test_roles_that_are_there_get_their_rights_from_a_plain_owner(plain_owner: str) -> None:
    assert migrate(plain_owner)
    with psycopg.connect(plain_owner) as connection:
        found = connection.execute(
            "SELECT has_table_privilege('smartconnect_gateway', 'telemetry', 'INSERT'),"
            " has_table_privilege('smartconnect_gateway', 'telemetry', 'SELECT')"
        )
        assert found.fetchone() == (True, False)


def test_who_may_make_no_roles_still_gets_a_schema(plain_owner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roles, "GROUPS", ("test_role_that_nobody_made",))
    assert migrate(plain_owner)
    with psycopg.connect(plain_owner) as connection:
        assert connection.execute("SELECT count(*) FROM telemetry").fetchone() == (0,)


def test_no_log_in_tells_of_another() -> None:
    dsn = "postgresql://owner:secret@/x?host=%2Ftmp"
    passwords = {password_of(dsn, part) for part in Part}
    assert len(passwords) == len(Part)
    assert not any("secret" in one for one in passwords)
    assert "secret" not in login_dsn(dsn, Part.PORTAL)
