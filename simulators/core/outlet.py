"""One outlet group of a simulated Smart-UPS: on, off and the countdowns between them.

Theory of operation. A command starts with an optional countdown to *off*; when the group is to come back
(shutdown, reboot, lost output), *stay off* runs next, and then *turn on*, which a shutdown holds until mains
and enough battery runtime are there, while a reboot does not wait. ``step`` moves at most one phase a call.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Delays:
    """The group's settings: registers 1029 and following."""

    turn_off_s: float
    turn_on_s: float
    stay_off_s: float
    min_return_runtime_s: float


@dataclass(frozen=True, slots=True)
class Outlet:
    """State of a group; a countdown that does not run is None."""

    on: bool = True
    turn_off_s: float | None = None
    stay_off_s: float | None = None
    turn_on_s: float | None = None
    comes_back: bool = False
    waits_for_mains: bool = False
    on_delay_s: float = 0.0
    off_time_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Supply:
    """What the group can draw from."""

    mains_ok: bool
    runtime_s: float


def turn_off(outlet: Outlet, delay_s: float) -> Outlet:
    """Off after the delay, and stay so."""
    return _begin_off(Outlet(on=outlet.on), delay_s)


def turn_on(outlet: Outlet, delay_s: float, *, cold_boot: bool) -> Outlet:
    """On after the delay; without ``cold_boot`` only while mains are there."""
    if outlet.on:
        return Outlet()
    return Outlet(on=False, turn_on_s=delay_s, waits_for_mains=not cold_boot)


def shut_down(outlet: Outlet, off_delay_s: float, stay_off_s: float, on_delay_s: float) -> Outlet:
    """Off, and on again when mains and runtime allow."""
    after = Outlet(
        on=outlet.on, comes_back=True, waits_for_mains=True, on_delay_s=on_delay_s, off_time_s=stay_off_s
    )
    return _begin_off(after, off_delay_s)


def reboot(outlet: Outlet, off_delay_s: float, stay_off_s: float, on_delay_s: float) -> Outlet:
    """Off and on again, whatever the mains do."""
    after = Outlet(on=outlet.on, comes_back=True, on_delay_s=on_delay_s, off_time_s=stay_off_s)
    return _begin_off(after, off_delay_s)


def cancel(outlet: Outlet) -> Outlet:
    """Stop every countdown; the group stays as it is."""
    return Outlet(on=outlet.on)


def lose_output(outlet: Outlet, on_delay_s: float) -> Outlet:
    """The UPS has nothing to give any more: a group that was on returns with the mains."""
    if not outlet.on:
        return outlet
    return Outlet(on=False, turn_on_s=on_delay_s, comes_back=True, waits_for_mains=True)


def step(outlet: Outlet, dt_s: float, supply: Supply, delays: Delays) -> Outlet:
    """The group ``dt_s`` later."""
    if outlet.turn_off_s is not None:
        left = outlet.turn_off_s - dt_s
        return replace(outlet, turn_off_s=left) if left > 0 else _now_off(outlet)
    if outlet.stay_off_s is not None:
        left = outlet.stay_off_s - dt_s
        if left > 0:
            return replace(outlet, stay_off_s=left)
        return replace(outlet, stay_off_s=None, turn_on_s=outlet.on_delay_s)
    if outlet.turn_on_s is not None and not is_held(outlet, supply, delays):
        left = outlet.turn_on_s - dt_s
        return replace(outlet, turn_on_s=left) if left > 0 else Outlet()
    return outlet


def is_held(outlet: Outlet, supply: Supply, delays: Delays) -> bool:
    """Whether the group would go on, were it not for mains or runtime."""
    if outlet.turn_on_s is None or not outlet.waits_for_mains:
        return False
    return not supply.mains_ok or supply.runtime_s < delays.min_return_runtime_s


def status_bits(outlet: Outlet, supply: Supply, delays: Delays, *, low_runtime: bool) -> frozenset[str]:
    """The group's status word (3, 6, 9, 12, 15) as names."""
    bits = {"on" if outlet.on else "off"}
    moving = outlet.turn_off_s is not None or not outlet.on
    if outlet.comes_back and moving:
        if not outlet.waits_for_mains:
            bits.add("rebooting")
        elif outlet.on:
            bits.add("shutting_down")
        else:
            bits.add("sleeping")
    if outlet.turn_off_s is not None:
        bits.add("pending_off_delay")
    if outlet.turn_on_s is not None:
        if outlet.waits_for_mains and not supply.mains_ok:
            bits.add("pending_on_ac_presence")
        elif is_held(outlet, supply, delays):
            bits.add("pending_on_min_runtime")
        else:
            bits.add("pending_on_delay")
    if low_runtime:
        bits.add("low_runtime")
    return frozenset(bits)


def _begin_off(outlet: Outlet, delay_s: float) -> Outlet:
    if delay_s > 0 and outlet.on:
        return replace(outlet, turn_off_s=delay_s)
    return _now_off(outlet)


def _now_off(outlet: Outlet) -> Outlet:
    stay_off_s = outlet.off_time_s if outlet.comes_back else None
    return replace(outlet, on=False, turn_off_s=None, stay_off_s=stay_off_s)
