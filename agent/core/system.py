"""The database of a server of a building system: who it is, what it asked for, what is registered.

Theory of operation. A database is made with a key, whose public half is the System ID; deleting it makes
another with another key, and nothing of the old one is left but its System ID, for people. All of it is one
file that is replaced at once, so each function here takes a database and returns the next; what is not
returned has not happened.

What is registered comes three ways, and the latest word counts (`at` grows with each):

==========  ===================================================  ==========================================
way         from                                                 kept in
==========  ===================================================  ==========================================
online      the cloud, sealed for this System ID                 ``heard``
offline     a registration code that answers the open request    ``entered``
attached    the Enterprise Server, over the link between both    ``lead.passed``
==========  ===================================================  ==========================================

While attached, a server shows what the Enterprise Server has passed on; its own stays beneath and is shown
again once it is detached.

A code lives until the end of a day. The day is judged by the latest moment this server has seen since it
asked: by its clock now, by its clock when it looked before, and by the time since then that a boot counts. So
a clock that is put back revives no code; and one that was wrong when nobody asked spoils none.
"""

from dataclasses import dataclass, field, replace
from typing import Final

from protocol.messages import SystemKey
from protocol.system import PassedOn, Registration, Source, Stand, System, SystemId, SystemNotice, SystemState
from protocol.system_code import OpenRequest, Operation, read_code, written_number
from protocol.system_link import DetachReason, LinkReport

MAX_NOTICES: Final = 50
MAX_FAREWELLS: Final = 1_000  # of two full houses; kept for ever, as nobody knows who still comes
MAX_PREVIOUS: Final = 50
PRESSED_MS: Final = 900_000  # how long "Register now" counts: somebody fills in the form meanwhile


@dataclass(frozen=True, slots=True)
class Reading:
    """Both clocks at one moment: unix ms right or wrong, and ms since a boot with the boot's name."""

    wall_ms: int
    mono_ms: int
    boot: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The open request. ``asked`` is when, by both clocks; ``seen_ms`` the latest moment seen since."""

    operation: Operation
    key: SystemKey
    nonce: bytes
    asked: Reading
    seen_ms: int

    def now_ms(self, reading: Reading) -> int:
        """The moment that expiry is judged by: never before one that was seen."""
        counted_ms = 0
        if reading.boot == self.asked.boot:
            counted_ms = self.asked.wall_ms + reading.mono_ms - self.asked.mono_ms
        return max(reading.wall_ms, self.seen_ms, counted_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entered:
    """What the last good registration code said."""

    operation: Operation
    registration: int
    entered_ms: int
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """The cloud's last word."""

    state: SystemState
    heard_ms: int
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lead:
    """The Enterprise Server this one is attached to."""

    system_id: str
    name: str
    host: str
    port: int
    certificate: bytes
    attached_ms: int
    passed: PassedOn | None = None
    passed_ms: int = 0
    at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A server attached to this one. ``leaving``: it is none any more, and has not been told yet."""

    system_id: str
    certificate: bytes
    attached_ms: int
    report: LinkReport
    leaving: DetachReason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Farewell:
    """For a server that was attached to an earlier System ID, and off when that ended: what it asks with
    (``ask``), and what it is told (``word``), made while the key was there.
    """

    enterprise_id: str
    system_id: str
    ask: bytes
    word: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachCode:
    """An attach code that was given out: what proves it, and until when."""

    digest: bytes
    given: Reading
    until_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """Everything. ``key`` (X25519) and ``link_key`` (Ed25519) are private; ``counter`` was used last."""

    v: int = 1
    kind: System
    name: str
    system_id: str
    key: bytes = field(repr=False)
    link_key: bytes = field(repr=False)
    made_ms: int
    software: str = ""
    licences: tuple[str, ...] = ()
    previous: tuple[str, ...] = ()
    counter: int = 0
    at: int = 0
    pressed_ms: int = 0
    attachment_counter: int = 0
    asked: Asked | None = None
    entered: Entered | None = None
    heard: Heard | None = None
    notices: tuple[SystemNotice, ...] = ()
    lead: Lead | None = None
    left: DetachReason | None = None
    peers: tuple[Peer, ...] = ()
    attach_codes: tuple[AttachCode, ...] = ()
    key_set: bytes = b""
    farewells: tuple[Farewell, ...] = ()


def made_anew(
    old: Database,
    *,
    system_id: str,
    key: bytes,
    link_key: bytes,
    made_ms: int,
    farewells: tuple[Farewell, ...] = (),
) -> Database:
    """The database after its deletion: another System ID, and nothing else but what the server is, and the
    farewells to those that could not be told.
    """
    return Database(
        kind=old.kind,
        name=old.name,
        system_id=system_id,
        key=key,
        link_key=link_key,
        made_ms=made_ms,
        software=old.software,
        licences=old.licences,
        previous=(*old.previous, old.system_id)[-MAX_PREVIOUS:],
        key_set=old.key_set,
        farewells=(*old.farewells, *farewells)[-MAX_FAREWELLS:],
    )


def later(database: Database, now_ms: int) -> int:
    """The next ``at``: above the last, and about the time, so that a restored backup stays ahead."""
    return max(database.at + 1, now_ms)


def counted(database: Database, now_ms: int) -> Database:
    """With a counter of its own for the next message: above the last, and about the time."""
    return replace(database, counter=max(database.counter + 1, now_ms))


# --- offline ------------------------------------------------------------------------------------------------


def ask(database: Database, operation: Operation, key: SystemKey, nonce: bytes, reading: Reading) -> Database:
    """With an open request of its own; the one before is closed by it."""
    asked = Asked(operation=operation, key=key, nonce=nonce, asked=reading, seen_ms=reading.wall_ms)
    return replace(database, asked=asked)


def open_request(database: Database) -> OpenRequest | None:
    """The open request as it is written down; None without one."""
    asked = database.asked
    if asked is None:
        return None
    system_id = SystemId.parse(database.system_id)
    return OpenRequest(system_id, asked.key.number, asked.operation, asked.nonce)


def looked(database: Database, reading: Reading) -> Database:
    """With this moment seen; the same one while nothing is asked."""
    asked = database.asked
    if asked is None or asked.now_ms(reading) <= asked.seen_ms:
        return database
    return replace(database, asked=replace(asked, seen_ms=asked.now_ms(reading)))


def enter(database: Database, text: str, secret: bytes | None, reading: Reading) -> Database:
    """After a registration code: registered, and nothing asked any more. CodeRefusedError otherwise.

    ``secret`` is the one shared with the cloud's key that the open request names.
    """
    now_ms = reading.wall_ms if database.asked is None else database.asked.now_ms(reading)
    said = read_code(text, open_request(database), secret, now_ms)
    at = later(database, reading.wall_ms)
    entered = Entered(
        operation=said.operation, registration=said.registration, entered_ms=reading.wall_ms, at=at
    )
    return replace(database, asked=None, entered=entered, at=at)


# --- online -------------------------------------------------------------------------------------------------


def pressed(database: Database, now_ms: int) -> Database:
    """After *Register now*."""
    return replace(database, pressed_ms=now_ms)


def is_pressed(database: Database, now_ms: int) -> bool:
    """Whether somebody is registering it just now."""
    return 0 < database.pressed_ms <= now_ms < database.pressed_ms + PRESSED_MS


def told(database: Database, state: SystemState, now_ms: int) -> Database:
    """After an answer of the cloud, which was proven to be for this System ID and this question.

    An answer that is older than what is known changes nothing (versions only grow).
    """
    known = database.heard
    if known is not None and state.version < known.state.version:
        return database
    at = later(database, now_ms)
    if known is not None and _content(state) == _content(known.state):
        at = known.at
    registered = state.stand is Stand.REGISTERED
    return replace(
        database,
        at=max(database.at, at),
        heard=Heard(state=state, heard_ms=now_ms, at=at),
        notices=_merged(database.notices, state.notices),
        pressed_ms=0 if registered else database.pressed_ms,
    )


def _content(state: SystemState) -> tuple[object, ...]:
    return (
        state.version,
        state.stand,
        state.source,
        state.source_id,
        state.registration,
        state.own,
        state.attached,
    )


def _merged(old: tuple[SystemNotice, ...], new: tuple[SystemNotice, ...]) -> tuple[SystemNotice, ...]:
    by_number = {notice.number: notice for notice in (*old, *new)}
    return tuple(by_number[number] for number in sorted(by_number))[-MAX_NOTICES:]


# --- what is registered -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a server shows, and where that comes from. ``own``: what it is registered with, beneath another's.

    ``offline``: by a registration code, so that only the registration's number is known.
    """

    stand: Stand
    source: Source
    source_id: str
    registration: Registration | None
    own: Registration | None
    since_ms: int
    offline: bool = False


