"""What the demo remembers between two starts: labels, log-ins, ports; all in one private folder."""

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import socket
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from protocol.identity import ProductId, ProductKey
from simulators import label
from simulators.core.nameplate import Nameplate

SOCKET_PATH_BYTES: Final = 100  # Linux takes 107
TYPEABLE: Final = "23456789abcdefghijkmnpqrstuvwxyz"
PORTAL_PORT: Final = 8080
PORTAL_TLS_PORT: Final = 8443
GATEWAY_PORT: Final = 8883
MODBUS_PORT: Final = 5020
PORTS_TRIED: Final = 100
NAMEPLATES: Final = {
    "rtu": Nameplate(),
    "tcp": Nameplate(
        model="Smart-UPS 750", sku="SMT750IC", battery_sku="", rated_apparent_va=750, rated_real_w=500
    ),
}
"""By transport: the two UPSs of the demo are told apart in a list."""


class DemoError(Exception):
    """The demo cannot start; the text says why."""


@dataclass(frozen=True, slots=True)
class Account:
    """One demo log-in."""

    email: str
    first_name: str
    last_name: str
    password: str


@dataclass(slots=True)
class Unit:
    """One simulated UPS with its label; ``smartconnect`` is remembered as the UPS' own memory would."""

    name: str
    transport: str
    product_id: str
    product_key: str
    serial_number: str
    load_pct: float
    smartconnect: bool

    @property
    def nameplate(self) -> Nameplate:
        """Its model, with its own serial number."""
        return replace(NAMEPLATES[self.transport], serial_number=self.serial_number)

    @property
    def codes(self) -> tuple[ProductId, ProductKey]:
        """The label's codes."""
        return ProductId.parse(self.product_id), ProductKey.parse(self.product_key)


@dataclass(slots=True)
class Memory:
    """Contents of ``demo.json``."""

    accounts: list[Account] = field(default_factory=list)
    units: list[Unit] = field(default_factory=list)


class Home:
    """The demo's folder: one running demo at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._lock: IO[str] | None = None

    def __enter__(self) -> Self:
        self.take()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def take(self) -> None:
        """Make or open the folder for this process alone; DemoError when another demo runs in it."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.logs.mkdir(mode=0o700, exist_ok=True)
        self._lock = (self.folder / "demo.lock").open("a")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise DemoError(f"a demo is already running in {self.folder}; stop it first") from None

    def recall(self) -> Memory:
        """What is remembered; made at the first start."""
        if not self._memory_path.exists():
            self.remember(_first_memory())
        return _read_memory(self._memory_path)

    def release(self) -> None:
        """Let another demo use the folder."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None
            with contextlib.suppress(OSError):  # not there, or not empty: a process of ours still stops
                self._short_dir.rmdir()

    def remember(self, memory: Memory) -> None:
        """Write ``demo.json`` (0600), whole or not at all."""
        part = self._memory_path.with_suffix(".part")
        part.unlink(missing_ok=True)
        part.touch(mode=0o600)
        part.write_text(json.dumps(asdict(memory), indent=1))
        part.replace(self._memory_path)

    @property
    def _memory_path(self) -> Path:
        return self.folder / "demo.json"

    @property
    def cloud(self) -> Path:
        """State directory of the cloud."""
        return self.folder / "cloud"

    @property
    def logs(self) -> Path:
        """What the processes say."""
        return self.folder / "logs"

    @property
    def _short_dir(self) -> Path:
        digest = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:12]
        return Path(f"/tmp/sc-demo-{os.getuid()}-{digest}")  # noqa: S108 - its owner and mode are checked

    def unit_dir(self, number: int) -> Path:
        """Everything of one UPS and its agent."""
        folder = self.folder / f"ups{number}"
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def socket(self, name: str) -> Path:
        """Path for a Unix socket: here, or in a short folder of our own when this one is too deep."""
        path = self.folder / name
        if len(os.fsencode(path)) <= SOCKET_PATH_BYTES:
            return path
        short = self._short_dir
        short.mkdir(mode=0o700, exist_ok=True)
        found = short.lstat()
        if found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise DemoError(f"{short} belongs to somebody else; give a shorter --state-dir")
        return short / name


def _first_memory() -> Memory:
    accounts = [
        Account("first@example.org", "First", "Owner", _password()),
        Account("second@example.org", "Second", "Owner", _password()),
    ]
    units = []
    for name, transport, load_pct, on in (
        ("Server room", "rtu", 34.0, True),
        ("Reception", "tcp", 22.0, False),
    ):
        product_id, product_key = label.mint()
        serial = f"AS24{secrets.randbelow(10**8):08d}"
        units.append(Unit(name, transport, product_id.value, product_key.value, serial, load_pct, on))
    return Memory(accounts, units)


def _password() -> str:
    """Three kinds of characters, no name in it, easy to type."""
    groups = ["".join(secrets.choice(TYPEABLE) for _ in range(4)) for _ in range(3)]
    return "Volt-" + "-".join(groups)


def _read_memory(path: Path) -> Memory:
    try:
        content = json.loads(path.read_text())
        return Memory(
            [Account(**item) for item in content["accounts"]], [Unit(**item) for item in content["units"]]
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DemoError(
            f"{path} is not what this demo wrote ({error}); `make demo-reset` starts over"
        ) from error


class Ports:
    """Free TCP ports for this demo alone.

    A port is only probed here and bound later, by a child; so that a second demo does not find the same one
    free meanwhile, each is also claimed by an abstract Unix socket, which ends with this process.
    """

    def __init__(self) -> None:
        self._claims: list[socket.socket] = []

    def free(self, wanted: int, host: str) -> int:
        """``wanted``, or the next port above it that nobody listens on."""
        for port in range(wanted, wanted + PORTS_TRIED):
            if _is_free(port, host) and self._claim(port):
                return port
        raise DemoError(f"no free port from {wanted} to {wanted + PORTS_TRIED - 1}")

    def release(self) -> None:
        """Let other demos have them."""
        while self._claims:
            self._claims.pop().close()

    def _claim(self, port: int) -> bool:
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0smartconnect-demo/port/{port}")
        except OSError:
            claim.close()
            return False
        self._claims.append(claim)
        return True


def _is_free(port: int, host: str) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def lan_address() -> str:
    """The address a packet to another network would leave this machine from. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError as error:
            raise DemoError("this machine is in no network; run the demo without LAN=1") from error
        address: str = probe.getsockname()[0]
        return address
