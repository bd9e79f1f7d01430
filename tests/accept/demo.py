"""Acceptance ``demo``: a fresh clone's ``make demo`` in real browsers, as root and as an ordinary user, on
Python 3.11 without a package of the system's being installed.
"""

import asyncio
import contextlib
import hashlib
import os
import shlex
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from protocol.identity import ProductId, ProductKey
from simulators import label
from simulators.control import send
from tests.accept import expect, passed, progress, wait_until
from tests.accept._demo_browser import (
    Tab,
    click,
    enter_codes,
    follow_claim,
    history,
    keep_logs,
    live,
    log_in,
    open_chromium,
    open_firefox,
    shoot,
    shows,
    until,
)
from tests.accept._demo_process import COLOUR, Demo, User

ROOT: Final = Path(__file__).parents[2]
ORDINARY_UID: Final = 65534
INSTALLERS: Final = ("apt", "apt-get", "aptitude", "dpkg", "sudo", "useradd")
NODE: Final = ("node", "nodejs", "npm", "npx", "corepack")
COLD_S, WARM_S, LIVE_S, BATTERY_S = 300.0, 10.0, 5.0, 2.0
SILENCE_S: Final = 15.0
"""The ticker says something every 3 s while it starts cold."""
Opener = Callable[[], AbstractAsyncContextManager[Tab]]


@dataclass(slots=True)
class Figures:
    """What one run measured, in seconds where nothing else is said."""

    seen: dict[str, str] = field(default_factory=dict)

    def note(self, name: str, value: float, limit: float | None = None) -> None:
        """Keep a time; CheckError beyond its limit."""
        progress(f"{name} {value:.2f} s")
        self.seen[name] = f"{value:.1f}"
        expect(limit is None or value <= limit, f"{name} took {value:.2f} s, {limit} s is the limit")

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self.seen.items())


def main() -> int:
    """Run the whole check."""
    said = []
    if os.getuid() == 0:
        said.append(f"as root, Chromium: {_run(os.getuid(), open_chromium, open_firefox)}")
        said.append(f"as uid {ORDINARY_UID} without node, Firefox: {_run_ordinary()}")
    else:
        left_out = "NOT RUN as root (this check was not started as root)"
        progress(left_out)
        said.append(left_out)
        said.append(f"as uid {os.getuid()}, Chromium: {_run(os.getuid(), open_chromium, open_firefox)}")
    return passed("demo", "; ".join(said))


def _run_ordinary() -> Figures:
    return _run(ORDINARY_UID, open_firefox, open_chromium)


def _run(uid: int, mine: Opener, other: Opener) -> Figures:
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="sc-accept-demo-") as name:
        folder = Path(name)
        clone = folder / "try"
        subprocess.run(["git", "clone", "-q", "--no-hardlinks", str(ROOT), str(clone)], check=True)
        user = _user(uid, folder)
        if uid != os.getuid():
            for place in (folder, clone, user.home):
                _hand_over(place, uid)
        asyncio.run(_scenario(clone, user, figures, mine, other))
        marks = [path.name for path in folder.glob("called-*")]
        expect(not marks, f"the demo called {marks}")
    return figures


def _user(uid: int, folder: Path) -> User:
    """Their home and programs: nothing that installs; for an ordinary user no node either."""
    ordinary = uid != os.getuid()
    home = folder / "home" if ordinary else Path.home()
    home.mkdir(exist_ok=True)
    programs = folder / "bin"
    programs.mkdir()
    places = ["/usr/local/bin", "/usr/bin", "/bin"] if ordinary else os.environ["PATH"].split(os.pathsep)
    hidden = (*INSTALLERS, *(NODE if ordinary else ()))
    for place in map(Path, places):
        for program in place.iterdir() if place.is_dir() else ():
            link = programs / program.name
            if program.name not in hidden and not program.name.startswith("python") and not link.is_symlink():
                link.symlink_to(program)
    for name in INSTALLERS:
        (programs / name).write_text(f'#!/bin/sh\ntouch "{folder}/called-{name}"\nexit 1\n')
        (programs / name).chmod(0o755)
    (programs / "python3").symlink_to(_python(places))
    return User(uid, home, str(programs))


