"""From register words to samples and events: what is read when, what is an edge, when to report.

An event is an edge with hysteresis: it begins and ends under different conditions, some only after they have
held for a while. Edges are decided here, at the device, because the cloud sees samples late and not all.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from agent.core.outlet_rows import high_word_first
from protocol.messages import EventKind, Scalar
from protocol.points import VALUES, Wire
from protocol.registers import BLOCKS, Family, decode_block, family_of, groups_present, raw_value
from protocol.settings import facts_of_registers

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from protocol.registers import Value

INVENTORY_EVERY_MS: Final = 3_600_000  # ratings and firmware change when somebody works on the UPS
EXTENSION_EVERY_MS: Final = 2_000  # a person who pressed the button waits no longer than this
LOST_AFTER_MS: Final = 5_000  # one missed answer is ordinary on a serial line
LOST_AFTER_FAILURES: Final = 3
LOW_CHARGE_PCT: Final = 20.0
LOW_CHARGE_CLEAR_PCT: Final = 25.0
LOW_RUNTIME_S: Final = 120.0
LOW_RUNTIME_CLEAR_S: Final = 180.0
OVERLOAD_PCT: Final = 105.0
OVERLOAD_CLEAR_PCT: Final = 100.0
_FLOATS: Final = frozenset(p.name for p in VALUES if p.wire in {Wire.FLOAT, Wire.DOUBLE})
_BITS: Final = tuple(p.name for p in VALUES if p.name not in _FLOATS and p.name != "flags")


@dataclass(frozen=True, slots=True)
class Inventory:
    """What a UPS is, from its inventory block."""

    model: str = ""
    sku: str = ""
    serial: str = ""
    firmware: str = ""
    rated_real_power_w: int = 0
    rated_apparent_power_va: int = 0
    groups: tuple[str, ...] = ("mog",)
    family: Family = Family.UNKNOWN
    battery_facts: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at the UPS: its two fast blocks, decoded."""

    mono_ms: int
    values: Mapping[str, Value]
    sample: Mapping[str, float | None]

    def has(self, name: str, *codes: str) -> bool:
        """Whether a bit field has one of these bits."""
        bits = self.values.get(name)
        return isinstance(bits, frozenset) and not bits.isdisjoint(codes)

    def number(self, name: str) -> float | None:
        """A numeric value; None where it is not available."""
        value = self.values.get(name)
        return float(value) if isinstance(value, int | float) else None

    @property
    def on_battery(self) -> bool:
        """Running on battery because the mains failed; a test on good mains is no outage."""
        testing = self.has("ups_status", "test_in_progress") and not self.has("ups_status", "input_bad")
        return self.has("ups_status", "on_battery") and not testing

    @property
    def on_mains(self) -> bool:
        """Mains are there. An output that went off in an outage is neither on battery nor on mains."""
        return not self.on_battery and (
            self.has("ups_status", "online", "bypass") or not self.has("ups_status", "input_bad")
        )


def inventory_of(words: Sequence[int]) -> Inventory:
    """Inventory of the words of its block."""
    values = decode_block(BLOCKS["inventory"].start, words)
    sku = _text(values.get("sku"))
    relays = values.get("sog_relay_config")
    return Inventory(
        model=_text(values.get("model")),
        sku=sku,
        serial=_text(values.get("serial_number")),
        firmware=_text(values.get("firmware_version")),
        rated_real_power_w=_whole(values.get("rated_real_power")),
        rated_apparent_power_va=_whole(values.get("rated_apparent_power")),
        groups=groups_present(relays if isinstance(relays, frozenset) else frozenset()),
        family=family_of(sku),
        battery_facts=facts_of_registers(values),
    )


def reading_of(mono_ms: int, status: Sequence[int], dynamic: Sequence[int], inventory: Inventory) -> Reading:
    """Reading of the words of the blocks ``status`` and ``dynamic``."""
    status = high_word_first(status, inventory.groups)
    starts = {"status": BLOCKS["status"].start, "dynamic": BLOCKS["dynamic"].start}
    values = {
        **decode_block(starts["status"], status, family=inventory.family),
        **decode_block(starts["dynamic"], dynamic, family=inventory.family),
    }
    sample: dict[str, float | None] = {}
    for name in _BITS:
        if name.endswith("_outlet_status") and name.removesuffix("_outlet_status") not in inventory.groups:
            continue  # status words of absent groups say nothing
        start, words = (starts["dynamic"], dynamic) if name == "input_status" else (starts["status"], status)
        sample[name] = raw_value(name, words, start) & 0x7FFF_FFFF
    for name in _FLOATS:
        value = values.get(name)
        sample[name] = float(value) if isinstance(value, int | float) else None
    return Reading(mono_ms, values, sample)


def _text(value: Value) -> str:
    return value if isinstance(value, str) else ""


def _whole(value: Value) -> int:
    return value if isinstance(value, int) and value != 0xFFFF else 0


