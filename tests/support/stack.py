"""The whole cloud as its own processes, on free ports, for tests that look from outside."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cloud.provision import load_installation
from protocol.messages import Installation

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 12.0


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody has at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int) -> bool:
    """Whether something accepts connections at 127.0.0.1:port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass
class Stack:
    """A running ``smartconnect-cloud serve``."""

    state_dir: Path
    gateway_port: int
    portal_port: int
    process: subprocess.Popen[bytes]

    @property
    def installation(self) -> Installation:
        """The file an agent of this cloud is given."""
        return load_installation(self.state_dir)

    @property
    def portal_url(self) -> str:
        """Where the portal answers."""
        return f"http://127.0.0.1:{self.portal_port}"

    @property
    def dsn(self) -> str:
        """Connection string of its private PostgreSQL."""
        return (self.state_dir / "pg.dsn").read_text().strip()

    def admin(self, *words: str, secret: str = "") -> str:
        """Run ``smartconnect-cloud admin …`` with ``secret`` on standard input; what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "cloud", "admin", *words, "--state-dir", str(self.state_dir)],
            input=secret,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"admin {words[0]}: {done.stderr}")
        return done.stdout


@contextlib.contextmanager
def cloud_stack(
    state_dir: Path, *, environment: Mapping[str, str] | None = None, log: Path | None = None
) -> Iterator[Stack]:
    """Run the cloud in ``state_dir`` until the block ends; its log goes to ``log`` or ``STATE.log``."""
    gateway_port, portal_port = free_port(), free_port()
    command = [sys.executable, "-m", "cloud", "serve", "--state-dir", str(state_dir)]
    command += ["--gateway-port", str(gateway_port), "--portal-port", str(portal_port)]
    kept = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    path = log or state_dir.with_suffix(".log")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**kept, **(environment or {})},
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not (listens(gateway_port) and _answers(portal_port)):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the cloud did not start: {path.read_text()[-4000:]}")
            time.sleep(0.02)
        yield Stack(state_dir, gateway_port, portal_port, process)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
