from simulators.core import outlet as group_of
from simulators.core.outlet import Delays, Outlet, Supply, is_held, status_bits, step

GOOD = Supply(mains_ok=True, runtime_s=1000)
NO_MAINS = Supply(mains_ok=False, runtime_s=1000)
DELAYS = Delays(turn_off_s=90, turn_on_s=5, stay_off_s=8, min_return_runtime_s=0)


def after(outlet: Outlet, seconds: int, supply: Supply = GOOD, delays: Delays = DELAYS) -> Outlet:
    for _ in range(seconds):
        outlet = step(outlet, 1.0, supply, delays)
    return outlet


def bits(outlet: Outlet, supply: Supply = GOOD, delays: Delays = DELAYS) -> frozenset[str]:
    return status_bits(outlet, supply, delays, low_runtime=False)


def test_off_at_once_and_after_a_delay() -> None:
    assert bits(group_of.turn_off(Outlet(), 0)) == {"off"}
    waiting = group_of.turn_off(Outlet(), 90)
    assert bits(waiting) == {"on", "pending_off_delay"}
    assert after(waiting, 89).on
    assert bits(after(waiting, 90)) == {"off"}
    assert bits(after(waiting, 500)) == {"off"}


def test_cancel_leaves_the_group_as_it_is() -> None:
    assert after(group_of.cancel(group_of.turn_off(Outlet(), 90)), 200).on


def test_on_waits_for_mains_unless_told_otherwise() -> None:
    off = Outlet(on=False)
    waiting = group_of.turn_on(off, 5, cold_boot=False)
    assert bits(waiting) == {"off", "pending_on_delay"}
    assert bits(waiting, NO_MAINS) == {"off", "pending_on_ac_presence"}
    assert not after(waiting, 100, NO_MAINS).on
    assert after(waiting, 5).on
    assert after(group_of.turn_on(off, 5, cold_boot=True), 5, NO_MAINS).on
    assert group_of.turn_on(Outlet(), 5, cold_boot=False) == Outlet()


def test_reboot_returns_after_staying_off_even_without_mains() -> None:
    rebooting = group_of.reboot(Outlet(), 0, 8, 5)
    assert bits(rebooting) == {"off", "rebooting"}
    assert not after(rebooting, 12, NO_MAINS).on
    assert after(rebooting, 14, NO_MAINS) == Outlet()


def test_shutdown_sleeps_until_mains_and_runtime_are_back() -> None:
    delays = Delays(turn_off_s=90, turn_on_s=0, stay_off_s=8, min_return_runtime_s=600)
    down = group_of.shut_down(Outlet(), 90, 8, 0)
    assert bits(down) == {"on", "shutting_down", "pending_off_delay"}
    asleep = after(down, 120, NO_MAINS, delays)
    assert bits(asleep, NO_MAINS, delays) == {"off", "sleeping", "pending_on_ac_presence"}
    weak = Supply(mains_ok=True, runtime_s=300)
    assert bits(asleep, weak, delays) == {"off", "sleeping", "pending_on_min_runtime"}
    assert is_held(asleep, weak, delays)
    assert after(asleep, 1, GOOD, delays) == Outlet()


def test_lost_output_comes_back_only_where_it_was_on() -> None:
    assert after(group_of.lose_output(Outlet(), 3), 3) == Outlet()
    switched_off = group_of.turn_off(Outlet(), 0)
    assert group_of.lose_output(switched_off, 3) == switched_off


def test_low_runtime_is_shown() -> None:
    assert status_bits(Outlet(), GOOD, DELAYS, low_runtime=True) == {"on", "low_runtime"}
