"""The control socket: hands on a running simulator. One line of words in, one line of JSON out."""

import asyncio
import contextlib
import json
import os
import socket
from datetime import date
from pathlib import Path
from typing import Any

from protocol.registers import BY_NAME, Value, encode_value
from simulators.core.point import set_point, setting_value, switch
from simulators.core.register_image import AccessError, RegisterImage
from simulators.core.row_values import all_values
from simulators.unit import Simulator

USAGE = (
    "mains off|on, load PCT, button, enable, disable, set POINT VALUE, panel SETTING VALUE, test,"
    " modbus off|on, cable off|on, or state"
)
LINE_LIMIT = 4096
REPLY_LIMIT = 1 << 20
CLIENT_TIMEOUT_S = 5.0


def obey(simulator: Simulator, unit: int, words: list[str]) -> dict[str, Any]:
    """Carry out one order and return the state after it; ValueError when it is none."""
    image = simulator.images.get(unit)
    if image is None:
        raise ValueError(f"there is no unit {unit}")
    ups = image.ups
    match words:
        case ["mains", word]:
            ups.plug(into_mains=switch(word))
        case ["load", percent]:
            ups.set_load_pct(float(percent))
        case ["button"]:
            ups.press_button()
        case ["enable"] | ["disable"]:
            ups.smartconnect = words == ["enable"]
        case ["set", name, text]:
            set_point(ups, name, text)
        case ["test"]:
            ups.start_self_test()
        case ["cable", word]:
            simulator.switch_cable(unit, on=switch(word))
        case ["panel", name, *text]:
            change_at_panel(image, name, " ".join(text))
        case ["modbus", word]:
            simulator.switch_modbus(on=switch(word))
        case ["state"]:
            pass
        case _:
            raise ValueError(f"orders are: {USAGE}")
    return {**state(simulator, image), "cable": simulator.cable_in(unit)}


def change_at_panel(image: RegisterImage, name: str, text: str) -> None:
    """A person changes a setting at the front panel, which takes what the UPS itself would take."""
    register = BY_NAME.get(name)
    if register is None or name not in image.ups.settings:
        raise ValueError(f"there is no setting {name}")
    try:
        image.write(register.address, encode_value(name, setting_value(name, text)))
    except AccessError as refused:
        raise ValueError(f"the UPS does not take {text!r} for {name}") from refused


def state(simulator: Simulator, image: RegisterImage) -> dict[str, Any]:
    """Everything about the unit, as plain JSON: the physics by name, and each register row's value."""
    ups = image.ups
    return {
        "mains": ups.plugged,
        "mode": ups.mode.value,
        "cause": ups.cause,
        "charge_pct": 100.0 * ups.battery.charge,
        "runtime_s": ups.runtime_s,
        "battery_v": ups.battery_v,
        "temperature_c": ups.battery.temperature_c,
        "input_v": ups.input_v,
        "output_v": ups.output_v,
        "output_hz": ups.output_hz,
        "load_pct": ups.carried_pct,
        "load_w": ups.load_w,
        "energy_wh": ups.energy_wh,
        "sku": ups.plate.sku,
        "model": ups.plate.model,
        "serial_number": ups.plate.serial_number,
        "firmware_version": ups.plate.firmware_version,
        "outlets": {name: outlet.on for name, outlet in ups.outlets.items()},
        "beeps": ups.beeps,
        "writes": dict(image.writes),
        "smartconnect": ups.smartconnect,
        "presence": ups.presence,
        "modbus": simulator.modbus_on,
        "line": simulator.line_figures(),
        "rows": {name: _plain(value) for name, value in all_values(ups).items()},
    }


class ControlServer:
    """A Unix socket that only the owner may open."""

    def __init__(self, simulator: Simulator, path: Path) -> None:
        self._simulator = simulator
        self._path = path
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen; OSError when the path cannot be a socket."""
        self._path.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._serve, self._path, limit=LINE_LIMIT)
        finally:
            os.umask(before)

    async def stop(self) -> None:
        """Close, and take the path away."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ValueError, TimeoutError):  # ValueError: a line without an end
            line = await asyncio.wait_for(reader.readline(), CLIENT_TIMEOUT_S)
            writer.write(self._reply(line.decode("utf-8", "replace")).encode() + b"\n")
            await writer.drain()
        writer.close()

    def _reply(self, line: str) -> str:
        try:
            unit, *words = line.split()
            return json.dumps({"ok": True, "state": obey(self._simulator, int(unit), words)})
        except ValueError as problem:
            return json.dumps({"ok": False, "error": str(problem)})


def send(path: Path, words: list[str], *, unit: int = 1) -> dict[str, Any]:
    """Give one order from another process, and return the state after it.

    OSError when nobody listens, ValueError when the order was refused.
    """
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(CLIENT_TIMEOUT_S)
        line.connect(str(path))
        line.sendall(" ".join([str(unit), *words]).encode() + b"\n")
        data = b""
        while not data.endswith(b"\n") and len(data) < REPLY_LIMIT:
            piece = line.recv(65536)
            if not piece:
                break
            data += piece
    answer = json.loads(data or b'{"ok": false, "error": "no answer"}')
    if not answer["ok"]:
        raise ValueError(answer["error"])
    return dict(answer["state"])


def _plain(value: Value) -> Any:
    if isinstance(value, frozenset):
        return sorted(value)
    return value.isoformat() if isinstance(value, date) else value
