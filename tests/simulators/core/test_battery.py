import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.core.battery import (
    RUNTIME_MAX_S,
    Battery,
    discharge,
    recharge,
    runtime_s,
    settle_temperature,
    voltage_v,
)

charges = st.floats(0, 1)
loads = st.floats(0, 2000)
times = st.floats(0, 1e5)


def test_runtime_at_full_and_half_load_is_that_of_the_fitted_unit() -> None:
    full = runtime_s(Battery(), 1000)
    half = runtime_s(Battery(), 500)
    assert full == pytest.approx(402)
    assert 20 * 60 < half < 25 * 60


def test_an_idle_unit_says_no_more_than_a_day() -> None:
    assert runtime_s(Battery(), 0) == RUNTIME_MAX_S


@given(charges, loads)
def test_a_battery_is_empty_after_its_runtime(charge: float, load_w: float) -> None:
    battery = Battery(charge=charge)
    time_s = runtime_s(battery, load_w)
    if time_s < RUNTIME_MAX_S:
        after = discharge(battery, load_w, time_s)
        assert after.charge == pytest.approx(0, abs=1e-9)
        assert discharge(after, load_w, 1).empty


@given(charges, loads, times)
def test_charge_stays_a_share(charge: float, load_w: float, dt_s: float) -> None:
    battery = Battery(charge=charge)
    assert 0 <= discharge(battery, load_w, dt_s).charge <= charge
    assert charge <= recharge(battery, dt_s).charge + 1e-12 <= 1 + 1e-9


@given(charges, st.floats(0, 20000), st.floats(0, 20000))
def test_two_short_charges_equal_one_long(charge: float, one_s: float, other_s: float) -> None:
    battery = Battery(charge=charge)
    assert recharge(recharge(battery, one_s), other_s).charge == pytest.approx(
        recharge(battery, one_s + other_s).charge, abs=1e-9
    )


def test_charging_takes_about_three_hours() -> None:
    assert recharge(Battery(charge=0), 3 * 3600).charge == pytest.approx(0.9)
    assert recharge(Battery(charge=0), 7 * 3600).full


def test_worn_battery_lasts_shorter_and_sags_deeper() -> None:
    worn = dataclasses.replace(Battery(), health=0.4)
    assert runtime_s(worn, 500) == pytest.approx(0.4 * runtime_s(Battery(), 500))
    assert voltage_v(worn, 800) < voltage_v(Battery(), 800)


def test_voltage_floats_high_and_falls_under_load_and_with_charge() -> None:
    assert voltage_v(Battery(), None) == pytest.approx(54.48)
    assert 49 < voltage_v(Battery(), 300) < 51
    assert voltage_v(Battery(charge=0.1), 300) < voltage_v(Battery(charge=0.9), 300)


def test_temperature_approaches_its_target() -> None:
    battery = Battery(temperature_c=25)
    assert settle_temperature(battery, 25, 1.0, 1e6).temperature_c == pytest.approx(34)
    assert 25 < settle_temperature(battery, 25, 1.0, 60).temperature_c < 27