def own(database: Database) -> Shown:
    """What it is registered with itself, by the latest word: a code's or the cloud's."""
    heard, entered = database.heard, database.entered
    if entered is not None and (heard is None or heard.at < entered.at):
        registration = _by_code(entered, heard)
        return Shown(
            stand=Stand.REGISTERED,
            source=Source.OWN,
            source_id="",
            registration=registration,
            own=registration,
            since_ms=entered.entered_ms,
            offline=True,
        )
    if heard is None:
        return Shown(
            stand=Stand.UNREGISTERED,
            source=Source.OWN,
            source_id="",
            registration=None,
            own=None,
            since_ms=database.made_ms,
        )
    state = heard.state
    mine, stand = state.registration, state.stand
    if state.source is not Source.OWN:  # then `stand` is how the other one stands
        mine = state.own
        stand = Stand.UNREGISTERED if mine is None else Stand.REGISTERED
    return Shown(
        stand=stand,
        source=Source.OWN,
        source_id="",
        registration=mine,
        own=mine,
        since_ms=heard.heard_ms,
    )


def _by_code(entered: Entered, heard: Heard | None) -> Registration:
    number = written_number(entered.registration)
    if heard is not None:  # what the cloud said of this registration before is still known
        for known in (heard.state.registration, heard.state.own):
            if known is not None and known.number == number:
                return known
    return Registration(number=number, registered_ms=entered.entered_ms)


def shown(database: Database) -> Shown:
    """What it shows: the Enterprise Server's while attached, its lead's by the cloud's word, or its own."""
    mine, lead, heard = own(database), database.lead, database.heard
    if lead is not None:
        passed = lead.passed
        if (
            heard is not None
            and heard.state.source is Source.ATTACHED
            and heard.state.source_id == lead.system_id
            and (passed is None or heard.at > lead.at)
        ):
            return replace(
                mine,
                stand=heard.state.stand,
                source=Source.ATTACHED,
                source_id=lead.system_id,
                registration=heard.state.registration,
                since_ms=heard.heard_ms,
                offline=False,
            )
        return replace(
            mine,
            stand=Stand.UNREGISTERED if passed is None else passed.stand,
            source=Source.ATTACHED,
            source_id=lead.system_id,
            registration=None if passed is None else passed.registration,
            since_ms=lead.passed_ms or lead.attached_ms,
            offline=False,
        )
    if heard is not None and heard.state.source is Source.LEAD and not mine.offline:
        return replace(
            mine,
            stand=heard.state.stand,
            source=Source.LEAD,
            source_id=heard.state.source_id,
            registration=heard.state.registration,
        )
    return mine
