"""``smartconnect-agent system …`` as people use it, without any network and with none running."""

from __future__ import annotations

import io
import json
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from agent import app, control
from agent.__main__ import _system_parts, make_parser
from agent.config import Settings
from agent.core.system import Database
from agent.errors import AgentError, ConfigError, SystemRefusedError
from agent.identity import Identity, Label
from agent.system import command_line
from agent.system.doctor import examine_portal, examine_server
from agent.system.part import DATABASE, FOLDER
from protocol.codec import decode, encode
from protocol.errors import SignatureError
from protocol.identity import ProductId, kid_of
from protocol.signing import public_bytes
from protocol.system_keys import check_ups, make_system_key
from protocol.system_link import LINK_PORT
from tests.agent.house import wait_for
from tests.faults.processes import Parts, clean_environment, script
from tests.support.system_cloud import SystemCloud

if TYPE_CHECKING:
    from pathlib import Path

CLOUD = SystemCloud()


class Shell:
    """One server's command line, in this process."""

    def __init__(self, folder: Path) -> None:
        installation = folder / "installation.json"
        installation.write_bytes(encode(CLOUD.installation()))
        self.settings = Settings(installation=installation, state_dir=folder / "state", system_online=False)

    def order(self, what: dict[str, Any]) -> dict[str, Any]:
        return app.system_offline(self.settings, what)

    def run(self, *words: str) -> int:
        return command_line.run(make_parser().parse_args(["system", *words]), self.order)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def test_a_server_registers_offline_and_only_once(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    assert shell.run("create", "--kind", "standalone", "--name", "Boiler room") == 0
    capsys.readouterr()
    shell.run("request")
    said = capsys.readouterr().out
    assert "▀" in said or "█" in said
    request = "-".join(line.strip() for line in said.splitlines() if line.count("-") == 5)
    shell.run("request", "--no-qr")
    again = capsys.readouterr().out
    assert request.split("-")[0] in again
    assert "█" not in again
    code = CLOUD.code(request)
    shell.run("enter", *code.lower().split("-"))
    assert "registration code" in capsys.readouterr().out
    shell.run("show", "--json")
    shown = json.loads(capsys.readouterr().out)
    assert (shown["stand"], shown["request_open"], shown["name"]) == ("registered", None, "Boiler room")
    with pytest.raises(SystemRefusedError, match="code_no_open_request"):
        shell.run("enter", code)


def test_a_code_may_be_typed_when_asked_for(
    shell: Shell, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shell.run("create", "--kind", "standalone", "--name", "one")
    code = CLOUD.code(shell.order({"do": "request", "operation": "associate", "new": False})["request"])
    monkeypatch.setattr("sys.stdin", io.StringIO(code + "\n"))
    shell.run("enter")
    assert "Registration code: " in capsys.readouterr().out
    assert shell.order({"do": "show"})["stand"] == "registered"


def test_a_clock_that_was_ahead_is_named(shell: Shell) -> None:
    """Its date stands in the answer, so that a person knows which clock to look at."""
    shell.run("create", "--kind", "standalone", "--name", "one")
    code = CLOUD.code(shell.order({"do": "request", "operation": "register", "new": False})["request"])
    file = shell.settings.state_dir / FOLDER / DATABASE
    database = decode(file.read_bytes(), Database, 1 << 20)
    assert database.asked is not None
    ahead = replace(database, asked=replace(database.asked, seen_ms=4_000_000_000_000))
    file.write_bytes(encode(ahead))
    with pytest.raises(SystemRefusedError, match=r"2096-10-02.*code_expired"):
        shell.run("enter", code)
    code = CLOUD.code(shell.order({"do": "request", "operation": "register", "new": True})["request"])
    assert shell.run("enter", code) == 0


def test_deleting_asks_first(
    shell: Shell, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shell.run("create", "--kind", "enterprise_server", "--name", "es")
    before = shell.order({"do": "show"})["system_id"]
    for typed in ("yes\n", ""):
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        assert shell.run("delete-database") == 1
        assert shell.order({"do": "show"})["system_id"] == before
    monkeypatch.setattr("sys.stdin", io.StringIO("DELETE\n"))
    assert shell.run("delete-database") == 0
    after = shell.order({"do": "show"})
    assert after["system_id"] != before
    assert shell.run("delete-database", "--yes") == 0
    assert shell.order({"do": "show"})["previous"] == [before, after["system_id"]]
    assert "earlier ID" in capsys.readouterr().out


def test_help_names_every_order(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        make_parser().parse_args(["system", "--help"])
    said = capsys.readouterr().out
    assert all(name in said for name in command_line.COMMANDS)


def test_what_cannot_be_ordered(shell: Shell) -> None:
    with pytest.raises(AgentError, match="system create"):
        shell.run("show")
    shell.run("create", "--kind", "standalone", "--name", "one")
    with pytest.raises(AgentError, match="already"):
        shell.run("create", "--kind", "standalone", "--name", "one")
    with pytest.raises(AgentError, match="printable"):
        shell.run("describe", "--software", "x" * 201)
    with pytest.raises(SystemRefusedError, match="not_attached"):
        shell.run("detach")
    with pytest.raises(SystemRefusedError, match="not_enterprise"):
        shell.run("invite")
    with pytest.raises(ValueError, match="HOST"):
        shell.run("attach", "host:0", "CODE")
    with pytest.raises(AgentError, match="no order"):
        shell.order({"do": "fly"})


def test_an_enterprise_server_gives_attach_codes(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    shell.run("create", "--kind", "enterprise_server", "--name", "es")
    shell.run("describe", "--software", "Building Operation 1.9", "--licence", "Standard")
    shell.run("invite")
    said = capsys.readouterr().out
    assert f"HOST:{LINK_PORT}" in said
    assert "Standard" in said


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("es.example.org", ("es.example.org", LINK_PORT)),
        ("es.example.org:9", ("es.example.org", 9)),
        ("[2001:db8::1]:9", ("2001:db8::1", 9)),
        ("[2001:db8::1]", ("2001:db8::1", LINK_PORT)),
    ],
)
def test_addresses(text: str, found: tuple[str, int]) -> None:
    assert command_line.split_address(text) == found


def test_a_running_agent_obeys(tmp_path: Path) -> None:
    """One server as a real process: without UPSs, with its control socket, stopped by SIGTERM."""
    shell = Shell(tmp_path)
    config = tmp_path / "agent.toml"
    config.write_text(
        'installation = "installation.json"\nstate_dir = "state"\nlink_host = "127.0.0.1"\nlink_port = 0\n'
        "system_online = false\n"
    )

    def agent(*words: str) -> subprocess.CompletedProcess[str]:
        command = [script("smartconnect-agent"), *words]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=60, env=clean_environment()
        )

    with pytest.raises(ConfigError, match="no system"):
        app.run(shell.settings, {})
    shell.run("create", "--kind", "enterprise_server", "--name", "es")
    with Parts(tmp_path / "logs") as parts:
        state = tmp_path / "state"
        running = parts.add("agent", [script("smartconnect-agent"), "run", "--config", str(config)])
        running.start()

        def shown() -> dict[str, Any]:
            return control.ask(state, {"order": "system", "do": "show"}) or {}

        wait_for("it listens", lambda: shown().get("link", {}).get("state") == "listens")
        done = agent("system", "doctor", "--config", str(config))
        assert done.returncode == 0, done.stdout + done.stderr
        assert "inbound rule" in done.stdout
        done = agent("system", "enter", "ABC", "--config", str(config))
        assert done.returncode == 1
        assert "code_mistyped" in done.stderr
        assert shown()["uptime_s"] >= 0
        running.stop()
    assert not _system_parts(shell.settings)["server"][0].fine


def test_a_ups_says_itself_which_server_it_is_under() -> None:
    device, system_id = Ed25519PrivateKey.generate(), make_system_key(X25519PrivateKey.generate)[1]
    assert Identity(device).under(system_id) is None
    label = Label(ProductId.parse("ABCDEFGHJKLM"), Ed25519PrivateKey.generate())
    word = Identity(device, label).under(system_id)
    assert word is not None
    assert (word.device_id, word.kid) == (str(label.device_id), kid_of(public_bytes(device)))
    check_ups(public_bytes(device), system_id, word.signature)
    other = make_system_key(X25519PrivateKey.generate)[1]
    with pytest.raises(SignatureError):
        check_ups(public_bytes(device), other, word.signature)


# --- the doctor ---------------------------------------------------------------------------------------------


def plain(**fields: object) -> dict[str, Any]:
    return {
        "kind": "standalone",
        "written": "ID",
        "stand": "registered",
        "from": "own",
        "cloud": "connected",
        "link": {"state": "not attached", "port": 1},
        "attached_to": None,
        "attached": [],
        **fields,
    }


@pytest.mark.parametrize(
    ("fields", "failing"),
    [
        ({}, set()),
        ({"cloud": "no answer"}, {"exchange"}),
        ({"cloud": "offline: by registration codes"}, set()),
        ({"stand": "retired"}, {"registration"}),
        ({"stand": "unregistered", "from": ""}, set()),
        (
            {"attached_to": {"name": "es", "address": "h:1"}, "link": {"state": "nothing listens there"}},
            {"link"},
        ),
        ({"attached_to": {"name": "es", "address": "h:1"}, "link": {"state": "connected"}}, set()),
        ({"kind": "enterprise_server", "link": {"state": "cannot listen", "port": 1}}, {"link"}),
        (
            {
                "kind": "enterprise_server",
                "link": {"state": "listens", "port": 1},
                "attached": [
                    {"name": "one", "connected": True, "heard_s": 1},
                    {"name": "two", "connected": False, "heard_s": None},
                ],
            },
            {"two"},
        ),
    ],
)
def test_the_doctor_names_the_hop_that_fails(fields: dict[str, Any], failing: set[str]) -> None:
    assert {one.hop for one in examine_server(plain(**fields)) if not one.fine} == failing


@pytest.mark.parametrize(
    ("url", "hop"),
    [("", "portal"), ("http://127.0.0.1:9", "connection"), ("https://127.0.0.1:9", "connection")],
)
def test_the_doctor_looks_at_the_way_to_the_portal(url: str, hop: str) -> None:
    found = examine_portal(CLOUD.installation(url))
    assert [one.hop for one in found if not one.fine] == [hop]
