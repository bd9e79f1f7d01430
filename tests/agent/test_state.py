"""The small file of one UPS."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.disk import OsDisk
from agent.errors import StateError
from agent.state import STATE, DeviceState, StateFile

if TYPE_CHECKING:
    from pathlib import Path


def test_what_was_updated_is_found_again(tmp_path: Path) -> None:
    state = StateFile(OsDisk(tmp_path))
    assert not state.exists
    state.update(last_login_ms=7, owned=True, active=("on_battery",), key_set=b"\x00\xff")
    state.update(presence=3)
    again = StateFile(OsDisk(tmp_path))
    assert again.exists
    assert again.value == DeviceState(
        last_login_ms=7, owned=True, presence=3, active=("on_battery",), last_event=0, key_set=b"\x00\xff"
    )


def test_nothing_is_written_when_nothing_changes(tmp_path: Path) -> None:
    state = StateFile(OsDisk(tmp_path))
    state.update(owned=True)
    before = (tmp_path / STATE).stat()
    state.update(owned=True)
    after = (tmp_path / STATE).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


@pytest.mark.parametrize("content", [b"", b"{", b'{"last_login_ms": "soon"}', b"[]"])
def test_a_damaged_file_is_never_taken_for_an_empty_one(tmp_path: Path, content: bytes) -> None:
    (tmp_path / STATE).write_bytes(content)
    with pytest.raises(StateError, match="damaged"):
        StateFile(OsDisk(tmp_path))
