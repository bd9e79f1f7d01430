"""The real directory under the spool."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from agent.disk import OsDisk
from agent.spool_file import SpoolFile
from protocol.codec import pack_sample
from tests.fakes.clock import FakeClock

if TYPE_CHECKING:
    from pathlib import Path


def test_files_are_private_and_content_comes_back(tmp_path: Path) -> None:
    disk = OsDisk(tmp_path / "spool")
    disk.write("a.seg", b"hello", 0)
    disk.write("a.seg", b" world", 5)
    disk.sync("a.seg")
    disk.replace("ledger", b"one")
    disk.replace("ledger", b"two")
    assert disk.read("a.seg", 6) == b"world"
    assert disk.read("a.seg", 0, 5) == b"hello"
    assert disk.read("ledger") == b"two"
    disk.truncate("a.seg", 5)
    assert disk.read("a.seg") == b"hello"
    assert disk.names() == ["a.seg", "ledger"]
    assert stat.S_IMODE((tmp_path / "spool").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "spool" / "a.seg").stat().st_mode) == 0o600
    disk.remove("a.seg")
    disk.remove("a.seg")
    assert disk.names() == ["ledger"]
    disk.close()
    with pytest.raises(FileNotFoundError):
        disk.read("a.seg")


def test_leftovers_of_a_rename_are_removed(tmp_path: Path) -> None:
    (tmp_path / "ledger.tmp").write_bytes(b"half")
    assert OsDisk(tmp_path).names() == []


def test_a_spool_on_a_real_directory(tmp_path: Path) -> None:
    clock = FakeClock()
    lines: list[str] = []
    disk = OsDisk(tmp_path)
    spool = SpoolFile(disk, clock, max_bytes=1 << 20, trace=lines.append)
    spool.wipe(5)
    spool.append([pack_sample({"ts": clock.mono_ms()})])
    assert lines == ["wiped", "spooled 1700000000000 1 1700000000000"]
    disk.close()
    again = SpoolFile(OsDisk(tmp_path), clock, max_bytes=1 << 20)
    outgoing = again.next_samples(10)
    assert outgoing is not None
    assert (outgoing.epoch, outgoing.stream, outgoing.first_seq) == (5, 1_700_000_000_000, 1)
    assert again.depth() == 1
