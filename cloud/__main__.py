"""``smartconnect-cloud``: the command line of the cloud."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cloud.config import ConfigError, load, table
from protocol.extras import advice

MISUSED: Final = 2

COMMANDS: Final = {
    "serve": "run everything: private PostgreSQL without DATABASE_URL, migrations, gateway, portal, jobs",
    "postgres": "run the private PostgreSQL alone; its connection string is STATE/pg.dsn",
    "migrate": "bring the database to the newest schema",
    "gateway": "run one MQTT gateway",
    "portal": "run one portal",
    "jobs": "run one process for what happens by itself: upkeep, notifications",
}


def make_parser() -> argparse.ArgumentParser:
    """Parser of the whole command line; its settings come from the settings table."""
    settings = argparse.ArgumentParser(add_help=False)
    settings.add_argument(
        "--config", type=Path, metavar="FILE", help="settings file (TOML), same names as below"
    )
    group = settings.add_argument_group("settings", "each is also a key of the settings file")
    for row in table():
        default = f"; default {row.default}" if row.default else ""
        group.add_argument(
            row.flag,
            dest=row.name,
            metavar="VALUE",
            default=argparse.SUPPRESS,
            help=f"{row.explanation} (environment: {row.variable}{default})".replace("%", "%%"),
        )
    parser = argparse.ArgumentParser(
        prog="smartconnect-cloud", description="The cloud side of SmartConnect.", allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, explanation in COMMANDS.items():
        commands.add_parser(
            name, parents=[settings], help=explanation, description=explanation, allow_abbrev=False
        )
    admin = commands.add_parser(
        "admin", help="accounts, keys, devices, and the file for agents"
    ).add_subparsers(dest="subject", required=True, metavar="SUBJECT")
    bundle = "print the installation file that an agent is given"
    admin.add_parser("bundle", parents=[settings], help=bundle, description=bundle, allow_abbrev=False)
    keys = admin.add_parser("keys", help="signing keys and certificates").add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    init = "make what is missing and renew what ends soon"
    keys.add_parser("init", parents=[settings], help=init, description=init, allow_abbrev=False)
    account = admin.add_parser("account", help="accounts").add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    explanation = "add an account; its password is read from standard input, or asked for on a terminal"
    add = account.add_parser(
        "add", parents=[settings], help=explanation, description=explanation, allow_abbrev=False
    )
    add.add_argument("--email", required=True)
    add.add_argument("--first-name", required=True)
    add.add_argument("--last-name", required=True)
    add.add_argument(
        "--company", default="", help="name of the account's company; the person's when not given"
    )
    explanation = "turn Two-Factor Authentication off for somebody who lost app and recovery codes"
    off = account.add_parser(
        "factor-off", parents=[settings], help=explanation, description=explanation, allow_abbrev=False
    )
    off.add_argument("--email", required=True)
    explanation = "let somebody see the operator's pages (/operator/help); --off: no longer"
    operator = account.add_parser(
        "operator", parents=[settings], help=explanation, description=explanation, allow_abbrev=False
    )
    operator.add_argument("--email", required=True)
    operator.add_argument("--off", action="store_true")
    _add_manifest(admin, settings)
    _add_owning(admin, settings)
    explanation = "after a backup was restored, before anything starts: will agents take what comes next?"
    admin.add_parser(
        "restore-check", parents=[settings], help=explanation, description=explanation, allow_abbrev=False
    )
    explanation = "give devices an imported past, marked as such; for demonstrations and moves"
    history = admin.add_parser("history", parents=[settings], help=explanation, allow_abbrev=False)
    history.add_argument(
        "files", nargs="+", metavar="FILE", help="JSON: product_id, samples and events with age_ms"
    )
    history.add_argument(
        "--follow", action="store_true", help="wait for devices that nobody owns yet; until SIGTERM"
    )
    return parser


def _add_manifest(
    subjects: "argparse._SubParsersAction[argparse.ArgumentParser]", settings: argparse.ArgumentParser
) -> None:
    actions = subjects.add_parser("manifest", help="the maker's list of devices").add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    for name, explanation in (
        ("import", "list the devices of a file, CSV or JSON: product_id, label_pub, factory_pub"),
        ("check", "say of each row of a file whether it is listed; writes nothing, as import --dry-run"),
    ):
        command = actions.add_parser(
            name, parents=[settings], help=explanation, description=explanation, allow_abbrev=False
        )
        command.add_argument("file", type=Path, metavar="FILE")
        if name == "import":
            command.add_argument("--dry-run", action="store_true", help="only say what would happen")
    explanation = "print everything that is listed"
    export = actions.add_parser(
        "export", parents=[settings], help=explanation, description=explanation, allow_abbrev=False
    )
    export.add_argument("--format", choices=("csv", "json"), default="csv")


def _add_owning(
    subjects: "argparse._SubParsersAction[argparse.ArgumentParser]", settings: argparse.ArgumentParser
) -> None:
    disputes = subjects.add_parser(
        "dispute", help="devices that two companies say are theirs"
    ).add_subparsers(dest="action", required=True, metavar="ACTION")
    clones = subjects.add_parser("clone", help="devices of whose key there seem to be two").add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    made = {}
    for actions, name, explanation in (
        (disputes, "list", "print each claim of an owned device: its number, owner, claimant, since when"),
        (disputes, "decide", "give the device to the claimant, or dismiss the claim; both are told by mail"),
        (clones, "list", "print each device that is frozen because a clone is suspected"),
        (clones, "clear", "say that there is no clone: the owner, who is told, may move the device again"),
    ):
        made[name] = actions.add_parser(
            name, parents=[settings], help=explanation, description=explanation, allow_abbrev=False
        )
    for name in ("decide", "clear"):
        made[name].add_argument("device", type=int, metavar="DEVICE", help="its number, as list prints it")
        made[name].add_argument(
            "--operator", required=True, metavar="NAME", help="who decides: kept in the device's audit trail"
        )
        made[name].add_argument("--dry-run", action="store_true", help="only say what would happen")
    made["decide"].add_argument("company", type=int, metavar="COMPANY", help="number of the claimant")
    made["decide"].add_argument("--for", dest="side", choices=("claimant", "owner"), required=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = make_parser()
    chosen = parser.parse_args(words)
    flags = {row.name: getattr(chosen, row.name) for row in table() if hasattr(chosen, row.name)}
    try:
        settings = load(chosen.config, flags=flags)
    except ConfigError as error:
        parser.error(str(error))
    try:  # `--help` answers without loading a database driver
        if chosen.command == "admin":
            from cloud import admin  # noqa: PLC0415 - only this command needs the services
        else:
            from cloud import app  # noqa: PLC0415
    except ModuleNotFoundError as missing:
        sys.stderr.write(advice("smartconnect-cloud", missing, ["cloud"]))
        return MISUSED
    if chosen.command == "admin":
        return admin.run(chosen, settings)
    forwarded = [part for name, value in flags.items() for part in ("--" + name.replace("_", "-"), value)]
    if chosen.config is not None:
        forwarded = ["--config", str(chosen.config), *forwarded]
    return app.guarded(chosen.command, settings, forwarded)


if __name__ == "__main__":
    sys.exit(main())
