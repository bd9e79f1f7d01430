"""Three Modbus clients that other people wrote, reading one simulated UPS; each gives the same readings."""

import getpass
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.accept import CheckError
from tests.accept._debian import Root, fetch, release

CLIENT_TIMEOUT_S = 40
NUT_SUITES = ("testing", "stable")
NUT_PACKAGES = (
    "nut-modbus",
    "libmodbus5",
    "libc6",
    "libgcc-s1",
    "libsystemd0",
    "libcap2",
    "libusb-1.0-0",
    "libudev1",
)
MBPOLL_PACKAGES = ("mbpoll", "libmodbus5", "libc6")
APCUPSD_PACKAGES = (
    "apcupsd",
    "libc6",
    "libgcc-s1",
    "libusb-0.1-4",
    "libusb-1.0-0",
    "libudev1",
    "libwrap0",
    "libnsl2",
    "libtirpc3",
    "libgssapi-krb5-2",
    "libkrb5-3",
    "libk5crypto3",
    "libkrb5support0",
    "libcom-err2",
    "libkeyutils1",
    "libssl3",
)
_SBIN = "/usr/sbin:/sbin"


@dataclass(frozen=True, slots=True)
class Readings:
    """What a client says about the UPS; None where it has no word for it."""

    on_battery: bool
    charge_pct: float
    runtime_s: float
    battery_v: float
    input_v: float
    output_v: float
    load_pct: float
    serial_number: str
    sku: str | None
    model: str | None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a client finds the UPS: a terminal, or a port on the loopback address."""

    terminal: Path | None = None
    port: int = 0

    def __str__(self) -> str:
        return "RTU" if self.terminal else "TCP"


@dataclass(frozen=True, slots=True)
class Client:
    """A client: how to take readings, and how coarse it shows them."""

    name: str
    version: str
    read: Callable[[Place], Readings]
    runtime_step_s: float = 1.0
    step: float = 0.05


def program(name: str, packages: tuple[str, ...]) -> list[str]:
    """How to start a program of this Debian release: as installed, or from fetched packages."""
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_SBIN}")
    fetched = os.environ.get("REAL_CLIENTS_FETCH") == "all"
    return [path] if path and not fetched else fetch((release(),), packages).command(name)


# --- mbpoll: prints words; what they mean is written here by hand, from the reference --------------


def mbpoll() -> Client:
    """The command line master; it gives raw words."""
    command = program("mbpoll", MBPOLL_PACKAGES)
    version = _output([*command, "-V"]).strip()
    return Client("mbpoll", version, lambda place: _read_mbpoll(command, place))


def _read_mbpoll(command: list[str], place: Place) -> Readings:
    def words(address: int, count: int) -> list[int]:
        time.sleep(0.05)  # mbpoll starts at once; a unit wants 35 ms of silence
        return _mbpoll_words(command, place, address, count)

    status, dynamic = words(0, 27), words(128, 44)
    return Readings(
        on_battery=bool(status[1] & 0x0004),
        charge_pct=dynamic[2] / 512,
        runtime_s=dynamic[0] * 65536 + dynamic[1],
        battery_v=dynamic[3] / 32,
        input_v=dynamic[23] / 64,
        output_v=dynamic[14] / 64,
        load_pct=dynamic[8] / 256,
        serial_number=_text(words(564, 8)),
        sku=_text(words(548, 16)),
        model=_text(words(532, 16)),
    )


def _mbpoll_words(command: list[str], place: Place, address: int, count: int) -> list[int]:
    if place.terminal:
        where = ["-m", "rtu", "-b", "9600", "-P", "none", str(place.terminal)]
    else:
        where = ["-m", "tcp", "-p", str(place.port), "127.0.0.1"]
    options = ["-a", "1", "-0", "-1", "-q", "-t", "4:hex", "-r", str(address), "-c", str(count)]
    output = _output([*command, *options, *where])
    found = dict(re.findall(r"^\[(\d+)\]:\s+0x([0-9A-F]{4})", output, re.MULTILINE))
    try:
        return [int(found[str(number)], 16) for number in range(address, address + count)]
    except KeyError:
        raise CheckError(f"mbpoll did not read {count} words at {address}: {output[-200:]!r}") from None


def _text(words: list[int]) -> str:
    return b"".join(word.to_bytes(2, "big") for word in words).decode("latin-1").rstrip(" \x00\xff")


# --- NUT's apc_modbus: reads once and prints its variables -----------------------------------------


def nut(state: Path) -> Client:
    """NUT's own driver for these units; Debian 12 has none, so it comes from a newer suite."""
    root = fetch(NUT_SUITES, NUT_PACKAGES)
    command = root.command("apc_modbus")
    version = _first(r"(\d+\.\d+\.\d+)", _output([*command, "-V"]))
    return Client("NUT", f"{version} of {root.suite}", lambda place: _read_nut(root, place, state), step=0.02)


