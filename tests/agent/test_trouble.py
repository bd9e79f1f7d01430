"""A plain line in the log for each way a UPS cannot be read, while a healthy UPS beside it goes on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from protocol.codec import encode
from simulators.control import send
from tests.agent.house import wait_for
from tests.agent.test_main import NOWHERE
from tests.faults.processes import Parts, script
from tests.support.stack import free_port, listens

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.processes import Part

SILENT = "no answer within"
HEALTHY, WRONG_UNIT, UNPLUGGED, REFUSED = "healthy", "wrong-unit", "unplugged", "refused"


def reasons(agent: Part, ups: str) -> list[str]:
    """Why this UPS could not be read, as the log says."""
    found = [json.loads(line) for line in agent.log.read_text().splitlines() if line.startswith("{")]
    return [
        line["reason"]
        for line in found
        if (line["event"], line.get("ups")) == ("the UPS does not answer soundly", ups)
    ]


def simulator(parts: Parts, folder: Path, name: str) -> tuple[Part, int]:
    """A simulated UPS on TCP and on a serial line; its port."""
    port = free_port()
    command = [script("smartconnect-simulator"), "ups", "--tcp", f"127.0.0.1:{port}"]
    command += ["--rtu", str(folder / f"{name}.line"), "--socket", str(folder / f"{name}.sock")]
    part = parts.add(name, command, ready=lambda: listens(port)).start()
    part.wait_ready()
    return part, port


def test_every_trouble_has_its_line_and_ends(tmp_path: Path) -> None:
    with Parts(tmp_path / "logs") as parts:
        _, healthy_port = simulator(parts, tmp_path, "one")
        other, _ = simulator(parts, tmp_path, "two")
        places = {
            HEALTHY: (f"tcp://127.0.0.1:{healthy_port}", 1),
            WRONG_UNIT: (f"serial:{tmp_path / 'one.line'}", 7),
            UNPLUGGED: (f"serial:{tmp_path / 'two.line'}", 1),
            REFUSED: (f"tcp://127.0.0.1:{free_port()}", 1),
        }
        (tmp_path / "installation.json").write_bytes(encode(NOWHERE))
        (tmp_path / "agent.toml").write_text(
            'installation = "installation.json"\nstate_dir = "state"\n'
            + "".join(
                f'[[ups]]\nname = "{name}"\nmodbus = "{modbus}"\nunit = {unit}\n'
                for name, (modbus, unit) in places.items()
            )
        )
        agent = parts.add(
            "agent", [script("smartconnect-agent"), "run", "--config", str(tmp_path / "agent.toml")]
        )
        agent.start()
        wait_for("the closed port is named", lambda: reasons(agent, REFUSED))
        assert "nothing accepts a connection" in reasons(agent, REFUSED)[0]
        other.kill()
        (tmp_path / "two.line").unlink()
        wait_for("the unplugged line is named", lambda: reasons(agent, UNPLUGGED))
        wait_for("the wrong unit id is named", lambda: reasons(agent, WRONG_UNIT))
        assert SILENT in reasons(agent, WRONG_UNIT)[0]
        assert "unit id" in reasons(agent, WRONG_UNIT)[0]
        assert reasons(agent, HEALTHY) == []
        send(tmp_path / "one.sock", ["modbus", "off"])
        wait_for("Modbus switched off is named", lambda: reasons(agent, HEALTHY))
        assert "is Modbus switched on" in reasons(agent, HEALTHY)[0]
        send(tmp_path / "one.sock", ["modbus", "on"])
        again = rf'"ups": "{HEALTHY}".*"event": "the UPS answers again"'
        wait_for("it answers again", lambda: agent.find(again))
        assert len(reasons(agent, HEALTHY)) == 1  # the repeats are not shown
        other.start().wait_ready()
        again = rf'"ups": "{UNPLUGGED}".*"event": "the UPS answers again"'
        wait_for("the line that was plugged in again is read", lambda: agent.find(again))
        assert "Traceback" not in agent.log.read_text()
        assert agent.stop() == 0
