"""The cloud's keys for servers of building systems: numbered, made once, renewed, never thrown away.

``keys/system-N.key`` holds the private half of number N (PKCS 8, 0600); public halves stand in the key set
until their end. Old private halves stay: a request that was made under one is still answered under it.
Only the portal reads them.
"""

import re
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from cloud.files import write_private
from protocol.messages import SystemKey
from protocol.system_keys import MAX_KEY_NUMBER

_NAME: Final = re.compile(r"system-([1-9][0-9]{0,4})\.key")


def ensure_system_keys(
    folder: Path,
    known: tuple[SystemKey, ...],
    now_ms: int,
    *,
    life_ms: int,
    renewal_ms: int,
    backdated_ms: int,
) -> tuple[SystemKey, ...]:
    """The keys for the key set: those of ``known`` that have not ended, and a new one where that is due."""
    entries = [entry for entry in known if entry.not_after_ms > now_ms]
    newest = max(entries, key=lambda entry: entry.number, default=None)
    if (
        newest is not None
        and newest.not_after_ms - renewal_ms > now_ms
        and _path(folder, newest.number).exists()
    ):
        return tuple(entries)
    used = [entry.number for entry in known] + list(load_system_keys(folder))
    number = max(used, default=0) + 1
    if number > MAX_KEY_NUMBER:
        raise OverflowError("no number is left for a key for systems")
    key = X25519PrivateKey.generate()
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_private(_path(folder, number), pem)
    made = SystemKey(
        number=number,
        pub=key.public_key().public_bytes_raw(),
        not_before_ms=now_ms - backdated_ms,
        not_after_ms=now_ms + life_ms,
    )
    return (*entries, made)


def load_system_keys(folder: Path) -> dict[int, X25519PrivateKey]:
    """All private halves that are there, by number. ValueError or TypeError where a file is none."""
    found: dict[int, X25519PrivateKey] = {}
    for path in sorted(folder.iterdir()):
        name = _NAME.fullmatch(path.name)
        if name is None:
            continue
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        if not isinstance(key, X25519PrivateKey):
            raise TypeError(f"{path} is not an X25519 key")
        found[int(name[1])] = key
    return found


def _path(folder: Path, number: int) -> Path:
    return folder / f"system-{number}.key"
