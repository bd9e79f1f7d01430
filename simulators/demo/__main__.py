"""Where ``smartconnect-demo`` begins; what it does is in ``simulators.demo.command_line``."""

import sys
from importlib import import_module

from protocol.extras import advice

MISUSED = 2
NEEDED = ("paho", "psycopg", "pymodbus")  # one library of each extra: the demo runs the programs of all three


def main(arguments: list[str] | None = None) -> int:
    """Entry point; the exit status."""
    try:
        for name in NEEDED:
            import_module(name)
        from simulators.demo import command_line  # noqa: PLC0415 - its libraries may not be installed
    except ModuleNotFoundError as missing:
        sys.stderr.write(advice("smartconnect-demo", missing, ["agent", "cloud", "simulators"]))
        return MISUSED
    return command_line.main(arguments)


if __name__ == "__main__":
    sys.exit(main())
