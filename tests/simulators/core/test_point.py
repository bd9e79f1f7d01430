from datetime import date

import pytest

from simulators.core.point import help_text, nameplate_of, set_point, split_assignment, switch
from simulators.core.smart_ups import SmartUps


def test_switch_words() -> None:
    assert switch("On")
    assert not switch(" off ")
    with pytest.raises(ValueError, match="neither"):
        switch("maybe")


def test_assignments() -> None:
    assert split_assignment(" load_pct = 40 ") == ("load_pct", "40")
    for text in ("load_pct", "=4", ""):
        with pytest.raises(ValueError, match="point=value"):
            split_assignment(text)


def test_nameplate_points() -> None:
    plate = nameplate_of(
        [
            ("sku", "SMT750"),
            ("nominal_v", "120"),
            ("groups", "mog+sog0+sog1"),
            ("manufacture_date", "2020-10-16"),
            ("load_pct", "40"),
        ]
    )
    assert (plate.sku, plate.nominal_v, plate.groups) == ("SMT750", 120, ("mog", "sog0", "sog1"))
    assert plate.manufacture_date == date(2020, 10, 16)


def test_points_of_a_running_unit() -> None:
    ups = SmartUps()
    for name, text in (
        ("state_of_charge", "55"),
        ("load_pct", "42"),
        ("input_voltage", "228"),
        ("wander_v", "0"),
        ("battery_health", "0.4"),
        ("ambient_c", "31"),
        ("output_energy", "1000"),
        ("ups_name", "Rack 7"),
        ("sensitivity", "reduced"),
        ("transfer_low", "200"),
        ("battery_install_date", "2024-01-02"),
        ("mains", "off"),
    ):
        set_point(ups, name, text)
    assert (ups.battery.charge, ups.load_pct, ups.mains_v, ups.plugged) == (0.55, 42, 228, False)
    assert (ups.worn_out, ups.ambient_c, ups.energy_wh) == (True, 31, 1000)
    assert ups.settings["sensitivity"] == {"reduced"}
    assert ups.settings["battery_install_date"] == date(2024, 1, 2)
    assert (ups.settings["transfer_low"], ups.settings["ups_name"]) == (200, "Rack 7")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("colour", "red"),
        ("sku", "SMT750"),
        ("load_pct", "much"),
        ("sensitivity", "huge"),
        ("ups_name", "x" * 17),
    ],
)
def test_what_cannot_be_set(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"point|fixed|float|name|characters"):
        set_point(SmartUps(), name, text)


def test_help_names_points_and_nameplate() -> None:
    assert "load_pct" in help_text()
    assert "sku" in help_text()
