"""The supervisor, on real processes."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from cloud import supervisor
from cloud.supervisor import Child, Supervisor


def child(name: str, code: str, *arguments: str) -> Child:
    return Child(name, [sys.executable, "-c", code, *arguments])


NOTE_AND_WAIT = """
import os, signal, sys
with open(sys.argv[1], "a") as file:
    file.write(f"{os.getpid()}\\n")
signal.pause()
"""


async def pids(path: Path, wanted: int) -> list[int]:
    """Process ids a child has noted, once there are so many."""
    while True:
        if path.exists():
            lines = path.read_text().split("\n")[:-1]
            if len(lines) >= wanted:
                return [int(line) for line in lines]
        await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}/exe").exists()


async def test_starts_again_what_dies_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "FIRST_DELAY_S", 0.01)
    keeper = Supervisor(prefix=True)
    keeper.start([child("one", NOTE_AND_WAIT, str(tmp_path / "one"))])
    first = (await pids(tmp_path / "one", 1))[0]
    os.kill(first, 9)
    second = (await pids(tmp_path / "one", 2))[1]
    assert alive(second)
    await keeper.stop_all()
    assert not alive(second)
    assert keeper.exit_code == 0


async def test_a_wrong_setting_stops_everything(tmp_path: Path) -> None:
    keeper = Supervisor(prefix=True)
    keeper.start(
        [child("good", NOTE_AND_WAIT, str(tmp_path / "good")), child("bad", "import sys; sys.exit(2)")]
    )
    await keeper.wait_stopping()
    await keeper.stop_all()
    assert keeper.exit_code == 2


async def test_kills_what_does_not_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "STOP_TIMEOUT_S", 0.1)
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + NOTE_AND_WAIT
    keeper = Supervisor(prefix=True)
    keeper.start([child("stubborn", stubborn, str(tmp_path / "pid"))])
    pid = (await pids(tmp_path / "pid", 1))[0]
    await keeper.stop_all()
    assert not alive(pid)


async def test_shows_every_line_with_its_origin(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    keeper = Supervisor(prefix=True)
    keeper.start([child("talker", "print('hello', flush=True)\n" + NOTE_AND_WAIT, str(tmp_path / "pid"))])
    await pids(tmp_path / "pid", 1)
    await keeper.stop_all()
    assert "talker  │ hello\n" in capsys.readouterr().err


async def test_children_end_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    code = f"""
import asyncio, sys
from cloud.supervisor import Child, Supervisor
async def main():
    keeper = Supervisor(prefix=True)
    keeper.start([Child("one", [sys.executable, "-c", {NOTE_AND_WAIT!r}, sys.argv[1]])])
    await keeper.wait_stopping()
asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, str(tmp_path / "pid"))
    pid = (await pids(tmp_path / "pid", 1))[0]
    process.kill()
    await process.wait()
    while alive(pid):
        await asyncio.sleep(0.01)
