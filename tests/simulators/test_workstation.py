"""WorkStation as a person uses it: a whole life in a terminal, then a script on what is left of it."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from protocol.codec import encode
from tests.faults.processes import clean_environment, script
from tests.support.system_cloud import SystemCloud
from tests.support.terminal import Terminal, id_in, request_in

if TYPE_CHECKING:
    from pathlib import Path

CLOUD = SystemCloud()


def command(folder: Path, *words: str) -> list[str]:
    installation = folder / "installation.json"
    installation.write_bytes(encode(CLOUD.installation()))
    return [
        script("smartconnect-simulator"),
        "workstation",
        *("--folder", str(folder / "site"), "--installation", str(installation)),
        *("--servers", "1", "--offline", "--no-qr", *words),
    ]


def test_a_whole_life_without_any_network(tmp_path: Path) -> None:
    with Terminal(command(tmp_path, "--version", "1.8")) as terminal:
        menu = terminal.read()
        assert "Building Operation WorkStation 1.8" in menu
        es_id = id_in(terminal.type("show registration"))
        code = CLOUD.code(request_in(terminal.type("register offline")), 77)
        mistyped = code[:3] + ("7" if code[3] != "7" else "8") + code[4:]
        assert "Group 1" in terminal.type(f"enter registration code {mistyped}")
        assert "registered" in terminal.type(f"enter registration code {code.lower()}")
        assert "code_no_open_request" in terminal.type(f"enter registration code {code}")

        terminal.type("attach server-1")
        terminal.type("log on server-1")
        shown = terminal.type("wait link: connected")
        assert "From           Enterprise Server" in shown
        terminal.type("wait 00002D")  # 77, as the Enterprise Server's
        assert "00002D" not in terminal.type("detach server-1")

        own = CLOUD.code(request_in(terminal.type("register offline")), 5)
        assert "000005" in terminal.type(f"4 {own}")
        terminal.type("attach server-1")
        assert "Its own        000005" in terminal.type("wait 00002D")

        terminal.type("log on es")
        new_id = id_in(terminal.type("delete the system database"))
        assert new_id != es_id
        terminal.type("log on server-1")
        alone = terminal.type("wait database was deleted")
        assert "Number         000005" in alone

        terminal.type("log on es")
        over = CLOUD.code(request_in(terminal.type("associate offline")), 77)
        assert "00002D" in terminal.type(f"enter registration code {over}")
        assert "ERROR" in terminal.type("register now")
        assert "switched off" in terminal.type("stop server-1")
        assert "switched off" in terminal.type("servers")
        assert "ERROR" in terminal.type("nonsense")
        assert "inbound rule" in terminal.type("doctor")
        assert terminal.leave() == 0
    scripted(tmp_path, new_id)


def scripted(folder: Path, system_id: str) -> None:
    """What a WorkStation left is there for the next, which a script works: it ends at the first surprise."""
    orders = (
        "# remarks are left out\nshow\n! enter registration code 000000\nattach server-1\nattach\nservers\n"
    )
    done = subprocess.run(
        command(folder),
        input=orders,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=clean_environment(),
    )
    assert done.returncode == 1
    assert system_id in done.stdout
    assert "the server is missing" in done.stdout
    assert "[es]> servers" not in done.stdout


def test_what_is_no_site_is_said(tmp_path: Path) -> None:
    bad = tmp_path / "installation.json"
    words = [script("smartconnect-simulator"), "workstation", "--folder", str(tmp_path / "site")]
    done = subprocess.run(
        [*words, "--installation", str(bad), "--offline"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=clean_environment(),
    )
    assert done.returncode == 1
    assert "installation" in done.stderr


@pytest.mark.parametrize("number", ["0", "21", "x"])
def test_how_many_servers(number: str, tmp_path: Path) -> None:
    from simulators.command_line import main  # noqa: PLC0415  it loads the Modbus server

    with pytest.raises(SystemExit):
        main(["workstation", "--installation", str(tmp_path), "--servers", number])
