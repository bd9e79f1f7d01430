"""The cloud's processes one by one, to be killed, restarted and held while a check watches from outside."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from cloud.postgres.safety import DatabaseUnavailableError, check_safety
from cloud.provision import load_installation, load_key_set
from protocol.messages import Installation, KeySet
from tests.support.stack import free_port, listens

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0


class Parts:
    """``postgres``, ``gateway`` and ``portal`` of one cloud, each a process of its own on a fixed port."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.gateway_port = free_port()
        self.portal_port = free_port()
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def dsn(self) -> str:
        """Connection string of the private PostgreSQL."""
        return (self.state_dir / "pg.dsn").read_text().strip()

    @property
    def portal_url(self) -> str:
        """Where the portal answers."""
        return f"http://127.0.0.1:{self.portal_port}"

    @property
    def installation(self) -> Installation:
        """The file an agent of this cloud is given."""
        return load_installation(self.state_dir)

    @property
    def key_set(self) -> KeySet:
        """The keys this cloud signs with."""
        return load_key_set(self.state_dir)

    @property
    def log(self) -> str:
        """All the processes' logs so far."""
        return self._log_path.read_text(errors="replace")

    @property
    def _log_path(self) -> Path:
        return self.state_dir.with_suffix(".log")

    def start_all(self) -> None:
        """PostgreSQL, the newest schema, gateway and portal."""
        self.start("postgres")
        subprocess.run(self._command("migrate"), check=True, capture_output=True)
        self.start("gateway")
        self.start("portal")

    def start(self, name: str, *, fault: str = "") -> None:
        """Start one part and wait until it serves; ``fault`` arms a fault point in it."""
        environment = {key: value for key, value in os.environ.items() if key != "DATABASE_URL"}
        environment |= {"SMARTCONNECT_FAULT": fault} if fault else {}
        if name == "postgres":
            (self.state_dir / "pg.dsn").unlink(missing_ok=True)
        self._log_path.parent.mkdir(parents=True, exist_ok=True)
        with self._log_path.open("ab") as output:
            process = subprocess.Popen(
                self._command(name),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
            )
        self._running[name] = process
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._serves(name):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{name} did not start: {self.log[-4000:]}")
            time.sleep(0.02)

    def kill(self, name: str) -> None:
        """SIGKILL to one part."""
        process = self._running.pop(name)
        process.kill()
        process.wait()

    def stop(self, name: str) -> None:
        """SIGTERM to one part; RuntimeError where it does not end in time."""
        process = self._running.pop(name)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise RuntimeError(f"{name} did not stop within {STOP_TIMEOUT_S} s") from None

    def restart(self, name: str, *, fault: str = "") -> None:
        """Stop one part and start it again."""
        self.stop(name)
        self.start(name, fault=fault)

    def stop_all(self) -> None:
        """Stop what runs, PostgreSQL last."""
        for name in ("portal", "gateway", "postgres"):
            if name in self._running:
                self.stop(name)

    def _command(self, name: str) -> list[str]:
        return [
            *(sys.executable, "-m", "cloud", name, "--state-dir", str(self.state_dir)),
            *("--gateway-port", str(self.gateway_port), "--portal-port", str(self.portal_port)),
        ]

    def _serves(self, name: str) -> bool:
        if name == "gateway":
            return listens(self.gateway_port)
        if name == "portal":
            return listens(self.portal_port)
        try:
            check_safety(self.dsn)
        except (FileNotFoundError, DatabaseUnavailableError):
            return False
        return True


@contextlib.contextmanager
def running_parts(state_dir: Path) -> Iterator[Parts]:
    """All parts, until the block ends."""
    parts = Parts(state_dir)
    try:
        parts.start_all()
        yield parts
    finally:
        parts.stop_all()
