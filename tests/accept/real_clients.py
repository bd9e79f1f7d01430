"""``real-clients``: programs that other people wrote read the simulated UPS and agree with its physics.

apcupsd on the pseudo-terminal, NUT's apc_modbus and mbpoll on the pseudo-terminal and over TCP; on mains, on
battery, and on mains again. Their readings are compared with the simulator's state, which comes from its
physics and not from the register map. Each knows the map from its own source. Only mbpoll can ask for the
SKU.
"""

import dataclasses
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulators.control import send
from tests.accept import CheckError, expect, passed, progress, wait_until
from tests.accept._clients import Client, Place, Readings, apcupsd, mbpoll, nut

NAME = "real-clients"
POINTS = (
    "input_voltage=228.4",
    "load_pct=37",
    "state_of_charge=96.5",
    "wander_v=0",
    "serial_number=AS2143260742",
    "sku=SMT1500RMI2UC",
    "model=Smart-UPS 1500",
)
SETTLE_S = 60.0


@dataclass(frozen=True, slots=True)
class Simulator:
    """The simulator in a process of its own."""

    control: Path
    terminal: Place
    tcp: Place

    def state(self) -> dict[str, Any]:
        """What its physics say now."""
        return send(self.control, ["state"])

    def plug(self, word: str) -> None:
        """Pull the mains plug, or restore it, and wait until the unit has followed."""
        send(self.control, ["mains", word])
        mode = "online" if word == "on" else "on_battery"
        wait_until(f"simulator {mode}", lambda: self.state()["mode"] == mode, 10)


def main() -> int:
    """Run the check; the exit status."""
    with tempfile.TemporaryDirectory(prefix="real-clients-") as directory:
        work = Path(directory)
        work.chmod(0o755)
        with _simulator(work) as simulator:
            return passed(NAME, _compare_all(simulator, work))


def _compare_all(simulator: Simulator, work: Path) -> str:
    figures: list[int] = []
    poller, driver = mbpoll(), nut(work)
    on_both = [
        (client, place) for client in (poller, driver) for place in (simulator.terminal, simulator.tcp)
    ]
    for mains in ("on", "off", "on"):
        simulator.plug(mains)
        for client, place in on_both:
            figures.append(_compare(simulator, client, place))
    with apcupsd(_terminal(simulator), work) as daemon:
        for mains in ("on", "off", "on"):
            simulator.plug(mains)
            figures.append(_compare(simulator, daemon, simulator.terminal))
    versions = (
        f"{poller.name} {poller.version}, {driver.name} {driver.version}, {daemon.name} {daemon.version}"
    )
    line = simulator.state()["line"]
    return (
        f"{len(figures)} comparisons of {sum(figures)} values agree ({versions}) on mains, battery and mains "
        f"again; {line['answers']} answers on the serial line"
    )


def _compare(simulator: Simulator, client: Client, place: Place) -> int:
    """Number of values that agree; waits for a client that needs time to notice."""
    last = CheckError("")
    count = 0

    def agrees() -> bool:
        nonlocal last, count
        try:
            before = simulator.state()
            readings = client.read(place)
            count = _check(client, readings, before, simulator.state())
        except (CheckError, ValueError) as error:
            last = CheckError(f"{client.name} {place}: {error}")
            return False
        return True

    try:
        took_s = wait_until("agreement", agrees, SETTLE_S, pause_s=0.5)
    except CheckError:
        raise last from None
    mode = simulator.state()["mode"]
    progress(f"{client.name} {client.version} over {place}: {count} values agree, {mode} ({took_s:.1f} s)")
    return count


def _check(client: Client, readings: Readings, before: dict[str, Any], after: dict[str, Any]) -> int:
    """Number of values compared; CheckError for the first one that differs."""
    expect(readings.on_battery == (after["mode"] == "on_battery"), f"on battery: {readings.on_battery}")
    expect(readings.serial_number == after["serial_number"], f"serial {readings.serial_number!r}")
    expect(readings.model == after["model"], f"model {readings.model!r}")
    expect(readings.sku in {None, after["sku"]}, f"SKU {readings.sku!r}")
    steps = {"runtime_s": client.runtime_step_s}
    # The widest step of the map's own fixed point is 1/32 V, so half of it may be missing, too.
    for name in ("charge_pct", "runtime_s", "battery_v", "input_v", "output_v", "load_pct"):
        slack = steps.get(name, client.step) + (1 / 64 if name != "runtime_s" else 1)
        low, high = sorted((before[name], after[name]))
        value = getattr(readings, name)
        expect(low - slack <= value <= high + slack, f"{name} {value}, simulator {low:.3f} to {high:.3f}")
    return sum(value is not None for value in dataclasses.astuple(readings))


def _terminal(simulator: Simulator) -> Path:
    terminal = simulator.terminal.terminal
    assert terminal is not None
    return terminal


@contextmanager
def _simulator(work: Path) -> Iterator[Simulator]:
    link, control = work / "tty", work / "control"
    points = [part for point in POINTS for part in ("--set", point)]
    command = [
        *(sys.executable, "-m", "simulators", "ups", "--profile", "ups_serial"),
        *("--tcp", "127.0.0.1:0", "--rtu", str(link), "--socket", str(control)),
        *points,
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        ready = process.stdout.readline() if process.stdout else ""
        _, found, rest = ready.partition("tcp=127.0.0.1:")
        expect(found, f"the simulator did not start: {ready!r}")
        yield Simulator(control, Place(terminal=link), Place(port=int(rest.split()[0])))
    finally:
        process.terminate()
        process.wait(10)
