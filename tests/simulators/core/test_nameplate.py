from protocol.registers import BY_NAME, Access, encode_value
from simulators.core.nameplate import VERIFICATION_VALUES, Nameplate, default_settings, inventory_values


def test_everything_it_says_is_a_row_that_can_hold_it() -> None:
    plate = Nameplate(groups=("mog", "sog0", "sog1", "sog2"))
    for name, value in (
        inventory_values(plate) | default_settings(plate) | dict(VERIFICATION_VALUES)
    ).items():
        encode_value(name, value)


def test_settings_can_all_be_written_and_absent_groups_have_none() -> None:
    settings = default_settings(Nameplate())
    assert all(BY_NAME[name].access is Access.READ_WRITE for name in settings)
    assert "sog0_name" in settings
    assert "sog1_name" not in settings


def test_transfer_limits_follow_the_nominal_voltage() -> None:
    settings = default_settings(Nameplate(nominal_v=120))
    assert (settings["transfer_high"], settings["transfer_low"]) == (132, 108)
