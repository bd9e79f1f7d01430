"""Keys on disk, and what they sign."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from agent.core.sampling import Inventory
from agent.disk import OsDisk
from agent.errors import StateError
from agent.identity import Identity, Label
from agent.keys import (
    DEVICE_KEY,
    LABEL_KEY,
    device_key,
    load_label,
    private_directory,
    read_product_key,
    save_label,
)
from protocol.identity import ProductId, ProductKey, device_id_of, fingerprint_of, kid_of
from protocol.messages import Request
from protocol.signing import (
    TOKEN_LIFE_MS,
    label_key,
    open_announcement,
    public_bytes,
    verify_login_token,
)

if TYPE_CHECKING:
    from pathlib import Path

PRODUCT_ID = ProductId.parse("ABCD2345EFGH")
PRODUCT_KEY = ProductKey.parse("K0123456789XYZ")


def test_a_device_key_is_made_once_and_kept(tmp_path: Path) -> None:
    disk = OsDisk(tmp_path)
    first = device_key(disk, may_make=True)
    assert public_bytes(device_key(disk, may_make=True)) == public_bytes(first)
    assert public_bytes(device_key(OsDisk(tmp_path), may_make=False)) == public_bytes(first)
    assert (tmp_path / DEVICE_KEY).stat().st_mode & 0o777 == 0o600


def test_a_lost_or_damaged_device_key_is_never_made_again(tmp_path: Path) -> None:
    disk = OsDisk(tmp_path)
    with pytest.raises(StateError, match="new identity"):
        device_key(disk, may_make=False)
    assert disk.names() == []
    (tmp_path / DEVICE_KEY).write_bytes(b"short")
    with pytest.raises(StateError, match="damaged"):
        device_key(disk, may_make=True)


def test_the_label_key_is_kept_and_the_product_key_is_not(tmp_path: Path) -> None:
    disk = OsDisk(tmp_path)
    assert load_label(disk) is None
    key = label_key(PRODUCT_ID, PRODUCT_KEY)
    save_label(disk, PRODUCT_ID, key)
    kept = load_label(disk)
    assert kept is not None
    assert (kept[0], public_bytes(kept[1])) == (PRODUCT_ID, public_bytes(key))
    assert all(PRODUCT_KEY.value.encode() not in path.read_bytes() for path in tmp_path.iterdir())
    (tmp_path / LABEL_KEY).write_bytes(b"ABCD2345EFGH" + bytes(3))
    with pytest.raises(StateError, match="damaged"):
        load_label(disk)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_files_open_to_others_are_refused(tmp_path: Path, mode: int) -> None:
    folder = private_directory(tmp_path / "ups")
    device_key(OsDisk(folder), may_make=True)
    private_directory(folder)
    (folder / DEVICE_KEY).chmod(mode)
    with pytest.raises(StateError, match="make it 0600"):
        private_directory(folder)
    (folder / DEVICE_KEY).chmod(0o600)
    folder.chmod(0o750)
    with pytest.raises(StateError, match="make it 0700"):
        private_directory(folder)


def test_the_file_of_a_product_key(tmp_path: Path) -> None:
    path = tmp_path / "label.key"
    with pytest.raises(StateError, match="No such file"):
        read_product_key(path)
    path.touch(0o600)
    path.write_text("k0123 456789-xyz\n")
    assert read_product_key(path) == PRODUCT_KEY
    path.write_text("too short")
    with pytest.raises(StateError, match="holds no Product Key"):
        read_product_key(path)
    path.chmod(0o644)
    with pytest.raises(StateError, match="open to others"):
        read_product_key(path)


def test_tokens_and_announcements_verify(tmp_path: Path) -> None:
    key = device_key(OsDisk(tmp_path), may_make=True)
    label = Label(PRODUCT_ID, label_key(PRODUCT_ID, PRODUCT_KEY))
    identity = Identity(key, label)
    assert identity.kid == kid_of(public_bytes(key))
    assert identity.fingerprint == fingerprint_of(identity.kid)
    now_ms = time.time_ns() // 1_000_000
    claims = verify_login_token(
        identity.token(label, "example", now_ms), public_bytes(key), "example", now_ms + TOKEN_LIFE_MS - 1
    )
    assert claims.device_id == label.device_id == device_id_of(PRODUCT_ID, public_bytes(label.key))
    sealed = identity.announcement(
        label,
        Inventory(model="Smart-UPS 1500", rated_real_power_w=1000),
        boot="b",
        nonce=b"n" * 32,
        ts_ms=now_ms,
        smartconnect=True,
        release=False,
    )
    announcement = open_announcement(sealed)
    assert announcement.request is Request.NONE
    assert announcement.model == "Smart-UPS 1500"
    assert announcement.smartconnect
    assert announcement.nonce == b"n" * 32
