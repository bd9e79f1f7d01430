"""``smartconnect-agent``: the command line of the agent."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agent.config import ENVIRONMENT_PREFIX, Settings, UpsSettings, load, table
from agent.errors import AgentError, ConfigError, LockedError
from agent.proxy import Way
from agent.system import command_line
from agent.system.part import has_database
from protocol.extras import advice

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent.doctor import Finding

FAILED: Final = 1
MISUSED: Final = 2
WAIT_S: Final = 10.0  # an agent that starts or stops is done with it by then
PAUSE_S: Final = 0.1

COMMANDS: Final = {
    "run": "read the UPSs and tell the cloud, until SIGTERM or Ctrl-C",
    "enable": "switch SmartConnect on, so that the UPS can be claimed",
    "reset": "ask for a UPS that was got second-hand to be released: its owner has 14 days to object; until"
    " it is free, or has another owner, nothing of it is reported",
    "doctor": "look at each hop from the UPSs to the cloud, and say what to do; its status is 1 if one fails",
    "status": "show every UPS: its fingerprint, its connections, what waits",
}


def make_parser() -> argparse.ArgumentParser:
    """Parser of the whole command line; its settings come from the settings tables."""
    settings = argparse.ArgumentParser(add_help=False)
    settings.add_argument("--config", type=Path, metavar="FILE", help="settings file (TOML)")
    group = settings.add_argument_group("settings", "each is also a key of the settings file")
    for row in table(Settings):
        default = f"; default {row.default}" if row.default else ""
        group.add_argument(
            "--" + row.name.replace("_", "-"),
            dest=row.name,
            metavar="VALUE",
            default=argparse.SUPPRESS,
            help=f"{row.explanation} (environment: {ENVIRONMENT_PREFIX}{row.name.upper()}{default})".replace(
                "%", "%%"
            ),
        )
    parser = argparse.ArgumentParser(
        prog="smartconnect-agent",
        description="Reads UPSs over Modbus and reports them to their owner's SmartConnect.",
        epilog="`smartconnect-agent run --help` shows every setting and an example of the settings file.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, explanation in COMMANDS.items():
        command = commands.add_parser(
            name,
            parents=[settings],
            help=explanation,
            description=explanation,
            epilog=_example(),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        if name == "enable":
            command.add_argument("--ups", default="", metavar="NAME", help="only this one; default all")
        if name == "reset":
            command.add_argument("--ups", required=True, metavar="NAME", help="which one")
            command.add_argument("--undo", action="store_true", help="ask no longer, and report again")
        if name == "status":
            command.add_argument("--json", action="store_true", help="for programs")
    command_line.add_parser(commands, settings)
    return parser


def _example() -> str:
    lines = ["the settings file, with one [[ups]] table for each UPS:", ""]
    lines += [
        '  installation = "installation.json"',
        '  state_dir = "/var/lib/smartconnect"',
        "",
        "  [[ups]]",
    ]
    lines += ['  name = "rack-1"', '  modbus = "serial:/dev/ttyUSB0"', "", "keys of a [[ups]] table:", ""]
    for row in table(UpsSettings):
        default = f" ({row.default})" if row.default else ""
        lines.append(f"  {row.name:20} {row.explanation}{default}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    options = make_parser().parse_args(arguments)
    flags = {row.name: getattr(options, row.name) for row in table(Settings) if hasattr(options, row.name)}
    try:
        settings = load(options.config, os.environ, flags)
        return _obey(options, settings)
    except ConfigError as error:
        sys.stderr.write(f"smartconnect-agent: {error}\n")
        return MISUSED
    except (AgentError, ValueError) as error:
        sys.stderr.write(f"smartconnect-agent: {error}\n")
        return FAILED


def _obey(options: argparse.Namespace, settings: Settings) -> int:
    try:
        from agent import app, control, logs  # noqa: PLC0415 - `--help` answers without loading them
    except ModuleNotFoundError as missing:
        sys.stderr.write(advice("smartconnect-agent", missing, ["agent"]))
        return MISUSED
    logs.configure(level=settings.log_level, form=settings.log_format)
    if options.command == "run":
        app.run(settings, os.environ)
    elif options.command == "enable":
        names = _ask_or_do(
            lambda: control.ask(settings.state_dir, {"order": "enable", "ups": options.ups}),
            lambda: {"enabled": app.enable_offline(settings, options.ups)},
        )["enabled"]
        print(f"SmartConnect is on: {', '.join(names)}")
    elif options.command == "reset":
        on = not options.undo
        name = _ask_or_do(
            lambda: control.ask(settings.state_dir, {"order": "reset", "ups": options.ups, "on": on}),
            lambda: {"reset": app.reset_offline(settings, options.ups, on=on)},
        )["reset"]
        said = (
            "asks to be released: its owner has 14 days to object" if on else "asks no longer to be released"
        )
        print(f"{name} {said}")
    elif options.command == "doctor":
        return _doctor(settings)
    elif options.command == "system":
        return _system(options, settings)
    else:
        shown = _ask_or_do(
            lambda: control.ask(settings.state_dir, {"order": "status"}), lambda: app.status_offline(settings)
        )
        print(json.dumps(shown, indent=1) if options.json else _readable(shown))
    return 0


def _ask_or_do(ask: Callable[[], dict[str, Any] | None], do: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The running agent's answer, or our own if none runs; one that is starting or stopping is waited for."""
    deadline_s = time.monotonic() + WAIT_S
    while True:
        answer = ask()
        if answer is not None:
            return answer
        try:
            return do()
        except LockedError:
            if time.monotonic() > deadline_s:
                raise
        time.sleep(PAUSE_S)


