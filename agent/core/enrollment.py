"""One device and its cloud: connected or not, SmartConnect off or on, announcing, owned.

Theory of operation. A connection begins with a log-in at `login_ms`. The cloud then says `hello`, after each
SUBSCRIBE and after each change; a hello of another kid, another log-in, or with a counter that does not grow
is old or forged and is refused. An accepted hello is obeyed at once and as a whole: it is the only thing that
says whether the device is owned, under which epoch, and what the cloud already holds.

=============  ===========================  ==========================  =====================  ===============
phase          Connected                    Greeted                     Switched, Reset        Disconnected
=============  ===========================  ==========================  =====================  ===============
OFFLINE        GREETING                     illegal                     remembered             OFFLINE
GREETING       illegal                      UNOWNED or OWNED: announce  remembered             OFFLINE
UNOWNED        illegal                      UNOWNED or OWNED            announce               OFFLINE
OWNED          illegal                      UNOWNED or OWNED            announce               OFFLINE
=============  ===========================  ==========================  =====================  ===============

Greeted as owned: if the epoch is another, wipe what was taken before it began; settle the spool by the
position, send `now`.

Reset by whoever got the device second-hand, it asks to be released in every announcement, keeps no samples
and publishes nothing but announcements, until a hello says that it has no owner, or another epoch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from agent.core.spool import Position

if TYPE_CHECKING:
    from collections.abc import Callable

    from protocol.messages import Hello, Watch

ANNOUNCE_EVERY_MS = 60_000  # a bindable announcement is at most 90 s old: docs/claiming.md
ANNOUNCE_SPREAD = 0.2  # so that devices that came up together do not announce together
MAX_WATCH_MS = 60_000  # the cloud renews a watch every 30 s; a longer one is a mistake


class Phase(StrEnum):
    """How far this connection is."""

    OFFLINE = "offline"
    GREETING = "greeting"
    UNOWNED = "unowned"
    OWNED = "owned"


@dataclass(frozen=True, slots=True)
class Enrollment:
    """State. ``epoch`` and ``owned`` are the last known ones and outlive a connection."""

    kid: str
    smartconnect: bool
    owned: bool
    epoch: int
    phase: Phase = Phase.OFFLINE
    login_ms: int = 0
    last_n: int = -1
    last_watch_n: int = -1
    nonce: bytes = b""
    announce_at_ms: int = 0
    watch_until_ms: int = 0
    release: bool = False

    @property
    def spools(self) -> bool:
        """Whether samples are kept: a device without owner, switched off or reset keeps none."""
        return self.owned and self.smartconnect and not self.release

    @property
    def publishes(self) -> bool:
        """Whether telemetry and `now` may go out on this connection."""
        return self.phase is Phase.OWNED and self.smartconnect and not self.release

    @property
    def publishes_events(self) -> bool:
        """Whether events may go out: the one that says "switched off" still does."""
        return self.phase is Phase.OWNED and not self.release


@dataclass(frozen=True, slots=True)
class Connected:
    """Logged in, with this ``iat``."""

    login_ms: int


@dataclass(frozen=True, slots=True)
class Greeted:
    """A hello whose signature was checked; ``received_ms`` is monotonic."""

    hello: Hello
    received_ms: int


@dataclass(frozen=True, slots=True)
class Switched:
    """SmartConnect was switched at the device."""

    on: bool


@dataclass(frozen=True, slots=True)
class Reset:
    """Its holder asks that its ownership end, or takes that back."""

    on: bool


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection is gone."""


Input = Connected | Greeted | Switched | Reset | Disconnected


@dataclass(frozen=True, slots=True)
class Announce:
    """Publish an announcement with the session's nonce."""


@dataclass(frozen=True, slots=True)
class Wipe:
    """Another owner: throw away what was taken before this ownership began, and go on under its epoch.

    ``since_ms`` is unix ms, 0 where the cloud does not say: then everything goes.
    """

    epoch: int
    since_ms: int = 0


@dataclass(frozen=True, slots=True)
class Settle:
    """Trim the spool by what the cloud holds, and renumber what it would mistake for known."""

    position: Position


@dataclass(frozen=True, slots=True)
class SendNow:
    """Publish a snapshot."""


@dataclass(frozen=True, slots=True)
class Remember:
    """Make ownership, the switch or the request durable."""


Effect = Announce | Wipe | Settle | SendNow | Remember
Step = tuple[Enrollment, tuple[Effect, ...]]


class HelloRefusedError(Exception):
    """A hello that is not for this connection; the text says why."""


class IllegalTransitionError(Exception):
    """A mistake of ours: this cannot happen in this phase."""


def _connect(state: Enrollment, event: Input, _now_ms: int, _draw: float) -> Step:
    assert isinstance(event, Connected)  # noqa: S101  by the table
    greeting = replace(
        state,
        phase=Phase.GREETING,
        login_ms=event.login_ms,
        last_n=-1,
        last_watch_n=-1,
        nonce=b"",
        watch_until_ms=0,
    )
    return greeting, ()


