"""Attached servers: one Enterprise Server at the most, no cycles, no chains, nothing passed on twice."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.attachment import (
    REFUSAL_TEXTS,
    AttachRefusedError,
    admit,
    attach,
    attached_peers,
    detach,
    dismiss,
    forget,
    invite,
    pass_on,
    peer_of,
    receive,
    reported,
    tidy,
)
from agent.core.system import Database, Lead, Reading
from agent.system.store import new_database
from protocol.errors import ProtocolError
from protocol.system import MAX_ATTACHED, MAX_TEXT, PassedOn, Registration, Stand, System
from protocol.system_link import CODE_LIFE_MS, DetachReason, LinkRefusal, LinkReport

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = 1_700_000_000_000
ES = new_database(System.ENTERPRISE_SERVER, "es", made_ms=NOW)
SERVERS = [new_database(System.STANDALONE, f"server-{n}", made_ms=NOW) for n in range(3)]
REPORT = LinkReport(name="server", version="1.9", uptime_s=5)
LEAD = Lead(system_id=ES.system_id, name="es", host="h", port=1, certificate=b"es", attached_ms=NOW)


def at(wall_ms: int = NOW, mono_ms: int = 0, boot: str = "one") -> Reading:
    return Reading(wall_ms, mono_ms, boot)


def admitted(database: Database, server: Database, secret: bytes, reading: Reading | None = None) -> Database:
    return admit(
        database,
        secret,
        system_id=server.system_id,
        certificate=server.system_id.encode(),
        report=REPORT,
        reading=reading or at(),
    )


def refusal(work: Callable[[], object]) -> LinkRefusal:
    with pytest.raises(AttachRefusedError) as caught:
        work()
    assert str(caught.value) == REFUSAL_TEXTS[caught.value.refusal]
    return caught.value.refusal


def test_a_code_attaches_one_server() -> None:
    invited = invite(ES, b"secret", at())
    with_one = admitted(invited, SERVERS[0], b"secret")
    assert [peer.system_id for peer in with_one.peers] == [SERVERS[0].system_id]
    assert refusal(lambda: admitted(with_one, SERVERS[1], b"secret")) is LinkRefusal.CODE_UNKNOWN
    assert refusal(lambda: admitted(invited, SERVERS[0], b"other")) is LinkRefusal.CODE_UNKNOWN


@pytest.mark.parametrize(
    "reading",
    [at(NOW + CODE_LIFE_MS, 0, "two"), at(NOW, CODE_LIFE_MS), at(NOW - 10 * CODE_LIFE_MS, CODE_LIFE_MS)],
)
def test_a_code_lives_an_hour_by_either_clock(reading: Reading) -> None:
    invited = invite(ES, b"secret", at())
    assert refusal(lambda: admitted(invited, SERVERS[0], b"secret", reading)) is LinkRefusal.CODE_EXPIRED


def test_attached_again_it_is_one_server() -> None:
    database = ES
    for secret in (b"one", b"two"):
        database = admitted(invite(database, secret, at()), SERVERS[0], secret)
    assert len(database.peers) == 1


def test_there_is_a_most() -> None:
    peers = admitted(invite(ES, b"s", at()), SERVERS[0], b"s").peers * MAX_ATTACHED
    full = invite(replace(ES, peers=peers), b"s", at())
    assert refusal(lambda: admitted(full, SERVERS[1], b"s")) is LinkRefusal.TOO_MANY


def test_kinds_keep_cycles_and_chains_out() -> None:
    assert refusal(lambda: invite(SERVERS[0], b"s", at())) is LinkRefusal.NOT_ENTERPRISE
    assert refusal(lambda: attach(ES, LEAD, NOW)) is LinkRefusal.NOT_ENTERPRISE
    itself = replace(LEAD, system_id=SERVERS[0].system_id)
    assert refusal(lambda: attach(SERVERS[0], itself, NOW)) is LinkRefusal.NOT_ENTERPRISE


def test_who_leaves_is_known_until_told() -> None:
    database = admitted(invite(ES, b"s", at()), SERVERS[0], b"s")
    server = SERVERS[0].system_id
    gone = dismiss(database, server, DetachReason.BY_ENTERPRISE)
    assert attached_peers(gone) == ()
    found = peer_of(gone, server.encode())
    assert found is not None
    assert found.leaving is DetachReason.BY_ENTERPRISE
    with pytest.raises(KeyError):
        dismiss(gone, server, DetachReason.BY_ENTERPRISE)
    assert peer_of(forget(gone, server), server.encode()) is None


def test_a_report_that_says_nothing_new_changes_nothing() -> None:
    database = admitted(invite(ES, b"s", at()), SERVERS[0], b"s")
    server = SERVERS[0].system_id
    assert reported(database, server, replace(REPORT, uptime_s=99)) is database
    assert reported(database, server, replace(REPORT, version="1.10")).peers[0].report.version == "1.10"


def test_what_another_server_says_of_itself_is_kept_within_bounds() -> None:
    """Neither a terminal nor the disk obeys it."""
    wild = LinkReport(
        name="\x1b[2J" + "x" * 1000,
        licences=("l",) * 1000,
        uptime_s=-5,
        attachment=bytes(5000),
    )
    invited = invite(ES, b"s", at())
    database = admit(
        invited, b"s", system_id=SERVERS[0].system_id, certificate=b"c", report=wild, reading=at()
    )
    kept = reported(database, SERVERS[0].system_id, wild).peers[0].report
    assert kept.name.isprintable()
    assert (len(kept.name), len(kept.licences), kept.attachment) == (MAX_TEXT, 100, b"")
    assert tidy(wild).uptime_s == 0


def passed(counter: int, **fields: object) -> PassedOn:
    given_fields: dict[str, object] = {
        "from_id": ES.system_id,
        "to": SERVERS[0].system_id,
        "counter": counter,
        "version": 0,
        "stand": Stand.REGISTERED,
        "registration": Registration(number=f"{counter:06d}", registered_ms=NOW),
        **fields,
    }
    return PassedOn(**given_fields)  # type: ignore[arg-type]  # names of its fields


def test_what_is_passed_on_is_taken_once_and_from_its_own_alone() -> None:
    database = receive(attach(SERVERS[0], LEAD, NOW), passed(5), NOW)
    assert receive(database, passed(5), NOW) is database
    wrong = (
        passed(4),
        passed(5, stand=Stand.PENDING),
        passed(6, from_id=SERVERS[1].system_id),
        passed(6, to=SERVERS[1].system_id),
    )
    for other in wrong:
        with pytest.raises(ProtocolError):
            receive(database, other, NOW)
    with pytest.raises(ProtocolError):
        receive(SERVERS[0], passed(5), NOW)


def test_what_is_passed_on_stays_the_same_until_the_registration_changes() -> None:
    database = admitted(invite(ES, b"s", at()), SERVERS[0], b"s")
    first = pass_on(database, SERVERS[0].system_id)
    again = reported(database, SERVERS[0].system_id, replace(REPORT, version="2"))
    assert pass_on(again, SERVERS[0].system_id) == first


@given(st.lists(st.tuples(st.sampled_from("adr"), st.integers(0, 5), st.integers(-5000, 5000)), max_size=30))
def test_its_word_for_the_cloud_always_grows(steps: list[tuple[str, int, int]]) -> None:
    """In whatever order and by whatever clock, each attaching and detaching is a later word."""
    database = SERVERS[0]
    for what, counter, off_ms in steps:
        before = database
        if what == "a":
            database = attach(database, replace(LEAD, attached_ms=NOW + off_ms), NOW + off_ms)
        elif what == "d":
            database = detach(database, DetachReason.BY_ATTACHED, NOW + off_ms)
        elif database.lead is not None:
            known = database.lead.passed
            if known is None or counter >= known.counter:
                database = receive(database, passed(counter), NOW + off_ms)
        if (before.lead is None) != (database.lead is None) or what == "a":
            assert database.attachment_counter > before.attachment_counter
            assert database.at > before.at
