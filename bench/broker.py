"""mosquitto for the two baselines: devices on TLS, the consumer on plain TCP, nothing persistent.

It is a Debian package. Where it is not installed, it is fetched with its libraries from the configured
archive into ``.cache`` and run from there; nothing is installed.
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.processes import BenchError, free_port, listens, running, wait_for
from tests.accept import CheckError
from tests.accept._debian import fetch, release

PACKAGES: Final = (
    "mosquitto",
    "libmosquitto1",
    "libcjson1",
    "libdlt2",
    "libev4",
    "libwebsockets17",
    "libwrap0",
    "libnsl2",
    "libtirpc3",
    "libuv1",
)
PLACES: Final = os.pathsep.join(["/usr/sbin", "/usr/local/sbin"])


@dataclass(frozen=True, slots=True)
class Broker:
    """A running mosquitto."""

    pid: int
    tls_port: int
    plain_port: int
    version: str


def find_mosquitto() -> list[str]:
    """How to start the installed program, else a fetched one; BenchError where neither is possible."""
    path = shutil.which("mosquitto") or shutil.which("mosquitto", path=PLACES)
    if path is not None:
        return [path]
    try:
        return fetch((release(),), PACKAGES).command("mosquitto")
    except CheckError as error:
        raise BenchError(f"no mosquitto here, and none to be fetched: {error}") from error


def _version(command: list[str]) -> str:
    said = subprocess.run([*command, "-h"], capture_output=True, text=True, check=False)
    words = said.stdout.split()
    if words[1:2] != ["version"]:
        raise BenchError(f"mosquitto does not run: {said.stderr.strip()}")
    return words[2]


def _configuration(folder: Path, certificate: tuple[Path, Path], plain_port: int, tls_port: int) -> Path:
    lines = [
        "persistence false",
        "allow_anonymous true",
        "set_tcp_nodelay true",
        "max_inflight_messages 20000",  # the consumer's batches are not cut short by the broker
        "max_queued_messages 0",  # no limit: a backlog is kept, not dropped
        "log_type error",
        "log_type warning",
        f"listener {plain_port} 127.0.0.1",
        f"listener {tls_port} 127.0.0.1",
        f"certfile {certificate[0].absolute()}",
        f"keyfile {certificate[1].absolute()}",
    ]
    if os.geteuid() == 0:
        lines.insert(0, "user root")  # else it could not read the key
    path = folder / "mosquitto.conf"
    path.write_text("\n".join(lines) + "\n")
    return path


@contextlib.contextmanager
def broker(folder: Path, certificate: tuple[Path, Path]) -> Iterator[Broker]:
    """A mosquitto that runs until the block ends."""
    command = find_mosquitto()
    version = _version(command)
    plain_port, tls_port = free_port(), free_port()
    path = _configuration(folder, certificate, plain_port, tls_port)
    with running([*command, "-c", str(path)], folder / "mosquitto.log") as process:
        wait_for(
            "mosquitto listens",
            lambda: process.poll() is not None or (listens(plain_port) and listens(tls_port)),
            20,
        )
        if process.poll() is not None:
            raise BenchError(f"mosquitto ended: {(folder / 'mosquitto.log').read_text()[-1000:]}")
        yield Broker(process.pid, tls_port, plain_port, version)
