"""Servers of one building over any life: codes used once, own data kept, no cycles, nothing old believed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agent.core.attachment import (
    AttachRefusedError,
    admit,
    attach,
    attached_peers,
    detach,
    dismiss,
    forget,
    invite,
    pass_on,
    receive,
)
from agent.core.system import Database, Lead, Reading, ask, enter, looked, open_request, own, shown
from agent.system.store import cloud_secret_with, deleted, new_database
from protocol.codec import decode, encode
from protocol.errors import ProtocolError
from protocol.system import PassedOn, Source, Stand, System
from protocol.system_code import (
    CodeRefusal,
    CodeRefusedError,
    Operation,
    write_request,
)
from protocol.system_link import DetachReason, LinkReport
from tests.support.system_cloud import DAY_MS, SystemCloud

CLOUD = SystemCloud()
NOON_MS = 20_000 * DAY_MS + DAY_MS // 2
SERVERS = st.integers(0, 2)
ATTACHED = st.integers(1, 2)


@dataclass
class Known:
    """What must be true of one server."""

    database: Database
    number: str | None = None
    lead: str | None = None
    latest_ms: int = NOON_MS
    """The latest moment it has seen since it asked."""
    open_code: str | None = None
    last_day: int = 0
    used: list[str] = field(default_factory=list)


class Building(RuleBasedStateMachine):
    """Server 0 is the Enterprise Server, 1 and 2 stand alone. Time goes on; their clocks go anywhere."""

    def __init__(self) -> None:
        super().__init__()
        kinds = [System.ENTERPRISE_SERVER, System.STANDALONE, System.STANDALONE]
        self.servers = [Known(new_database(kind, f"s{n}", made_ms=NOON_MS)) for n, kind in enumerate(kinds)]
        self.mono_ms, self.off_ms, self.next = 0, 0, 1
        self.on_the_way: list[tuple[int, PassedOn]] = []
        self.retired: set[str] = set()

    @property
    def reading(self) -> Reading:
        return Reading(NOON_MS + self.mono_ms + self.off_ms, self.mono_ms, "boot")

    def put(self, n: int, database: Database) -> None:
        """Every state is one that its file brings back."""
        self.servers[n].database = decode(encode(database), Database, 1 << 20)

    # --- the world -----------------------------------------------------------------------------------------

    @rule(passed_ms=st.integers(0, DAY_MS), off_ms=st.integers(-2 * DAY_MS, DAY_MS // 8))
    def time_goes_on(self, passed_ms: int, off_ms: int) -> None:
        self.mono_ms += passed_ms
        self.off_ms = off_ms
        for n, known in enumerate(self.servers):
            self.put(n, looked(known.database, self.reading))
            known.latest_ms = max(known.latest_ms, self.reading.wall_ms, self.truth_ms(known))

    def truth_ms(self, known: Known) -> int:
        """What the boot counts since it asked."""
        asked = known.database.asked
        return 0 if asked is None else asked.asked.wall_ms + self.mono_ms - asked.asked.mono_ms

    # --- codes ---------------------------------------------------------------------------------------------

    @rule(n=SERVERS, operation=st.sampled_from(Operation), days=st.integers(0, 2))
    def asks(self, n: int, operation: Operation, days: int) -> None:
        known = self.servers[n]
        self.next += 1
        nonce = self.next.to_bytes(10, "big")
        if known.open_code is not None:
            known.used.append(known.open_code)  # closed by this request: as good as used
        self.put(n, ask(known.database, operation, CLOUD.key(), nonce, self.reading))
        known.latest_ms = self.reading.wall_ms
        asked = known.database.asked
        request = open_request(known.database)
        assert asked is not None
        assert request is not None
        text = write_request(request, cloud_secret_with(known.database, asked.key))
        known.last_day = known.latest_ms // DAY_MS + days
        known.open_code = CLOUD.code(text, self.next, day=known.last_day)

    @precondition(lambda self: any(known.open_code for known in self.servers))
    @rule(n=SERVERS)
    def enters(self, n: int) -> None:
        known = self.servers[n]
        if known.open_code is None:
            return
        request = open_request(known.database)
        assert request is not None
        asked = known.database.asked
        assert asked is not None
        secret = cloud_secret_with(known.database, asked.key)
        before, refusal = known.database, None
        try:
            after = enter(before, known.open_code, secret, self.reading)
        except CodeRefusedError as error:
            refusal = error.refusal
        assert asked.now_ms(self.reading) >= known.latest_ms
        assert (refusal is CodeRefusal.EXPIRED) == (
            asked.now_ms(self.reading) // DAY_MS > self.servers[n].last_day
        )
        if refusal is not None:
            return
        self.put(n, after)
        known.used.append(known.open_code)
        known.open_code = None
        assert own(after).registration is not None
        known.number = own(after).registration.number  # type: ignore[union-attr]  # just asserted

    @precondition(lambda self: any(known.used for known in self.servers))
    @rule(n=SERVERS, at=SERVERS, which=st.integers(0, 50))
    def a_used_code_never_counts_again(self, n: int, at: int, which: int) -> None:
        used = self.servers[n].used
        if not used:
            return
        database = self.servers[at].database
        secret = None if database.asked is None else cloud_secret_with(database, database.asked.key)
        with pytest.raises(CodeRefusedError) as caught:
            enter(database, used[which % len(used)], secret, self.reading)
        assert caught.value.refusal in {CodeRefusal.NO_OPEN_REQUEST, CodeRefusal.NOT_FOR_REQUEST}

    # --- attaching -----------------------------------------------------------------------------------------

    @rule(n=SERVERS)
    def attaches(self, n: int) -> None:
        es, known = self.servers[0], self.servers[n]
        secret = self.next.to_bytes(10, "big")
        self.next += 1
        invited = invite(es.database, secret, self.reading)
        lead = Lead(
            system_id=es.database.system_id,
            name="es",
            host="h",
            port=1,
            certificate=es.database.link_key,
            attached_ms=self.reading.wall_ms,
        )
        if n == 0:
            with pytest.raises(AttachRefusedError):
                attach(known.database, lead, self.reading.wall_ms)
            return
        server = known.database.system_id
        admitted = admit(
            invited,
            secret,
            system_id=server,
            certificate=known.database.link_key,
            report=LinkReport(name=f"s{n}"),
            reading=self.reading,
        )
        self.put(0, admitted)
        self.put(n, attach(known.database, lead, self.reading.wall_ms))
        known.lead = lead.system_id

    @rule()
    def passes_on(self) -> None:
        es = self.servers[0].database
        for n in (1, 2):
            to = self.servers[n].database.system_id
            if to in {peer.system_id for peer in attached_peers(es)}:
                self.on_the_way.append((n, pass_on(es, to)))

    @precondition(lambda self: self.on_the_way)
    @rule(which=st.integers(0, 50), again=st.booleans())
    def arrives(self, which: int, *, again: bool) -> None:
        """In any order, and perhaps twice."""
        at = which % len(self.on_the_way)
        n, passed = self.on_the_way[at]
        if not again:
            del self.on_the_way[at]
        known = self.servers[n]
        lead = known.database.lead
        before = None if lead is None else lead.passed
        try:
            self.put(n, receive(known.database, passed, self.reading.wall_ms))
        except ProtocolError:
            assert (
                lead is None
                or lead.system_id != passed.from_id
                or (before is not None and passed.counter < before.counter)
                or passed.to != known.database.system_id
            )
            return
        assert known.database.lead is not None
        assert known.database.lead.passed == passed

    @rule(n=ATTACHED, by=st.sampled_from(DetachReason))
    def stands_alone(self, n: int, by: DetachReason) -> None:
        known, es = self.servers[n], self.servers[0]
        server = known.database.system_id
        if by is not DetachReason.BY_ATTACHED and server in {
            peer.system_id for peer in attached_peers(es.database)
        }:
            self.put(0, dismiss(es.database, server, by))
        self.put(n, detach(known.database, by, self.reading.wall_ms))
        self.put(0, forget(es.database, server))
        known.lead = None

    @rule(n=SERVERS)
    def is_deleted(self, n: int) -> None:
        known = self.servers[n]
        self.retired.add(known.database.system_id)
        if known.open_code is not None:
            known.used.append(known.open_code)
        database = deleted(known.database, made_ms=self.reading.wall_ms)
        self.servers[n] = replace(known, database=database, number=None, lead=None, open_code=None)

    # --- always --------------------------------------------------------------------------------------------

    @invariant()
    def own_data_is_kept_and_the_right_one_is_shown(self) -> None:
        for known in self.servers:
            mine, now = own(known.database), shown(known.database)
            number = None if mine.registration is None else mine.registration.number
            assert number == known.number
            assert now.own == mine.own
            if known.lead is None:
                assert (now.source, now.registration) == (Source.OWN, mine.registration)
            else:
                assert (now.source, now.source_id) == (Source.ATTACHED, known.lead)
                lead = known.database.lead
                assert lead is not None
                passed = None if lead.passed is None else lead.passed.registration
                assert now.registration == passed
            assert (now.registration is None) == (now.stand is Stand.UNREGISTERED)

    @invariant()
    def there_are_no_cycles_and_no_chains(self) -> None:
        assert self.servers[0].database.lead is None
        assert not any(known.database.peers or known.database.attach_codes for known in self.servers[1:])
        ids = [peer.system_id for peer in self.servers[0].database.peers]
        assert len(ids) == len(set(ids))

    @invariant()
    def a_retired_id_is_nobody_s(self) -> None:
        assert not self.retired & {known.database.system_id for known in self.servers}


TestBuilding = Building.TestCase
TestBuilding.settings = settings(max_examples=15, stateful_step_count=30, deadline=None)
