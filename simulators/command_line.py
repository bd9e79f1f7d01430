"""``smartconnect-simulator``: simulated Smart-UPSs that real Modbus clients can read, and hands on them."""

import argparse
import asyncio
import json
import logging
import sys
from pathlib import Path

from protocol.errors import IdentityError
from protocol.identity import ProductId, ProductKey
from protocol.registers import QUIRKS
from simulators import label, sheet
from simulators.control import USAGE, ControlServer, send
from simulators.core.point import help_text, split_assignment, switch
from simulators.core.register_image import RegisterImage
from simulators.truth_log import TruthLog
from simulators.unit import EXTENSION_PROFILE, Simulator, UnitSpec, build, stop_on_signals
from simulators.workstation import command_line as workstation

MAX_UNITS = 247  # highest unit id of Modbus
MAX_LABELS = 10_000
FAILED, MISUSED = 1, 2


def main(arguments: list[str] | None = None) -> int:
    """Entry point; the exit status."""
    options = _parser().parse_args(arguments)
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # a client that goes away is no news of ours
    try:
        status: int = options.run(options)
    except (OSError, ValueError, IdentityError) as problem:
        print(f"smartconnect-simulator: {problem}", file=sys.stderr)
        return FAILED
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="smartconnect-simulator", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_ups(commands.add_parser("ups", help="run one UPS in the foreground", epilog=help_text()))
    _add_many(commands.add_parser("many", help="run many UPSs, behind one TCP port or on a line each"))
    ctl = commands.add_parser("ctl", help="work the plug, the load and the button of a running UPS")
    ctl.add_argument("--socket", type=Path, required=True, metavar="PATH", help="its control socket")
    ctl.add_argument("--unit", type=int, default=1, metavar="N", help="which unit, where there are many")
    ctl.add_argument("order", nargs="+", help=f"one of: {USAGE}; the answer is the unit's state as JSON")
    ctl.set_defaults(run=_run_ctl)
    mint = commands.add_parser("label", help="mint product codes and print their label")
    mint.add_argument("--portal-url", default="http://127.0.0.1:8080", help="what the QR code links to")
    mint.add_argument("--key-file", type=Path, metavar="PATH", help="write the Product Key there, too (0600)")
    mint.add_argument("--count", type=_count, default=1, metavar="N", help="how many labels (1)")
    mint.add_argument("--sheet", type=Path, metavar="FILE.svg", help="write them to be printed on A4 (0600)")
    mint.add_argument(
        "--manifest", type=Path, metavar="FILE.csv", help="write the maker's list, without secrets"
    )
    mint.set_defaults(run=_run_label)
    workstation.add_parser(commands)
    return parser


def _add_ups(ups: argparse.ArgumentParser) -> None:
    ups.add_argument("--profile", choices=sorted(QUIRKS), default=EXTENSION_PROFILE, help=_PROFILES)
    ups.add_argument("--tcp", type=_address, metavar="HOST:PORT", help="serve Modbus/TCP; port 0 picks one")
    ups.add_argument("--rtu", type=Path, metavar="LINK", help="serve Modbus RTU; LINK becomes the terminal")
    ups.add_argument("--unit", type=_unit, default=1, metavar="N", help="Modbus unit id (1)")
    ups.add_argument("--socket", type=Path, metavar="PATH", help="control socket for `ctl`")
    ups.add_argument("--product-id", type=_product_id, metavar="CODE", help="12 characters of the label")
    ups.add_argument("--product-key-file", type=Path, metavar="PATH", help="file with the 14 characters")
    _add_common(ups)
    ups.set_defaults(run=_run_ups)


def _add_many(many: argparse.ArgumentParser) -> None:
    many.add_argument("--tcp", type=_address, metavar="HOST:PORT", help="all of them behind one port")
    many.add_argument("--cables", type=Path, metavar="DIR", help="a serial line each: DIR/unitN")
    many.add_argument("--count", type=_unit, required=True, metavar="N", help="units 1 to N, at most 247")
    many.add_argument("--profile", choices=sorted(QUIRKS), default="ups_serial", help=_PROFILES)
    many.add_argument("--socket", type=Path, metavar="PATH", help="control socket for `ctl --unit`")
    many.add_argument("--labels", type=Path, metavar="PATH", help="write one label line a unit there (0600)")
    _add_common(many)
    many.set_defaults(run=_run_many)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set", action="append", default=[], type=_assignment, metavar="POINT=VALUE", dest="points"
    )
    parser.add_argument(
        "--smartconnect", type=_switch, default=False, metavar="on|off", help="at start (off)"
    )
    parser.add_argument("--truth", type=Path, metavar="PATH", help="append what really happens, line by line")
    parser.add_argument("--speed", type=float, default=1.0, metavar="N", help="simulated seconds a second")


