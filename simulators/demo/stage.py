"""Sets the demo up in order: cloud, log-ins, UPSs, agents; and looks after it until it is closed."""

import contextlib
import hashlib
import json
import socket
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Final

from simulators.control import send
from simulators.core.smart_ups import SmartUps
from simulators.demo.history import History, simulate
from simulators.demo.layout import (
    GATEWAY_PORT,
    MODBUS_PORT,
    PORTAL_PORT,
    PORTAL_TLS_PORT,
    DemoError,
    Home,
    Memory,
    Ports,
    Unit,
    lan_address,
)
from simulators.demo.processes import Children, Running, run, script
from simulators.demo.report import Report, UnitReport, render, say

START_TIMEOUT_S: Final = 120.0
POLL_S: Final = 0.05


class Stage:
    """The running demo."""

    def __init__(self, home: Home, *, lan: bool) -> None:
        self._home = home
        self._lan = lan
        self._memory: Memory = home.recall()
        self._children = Children(home.logs)
        self._first_start = not home.cloud.exists()
        self._ports = Ports()
        self._busy: list[str] = []
        self._began_s = time.monotonic()

    def open(self) -> None:
        """Start everything and print what people need."""
        address = lan_address() if self._lan else "127.0.0.1"
        listen = "0.0.0.0" if self._lan else "127.0.0.1"  # noqa: S104 - LAN=1 asks for it
        wanted = PORTAL_TLS_PORT if self._lan else PORTAL_PORT
        portal_port = self._ports.free(wanted, listen)
        self._note_busy(wanted, portal_port, "the portal")
        gateway_port = self._ports.free(GATEWAY_PORT, "127.0.0.1")
        self._note_busy(GATEWAY_PORT, gateway_port, "the gateway")
        self._portal_url = f"{'https' if self._lan else 'http'}://{address}:{portal_port}"
        self._progress("starting PostgreSQL, gateway and portal")
        cloud = self._children.start("cloud", self._cloud_command(listen, address, portal_port, gateway_port))
        self._wait("the portal answers", cloud, self._portal_answers)
        self._wait("the gateway listens", cloud, lambda: _listens(gateway_port))
        if self._first_start:
            self._progress("making two log-ins")
        self._add_accounts()
        self._progress("starting two UPSs and their agents")
        histories: list[str] = []
        reports = []
        for number, unit in enumerate(self._memory.units, 1):
            history = simulate(SmartUps(unit.nameplate), unit.load_pct - 34.0)
            path = self._home.unit_dir(number) / "history.json"
            path.write_text(history.to_json(unit.product_id))
            histories.append(str(path))
            reports.append(self._start_unit(number, unit, history))
        self._children.start("history", [*self._admin("history"), "--follow", *histories])
        report = Report(
            portal_url=self._portal_url,
            gateway=f"127.0.0.1:{gateway_port}",
            notes=[*self._busy, *self._notes()],
            accounts=self._memory.accounts,
            units=reports,
        )
        self._progress("ready")
        say(render(report, getattr(sys.stdout, "encoding", None), colour=sys.stdout.isatty()))

    def look_after(self) -> None:
        """Start again what died, and remember what a real UPS would remember over a restart."""
        for name in self._children.revive():
            say(f"{name} had ended and was started again; see {self._home.logs / (name + '.log')}")
        changed = False
        for number, unit in enumerate(self._memory.units, 1):
            with contextlib.suppress(OSError, ValueError):  # not listening at the moment
                enabled = bool(send(self._socket(number), ["state"])["smartconnect"])
                changed |= enabled != unit.smartconnect
                unit.smartconnect = enabled
        if changed:
            self._home.remember(self._memory)

    def close(self) -> None:
        """Stop all children, and say which did not stop by themselves."""
        for name in self._children.stop():
            say(f"{name} did not stop in time and was killed; see {self._home.logs / (name + '.log')}")
        self._ports.release()

    # --- the cloud
    # -------------------------------------------------------------------------------------------

    def _cloud_command(self, listen: str, address: str, portal_port: int, gateway_port: int) -> list[str]:
        command = [script("smartconnect-cloud"), "serve", "--state-dir", str(self._home.cloud)]
        command += ["--portal-host", listen, "--portal-port", str(portal_port)]
        command += ["--gateway-port", str(gateway_port), "--public-url", self._portal_url]
        command += ["--mail", "mailbox"]
        if self._lan:
            command += ["--portal-tls", "true", "--hosts", f"127.0.0.1,localhost,{address}"]
        else:
            command += ["--hosts", "127.0.0.1,localhost"]
        return command

    def _admin(self, subject: str, *words: str) -> list[str]:
        return [script("smartconnect-cloud"), "admin", subject, *words, "--state-dir", str(self._home.cloud)]

    def _portal_answers(self) -> bool:
        context = None
        if self._lan:
            authority = self._home.cloud / "tls" / "ca.pem"
            if not authority.exists():
                return False
            context = ssl.create_default_context(cafile=str(authority))
        try:
            with urllib.request.urlopen(self._portal_url, timeout=2, context=context):  # noqa: S310 - our own URL
                return True
        except urllib.error.HTTPError as answer:
            return answer.code < 500
        except OSError:
            return False

    def _add_accounts(self) -> None:
        """Make the two log-ins where they are missing (an interrupted first start made one, or none)."""
        done_path = self._home.folder / "accounts.done"
        if done_path.exists():
            return
        for account in self._memory.accounts:
            names = ["--first-name", account.first_name, "--last-name", account.last_name]
            done = run(
                [*self._admin("account", "add"), "--email", account.email, *names], account.password + "\n"
            )
            if done.returncode != 0 and "exists already" not in done.stderr:
                raise DemoError(f"cannot make the log-in {account.email}: {done.stderr.strip()}")
        done_path.touch()

    # --- one UPS with its agent
    # ------------------------------------------------------------------------------

    def _socket(self, number: int) -> Path:
        return self._home.socket(f"ups{number}.sock")

    def _start_unit(self, number: int, unit: Unit, history: History) -> UnitReport:
        folder = self._home.unit_dir(number)
        key_path = folder / "product.key"
        key_path.unlink(missing_ok=True)
        key_path.touch(mode=0o600)
        key_path.write_text(unit.product_key + "\n")
        command = [script("smartconnect-simulator"), "ups", "--profile", "smartconnect"]
        command += ["--socket", str(self._socket(number)), "--product-id", unit.product_id]
        command += [
            "--product-key-file",
            str(key_path),
            "--smartconnect",
            "on" if unit.smartconnect else "off",
        ]
        plate, last = unit.nameplate, history.samples[-1]  # go on where the simulated hour ended
        points = {
            "model": plate.model,
            "sku": plate.sku,
            "battery_sku": plate.battery_sku,
            "rated_apparent_va": plate.rated_apparent_va,
            "rated_real_w": plate.rated_real_w,
            "serial_number": plate.serial_number,
            "ups_name": unit.name,
            "load_pct": unit.load_pct,
            "state_of_charge": last["state_of_charge"],
            "output_energy": last["output_energy"],
        }
        for name, value in points.items():
            command += ["--set", f"{name}={value}"]
        if unit.transport == "rtu":
            link = folder / "modbus"
            command += ["--rtu", str(link)]
            place, modbus = f"Modbus RTU on {link}", f"serial:{link}"
        else:
            port = self._ports.free(MODBUS_PORT, "127.0.0.1")
            self._note_busy(MODBUS_PORT, port, f"UPS {number}")
            command += ["--tcp", f"127.0.0.1:{port}"]
            place, modbus = f"Modbus/TCP on 127.0.0.1:{port}", f"tcp://127.0.0.1:{port}"
        simulator = self._children.start(f"ups{number}", command)
        self._wait(f"UPS {number} runs", simulator, lambda: self._simulator_answers(number))
        config_path = folder / "agent.toml"
        config_path.write_text(agent_config(folder, self._home.cloud / "installation.json", number, modbus))
        agent = self._children.start(
            f"agent{number}", [script("smartconnect-agent"), "run", "--config", str(config_path)]
        )
        self._children.check(agent)
        control = [script("smartconnect-simulator"), "ctl", "--socket", str(self._socket(number))]
        return UnitReport(
            unit,
            place,
            (
                ("Pull the mains plug", [*control, "mains", "off"]),
                ("Restore the mains", [*control, "mains", "on"]),
                *(
                    []
                    if unit.smartconnect
                    else [("Press its button, which switches SmartConnect on", [*control, "button"])]
                ),
            ),
        )

    def _simulator_answers(self, number: int) -> bool:
        try:
            send(self._socket(number), ["state"])
        except (OSError, ValueError):
            return False
        return True

    # --- telling
    # -----------------------------------------------------------------------------------------------

    def _note_busy(self, wanted: int, found: int, who: str) -> None:
        if found != wanted:
            self._busy.append(f"Port {wanted} is busy, so {who} is on {found}.")

    def _notes(self) -> list[str]:
        notes = []
        if self._lan:
            pem = (self._home.cloud / "tls" / "server.pem").read_text()
            digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest().upper()
            notes += [
                "Other machines and phones in this network can open the portal. Its certificate is the",
                "demo's own, so a browser asks once; SHA-256 fingerprint:",
                ":".join(digest[i : i + 2] for i in range(0, len(digest), 2)),
            ]
        notes += [
            "A claimed device's charts begin with one hour of accelerated, SIMULATED history (with a power",
            "failure of three minutes), marked as imported. All that follows comes over Modbus and MQTT.",
        ]
        return notes

    def _wait(self, what: str, child: Running, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not holds():
            self._children.check(child)
            if time.monotonic() > deadline:
                raise DemoError(f"not within {START_TIMEOUT_S:.0f} s: {what}; see {child.log}")
            time.sleep(POLL_S)
        self._children.check(child)  # somebody else might have answered

    def _progress(self, text: str) -> None:
        say(f"[{time.monotonic() - self._began_s:5.1f} s] {text}")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(2.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def agent_config(folder: Path, installation: Path, number: int, modbus: str) -> str:
    """Settings of the agent of one UPS (a JSON text is also a TOML text). Its outlets feed nothing real, so
    they may be switched from afar.
    """
    return (
        f"state_dir = {json.dumps(str(folder / 'agent'))}\n"
        f"installation = {json.dumps(str(installation))}\n\n"
        f"[[ups]]\nname = {json.dumps(f'ups{number}')}\nmodbus = {json.dumps(modbus)}\n"
        "allow_outlet_control = true\n"
    )
