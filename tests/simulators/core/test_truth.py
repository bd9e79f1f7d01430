"""The facts of a simulated UPS, from its physics."""

from simulators.core.nameplate import Nameplate
from simulators.core.smart_ups import SmartUps
from simulators.core.truth import changed, facts


def test_facts_follow_the_physics() -> None:
    ups = SmartUps(Nameplate(groups=("mog", "sog0")))
    known = facts(ups)
    assert known == {
        "mode": "online",
        "low": False,
        "overloaded": False,
        "worn_out": False,
        "test": "",
        "calibration": "",
        "outlet mog": True,
        "outlet sog0": True,
    }
    ups.plug(into_mains=False)
    assert changed(known, facts(ups)) == {"mode": "on_battery"}
    ups.set_load_pct(120)
    assert changed(known, facts(ups)) == {"mode": "on_battery", "overloaded": True}
    ups.set_load_pct(30)
    ups.plug(into_mains=True)
    ups.step(3)
    assert changed(known, facts(ups)) == {}
    ups.start_self_test()
    assert changed(known, facts(ups)) == {"mode": "testing"}
    ups.step(25)
    assert changed(known, facts(ups)) == {"test": "passed"}
    ups.set_health(0.3)
    assert changed(known, facts(ups)) == {"test": "passed", "worn_out": True}


def test_a_battery_that_will_soon_be_empty_is_low_while_it_carries_the_load() -> None:
    ups = SmartUps(Nameplate(), charge=0.03)
    known = facts(ups)
    ups.plug(into_mains=False)
    assert changed(known, facts(ups)) == {"mode": "on_battery", "low": True}


def test_a_brown_out_within_the_limits_changes_nothing() -> None:
    ups = SmartUps(Nameplate())
    known = facts(ups)
    ups.set_mains_v(ups.plate.nominal_v * 0.92)
    ups.step(5)
    assert ups.regulation == "boost"
    assert changed(known, facts(ups)) == {}
