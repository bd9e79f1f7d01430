"""``smartconnect-agent system …``: what people order of a server, on the command line."""

from __future__ import annotations

import io
import json
import sys
from typing import TYPE_CHECKING, Any, Final

from protocol.system_link import LINK_PORT

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

FAILED: Final = 1
COMMANDS: Final = {
    "create": "make this server's database, and with it its System ID",
    "show": "the System ID, what is registered and where that comes from, attached servers, notices",
    "describe": "say which software and licences run here; both are told to the cloud",
    "register": "Register now: ask the portal, and show the page that registers this server",
    "request": "register offline: show the request, as text and QR code, that the portal makes a code for",
    "enter": "enter the registration code that the portal has made for the request",
    "invite": "make an attach code, for one stand-alone server and one hour",
    "attach": "attach this stand-alone server to an Enterprise Server, with its attach code",
    "detach": "stand alone again; at an Enterprise Server: let an attached server stand alone",
    "accept": "let somebody who typed this System ID at the portal have it",
    "decline": "do not",
    "delete-database": "delete the database: this server gets a new System ID, the old one never comes back",
    "doctor": "look at each hop to the portal and to other servers, and say what to do",
}


def add_parser(commands: Any, settings: argparse.ArgumentParser) -> None:
    """Add ``system`` and what is under it; ``settings``: parser of the settings that all commands take."""
    explanation = "be a server of a building system: its System ID, its registration, servers attached to it"
    system = commands.add_parser("system", help=explanation, description=explanation, allow_abbrev=False)
    below = system.add_subparsers(dest="system_command", required=True, metavar="COMMAND")
    parsers = {
        name: below.add_parser(name, parents=[settings], help=text, description=text, allow_abbrev=False)
        for name, text in COMMANDS.items()
    }
    parsers["create"].add_argument("--kind", choices=["enterprise_server", "standalone"], required=True)
    parsers["create"].add_argument("--name", required=True, metavar="TEXT", help="what people call it")
    parsers["describe"].add_argument("--software", default="", metavar="TEXT", help="name and version")
    parsers["describe"].add_argument(
        "--licence", action="append", default=[], metavar="TEXT", dest="licences"
    )
    parsers["show"].add_argument("--json", action="store_true", help="for programs")
    request = parsers["request"]
    request.add_argument("--operation", choices=["register", "associate"], default="register")
    request.add_argument("--new", action="store_true", help="close the open request, and make another")
    request.add_argument("--no-qr", action="store_true", help="text only")
    parsers["enter"].add_argument("code", nargs="*", help="as it stands; without it, it is asked for")
    attach = parsers["attach"]
    attach.add_argument("address", metavar="HOST[:PORT]", help=f"of the Enterprise Server; port {LINK_PORT}")
    attach.add_argument("code", nargs="+", help="its attach code")
    parsers["detach"].add_argument("system_id", nargs="?", default="", help="at an Enterprise Server: whom")
    for name in ("accept", "decline"):
        parsers[name].add_argument("who", metavar="NAME", help="as show lists them")
    parsers["delete-database"].add_argument("--yes", action="store_true", help="do not ask")


def run(options: argparse.Namespace, order: Callable[[dict[str, Any]], dict[str, Any]]) -> int:
    """Run one of them; ``order`` has the running agent do it, or does it. The exit status."""
    from agent.system.view import readable  # noqa: PLC0415 - `--help` answers without loading it

    name: str = options.system_command
    if name == "delete-database" and not options.yes and not _sure(order({"do": "show"})):
        return FAILED
    answer = order(_order(name, options))
    if name == "show" and options.json:
        print(json.dumps(answer, indent=1))
    elif name == "request":
        _print_request(answer, with_code=not options.no_qr)
    elif name == "register" and answer["link_to_portal"]:
        print(f"Open this page within 15 minutes:\n\n  {answer['link_to_portal']}\n")
    elif name == "invite":
        print(f"Attach code, for one server and one hour:\n\n  {answer['attach_code']}\n")
        print(f"At the stand-alone server: smartconnect-agent system attach HOST:{answer['port']} CODE")
    else:
        print(readable(answer))
    return 0


def _order(name: str, options: argparse.Namespace) -> dict[str, Any]:
    match name:
        case "create":
            return {"do": "create", "kind": options.kind, "name": options.name}
        case "describe":
            return {"do": "describe", "software": options.software, "licences": options.licences}
        case "request":
            return {"do": "request", "operation": options.operation, "new": options.new}
        case "enter":
            return {"do": "enter", "code": " ".join(options.code) or _typed("Registration code: ")}
        case "attach":
            host, port = split_address(options.address)
            return {"do": "attach", "host": host, "port": port, "code": " ".join(options.code)}
        case "detach":
            return {"do": "detach", "system_id": options.system_id}
        case "accept" | "decline":
            return {"do": name, "who": options.who}
        case "delete-database":
            return {"do": "delete"}
        case _:
            return {"do": name}


def split_address(text: str) -> tuple[str, int]:
    """Host and port of ``host``, ``host:port`` or ``[v6]:port``; ValueError otherwise."""
    host, sign, port = text.rpartition(":")
    if not sign or (text.startswith("[") and text.endswith("]")):
        return text.strip("[]"), LINK_PORT
    if not port.isascii() or not port.isdigit() or not 0 < int(port) <= 65_535 or not host:
        raise ValueError(f"{text!r} is not HOST or HOST:PORT")
    return host.strip("[]"), int(port)


def _print_request(answer: dict[str, Any], *, with_code: bool) -> None:
    if with_code:
        print(qr_text(answer["link_to_portal"]))
    print(f"Request ({answer['operation']}), for Registering an Offline System in the portal:\n")
    groups = answer["request"].split("-")
    for start in range(0, len(groups), 6):
        print("  " + "-".join(groups[start : start + 6]))
    print("\nThen: smartconnect-agent system enter CODE")


def qr_text(link: str) -> str:
    """A QR code in half-block characters, without colour."""
    import segno  # noqa: PLC0415 - seldom needed

    out = io.StringIO()
    segno.make(link, error="l", micro=False).terminal(out, compact=True, border=2)
    return out.getvalue()


def _sure(shown: dict[str, Any]) -> bool:
    print(f"This ends System ID {shown['written']} for good.")
    if shown["registration"] is not None:
        print(
            f"Registration {shown['registration']['number']} needs the new System ID associated afterwards."
        )
    if shown["attached"]:
        print(f"{len(shown['attached'])} attached servers will stand alone.")
    return _typed("Type DELETE to go on: ").strip() == "DELETE"


def _typed(prompt: str) -> str:
    sys.stdout.write(prompt)
    sys.stdout.flush()
    return sys.stdin.readline()