# --- edges -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Edge:
    """An event to be sent, with what was seen at that moment."""

    mono_ms: int
    kind: EventKind
    values: dict[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Condition:
    """A state with two edges. It begins when ``begins`` has held for a time, and ends likewise."""

    name: str
    raised: EventKind
    cleared: EventKind
    begins: Callable[[Reading], bool]
    ends: Callable[[Reading], bool]
    hold_ms: int = 0
    clear_ms: int = 0


def _is_low(reading: Reading) -> bool:
    if not reading.on_battery:
        return False
    charge, runtime = reading.number("state_of_charge"), reading.number("runtime_remaining")
    return (
        reading.has("simple_signaling_status", "shutdown_imminent")
        or (charge is not None and charge <= LOW_CHARGE_PCT)
        or (runtime is not None and runtime <= LOW_RUNTIME_S)
    )


def _is_charged(reading: Reading) -> bool:
    if _is_low(reading):  # a signalled shutdown, whatever the charge
        return False
    charge, runtime = reading.number("state_of_charge"), reading.number("runtime_remaining")
    return (charge is None or charge >= LOW_CHARGE_CLEAR_PCT) and (
        runtime is None or runtime >= LOW_RUNTIME_CLEAR_S
    )


def _load_above(reading: Reading, limit: float) -> bool:
    loads = (reading.number("output_apparent_power_pct"), reading.number("output_real_power_pct"))
    return any(load is not None and load > limit for load in loads)


def _overloaded(reading: Reading) -> bool:
    return (
        reading.has("ups_status", "overload")
        or reading.has("power_system_error", "output_overload")
        or _load_above(reading, OVERLOAD_PCT)
    )


def _needs_battery(reading: Reading) -> bool:
    return reading.has("battery_system_error", "needs_replacement") or reading.has(
        "battery_lifetime_status", "exceeded", "exceeded_acknowledged"
    )


def _in_fault(reading: Reading) -> bool:
    return reading.has("ups_status", "fault", "fault_state")


ON_BATTERY: Final = "on_battery"
CONDITIONS: Final[tuple[Condition, ...]] = (
    Condition(
        ON_BATTERY,
        EventKind.ON_BATTERY,
        EventKind.MAINS_BACK,
        lambda reading: reading.on_battery,
        lambda reading: reading.on_mains,
    ),
    Condition(
        "low_battery", EventKind.LOW_BATTERY, EventKind.LOW_BATTERY_CLEARED, _is_low, _is_charged, 0, 5_000
    ),
    Condition(
        "replace_battery",
        EventKind.REPLACE_BATTERY,
        EventKind.REPLACE_BATTERY_CLEARED,
        _needs_battery,
        lambda reading: not _needs_battery(reading),
        hold_ms=3_000,
        clear_ms=60_000,
    ),
    Condition(
        "overload",
        EventKind.OVERLOAD,
        EventKind.OVERLOAD_CLEARED,
        _overloaded,
        lambda reading: not _overloaded(reading) and not _load_above(reading, OVERLOAD_CLEAR_PCT),
        clear_ms=3_000,
    ),
    Condition(
        "bypass",
        EventKind.BYPASS,
        EventKind.BYPASS_ENDED,
        lambda reading: reading.has("ups_status", "bypass"),
        lambda reading: not reading.has("ups_status", "bypass"),
    ),
    Condition(
        "fault",
        EventKind.FAULT,
        EventKind.FAULT_CLEARED,
        _in_fault,
        lambda reading: not _in_fault(reading),
        hold_ms=2_000,
        clear_ms=5_000,
    ),
)
_RESULTS: Final = ("passed", "failed", "refused", "aborted")
_RUNNING: Final = frozenset({"in_progress", "pending"})
SELF_TESTS: Final[Mapping[str, EventKind]] = {
    "battery_test_status": EventKind.SELF_TEST,
    "runtime_calibration_status": EventKind.CALIBRATION,
}
"""Registers that tell of a test, and the event of its result."""


@dataclass(frozen=True, slots=True)
class Watcher:
    """What holds now, and since when something else seems to. ``active`` outlives a restart of the agent."""

    active: frozenset[str] = frozenset()
    since_ms: Mapping[str, int] = field(default_factory=dict)  # the opposite of `active`, per condition
    began_ms: Mapping[str, int] = field(default_factory=dict)
    latched: Mapping[str, Value] = field(default_factory=dict)


def resumed(active: Collection[str], events: Iterable[EventKind]) -> Watcher:
    """After a restart: what was last written down as holding, and the events that came after that."""
    kinds = list(events)
    holding = set(active) & {condition.name for condition in CONDITIONS}
    running = {name: _RUNNING for name, kind in SELF_TESTS.items() if name in active and kind not in kinds}
    for kind in kinds:
        holding |= {condition.name for condition in CONDITIONS if condition.raised is kind}
        holding -= {condition.name for condition in CONDITIONS if condition.cleared is kind}
    return Watcher(frozenset(holding), latched=running)


def running_tests(watcher: Watcher) -> frozenset[str]:
    """The tests whose result is still to come."""
    found = ((name, watcher.latched.get(name)) for name in SELF_TESTS)
    return frozenset(name for name, bits in found if isinstance(bits, frozenset) and bits & _RUNNING)


def watch(watcher: Watcher, reading: Reading, groups: Sequence[str]) -> tuple[Watcher, tuple[Edge, ...]]:
    """The edges that a reading brings, in a fixed order."""
    active, since, began = set(watcher.active), dict(watcher.since_ms), dict(watcher.began_ms)
    edges: list[Edge] = []
    for condition in CONDITIONS:
        name, holds = condition.name, condition.name in active
        if not (condition.ends if holds else condition.begins)(reading):
            since.pop(name, None)
            continue
        first_ms = since.setdefault(name, reading.mono_ms)
        if reading.mono_ms - first_ms < (condition.clear_ms if holds else condition.hold_ms):
            continue
        del since[name]
        values = _seen(reading)
        if holds:
            active.remove(name)
            if name in began:
                values["lasted_s"] = round((reading.mono_ms - began.pop(name)) / 1000, 1)
            edges.append(Edge(reading.mono_ms, condition.cleared, values))
        else:
            active.add(name)
            began[name] = reading.mono_ms
            edges.append(Edge(reading.mono_ms, condition.raised, values))
    latched, more = _latches(watcher.latched, reading, groups)
    return Watcher(frozenset(active), since, began, latched), (*edges, *more)


def _seen(reading: Reading) -> dict[str, Scalar]:
    cause = reading.values.get("status_change_cause")
    return {
        "cause": cause if isinstance(cause, str) else None,
        "state_of_charge": reading.number("state_of_charge"),
        "runtime_remaining": reading.number("runtime_remaining"),
        "input_voltage": reading.number("input_voltage"),
        "output_real_power_pct": reading.number("output_real_power_pct"),
    }


def _latches(
    latched: Mapping[str, Value], reading: Reading, groups: Sequence[str]
) -> tuple[dict[str, Value], list[Edge]]:
    """Registers whose change is itself the event. The first reading only tells how they stand."""
    edges: list[Edge] = []
    now: dict[str, Value] = {}
    for name, kind in SELF_TESTS.items():
        now[name] = bits = reading.values.get(name)
        if isinstance(bits, frozenset) and latched.get(name) not in {None, bits}:
            result = next((result for result in _RESULTS if result in bits), None)
            if result is not None:
                edges.append(Edge(reading.mono_ms, kind, _test_values(result, bits)))
    for group in groups:
        now[group] = is_on = reading.has(f"{group}_outlet_status", "on")
        if group in latched and latched[group] != is_on:
            edges.append(Edge(reading.mono_ms, EventKind.OUTLET_GROUP, {"group": group, "on": is_on}))
    return now, edges


def _test_values(result: str, bits: frozenset[str]) -> dict[str, Scalar]:
    source = next((bit.removeprefix("source_") for bit in sorted(bits) if bit.startswith("source_")), None)
    why = next((bit.removeprefix("why_") for bit in sorted(bits) if bit.startswith("why_")), None)
    return {"result": result, "source": source, "why": why}


# --- the line to the UPS -----------------------------------------------------------------------------------

COMMUNICATION_LOST: Final = "communication_lost"


@dataclass(frozen=True, slots=True)
class Contact:
    """Whether the UPS answers. A UPS that does not is *stale*, never in an outage."""

    failures: int = 0
    failing_since_ms: int | None = None
    lost: bool = False


def contact_after(active: Iterable[str], events: Iterable[EventKind]) -> Contact:
    """After a restart, likewise: contact that was told as lost is told as restored, and not as lost again."""
    lost = COMMUNICATION_LOST in active
    for kind in events:
        lost = kind is EventKind.COMMUNICATION_LOST or (lost and kind is not EventKind.COMMUNICATION_RESTORED)
    return Contact(lost=lost)


def answered(contact: Contact, mono_ms: int) -> tuple[Contact, tuple[Edge, ...]]:
    """After a good reading."""
    if not contact.lost:
        return Contact(), ()
    values: dict[str, Scalar] = {}
    if contact.failing_since_ms is not None:
        values["lasted_s"] = round((mono_ms - contact.failing_since_ms) / 1000, 1)
    return Contact(), (Edge(mono_ms, EventKind.COMMUNICATION_RESTORED, values),)


def missed(contact: Contact, mono_ms: int, reason: str) -> tuple[Contact, tuple[Edge, ...]]:
    """After a failed reading."""
    since = mono_ms if contact.failing_since_ms is None else contact.failing_since_ms
    missing = replace(contact, failures=contact.failures + 1, failing_since_ms=since)
    if missing.lost or missing.failures < LOST_AFTER_FAILURES or mono_ms - since < LOST_AFTER_MS:
        return missing, ()
    edge = Edge(mono_ms, EventKind.COMMUNICATION_LOST, {"reason": reason[:200]})
    return replace(missing, lost=True), (edge,)


# --- when to report ----------------------------------------------------------------------------------------


def is_due(
    waiting: int, last_report_ms: int, now_ms: int, interval_ms: int, *, on_battery: bool, edge: bool
) -> bool:
    """Whether the samples collected so far go to the spool, and out, now."""
    if not waiting:
        return False
    return edge or on_battery or now_ms - last_report_ms >= interval_ms