def _doctor(settings: Settings) -> int:
    from agent import app, control, doctor  # noqa: PLC0415 - as above

    installation = app.load_installation(settings.installation)
    shown = _ask_or_do(
        lambda: control.ask(settings.state_dir, {"order": "status"}),
        lambda: {**app.status_offline(settings), "stopped": True},
    )
    parts = {"cloud": doctor.examine_cloud(installation, Way.of(settings))}
    for ups in shown["upss"]:
        parts[ups["name"]] = [doctor.STOPPED] if "stopped" in shown else doctor.examine_ups(ups)
    if has_database(settings.state_dir):
        parts |= _system_parts(settings)
    return _told(parts)


def _system(options: argparse.Namespace, settings: Settings) -> int:
    if options.system_command != "doctor":
        return command_line.run(options, lambda what: _order(settings, what))
    return _told(_system_parts(settings))


def _order(settings: Settings, what: dict[str, Any]) -> dict[str, Any]:
    from agent import app, control  # noqa: PLC0415 - as above

    return _ask_or_do(
        lambda: control.ask(settings.state_dir, {**what, "order": "system"}),
        lambda: app.system_offline(settings, what),
    )


def _system_parts(settings: Settings) -> dict[str, list[Finding]]:
    from agent import app, doctor  # noqa: PLC0415 - as above
    from agent.system.doctor import examine_portal, examine_server  # noqa: PLC0415 - as above

    shown = _order(settings, {"do": "show"})
    parts = {"server": [doctor.STOPPED] if "stopped" in shown else examine_server(shown)}
    if settings.system_online:
        parts["portal"] = examine_portal(app.load_installation(settings.installation), Way.of(settings))
    return parts


def _told(parts: dict[str, list[Finding]]) -> int:
    from agent import doctor  # noqa: PLC0415 - as above

    print(doctor.readable(parts))
    return 0 if all(one.fine for findings in parts.values() for one in findings) else FAILED


def _readable(status: dict[str, Any]) -> str:
    blocks = []
    for ups in status["upss"]:
        rows = [
            ("UPS", f"{ups['name']} ({ups['modbus']})"),
            ("answers", f"{ups['ups']}{', ' + ups['model'] if ups['model'] else ''}"),
            ("Product ID", ups["product_id"] or "unknown"),
            ("fingerprint", ups["fingerprint"]),
            ("SmartConnect", "on" if ups["smartconnect"] else "off"),
            ("owner", _owner(ups)),
            (
                "outlets",
                "switched by the owner, too" if ups.get("outlet_control") else "not switched from afar",
            ),
            ("cloud", ups["cloud"]),
            ("waiting", f"{ups['samples_waiting']} samples, {ups['events_waiting']} events"),
        ]
        blocks.append("\n".join(f"{name:13} {value}" for name, value in rows))
    return "\n\n".join(blocks) or "no [[ups]] table"


def _owner(ups: dict[str, Any]) -> str:
    words = "yes" if ups["owned"] else "none yet"
    return f"{words}; reset, asks to be released" if ups["reset"] else words


if __name__ == "__main__":
    sys.exit(main())