def _greet(state: Enrollment, event: Input, now_ms: int, draw: float) -> Step:
    assert isinstance(event, Greeted)  # noqa: S101  by the table
    hello = event.hello
    _check_fresh(state, hello.kid, hello.login_ms, hello.n, state.last_n)
    if hello.owned and hello.epoch < 1:
        raise HelloRefusedError("owned without an epoch")
    effects: list[Effect] = []
    phase = Phase.OWNED if hello.owned else Phase.UNOWNED
    if hello.owned and hello.epoch != state.epoch:
        effects.append(Wipe(hello.epoch, hello.since_ms))
    if hello.owned:
        effects.append(Settle(Position(hello.stream, hello.seq)))
    release = state.release and hello.owned and hello.epoch == state.epoch
    if (hello.owned, release) != (state.owned, state.release):
        effects.append(Remember())
    announces = state.phase is Phase.GREETING or (phase is Phase.UNOWNED and state.phase is Phase.OWNED)
    if announces:
        effects.append(Announce())
    if hello.owned and state.smartconnect and not release:
        effects.append(SendNow())
    greeted = replace(
        state,
        phase=phase,
        owned=hello.owned,
        epoch=hello.epoch if hello.owned else state.epoch,
        release=release,
        last_n=hello.n,
        nonce=hello.nonce,
        announce_at_ms=next_announcement_ms(now_ms, draw) if announces else state.announce_at_ms,
    )
    return greeted, tuple(effects)


def _switch(state: Enrollment, event: Input, now_ms: int, draw: float) -> Step:
    assert isinstance(event, Switched)  # noqa: S101  by the table
    if event.on == state.smartconnect:
        return state, ()
    return _tell(replace(state, smartconnect=event.on), now_ms, draw)


def _reset(state: Enrollment, event: Input, now_ms: int, draw: float) -> Step:
    assert isinstance(event, Reset)  # noqa: S101  by the table
    if event.on == state.release:
        return state, ()
    return _tell(replace(state, release=event.on), now_ms, draw)


def _tell(changed: Enrollment, now_ms: int, draw: float) -> Step:
    """Something that announcements say has changed."""
    if changed.phase in {Phase.OFFLINE, Phase.GREETING}:
        return changed, (Remember(),)
    announced = replace(changed, announce_at_ms=next_announcement_ms(now_ms, draw))
    effects: tuple[Effect, ...] = (Remember(), Announce())
    return announced, (*effects, SendNow()) if announced.publishes else effects


def _disconnect(state: Enrollment, _event: Input, _now_ms: int, _draw: float) -> Step:
    return replace(state, phase=Phase.OFFLINE, nonce=b"", watch_until_ms=0), ()


_TABLE: dict[tuple[Phase, type[Input]], Callable[[Enrollment, Input, int, float], Step]] = {
    (Phase.OFFLINE, Connected): _connect,
    (Phase.GREETING, Greeted): _greet,
    (Phase.UNOWNED, Greeted): _greet,
    (Phase.OWNED, Greeted): _greet,
    **{(phase, Switched): _switch for phase in Phase},
    **{(phase, Reset): _reset for phase in Phase},
    **{(phase, Disconnected): _disconnect for phase in Phase},
}


def step(state: Enrollment, event: Input, now_ms: int, draw: float) -> Step:
    """The next state and what to do, in order. ``draw`` is uniform in [0, 1), ``now_ms`` monotonic.

    HelloRefusedError and IllegalTransitionError leave the state as it was.
    """
    handler = _TABLE.get((state.phase, type(event)))
    if handler is None:
        raise IllegalTransitionError(f"{type(event).__name__} while {state.phase}")
    return handler(state, event, now_ms, draw)


def tick(state: Enrollment, now_ms: int, draw: float) -> Step:
    """What time alone brings: the next announcement of a device without owner."""
    if state.phase is not Phase.UNOWNED or now_ms < state.announce_at_ms:
        return state, ()
    return replace(state, announce_at_ms=next_announcement_ms(now_ms, draw)), (Announce(),)


def watched(state: Enrollment, watch: Watch, now_ms: int) -> Enrollment:
    """The state in which somebody looks; HelloRefusedError if the message is not for this connection."""
    _check_fresh(state, watch.kid, watch.login_ms, watch.n, state.last_watch_n)
    lease_ms = min(max(0, watch.seconds) * 1000, MAX_WATCH_MS)
    return replace(state, last_watch_n=watch.n, watch_until_ms=now_ms + lease_ms)


def _check_fresh(state: Enrollment, kid: str, login_ms: int, n: int, last_n: int) -> None:
    if kid != state.kid:
        raise HelloRefusedError("another device key")
    if login_ms != state.login_ms:
        raise HelloRefusedError("another log-in")
    if n <= last_n:
        raise HelloRefusedError("an old counter")


def next_announcement_ms(now_ms: int, draw: float) -> int:
    """When to announce again: every 60 s, a fifth more or less."""
    return now_ms + int(ANNOUNCE_EVERY_MS * (1 - ANNOUNCE_SPREAD + 2 * ANNOUNCE_SPREAD * draw))


def login_ms(last_accepted_ms: int, now_ms: int) -> int:
    """``iat`` of the next log-in token: grows even when the clock does not."""
    return max(last_accepted_ms + 1, now_ms)
