import pytest

from simulators.core.command import execute
from simulators.core.smart_ups import SmartUps
from simulators.core.ups_state import Mode


def order(ups: SmartUps, name: str, *bits: str) -> None:
    execute(ups, name, frozenset(bits))


def test_outlet_off_on_and_reboot() -> None:
    ups = SmartUps()
    order(ups, "outlet_command", "output_off", "target_sog0")
    assert not ups.outlets["sog0"].on
    assert ups.outlets["mog"].on
    order(ups, "outlet_command", "output_on", "target_sog0")
    ups.step(1)
    assert ups.outlets["sog0"].on
    order(ups, "outlet_command", "output_reboot", "target_main_or_unswitched", "source_usb")
    assert not ups.outlets["mog"].on
    ups.step(12)
    assert ups.outlets["mog"].on


def test_outlet_delays_and_cancel() -> None:
    ups = SmartUps()
    order(ups, "outlet_command", "output_off", "mod_use_off_delay", "target_sog0")
    ups.step(89)
    assert ups.outlets["sog0"].on
    order(ups, "outlet_command", "cancel", "target_sog0")
    ups.step(60)
    assert ups.outlets["sog0"].on
    order(ups, "outlet_command", "output_shutdown", "mod_use_off_delay", "target_sog0")
    ups.step(91)
    assert not ups.outlets["sog0"].on
    ups.step(15)
    assert ups.outlets["sog0"].on


@pytest.mark.parametrize(
    "bits",
    [
        ("output_off",),
        ("target_sog0",),
        ("output_off", "output_on", "target_sog0"),
        ("output_off", "target_sog1"),
        ("output_off", "mod_use_on_delay", "target_sog0"),
        ("output_off", "target_sog0", "bit_25"),
    ],
)
def test_illegal_outlet_commands(bits: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"command|modifier"):
        order(SmartUps(), "outlet_command", *bits)


def test_simple_signalling() -> None:
    ups = SmartUps()
    order(ups, "simple_signaling_command", "remote_off")
    assert not ups.output_on
    order(ups, "simple_signaling_command", "remote_on")
    ups.step(1)
    assert ups.output_on
    order(ups, "simple_signaling_command", "request_shutdown")
    assert ups.shutdown_in_s == 60
    with pytest.raises(ValueError, match="one bit"):
        order(ups, "simple_signaling_command", "remote_off", "remote_on")


def test_tests_start_and_abort() -> None:
    ups = SmartUps()
    for name, mode in (
        ("battery_test_command", Mode.TESTING),
        ("runtime_calibration_command", Mode.CALIBRATING),
    ):
        with pytest.raises(ValueError, match="to abort"):
            order(ups, name, "abort")
        order(ups, name, "start")
        assert ups.mode is mode
        order(ups, name, "abort")
        assert ups.mode is Mode.ONLINE


def test_user_interface() -> None:
    ups = SmartUps()
    order(ups, "user_interface_command", "mute_all")
    assert ups.muted
    order(ups, "user_interface_command", "cancel_mute")
    assert not ups.muted
    order(ups, "user_interface_command", "continuous_test")
    assert ups.continuous_test
    order(ups, "user_interface_command", "short_test")
    assert ups.beeps == 1
    with pytest.raises(ValueError, match="one bit"):
        order(ups, "user_interface_command")


def test_ups_commands() -> None:
    ups = SmartUps()
    ups.change_setting("ups_name", "other")
    ups.change_setting("transfer_low", 200)
    order(ups, "ups_command", "reset_logs")
    order(ups, "ups_command", "reset_strings")
    assert (ups.settings["ups_name"], ups.settings["transfer_low"]) == ("APCUPS", 200)
    order(ups, "ups_command", "restore_factory_settings")
    assert ups.settings["transfer_low"] == 207
    ups.power_errors = frozenset({"inverter"})
    order(ups, "ups_command", "clear_faults")
    assert ups.power_errors == frozenset()
    with pytest.raises(ValueError, match="no bypass"):
        order(ups, "ups_command", "into_bypass")
    with pytest.raises(ValueError, match="takes bits"):
        execute(ups, "ups_command", 5)
