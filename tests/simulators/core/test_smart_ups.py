"""The traces of the reference's "quirks", and the physics around them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.core import outlet as group_of
from simulators.core.register_image import RegisterImage
from simulators.core.smart_ups import SmartUps
from simulators.core.ups_state import Mode


def status(ups: SmartUps) -> int:
    high, low = RegisterImage(ups).read(0, 2)
    return high << 16 | low


def test_power_fails_and_returns_as_seen_on_a_real_unit() -> None:
    ups = SmartUps()
    assert status(ups) == 0x2002
    ups.plug(into_mains=False)
    assert (status(ups), ups.cause, ups.input_v) == (0x0244, "rapid_input_change", 0.0)
    ups.step(60)
    assert status(ups) == 0x0244
    ups.plug(into_mains=True)
    ups.step(1)
    assert ups.mode is Mode.ON_BATTERY
    ups.step(3)
    assert (status(ups), ups.cause) == (0x0002, "acceptable_input")
    ups.step(300)
    assert status(ups) == 0x2002


def test_self_test_trace() -> None:
    ups = SmartUps()
    ups.start_self_test()
    assert status(ups) == 0x0084
    assert ups.test_status == {"in_progress", "source_protocol"}
    ups.step(19)
    assert ups.mode is Mode.TESTING
    ups.step(2)
    assert (status(ups), ups.cause) == (0x0002, "test_ended")
    assert ups.test_status == {"passed", "source_protocol"}


def test_self_test_fails_on_a_worn_battery_and_is_refused_on_battery() -> None:
    ups = SmartUps()
    ups.set_health(0.3)
    ups.start_self_test()
    ups.step(21)
    assert ups.test_status == {"failed", "source_protocol"}
    ups.plug(into_mains=False)
    ups.start_self_test()
    assert ups.test_status == {"refused", "source_protocol", "why_invalid_state"}
    empty = SmartUps(charge=0.05)
    empty.start_self_test()
    assert empty.test_status == {"refused", "source_protocol", "why_state_of_charge"}


def test_mains_failure_ends_a_test() -> None:
    ups = SmartUps()
    ups.start_self_test()
    ups.plug(into_mains=False)
    assert ups.test_status == {"aborted", "source_protocol"}
    assert ups.mode is Mode.ON_BATTERY


def test_calibration_discharges_to_its_end() -> None:
    ups = SmartUps(load_pct=50)
    ups.start_calibration()
    assert ups.mode is Mode.CALIBRATING
    ups.step(ups.runtime_s)
    assert ups.calibration_status == {"passed", "source_protocol"}
    assert status(ups) == 0x0002
    assert 0.05 < ups.battery.charge < 0.2


@pytest.mark.parametrize(
    ("charge", "load_pct", "reason"), [(0.8, 50, "why_state_of_charge"), (1.0, 5, "why_load_too_low")]
)
def test_calibration_is_refused(charge: float, load_pct: float, reason: str) -> None:
    ups = SmartUps(charge=charge, load_pct=load_pct)
    ups.start_calibration()
    assert ups.calibration_status == {"refused", "source_protocol", reason}


def test_calibration_can_be_aborted_and_mains_end_it() -> None:
    ups = SmartUps()
    ups.start_calibration()
    assert not ups.abort(Mode.TESTING)
    assert ups.abort(Mode.CALIBRATING)
    assert ups.calibration_status == {"aborted", "source_protocol"}
    ups.start_calibration()
    ups.plug(into_mains=False)
    assert ups.calibration_status == {"aborted", "source_protocol", "why_ac_input"}
    ups.start_calibration()
    assert ups.calibration_status == {"refused", "source_protocol", "why_invalid_state"}


def test_battery_runs_down_warns_and_drops_the_output_until_mains_return() -> None:
    ups = SmartUps(load_pct=100)
    ups.plug(into_mains=False)
    assert not ups.low_runtime
    ups.step(300)
    assert ups.low_runtime
    ups.step(200)
    assert (ups.mode, ups.cause, ups.output_on) == (Mode.DEAD, "low_battery_voltage", False)
    assert (ups.load_w, ups.output_v, ups.output_hz) == (0.0, 0.0, 0.0)
    assert ups.battery_v < 50
    ups.plug(into_mains=True)
    ups.step(5)
    assert (ups.mode, ups.cause, ups.output_on) == (Mode.ONLINE, "automatic_restart", True)


@pytest.mark.parametrize(
    ("volts", "cause"), [(190, "low_input_voltage"), (260, "high_input_voltage")], ids=["sag", "swell"]
)
def test_mains_outside_the_limits_are_a_power_failure(volts: float, cause: str) -> None:
    ups = SmartUps()
    ups.set_mains_v(volts)
    assert (ups.mode, ups.cause) == (Mode.ON_BATTERY, cause)


def test_boost_and_trim() -> None:
    ups = SmartUps()
    ups.set_mains_v(212)
    assert (ups.regulation, ups.mode) == ("boost", Mode.ONLINE)
    assert 235 < ups.output_v < 240
    ups.set_mains_v(250)
    assert ups.regulation == "trim"
    ups.set_mains_v(230)
    assert ups.regulation == ""


def test_overload_on_battery_drops_the_output() -> None:
    ups = SmartUps(load_pct=120)
    assert ups.overloaded
    ups.step(60)
    assert ups.output_on
    assert ups.power_errors == {"output_overload"}
    ups.plug(into_mains=False)
    ups.step(31)
    assert not ups.output_on
    assert ups.cause == "power_system_error"
    ups.clear_faults()
    assert ups.power_errors == frozenset()


def test_overload_ends_with_the_load() -> None:
    ups = SmartUps(load_pct=120)
    ups.step(1)
    ups.set_load_pct(50)
    ups.step(1)
    assert ups.power_errors == frozenset()
    assert not ups.overloaded


def test_signalled_shutdown_drops_after_a_minute_and_returns_main_group_first() -> None:
    ups = SmartUps()
    ups.request_shutdown()
    assert status(ups) & 0x0200
    ups.step(58)
    assert ups.output_on
    ups.step(3)
    assert ups.outlets["mog"].on
    assert not ups.outlets["sog0"].on
    ups.step(15)
    assert ups.outlets["sog0"].on


def test_signalled_shutdown_without_mains_stays_off() -> None:
    ups = SmartUps()
    ups.plug(into_mains=False)
    ups.request_shutdown()
    ups.step(300)
    assert not ups.output_on
    assert status(ups) & 0x0010
    ups.plug(into_mains=True)
    ups.step(30)
    assert ups.output_on


def test_a_group_that_is_off_takes_its_load_away() -> None:
    ups = SmartUps(load_pct=40)
    ups.change_outlets(["sog0"], lambda _, outlet: group_of.turn_off(outlet, 0))
    assert ups.carried_pct == 20
    assert ups.cause == "protocol_command"


def test_button_enables_smartconnect_and_counts() -> None:
    ups = SmartUps()
    assert not ups.smartconnect
    ups.press_button()
    assert (ups.smartconnect, ups.presence, ups.button_pressed_recently) == (True, 1, True)
    ups.press_button()
    assert (ups.smartconnect, ups.presence) == (True, 2)
    ups.step(6)
    assert not ups.button_pressed_recently
    ups.presence = 0xFFFF
    ups.press_button()
    assert ups.presence == 0


def test_alarm_sounds_until_muted_or_over() -> None:
    ups = SmartUps()
    ups.plug(into_mains=False)
    assert ups.alarm_sounding
    ups.muted = True
    assert not ups.alarm_sounding
    ups.plug(into_mains=True)
    ups.step(3)
    ups.plug(into_mains=False)
    assert ups.alarm_sounding


def test_energy_adds_up() -> None:
    ups = SmartUps(load_pct=50)
    before = ups.energy_wh
    ups.step(3600)
    assert ups.energy_wh - before == pytest.approx(500)


def test_a_changed_transfer_limit_counts_at_once() -> None:
    ups = SmartUps()
    ups.change_setting("transfer_low", 229)
    ups.set_mains_v(225)
    assert ups.mode is Mode.ON_BATTERY


events = st.lists(
    st.tuples(
        st.sampled_from(["plug", "unplug", "load", "volts", "test", "calibrate", "down"]), st.floats(0, 300)
    ),
    max_size=12,
)


@given(events)
def test_whatever_happens_the_state_makes_sense(steps: list[tuple[str, float]]) -> None:
    ups = SmartUps()
    image = RegisterImage(ups)
    for what, number in steps:
        match what:
            case "plug" | "unplug":
                ups.plug(into_mains=what == "plug")
            case "load":
                ups.set_load_pct(number)
            case "volts":
                ups.set_mains_v(number)
            case "test":
                ups.start_self_test()
            case "calibrate":
                ups.start_calibration()
            case _:
                ups.request_shutdown()
        ups.step(number)
        assert 0 <= ups.battery.charge <= 1
        assert ups.mode is not Mode.ONLINE or ups.input_good
        assert not (status(ups) & 0x0002 and status(ups) & 0x0004)
        assert bool(status(ups) & 0x0010) is not ups.output_on
        image.read(128, 44)
