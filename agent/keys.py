"""Private keys of one UPS on disk: the device key, made once, and the label key, derived from the label.

A device key is never made a second time in silence: a device whose state is there but whose key is gone has
lost its identity, and a person must decide what to do about that.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.errors import StateError
from protocol.errors import IdentityError
from protocol.identity import PRODUCT_ID_LENGTH, ProductId, ProductKey

if TYPE_CHECKING:
    from pathlib import Path

    from agent.core.ports import Disk

DEVICE_KEY: Final = "device.key"
LABEL_KEY: Final = "label.key"
_SEED_BYTES: Final = 32
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def check_private(path: Path) -> None:
    """StateError if others may look into this file or directory, or it is not ours."""
    found = path.stat()
    if stat.S_IMODE(found.st_mode) & _OTHERS:
        wanted = "0700" if stat.S_ISDIR(found.st_mode) else "0600"
        raise StateError(
            f"{path} is open to others (mode {stat.S_IMODE(found.st_mode):04o}); make it {wanted}"
        )
    if found.st_uid != os.geteuid():
        raise StateError(f"{path} belongs to another user")


def private_directory(path: Path) -> Path:
    """The directory, made 0700 if missing; StateError if it is open to others."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_private(path)
        for child in path.iterdir():
            if child.is_file():
                check_private(child)
    except OSError as error:
        raise StateError(f"{path}: {error.strerror}") from error
    return path


def device_key(disk: Disk, *, may_make: bool) -> Ed25519PrivateKey:
    """The device key; a new one only if ``may_make``, which holds for a device without any state."""
    if DEVICE_KEY in disk.names():
        seed = disk.read(DEVICE_KEY)
        if len(seed) != _SEED_BYTES:
            raise StateError(f"{DEVICE_KEY} is damaged: {len(seed)} bytes instead of {_SEED_BYTES}")
        return Ed25519PrivateKey.from_private_bytes(seed)
    if not may_make:
        raise StateError(
            f"{DEVICE_KEY} is gone although this device has state. A new key would be a new identity: restore"
            " the file, or remove the state directory of this UPS and claim it again."
        )
    key = Ed25519PrivateKey.generate()
    disk.replace(DEVICE_KEY, key.private_bytes_raw())
    return key


def save_label(disk: Disk, product_id: ProductId, key: Ed25519PrivateKey) -> None:
    """Keep the label key, so that the Product Key can be forgotten."""
    disk.replace(LABEL_KEY, product_id.value.encode("ascii") + key.private_bytes_raw())


def load_label(disk: Disk) -> tuple[ProductId, Ed25519PrivateKey] | None:
    """The label key kept earlier; None if there is none."""
    if LABEL_KEY not in disk.names():
        return None
    data = disk.read(LABEL_KEY)
    try:
        product_id = ProductId.parse(data[:PRODUCT_ID_LENGTH].decode("ascii"))
        return product_id, Ed25519PrivateKey.from_private_bytes(data[PRODUCT_ID_LENGTH:])
    except (IdentityError, ValueError) as error:
        raise StateError(f"{LABEL_KEY} is damaged; remove it to derive it again") from error


def read_product_key(path: Path) -> ProductKey:
    """The Product Key in a file that only its owner may read."""
    try:
        check_private(path)
        return ProductKey.parse(path.read_text(encoding="ascii"))
    except OSError as error:
        raise StateError(f"{path}: {error.strerror}") from error
    except (IdentityError, UnicodeDecodeError) as error:
        raise StateError(f"{path} holds no Product Key") from error