def _python(places: list[str]) -> str:
    """A Python 3.11 with venv."""
    path = os.pathsep.join(places)
    question = "import sys, venv; print(sys.executable) if sys.version_info[:2] == (3, 11) else sys.exit(1)"
    for name in ("python3.11", "python3"):
        found = shutil.which(name, path=path)
        if found is not None:
            done = subprocess.run([found, "-c", question], capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return done.stdout.strip()
    raise AssertionError(f"no Python 3.11 in {path}")


def _hand_over(place: Path, uid: int) -> None:
    for path in (place, *place.rglob("*")):
        os.chown(path, uid, uid, follow_symlinks=False)


async def _scenario(clone: Path, user: User, figures: Figures, mine: Opener, other: Opener) -> None:
    async with _demo(clone, user) as demo:
        figures.note("cold start", demo.wait_ready(COLD_S), COLD_S)
        figures.note("longest silence", demo.longest_silence_s, SILENCE_S)
        _check_printed(demo)
        async with mine() as tab, other() as second:
            device = await _first_claim(demo, tab, second, figures)
            await _outage(demo, tab, figures)
            await _claim_of_the_other_ups(demo, tab, figures)
        log_ins, labels = demo.log_ins, demo.labels
        figures.note("Ctrl-C", demo.press_ctrl_c(), 10.0)
    with _busy("127.0.0.1", 8080):
        async with _demo(clone, user, terminal=True) as demo:
            figures.note("second start", demo.wait_ready(WARM_S + 5), WARM_S)
            expect(
                (demo.log_ins, [x.product_id for x in demo.labels])
                == (log_ins, [x.product_id for x in labels]),
                "the second start prints other log-ins or labels",
            )
            expect(not demo.portal_url.endswith(":8080"), "the portal is on a busy port")
            expect(any("Port 8080 is busy" in line for line in demo.lines), "nothing says that 8080 is busy")
            expect(any(COLOUR in line for line in demo.lines), "no colour on a terminal")
            async with mine() as tab:
                await _still_there(demo, tab, device)
            figures.note("terminal closed", demo.close_output(), 10.0)
    with _busy("0.0.0.0", 8443):
        async with _demo(clone, user, "LAN=1") as demo:
            figures.note("start with LAN=1", demo.wait_ready(WARM_S + 5), WARM_S)
            _check_https(demo, clone)
            async with mine() as tab:
                await _still_there(demo, tab, device)
            figures.note("pipe closed", demo.close_output(), 10.0)
    _check_reset(clone, user)


@contextlib.asynccontextmanager
async def _demo(clone: Path, user: User, *arguments: str, terminal: bool = False) -> AsyncIterator[Demo]:
    demo = Demo(clone, user, *arguments, terminal=terminal)
    try:
        yield demo
    except BaseException:
        keep_logs(clone / ".state" / "demo" / "logs")
        raise
    finally:
        demo.kill_rest()


@contextlib.contextmanager
def _busy(host: str, port: int) -> Iterator[None]:
    """Somebody listens there: we, unless somebody does so already."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            listener.bind((host, port))
            listener.listen()
        yield


def _check_printed(demo: Demo) -> None:
    expect(len(demo.log_ins) == 2, f"{len(demo.log_ins)} log-ins are printed")
    expect(len(demo.labels) == 2, f"{len(demo.labels)} labels are printed")
    expect(not any(COLOUR in line for line in demo.lines), "there is colour although no terminal reads")
    for shown in demo.labels:
        codes = ProductId.parse(shown.product_id), ProductKey.parse(shown.product_key)
        at = demo.lines.index(label.line(*codes))
        picture = label.qr_text(demo.portal_url, *codes).splitlines()
        beside = demo.lines[at + 1 : at + 1 + len(picture)]
        expect(all(b.startswith(p) for p, b in zip(picture, beside, strict=True)), "no QR code at a label")
        shown.command("mains off")
        shown.command("mains on")
    text = "\n".join(demo.lines)
    for needed in ("Modbus RTU", "Modbus/TCP", "SmartConnect is off", "one hour of accelerated, SIMULATED"):
        expect(needed in text, f"nothing printed says {needed!r}")


async def _first_claim(demo: Demo, tab: Tab, second: Tab, figures: Figures) -> str:
    """Claim the UPS whose SmartConnect is on; the second account cannot have it. The device's path."""
    ups = demo.labels[0]
    await log_in(tab, demo.portal_url, *demo.log_ins[0])
    await enter_codes(tab, ups.product_id, ups.product_key)
    began = time.monotonic()
    device = await follow_claim(tab, LIVE_S)
    await until(tab, "live values", live("on_mains"), LIVE_S)
    figures.note("claim to live values", time.monotonic() - began, LIVE_S)
    await log_in(second, demo.portal_url, *demo.log_ins[1])
    await enter_codes(second, ups.product_id, ups.product_key)
    await until(second, "the second account is told why", shows("already associated with another account"))
    await shoot(second, "second-account")
    await second.goto(demo.portal_url + device)
    expect(not await second.evaluate(shows(ups.product_id)), "the second account sees the device's page")
    await second.goto(demo.portal_url + "/devices")
    expect(not await second.evaluate(shows(ups.product_id)), "the second account sees the device in its list")
    readings, outages = await history(tab, device)
    expect(readings > 50 and outages > 0, f"the chart has {readings} readings and {outages} outages")
    figures.seen["readings in the chart"] = str(readings)
    return device


async def _outage(demo: Demo, tab: Tab, figures: Figures) -> None:
    ups = demo.labels[0]
    pulled = asyncio.create_task(asyncio.to_thread(_pulled_at, ups.command("mains off")))
    pasting = asyncio.create_task(asyncio.to_thread(demo.paste, ups.command("mains off")))
    await until(tab, "On battery", f"({live('on_battery')}) && {shows('On battery')}")
    shown = time.monotonic()
    figures.note("plug pulled to “On battery”", shown - await pulled, BATTERY_S)
    await pasting
    await shoot(tab, "on-battery")
    await asyncio.to_thread(demo.paste, ups.command("mains on"))
    await until(tab, "back on mains", live("on_mains"))


def _pulled_at(command: str) -> float:
    """When the plug is out: starting the pasted command's program takes a while of its own."""
    words = shlex.split(command)
    control = Path(words[words.index("--socket") + 1])
    wait_until("the plug is out", lambda: not send(control, ["state"])["mains"], 30, pause_s=0.005)
    return time.monotonic()


async def _claim_of_the_other_ups(demo: Demo, tab: Tab, figures: Figures) -> None:
    """Claim the UPS whose SmartConnect is off: the page prompts, the button completes it."""
    ups = demo.labels[1]
    await enter_codes(tab, ups.product_id, ups.product_key)
    await until(tab, "the prompt", shows("SmartConnect is not enabled on your device: please enable it"))
    await shoot(tab, "please-enable")
    began = time.monotonic()
    await asyncio.to_thread(demo.paste, ups.command("button"))
    await follow_claim(tab, 15.0)
    figures.note("button to claimed", time.monotonic() - began)
    await until(tab, "live values of the other UPS", live("on_mains"))


async def _still_there(demo: Demo, tab: Tab, device: str) -> None:
    """Log in over the printed address; both devices are ours, one lives, and its past is there."""
    await log_in(tab, demo.portal_url, *demo.log_ins[0])
    for ups in demo.labels:
        await until(tab, f"{ups.product_id} is in the list", shows(ups.product_id))
    await click(tab, f'a[href="{device}"]')
    await until(tab, "live values after a new start", live("on_mains"))
    readings, outages = await history(tab, device)
    expect(readings > 50 and outages > 0, f"after a new start: {readings} readings, {outages} outages")
    await shoot(tab, "started-again")


def _check_https(demo: Demo, clone: Path) -> None:
    """The printed address is not loopback, and its certificate is the one whose fingerprint is printed."""
    address, _, port = demo.portal_url.removeprefix("https://").partition(":")
    expect(demo.portal_url.startswith("https://"), f"with LAN=1 the address is {demo.portal_url}")
    expect(not address.startswith("127.") and address != "localhost", f"{address} is not a LAN address")
    expect(any("Port 8443 is busy" in line for line in demo.lines), "nothing says that 8443 is busy")
    authority = clone / ".state" / "demo" / "cloud" / "tls" / "ca.pem"
    context = ssl.create_default_context(cafile=str(authority))
    with urllib.request.urlopen(demo.portal_url, timeout=5, context=context) as answer:
        expect(answer.status == 200, f"{demo.portal_url} answers {answer.status}")
    pem = ssl.get_server_certificate((address, int(port)))
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest().upper()
    shown = ":".join(digest[i : i + 2] for i in range(0, len(digest), 2))
    expect(shown in demo.lines, "the printed fingerprint is another")


def _check_reset(clone: Path, user: User) -> None:
    done = subprocess.run(
        user.command("make", "demo-reset"),
        cwd=clone,
        env=user.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    expect(done.returncode == 0, f"make demo-reset: {done.stderr}")
    expect(not (clone / ".state" / "demo").exists(), "make demo-reset leaves the demo's state")
