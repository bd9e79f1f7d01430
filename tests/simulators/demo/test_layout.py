"""What the demo remembers, and the ports it takes."""

import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud.core.account import Email, password_faults
from simulators.demo.layout import DemoError, Home, Ports


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with Home(tmp_path / "demo") as taken:
        yield taken


def test_one_demo_at_a_time(home: Home) -> None:
    with pytest.raises(DemoError, match="already running"), Home(home.folder):
        pass
    home.release()
    with Home(home.folder):
        pass


def test_memory_survives_and_is_private(home: Home) -> None:
    memory = home.recall()
    memory.units[1].smartconnect = True
    home.remember(memory)
    assert home.recall() == memory
    assert stat.S_IMODE((home.folder / "demo.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(home.folder.stat().st_mode) == 0o700


def test_one_of_the_units_starts_with_smartconnect_off(home: Home) -> None:
    units = home.recall().units
    assert [(unit.transport, unit.smartconnect) for unit in units] == [("rtu", True), ("tcp", False)]
    assert units[0].codes != units[1].codes


def test_the_passwords_are_good_enough_for_the_portal(home: Home) -> None:
    for account in home.recall().accounts:
        email = Email.parse(account.email)
        faults = password_faults(
            account.password, email=email, first_name=account.first_name, last_name=account.last_name
        )
        assert not faults


def test_a_foreign_memory_is_not_overwritten(home: Home) -> None:
    (home.folder / "demo.json").write_text("{}")
    with pytest.raises(DemoError, match="demo-reset"):
        home.recall()


@pytest.fixture
def ports() -> Iterator[Ports]:
    ports = Ports()
    yield ports
    ports.release()


def test_a_busy_port_gives_the_next_free_one(ports: Ports) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen(1)
        port = busy.getsockname()[1]
        assert ports.free(port, "127.0.0.1") > port


def test_two_demos_that_start_at_once_take_different_ports(ports: Ports) -> None:
    first = ports.free(20_000, "127.0.0.1")
    other = Ports()
    try:
        assert other.free(first, "127.0.0.1") > first
        ports.release()
        assert other.free(first, "127.0.0.1") == first
    finally:
        other.release()


def test_sockets_of_a_deep_folder_go_to_a_short_private_one(tmp_path: Path) -> None:
    with Home(tmp_path / ("d" * 120)) as deep:
        path = deep.socket("ups1.sock")
        assert len(str(path)) < 107
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert not path.parent.exists()
    assert Home(Path("/s")).socket("ups1.sock") == Path("/s/ups1.sock")
