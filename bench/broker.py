"""mosquitto for the two baselines: devices on TLS, the consumer on plain TCP, nothing persistent.

It is a Debian package. Where it is not installed, its package and the libraries that are missing are fetched
with ``apt-get download`` into ``.cache`` and run from there; nothing is installed.
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

CACHE: Final = Path(".cache/mosquitto")
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


@dataclass(frozen=True, slots=True)
class _Program:
    path: str
    environment: dict[str, str]


def find_mosquitto() -> _Program:
    """The installed program, else one fetched into ``.cache``; BenchError where neither is possible."""
    path = shutil.which("mosquitto") or shutil.which("mosquitto", path=PLACES)
    if path is not None:
        return _Program(path, dict(os.environ))
    unpacked = CACHE.absolute() / "root"
    program = unpacked / "usr/sbin/mosquitto"
    if not program.exists():
        _fetch(unpacked)
    libraries = os.pathsep.join(str(folder) for folder in (unpacked / "usr/lib").glob("*-linux-gnu"))
    return _Program(str(program), {**os.environ, "LD_LIBRARY_PATH": libraries})


def _fetch(unpacked: Path) -> None:
    if shutil.which("apt-get") is None:
        raise BenchError("no mosquitto here, and no apt-get to fetch it with")
    downloads = CACHE / "deb"
    downloads.mkdir(parents=True, exist_ok=True)
    for package in PACKAGES:  # one by one: a release may not have all of these libraries, nor need them
        done = subprocess.run(
            ["apt-get", "download", package], cwd=downloads, capture_output=True, check=False
        )
        if done.returncode != 0 and package == "mosquitto":
            raise BenchError(f"apt-get download mosquitto: {done.stderr.decode(errors='replace').strip()}")
    for archive in downloads.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", archive, unpacked], check=True)


def _version(program: _Program) -> str:
    said = subprocess.run(
        [program.path, "-h"], env=program.environment, capture_output=True, text=True, check=False
    )
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
    program = find_mosquitto()
    version = _version(program)
    plain_port, tls_port = free_port(), free_port()
    path = _configuration(folder, certificate, plain_port, tls_port)
    command = [program.path, "-c", str(path)]
    with running(command, folder / "mosquitto.log", program.environment) as process:
        wait_for(
            "mosquitto listens",
            lambda: process.poll() is not None or (listens(plain_port) and listens(tls_port)),
            20,
        )
        if process.poll() is not None:
            raise BenchError(f"mosquitto ended: {(folder / 'mosquitto.log').read_text()[-1000:]}")
        yield Broker(process.pid, tls_port, plain_port, version)
