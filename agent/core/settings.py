"""What a device is set to: seen in the UPS, done at its front panel, wanted by the cloud, and who wins.

Theory of operation. The *ledger* is durable. The settings of the UPS are read again and again; a value that
differs from the one seen last, and that is none of ours, was changed at the front panel. What the cloud wants
arrives as a whole with a version and is considered once: a setting that was changed at the front panel later
than somebody wanted it keeps its value, every other one is written, read back, and from then on counts as the
cloud's. What came of it is reported with that version. Between two looks nobody knows when exactly a panel
was touched: it counts as late as it can have been, so in doubt the front panel wins.

A write is noted before it is made (``writing``), so that after a crash its effect is not taken for somebody's
at the front panel. Another ownership begins with an empty ledger: nothing of the former owner's wishes stays.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from protocol.messages import Desired, Reported, Scalar
from protocol.settings import BY_SETTING, Home, SettingCode, SettingError, check

if TYPE_CHECKING:
    from collections.abc import Mapping

FRONT_PANEL = "front panel"
PORTAL = "portal"


@dataclass(frozen=True, slots=True)
class Moment:
    """Now: the boot, its monotonic clock, and how far unix time is from that."""

    boot: str
    mono_ms: int
    offset_ms: int

    @property
    def unix_ms(self) -> int:
        """Now, by the cloud's clock as soon as it is known."""
        return max(0, self.mono_ms + self.offset_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Local:
    """A change at the front panel. ``ts_ms`` is what was known of unix time then."""

    value: Scalar
    boot: str
    mono_ms: int
    ts_ms: int

    def at_ms(self, now: Moment) -> int:
        """When it was made, in unix ms."""
        return max(0, self.mono_ms + now.offset_ms) if self.boot == now.boot else self.ts_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """Everything that is known of one ownership's settings.

    ``own``: settings of the agent that somebody has set. ``seen``: registers as last read. ``changed``: front
    panel changes that stand. ``refused`` and ``overwritten`` are of ``base_version``, the last version that
    was considered; ``wanted`` is to be considered. ``writing``: values that are being written for it, and
    ``replacing``, what was there before.
    """

    epoch: int = 0
    base_version: int = 0
    revision: int = 0
    own: dict[str, Scalar] = field(default_factory=dict)
    seen: dict[str, Scalar] = field(default_factory=dict)
    changed: dict[str, Local] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    overwritten: dict[str, Local] = field(default_factory=dict)
    wanted: Desired | None = None
    writing: dict[str, Scalar] = field(default_factory=dict)
    replacing: dict[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Change:
    """A setting has another value now."""

    name: str
    before: Scalar
    after: Scalar
    by: str


@dataclass(frozen=True, slots=True)
class Todo:
    """How to carry out what is wanted. ``kept``: the front panel was later; ``writes`` go to the UPS."""

    kept: frozenset[str]
    own: Mapping[str, Scalar]
    writes: Mapping[str, Scalar]
    refused: Mapping[str, str]

    @property
    def needs_ups(self) -> bool:
        """Whether it takes a look at the UPS."""
        return bool(self.writes or self.kept)


def begin(ledger: Ledger, epoch: int, now: Moment) -> Ledger:
    """The ledger of the ownership with this epoch."""
    if ledger.epoch == epoch:
        return ledger
    return Ledger(epoch=epoch, revision=_next_revision(ledger, now))


def look(ledger: Ledger, found: Mapping[str, Scalar], now: Moment) -> tuple[Ledger, tuple[Change, ...]]:
    """The ledger after a look at some of the registers, and what was changed at the front panel."""
    if all(name in ledger.seen and ledger.seen[name] == value for name, value in found.items()):
        return ledger, ()
    changes = tuple(
        Change(name, ledger.seen[name], value, FRONT_PANEL)
        for name, value in found.items()
        if name in ledger.seen and value not in (ledger.seen[name], ledger.writing.get(name))
    )
    local = {
        one.name: Local(value=one.after, boot=now.boot, mono_ms=now.mono_ms, ts_ms=now.unix_ms)
        for one in changes
    }
    after = replace(
        ledger,
        seen={**ledger.seen, **found},
        changed={**ledger.changed, **local},
        revision=_next_revision(ledger, now),
    )
    return after, changes


def overtake(ledger: Ledger, told: int, now: Moment) -> Ledger:
    """The ledger with a revision that the cloud, which has been told this one, takes for newer.

    Somebody may have restored the agent's state from a backup.
    """
    if told <= ledger.revision:
        return ledger
    return replace(ledger, revision=max(told + 1, now.unix_ms))


def tell_again(ledger: Ledger, now: Moment) -> Ledger:
    """The ledger with a new revision: something that is told beside the settings has changed."""
    return replace(ledger, revision=_next_revision(ledger, now))


def take(ledger: Ledger, desired: Desired) -> Ledger:
    """The ledger once this is wanted; the same where it is of another ownership, or no news."""
    known = max(ledger.base_version, ledger.wanted.version if ledger.wanted else 0)
    if desired.epoch != ledger.epoch or desired.version <= known:
        return ledger
    return replace(ledger, wanted=desired)


def plan(ledger: Ledger, now: Moment) -> Todo | None:
    """What is to be done about what is wanted; None where nothing is."""
    desired = ledger.wanted
    if desired is None:
        return None
    kept: set[str] = set()
    own: dict[str, Scalar] = {}
    writes: dict[str, Scalar] = {}
    refused: dict[str, str] = {}
    for name, value in desired.settings.items():
        local = ledger.changed.get(name)
        try:
            wanted = check(name, value)
        except SettingError as error:
            refused[name] = error.code
            continue
        match BY_SETTING[name].home:
            case Home.AGENT:
                own[name] = wanted
            case Home.REGISTER if local and local.at_ms(now) > desired.set_ms.get(name, desired.version):
                kept.add(name)
            case Home.REGISTER:
                writes[name] = wanted
            case Home.CLOUD:
                refused[name] = SettingCode.UNKNOWN
    return Todo(frozenset(kept), own, writes, refused)


def intend(ledger: Ledger, name: str, value: Scalar) -> Ledger:
    """The ledger before this value is written."""
    replacing = {name: ledger.seen.get(name), **ledger.replacing}
    return replace(ledger, writing={**ledger.writing, name: value}, replacing=replacing)


def finish(
    ledger: Ledger, todo: Todo, outcome: Mapping[str, str], before: Mapping[str, Scalar], now: Moment
) -> tuple[Ledger, tuple[Change, ...]]:
    """The ledger once all is done, and what it changed.

    ``outcome``: register setting → why the UPS did not take it, "" where it did; its values are in ``seen``
    already. ``before``: what was in force.
    """
    assert ledger.wanted is not None  # noqa: S101  whoever plans has it
    applied = {name for name, code in outcome.items() if not code}
    refused = {**todo.refused, **{name: code for name, code in outcome.items() if code}}
    beaten = {name: local for name, local in ledger.changed.items() if name in applied}
    after = replace(
        ledger,
        base_version=ledger.wanted.version,
        wanted=None,
        writing={},
        replacing={},
        own={**ledger.own, **todo.own},
        changed={name: local for name, local in ledger.changed.items() if name not in applied},
        refused=refused,
        overwritten={name: local for name, local in beaten.items() if local.value != ledger.seen.get(name)},
        revision=_next_revision(ledger, now),
    )
    before = {**before, **ledger.replacing}
    new = {**todo.own, **{name: after.seen[name] for name in applied if name in after.seen}}
    changes = tuple(
        Change(name, before.get(name), value, PORTAL)
        for name, value in sorted(new.items())
        if before.get(name) != value
    )
    return after, changes


def report_of(ledger: Ledger, defaults: Mapping[str, Scalar], now: Moment) -> Reported:
    """What the cloud is told. ``defaults``: the agent's settings where nobody has set them."""
    return Reported(
        epoch=ledger.epoch,
        base_version=ledger.base_version,
        revision=ledger.revision,
        settings={**defaults, **ledger.own, **ledger.seen},
        changed={name: local.at_ms(now) for name, local in ledger.changed.items()},
        refused=dict(ledger.refused),
        overwritten={name: local.value for name, local in ledger.overwritten.items()},
        overwritten_ms={name: local.at_ms(now) for name, local in ledger.overwritten.items()},
    )


def _next_revision(ledger: Ledger, now: Moment) -> int:
    return max(ledger.revision + 1, now.unix_ms)
