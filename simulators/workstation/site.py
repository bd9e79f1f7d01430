"""The servers of one site: agents without UPSs, each in a folder of its own, started and stopped."""

import json
import os
import socket
import time
from pathlib import Path
from typing import Any, Final

from simulators.demo.processes import Children, Running, run, script
from simulators.workstation.server_line import ServerError, order

ENTERPRISE: Final = "es"
START_TIMEOUT_S: Final = 30.0
POLL_S: Final = 0.05


class Site:
    """An Enterprise Server ``es`` and stand-alone servers ``server-1`` and so on; what they know is kept."""

    def __init__(self, folder: Path, installation: Path, *, servers: int, version: str, online: bool) -> None:
        self.names = [ENTERPRISE, *(f"server-{number}" for number in range(1, servers + 1))]
        self._folder = folder
        self._installation = installation.resolve()
        self._version = version
        self._online = online
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / "logs").mkdir(exist_ok=True)
        self._children = Children(folder / "logs")
        self._running: dict[str, Running] = {}

    def open(self) -> None:
        """Make what is missing, and switch all servers on."""
        for name in self.names:
            self._prepare(name)
            self.start(name, wait=False)
        for name in self.names:
            self._wait(name)

    def _prepare(self, name: str) -> None:
        """Settings and database of one server."""
        folder = self._folder / name
        folder.mkdir(mode=0o700, exist_ok=True)
        port_file = folder / "port"
        if not port_file.exists():
            port_file.write_text(str(_free_port()), "ascii")
        settings = {
            "installation": str(self._installation),
            "state_dir": "state",
            "link_host": "127.0.0.1",
            "link_port": int(port_file.read_text("ascii")),
            "system_online": self._online,
        }
        text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())
        (folder / "agent.toml").write_text(text, "utf-8")
        if not (folder / "state").exists():
            kind = "enterprise_server" if name == ENTERPRISE else "standalone"
            command = [script("smartconnect-agent"), "system", "create", "--kind", kind, "--name", name]
            done = run([*command, "--config", str(folder / "agent.toml")])
            if done.returncode:
                raise ServerError(done.stderr.strip() or f"{name} could not be made")

    def state_dir(self, name: str) -> Path:
        """Where a server keeps what it knows; ServerError where there is none of this name."""
        if name not in self.names:
            raise ServerError(f"there is no server {name!r}; these are: {', '.join(self.names)}")
        return self._folder / name / "state"

    def order(self, name: str, what: dict[str, Any]) -> dict[str, Any]:
        """Have a server do this."""
        return order(self.state_dir(name), what)

    def is_on(self, name: str) -> bool:
        """Whether a server runs."""
        child = self._running.get(name)
        return child is not None and child.process.poll() is None

    def start(self, name: str, *, wait: bool = True) -> None:
        """Switch a server on."""
        config = self.state_dir(name).parent / "agent.toml"
        if not self.is_on(name):
            command = [script("smartconnect-agent"), "run", "--config", str(config)]
            self._running[name] = self._children.start(name, command)
        if wait:
            self._wait(name)

    def _wait(self, name: str) -> None:
        """Wait until it answers, and tell it which software it plays."""
        deadline_s = time.monotonic() + START_TIMEOUT_S
        software = {"do": "describe", "software": self._version, "licences": ["Building Operation"]}
        while True:
            self._children.check(self._running[name])
            try:
                self.order(name, software)
            except ServerError:
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(POLL_S)
            else:
                return

    def stop(self, name: str) -> None:
        """Switch a server off."""
        self.state_dir(name)
        child = self._running.pop(name, None)
        if child is not None:
            child.process.terminate()
            child.process.wait(START_TIMEOUT_S)

    def close(self) -> None:
        """Switch all off."""
        self._children.stop()

    def doctor(self, name: str) -> str:
        """What `system doctor` says at this server."""
        config = self.state_dir(name).parent / "agent.toml"
        done = run([script("smartconnect-agent"), "system", "doctor", "--config", os.fspath(config)])
        return (done.stdout or done.stderr).strip()


def _free_port() -> int:
    """A port nobody uses now; it is kept for this server."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
