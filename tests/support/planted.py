"""Looks for planted Product Keys in all that running processes keep or show."""

import base64
import contextlib
import re
from collections.abc import Iterable
from pathlib import Path

import psycopg
from psycopg import sql

TEXT = re.compile(rb"[ -~]{10,}")


def needles(key: str) -> list[bytes]:
    """A key as it might be written: as typed, in hex, and in base64 wherever it begins."""
    found = []
    for text in {key, key.lower(), spread(key), spread(key).lower()}:
        raw = text.encode()
        found += [raw, raw.hex().encode(), raw.hex().upper().encode()]
        for shift in range(3):
            coded = base64.b64encode(bytes(shift) + raw).rstrip(b"=")
            found.append(coded[shift + 1 : -2])  # without the characters its neighbours have a part in
    return found


def spread(key: str) -> str:
    """The key as somebody reads it from a label."""
    return f"{key[:5]}-{key[5:10]} {key[10:]}"


def find(planted: list[str], places: dict[str, bytes]) -> list[str]:
    """Names of the places that hold one of the keys."""
    wanted = [needle for key in planted for needle in needles(key)]
    return [name for name, content in places.items() if any(needle in content for needle in wanted)]


def tables_of(dsn: str) -> dict[str, bytes]:
    """All rows of all tables, as a dump would hold them."""
    with psycopg.connect(dsn) as connection:
        names = connection.execute(
            "SELECT schemaname, tablename FROM pg_tables"
            " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        places = {}
        for names_of_one in names:
            with connection.cursor().copy(
                sql.SQL("COPY (SELECT * FROM {}) TO STDOUT").format(sql.Identifier(*names_of_one))
            ) as copy:
                places[f"table {'.'.join(names_of_one)}"] = b"".join(bytes(part) for part in copy)
        return places


def files_below(folder: Path) -> dict[str, bytes]:
    """The text in every file: the database's own, its write-ahead log, the cloud's keys, logs."""
    return {
        f"file {path}": b"\n".join(TEXT.findall(path.read_bytes()))
        for path in folder.rglob("*")
        if path.is_file()
    }


def processes(pids: Iterable[int]) -> dict[str, bytes]:
    """Command line and environment of these processes."""
    places = {}
    for pid in pids:
        for name in ("cmdline", "environ"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # one that has just ended
                places[f"{name} of {pid}"] = Path(f"/proc/{pid}/{name}").read_bytes()
    return places
