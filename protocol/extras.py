"""What a program says whose libraries are not installed: which extra of the distribution has them."""

from collections.abc import Iterable
from typing import Final

OURS: Final = frozenset({"agent", "cloud", "protocol", "simulators"})


def advice(program: str, missing: ModuleNotFoundError, extras: Iterable[str]) -> str:
    """One line; a missing module of our own is no missing extra, and is raised again."""
    if missing.name is None or missing.name.partition(".")[0] in OURS:
        raise missing
    names = ",".join(extras)
    return f"{program}: {missing.name} is not installed; it comes with: pip install 'smartconnect[{names}]'\n"
