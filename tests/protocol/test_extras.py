"""What is said where libraries are missing."""

import pytest

from protocol.extras import advice


def test_the_line_names_program_library_and_extra() -> None:
    missing = ModuleNotFoundError("No module named 'paho.mqtt'", name="paho.mqtt")
    line = advice("smartconnect-x", missing, ["agent", "cloud"])
    assert line.startswith("smartconnect-x: paho.mqtt is not installed; ")
    assert line.endswith(" pip install 'smartconnect[agent,cloud]'\n")


@pytest.mark.parametrize("name", ["agent.uplink", "protocol", None])
def test_a_module_of_our_own_is_a_fault_and_not_an_extra(name: str | None) -> None:
    with pytest.raises(ModuleNotFoundError):
        advice("smartconnect-x", ModuleNotFoundError("gone", name=name), ["agent"])
