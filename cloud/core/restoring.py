"""Whether a restored database stays ahead of every agent: what was found in it, judged.

Agents refuse what they have seen before: an ownership epoch, a command's counter, a settings version, a key
set's version, a log-in's time. A backup knows lower ones than the agents do, who went on after it was made.
That does no harm, because each of these numbers is given as ``max(last + 1, unix ms)``: as long as the clock
has passed every number ever given, the next one lies above all of them, whatever the database remembers. So
what has to be looked at is the clock, and whether a number in the database lies ahead of it; and whether the
tables belong together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

CLOCKS_APART_MS: Final = 5_000
"""The database's clock and ours tell the same time, but for this."""
AHEAD_MS: Final = 600_000
"""A device's clock may say a log-in is so much later than it is (its token is still taken)."""


class Verdict(StrEnum):
    """How a finding is meant."""

    OK = "ok"
    LOOK = "look"
    """No danger for the numbers, but somebody should know."""
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at (a stable word), how it is, and why."""

    name: str
    verdict: Verdict
    text: str


@dataclass(frozen=True, slots=True)
class Series:
    """One kind of number. ``ahead``: devices with one beyond the clock; ``behind``: devices whose last one is
    lower than one that another table holds.
    """

    name: str
    devices: int
    highest: int
    ahead: int
    behind: int


@dataclass(frozen=True, slots=True)
class Key:
    """A signing key of the cloud. ``here``: the private half is."""

    use: str
    not_before_ms: int
    not_after_ms: int
    here: bool


@dataclass(frozen=True, slots=True)
class KeySetFacts:
    """The key set on disk."""

    version: int
    issued_ms: int
    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the database and the state directory hold; times in unix ms, 0: none.

    ``newest_ms``: the newest time that a server's clock wrote. ``live_commands``: commands that could still
    be delivered. ``queued``: mails and messages that wait to be sent.
    """

    clock_ms: int
    database_ms: int
    newest_ms: int
    series: Sequence[Series]
    live_commands: int
    queued: int
    pending_migrations: int
    key_set: KeySetFacts | None
    uses: Sequence[str]


def judge(facts: Facts) -> list[Finding]:
    """Everything that was looked at, in the order of importance; little where the schema is an older one."""
    if facts.pending_migrations:
        return [_clocks(facts), _key_set(facts), _schema(facts)]
    return [
        _clocks(facts),
        _age(facts),
        *(_series(one, facts.clock_ms) for one in facts.series),
        _key_set(facts),
        _schema(facts),
        _commands(facts),
        _queue(facts),
    ]


def _clocks(facts: Facts) -> Finding:
    apart_ms = facts.database_ms - facts.clock_ms
    if abs(apart_ms) > CLOCKS_APART_MS:
        text = f"this machine and the database's differ by {_span(abs(apart_ms))}: set both by NTP first"
        return Finding("clocks", Verdict.BAD, text)
    return Finding("clocks", Verdict.OK, "this machine and the database tell the same time")


def _age(facts: Facts) -> Finding:
    if not facts.newest_ms:
        return Finding("backup", Verdict.LOOK, "the database is empty")
    age_ms = facts.clock_ms - facts.newest_ms
    if age_ms < -CLOCKS_APART_MS:
        return Finding(
            "backup",
            Verdict.BAD,
            f"it holds times that lie {_span(-age_ms)} ahead of this machine's clock: the clock is behind,"
            " and new numbers could lie below those that agents have seen. Set it before anything starts",
        )
    text = f"the newest entry is {_span(max(0, age_ms))} old; what happened since is lost here"
    return Finding("backup", Verdict.OK, text)


def _series(one: Series, clock_ms: int) -> Finding:
    if one.behind:
        return Finding(
            one.name,
            Verdict.BAD,
            f"of {one.behind} devices the last number is lower than one in another table: the tables are"
            " not of one backup",
        )
    if one.ahead:
        return Finding(
            one.name,
            Verdict.BAD,
            f"{one.ahead} devices have a number ahead of the clock, the highest by"
            f" {_span(one.highest - clock_ms)}: the next one is only one higher, and their agents may have"
            " seen it. Correct the clock, or wait until it has passed them",
        )
    if not one.devices:
        return Finding(one.name, Verdict.OK, "none was ever given")
    text = f"{one.devices} devices, the highest {_span(max(0, clock_ms - one.highest))} behind the clock"
    return Finding(one.name, Verdict.OK, f"{text}: the next one is above all that were given")


def _key_set(facts: Facts) -> Finding:
    found = facts.key_set
    if found is None:
        text = "there is no key set here: restore keys/ of the state directory, agents trust no other root"
        return Finding("key_set", Verdict.BAD, text)
    usable = {
        key.use for key in found.keys if key.here and key.not_before_ms <= facts.clock_ms < key.not_after_ms
    }
    missing = [use for use in facts.uses if use not in usable]
    if missing:
        text = f"version {found.version} has no valid key here for: {', '.join(missing)}"
        return Finding("key_set", Verdict.BAD, text)
    if max(found.version, found.issued_ms) > facts.clock_ms + CLOCKS_APART_MS:
        text = f"version {found.version} was made later than it is now: the clock is behind"
        return Finding("key_set", Verdict.BAD, text)
    age = _span(facts.clock_ms - found.issued_ms)
    text = (
        f"version {found.version}, {age} old, with valid keys for all uses; the next is above every older one"
    )
    return Finding("key_set", Verdict.OK, text)


def _schema(facts: Facts) -> Finding:
    if facts.pending_migrations:
        text = f"{facts.pending_migrations} migrations are missing: run migrate, then this check again"
        return Finding("schema", Verdict.LOOK, text)
    return Finding("schema", Verdict.OK, "fits this program")


def _commands(facts: Facts) -> Finding:
    if facts.live_commands:
        text = f"{facts.live_commands} are not a minute old and would be delivered: wait a minute"
        return Finding("commands", Verdict.BAD, text)
    return Finding("commands", Verdict.OK, "none that could still be delivered")


def _queue(facts: Facts) -> Finding:
    if facts.queued:
        text = f"{facts.queued} mails and messages wait; those that went out after the backup go out again"
        return Finding("outbox", Verdict.LOOK, text)
    return Finding("outbox", Verdict.OK, "nothing waits to be sent")


def _span(length_ms: int) -> str:
    """``3 s``, ``5 min``, ``1 h 2 min``, ``12 days``."""
    seconds = length_ms // 1000
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min"
    if seconds < 172_800:
        return f"{seconds // 3600} h {seconds % 3600 // 60} min"
    return f"{seconds // 86_400} days"