_PROFILES = "ups_serial: the vendor's map; smartconnect: with our extension block; others: units that differ"


def _run_ups(options: argparse.Namespace) -> int:
    if options.tcp is None and options.rtu is None:
        raise ValueError("give --tcp, --rtu or both")
    spec = UnitSpec(options.profile, tuple(options.points), _codes(options), options.smartconnect)
    return asyncio.run(_serve({options.unit: build(spec)}, options))


def _run_many(options: argparse.Namespace) -> int:
    if options.tcp is None and options.cables is None:
        raise ValueError("give --tcp, --cables or both")
    images, lines = {}, []
    for unit in range(1, options.count + 1):
        codes = label.mint()
        points = (("serial_number", f"AS99{unit:08d}"), ("ups_name", f"UPS {unit}"), *options.points)
        images[unit] = build(UnitSpec(options.profile, points, codes, options.smartconnect))
        lines.append(label.line(*codes))
    if options.labels is not None:
        _write_private(options.labels, "\n".join(lines) + "\n")
    return asyncio.run(_serve(images, options))


def _run_ctl(options: argparse.Namespace) -> int:
    print(json.dumps(send(options.socket, options.order, unit=options.unit), indent=1))
    return 0


def _run_label(options: argparse.Namespace) -> int:
    if options.sheet is not None or options.manifest is not None or options.count > 1:
        return _run_labels(options)
    product_id, product_key = label.mint()
    if options.key_file is not None:
        _write_private(options.key_file, product_key.value + "\n")
    print(label.qr_text(options.portal_url, product_id, product_key), end="")
    print(label.line(product_id, product_key))
    return 0


def _run_labels(options: argparse.Namespace) -> int:
    if options.key_file is not None:
        raise ValueError("--key-file is for one label")
    codes = [label.mint() for _ in range(options.count)]
    if options.sheet is not None:
        _write_private(options.sheet, sheet.render(options.portal_url, codes))
    else:
        for one in codes:
            print(label.line(*one))
    if options.manifest is not None:
        options.manifest.write_text(sheet.manifest(codes), "ascii")
    return 0


async def _serve(images: dict[int, RegisterImage], options: argparse.Namespace) -> int:
    stop = stop_on_signals()
    truth = TruthLog(options.truth) if options.truth is not None else None
    simulator = Simulator(images, speed=options.speed, truth=truth)
    places = []
    if options.tcp is not None:
        host, port = await simulator.listen_tcp(*options.tcp)
        places.append(f"tcp={host}:{port}")
    link = getattr(options, "rtu", None)
    if link is not None:
        terminal = simulator.open_line(link)
        places.append(f"rtu={link} ({terminal})")
    cables = getattr(options, "cables", None)
    if cables is not None:
        simulator.open_cables(cables)
        places.append(f"cables={cables}")
    control = ControlServer(simulator, options.socket) if options.socket is not None else None
    try:
        if control is not None:
            await control.start()
            places.append(f"socket={options.socket}")
        first, last = min(simulator.images), max(simulator.images)
        units = str(first) if first == last else f"{first}-{last}"
        print(f"ready profile={options.profile} units={units} {' '.join(places)}", flush=True)
        await simulator.run(stop)
    finally:
        if control is not None:
            await control.stop()
        if truth is not None:
            truth.close()
    return 0


def _codes(options: argparse.Namespace) -> tuple[ProductId, ProductKey] | None:
    if options.profile != EXTENSION_PROFILE:
        return None
    if (options.product_id is None) != (options.product_key_file is None):
        raise ValueError("--product-id and --product-key-file belong together")
    if options.product_id is not None:
        return options.product_id, label.read_key(options.product_key_file)
    codes = label.mint()
    print(label.line(*codes), flush=True)
    return codes


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600, exist_ok=False)
    path.write_text(text, "ascii")


def _address(text: str) -> tuple[str, int]:
    host, sign, port = text.rpartition(":")
    if not sign or not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


def _unit(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= MAX_UNITS:
        raise argparse.ArgumentTypeError(f"1 to {MAX_UNITS} is possible")
    return int(text)


def _count(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= MAX_LABELS:
        raise argparse.ArgumentTypeError(f"1 to {MAX_LABELS} is possible")
    return int(text)


def _assignment(text: str) -> tuple[str, str]:
    try:
        return split_assignment(text)
    except ValueError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from None


def _switch(text: str) -> bool:
    try:
        return switch(text)
    except ValueError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from None


def _product_id(text: str) -> ProductId:
    try:
        return ProductId.parse(text)
    except IdentityError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from None
