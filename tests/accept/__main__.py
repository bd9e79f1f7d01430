"""``python -m tests.accept NAME``: run one acceptance check."""

import importlib
import sys
import traceback
from pathlib import Path

from tests.accept import CheckError, failed


def names() -> list[str]:
    """The checks there are."""
    return sorted(
        path.stem.replace("_", "-")
        for path in Path(__file__).parent.glob("*.py")
        if not path.stem.startswith("_")
    )


def main() -> int:
    """Run the check named on the command line; a crash is a FAIL line too."""
    if len(sys.argv) != 2 or sys.argv[1] not in names():
        sys.stderr.write(f"usage: python -m tests.accept NAME, one of: {', '.join(names())}\n")
        return 2
    name = sys.argv[1]
    try:
        return int(importlib.import_module(f"tests.accept.{name.replace('-', '_')}").main())
    except CheckError as error:
        return failed(name, str(error))
    except Exception as error:  # noqa: BLE001 - the outermost loop: whatever broke, the last line says so
        traceback.print_exc()
        return failed(name, f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    sys.exit(main())
