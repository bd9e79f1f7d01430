"""The whole cloud as its own processes, on free ports, for tests that look from outside.

``cloud_stack`` runs ``smartconnect-cloud serve``; :mod:`tests.support.parts` runs its parts one by one. Both
end with their block, and with this process however that ends. Start them from the main thread.
"""

import contextlib
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

from cloud.provision import load_installation, load_key_set
from protocol.messages import Installation, KeySet
from tests.faults.processes import Part, Parts, clean_environment
from tests.support.prepared import prepare


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


def answers(port: int) -> bool:
    """Whether a web server answers at 127.0.0.1:port, whatever it says."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2):
            return True
    except urllib.error.HTTPError as answer:
        answer.close()
        return True
    except OSError:
        return False


class Cloud:
    """What is known of a cloud from outside: its ports and the files in its state directory."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.gateway_port = free_port()
        self.portal_port = free_port()
        self.jobs_metrics_port = free_port()

    @property
    def dsn(self) -> str:
        """Connection string of its private PostgreSQL; valid while that runs."""
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
    def logs(self) -> Path:
        """The folder of its processes' logs."""
        return self.state_dir.with_name(f"{self.state_dir.name}-logs")

    @property
    def log(self) -> str:
        """All that its processes have logged."""
        return "".join(path.read_text(errors="replace") for path in sorted(self.logs.glob("*.log")))

    def command(self, name: str, *words: str) -> list[str]:
        """Command line of one of the cloud's commands."""
        return [
            *(sys.executable, "-m", "cloud", name, *words, "--state-dir", str(self.state_dir)),
            *("--gateway-port", str(self.gateway_port), "--portal-port", str(self.portal_port)),
            *("--jobs-metrics-port", str(self.jobs_metrics_port)),
        ]

    def admin(self, *words: str, secret: str = "") -> str:
        """Run ``smartconnect-cloud admin …`` with ``secret`` on standard input; what it printed."""
        done = subprocess.run(
            self.command("admin", *words),
            input=secret,
            capture_output=True,
            text=True,
            check=False,
            env=clean_environment(),
        )
        if done.returncode != 0:
            raise RuntimeError(f"admin {' '.join(words[:2])}: {done.stderr}")
        return done.stdout


class Stack(Cloud):
    """A running ``smartconnect-cloud serve``."""

    def __init__(self, state_dir: Path, processes: Parts, environment: Mapping[str, str] | None) -> None:
        super().__init__(state_dir)
        self.part: Part = processes.add(
            "serve",
            self.command("serve"),
            environment=environment,
            ready=lambda: (
                listens(self.gateway_port) and answers(self.portal_port) and answers(self.jobs_metrics_port)
            ),
        )


@contextlib.contextmanager
def cloud_stack(state_dir: Path, *, environment: Mapping[str, str] | None = None) -> Iterator[Stack]:
    """Run the cloud in a new ``state_dir`` until the block ends; ``environment`` is added to a clean one."""
    prepare(state_dir)
    with Parts(state_dir.with_name(f"{state_dir.name}-logs")) as processes:
        stack = Stack(state_dir, processes, environment)
        stack.part.start().wait_ready()
        yield stack