def _read_nut(root: Root, place: Place, state: Path) -> Readings:
    if place.terminal:
        where = ["-x", "porttype=serial", "-x", f"port={place.terminal}"]
    else:
        where = ["-x", "porttype=tcp", "-x", f"port=127.0.0.1:{place.port}"]
    options = ["-u", getpass.getuser(), "-s", "ups", "-x", "slaveid=1", *where, "-d", "1"]
    directories = dict.fromkeys(("NUT_STATEPATH", "NUT_ALTPIDPATH", "NUT_CONFPATH"), str(state))
    output = _output([*root.command("apc_modbus"), *options], env={**os.environ, **directories})
    said = dict(re.findall(r"^([a-z0-9.]+): (.*)$", output, re.MULTILINE))
    try:
        return Readings(
            on_battery=_one_of(said["ups.status"].split(), on_mains="OL", on_battery="OB"),
            charge_pct=float(said["battery.charge"]),
            runtime_s=float(said["battery.runtime"]),
            battery_v=float(said["battery.voltage"]),
            input_v=float(said["input.voltage"]),
            output_v=float(said["output.voltage"]),
            load_pct=float(said["ups.load"]),
            serial_number=said["ups.serial"],
            sku=None,
            model=said["ups.model"],
        )
    except KeyError as missing:
        raise CheckError(f"NUT says nothing of {missing}: {output[-300:]!r}") from None


# --- apcupsd: a daemon that keeps reading; apcaccess asks it ---------------------------------------


@contextmanager
def apcupsd(terminal: Path, state: Path) -> Iterator[Client]:
    """The daemon on the terminal; its scripts are replaced by one that does nothing, nothing shuts down."""
    daemon = program("apcupsd", APCUPSD_PACKAGES)
    access = program("apcaccess", APCUPSD_PACKAGES)
    version = _first(r"apcupsd (\S+)", _output([*daemon, "-V"]))
    port = _free_port()
    configuration = _configure_apcupsd(terminal, state, port)
    with (state / "apcupsd.log").open("wb") as log:
        running = subprocess.Popen(
            [*daemon, "-b", "-f", str(configuration), "-P", str(state / "apcupsd.pid")],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield Client(
                "apcupsd",
                version,
                lambda _: _read_apcupsd(access, port, running),
                runtime_step_s=60.0,
                step=0.1,
            )
        finally:
            running.terminate()
            running.wait(20)


def _configure_apcupsd(terminal: Path, state: Path, port: int) -> Path:
    script = state / "apccontrol"
    script.write_text("#!/bin/sh\nexit 99\n", "ascii")
    script.chmod(0o755)
    places = ("LOCKFILE", "SCRIPTDIR", "PWRFAILDIR", "NOLOGINDIR")
    path = state / "apcupsd.conf"
    path.write_text(
        "## apcupsd.conf v1.1 ##\nUPSCABLE smart\nUPSTYPE modbus\n"
        f"DEVICE {terminal}\nPOLLTIME 1\nNETSERVER on\nNISIP 127.0.0.1\nNISPORT {port}\n"
        "BATTERYLEVEL 0\nMINUTES 0\nTIMEOUT 0\n"
        f"EVENTSFILE {state / 'events'}\nSTATTIME 0\n" + "".join(f"{name} {state}\n" for name in places),
        "utf-8",
    )
    return path


def _read_apcupsd(access: list[str], port: int, daemon: subprocess.Popen[bytes]) -> Readings:
    if daemon.poll() is not None:
        raise CheckError(f"apcupsd ended with status {daemon.returncode}")
    output = _output([*access, "-u", "-h", f"127.0.0.1:{port}"])
    said = {
        name.strip(): value.strip()
        for name, _, value in (line.partition(":") for line in output.splitlines())
    }
    try:
        return Readings(
            on_battery=_one_of(said["STATUS"].split(), on_mains="ONLINE", on_battery="ONBATT"),
            charge_pct=float(said["BCHARGE"]),
            runtime_s=60 * float(said["TIMELEFT"]),
            battery_v=float(said["BATTV"]),
            input_v=float(said["LINEV"]),
            output_v=float(said["OUTPUTV"]),
            load_pct=float(said["LOADPCT"]),
            serial_number=said["SERIALNO"],
            sku=None,
            model=said["MODEL"],
        )
    except KeyError as missing:
        raise CheckError(f"apcupsd says nothing of {missing} yet") from None


# --- common ----------------------------------------------------------------------------------------


def _output(command: list[str], env: dict[str, str] | None = None) -> str:
    """What a program prints, on both channels: clients differ in which they use, and in their exit status."""
    try:
        done = subprocess.run(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=CLIENT_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        raise CheckError(f"{Path(command[-1]).name} did not end: {(late.stdout or b'')[-200:]!r}") from None
    return done.stdout.decode("utf-8", "replace")


def _one_of(words: list[str], *, on_mains: str, on_battery: str) -> bool:
    """True on battery, False on mains; CheckError when the client says neither or both."""
    if (on_mains in words) == (on_battery in words):
        raise CheckError(f"status {' '.join(words)!r} tells neither mains nor battery")
    return on_battery in words


def _first(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    return match[1] if match else "of unknown version"


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
