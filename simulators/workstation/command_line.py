"""``smartconnect-simulator workstation``: reads lines from a person, a file or a pipe, and answers."""

import argparse
import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Final

from simulators.core.workstation import VERSIONS, Order, Task, menu_text, parse
from simulators.demo.layout import DemoError
from simulators.workstation.desk import Desk
from simulators.workstation.server_line import ServerError
from simulators.workstation.site import Site

FAILED: Final = 1
MAX_SERVERS: Final = 20


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    explanation = "play Building Operation WorkStation with an Enterprise Server and stand-alone servers"
    parser = commands.add_parser("workstation", help=explanation, description=explanation)
    parser.add_argument(
        "--folder", type=Path, default=Path(".state/workstation"), help="its servers live here"
    )
    parser.add_argument("--installation", type=Path, required=True, help="file that names the cloud")
    parser.add_argument("--version", choices=VERSIONS, default=VERSIONS[-1], help="of Building Operation")
    parser.add_argument("--servers", type=_servers, default=2, metavar="N", help="stand-alone servers (2)")
    parser.add_argument("--offline", action="store_true", help="no server has a connection to the internet")
    parser.add_argument("--no-qr", action="store_true", help="requests as text only")
    parser.add_argument("--script", type=Path, metavar="FILE", help="orders, one a line; ! before: must fail")
    parser.set_defaults(run=_run)


def _servers(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MAX_SERVERS:
        raise argparse.ArgumentTypeError(f"1 to {MAX_SERVERS} is possible")
    return int(text)


def _run(options: argparse.Namespace) -> int:
    signal.signal(signal.SIGTERM, _leave)
    site = Site(
        options.folder,
        options.installation,
        servers=options.servers,
        version=options.version,
        online=not options.offline,
    )
    try:
        site.open()
        desk = Desk(site, options.version, qr=not options.no_qr)
        print(menu_text(options.version), flush=True)
        with _lines(options.script, desk) as lines:
            return _work(desk, lines, stops=options.script is not None or not sys.stdin.isatty())
    except (ServerError, DemoError) as error:
        print(f"smartconnect-simulator: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print()
        return 0
    finally:
        site.close()


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextlib.contextmanager
def _lines(script: Path | None, desk: Desk) -> Iterator[Iterator[str]]:
    if script is not None:
        with script.open(encoding="utf-8") as file:
            yield (_shown(desk, line) for line in file)
    elif sys.stdin.isatty():
        yield _typed(desk)
    else:
        yield (_shown(desk, line) for line in sys.stdin)


def _shown(desk: Desk, line: str) -> str:
    print(desk.prompt + line.rstrip("\n"), flush=True)
    return line


def _typed(desk: Desk) -> Iterator[str]:
    with contextlib.suppress(EOFError):
        while True:
            yield input(desk.prompt)


def _work(desk: Desk, lines: Iterator[str], *, stops: bool) -> int:
    """Obey line by line. ``stops``: the first surprise ends it, as nobody reads along."""
    for line in lines:
        try:
            order = parse(line)
        except ValueError as error:
            print(f"ERROR {error}", flush=True)
            if stops:
                return FAILED
            continue
        if order is None:
            continue
        if order.task is Task.QUIT:
            break
        if not _obeyed(desk, order) and stops:
            return FAILED
    return 0


def _obeyed(desk: Desk, order: Order) -> bool:
    """Do it and print the answer; whether it went as the script expects."""
    try:
        answer = desk.obey(order)
    except (ServerError, DemoError) as error:
        print(f"ERROR {error}", flush=True)
        return order.must_fail
    print(answer, flush=True)
    if order.must_fail:
        print("ERROR this was expected to be refused", flush=True)
    return not order.must_fail
