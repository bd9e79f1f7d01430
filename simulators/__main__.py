"""Where ``smartconnect-simulator`` begins; what it does is in ``simulators.command_line``."""

import sys

from protocol.extras import advice

MISUSED = 2


def main(arguments: list[str] | None = None) -> int:
    """Entry point; the exit status."""
    try:
        from simulators import command_line  # noqa: PLC0415 - its libraries may not be installed
    except ModuleNotFoundError as missing:
        sys.stderr.write(advice("smartconnect-simulator", missing, ["simulators"]))
        return MISUSED
    return command_line.main(arguments)


if __name__ == "__main__":
    sys.exit(main())
