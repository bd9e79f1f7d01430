"""Programs of Debian packages, fetched into a cache and run there: nothing is installed, root is not needed.

The archive is the one this machine is configured for; only the suite is replaced. apt runs with directories
of its own, so that neither its lists nor its settings are touched.
"""

import contextlib
import fcntl
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.accept import CheckError, progress

CACHE = Path(__file__).parents[2] / ".cache" / "debian"
SOURCES = Path("/etc/apt")
APT_TIMEOUT_S = 300


@dataclass(frozen=True, slots=True)
class Source:
    """Where this machine's own release comes from."""

    uri: str
    options: tuple[str, ...]  # further fields of a deb822 stanza, such as Signed-By


@dataclass(frozen=True, slots=True)
class Root:
    """Packages unpacked into a directory."""

    path: Path
    suite: str

    def program(self, name: str) -> Path:
        """Path of a program in it."""
        for found in sorted(self.path.rglob(name)):
            if found.is_file() and found.read_bytes()[:4] == b"\x7fELF":  # not a start script of that name
                return found
        raise CheckError(f"the packages of {self.suite} have no program {name}")

    def libraries(self) -> list[Path]:
        """Directories with shared libraries."""
        return sorted({found.parent for found in self.path.rglob("*.so*") if found.is_file()})

    def command(self, name: str) -> list[str]:
        """How to start a program of it with its own libraries, and its own loader if it brought one."""
        path = ":".join(str(directory) for directory in self.libraries())
        loaders = [found for found in sorted(self.path.rglob("ld-linux*.so.*")) if found.is_file()]
        if loaders:
            return [str(loaders[0]), "--library-path", path, str(self.program(name))]
        return ["env", f"LD_LIBRARY_PATH={path}", str(self.program(name))]


def fetch(suites: tuple[str, ...], packages: tuple[str, ...]) -> Root:
    """These packages from the first suite that the configured archive has; CheckError when none has them."""
    source = configured_source()
    complaints = []
    for suite in suites:
        try:
            return _fetch_from(source, suite, packages)
        except CheckError as error:
            complaints.append(f"{suite}: {error}")
    raise CheckError(f"the configured archive gives no {packages[0]}: {'; '.join(complaints)}")


def release() -> str:
    """Code name of the Debian release that runs here."""
    text = Path("/etc/os-release").read_text("utf-8")
    match = re.search(r"^VERSION_CODENAME=(\w+)", text, re.MULTILINE)
    if not match or "debian" not in text:
        raise CheckError("this check needs a Debian machine")
    return match[1]


def configured_source() -> Source:
    """The archive entry of this release; CheckError when there is none."""
    suite = release()
    for stanza in _stanzas():
        fields = dict(re.findall(r"^([A-Za-z-]+):[ \t]*(.*(?:\n[ \t].*)*)$", stanza, re.MULTILINE))
        ours = suite in fields.get("Suites", "").split() and "main" in fields.get("Components", "").split()
        if ours and "deb" in fields.get("Types", "").split():
            kept = ("Signed-By", "Trusted", "Check-Valid-Until")
            options = tuple(f"{name}: {fields[name]}" for name in kept if name in fields)
            return Source(fields["URIs"].split()[0], options)
    raise CheckError(f"apt has no source for {suite} main")


def _stanzas() -> Iterator[str]:
    """Every source, in deb822 form."""
    for path in sorted((SOURCES / "sources.list.d").glob("*.sources")):
        yield from re.split(r"\n[ \t]*\n", re.sub(r"^#.*\n", "", path.read_text("utf-8"), flags=re.MULTILINE))
    lists = [SOURCES / "sources.list", *sorted((SOURCES / "sources.list.d").glob("*.list"))]
    for path in lists:
        for line in path.read_text("utf-8").splitlines() if path.exists() else ():
            match = re.match(r"deb\s+(?:\[([^]]*)\]\s+)?(\S+)\s+(\S+)\s+(.+)", line)
            if match:
                signed = re.search(r"signed-by=(\S+)", match[1] or "")
                more = f"\nSigned-By: {signed[1]}" if signed else ""
                yield f"Types: deb\nURIs: {match[2]}\nSuites: {match[3]}\nComponents: {match[4]}{more}"


def _fetch_from(source: Source, suite: str, packages: tuple[str, ...]) -> Root:
    place = CACHE / suite / packages[0]
    root = Root(place / "root", suite)
    place.mkdir(parents=True, exist_ok=True)
    with _lock(place):
        stamp = place / "packages"
        wanted = " ".join(packages)
        if stamp.exists() and stamp.read_text("utf-8") == wanted:
            return root
        progress(f"fetching {packages[0]} and its libraries from {suite}")
        _download(source, suite, packages, place)
        shutil.rmtree(root.path, ignore_errors=True)
        for package in sorted((place / "archives").glob("*.deb")):
            _run(["dpkg-deb", "-x", str(package), str(root.path)], place)
        stamp.write_text(wanted, "utf-8")
    return root


def _download(source: Source, suite: str, packages: tuple[str, ...], place: Path) -> None:
    shutil.rmtree(place / "archives", ignore_errors=True)
    for directory in ("archives", "state/lists/partial", "cache/archives/partial"):
        (place / directory).mkdir(parents=True, exist_ok=True)
    (place / "status").touch()
    entry = ["Types: deb", f"URIs: {source.uri}", f"Suites: {suite}", "Components: main", *source.options]
    (place / "suite.sources").write_text("\n".join(entry) + "\n", "utf-8")
    settings = {
        "Dir::Etc::sourcelist": place / "suite.sources",
        "Dir::Etc::sourceparts": "-",
        "Dir::State": place / "state",
        "Dir::State::status": place / "status",
        "Dir::Cache": place / "cache",
        "APT::Sandbox::User": "",
        "APT::Update::Error-Mode": "any",
    }
    options = [part for name, value in settings.items() for part in ("-o", f"{name}={value}")]
    _run(["apt-get", *options, "-qq", "update"], place)
    _run(["apt-get", *options, "-qq", "download", *packages], place / "archives")


def _run(command: list[str], place: Path) -> None:
    try:
        done = subprocess.run(
            command, cwd=place, capture_output=True, text=True, timeout=APT_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CheckError(f"{command[0]}: {error}") from None
    if done.returncode:
        last = [re.sub(r"//[^/\s]+", "//…", line) for line in done.stderr.splitlines() if line.strip()]
        raise CheckError(f"{command[0]} failed: {last[0] if last else done.returncode}")


@contextlib.contextmanager
def _lock(place: Path) -> Iterator[None]:
    with (place / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
