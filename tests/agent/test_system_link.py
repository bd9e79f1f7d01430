"""Real links between servers on the loopback: attached, passed on, detached, deleted, and strangers."""

from __future__ import annotations

import asyncio
import json
import ssl
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.core.backoff import Backoff
from agent.errors import ServerLinkError, SystemRefusedError
from agent.system import link_caller, link_listener
from agent.system.certificate import (
    calling_context,
    fingerprint,
    is_certificate,
    listening_context,
    make_certificate,
)
from agent.system.link import NOT_KNOWN, OTHER_SERVER, call
from agent.system.store import link_key_of, link_secret_with
from protocol.codec import encode
from protocol.system import SystemId
from protocol.system_link import (
    MAX_LINE_BYTES,
    SECRET_BYTES,
    LinkKind,
    LinkMessage,
    LinkRefusal,
    LinkReport,
    link_proof,
    read_attach_code,
    write_attach_code,
)
from tests.agent.system_rig import HOST, Rig, building, until
from tests.support.system_cloud import SystemCloud

if TYPE_CHECKING:
    from pathlib import Path

CLOUD = SystemCloud()


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is cut off calls again at once."""
    monkeypatch.setattr(link_caller, "RETRY", Backoff(first_s=0.02, max_s=0.1))


async def registered(rig: Rig, number: int = 77) -> None:
    """Register a server offline."""
    request = (await rig.do("request", operation="register", new=False))["request"]
    await rig.do("enter", code=CLOUD.code(request, number))


def number_of(shown: dict[str, Any]) -> str | None:
    return None if shown["registration"] is None else shown["registration"]["number"]


def passed_on(rig: Rig) -> bool:
    """Whether a registration has come over its link."""
    lead = rig.server.store.database.lead
    return lead is not None and lead.passed is not None and lead.passed.registration is not None


async def test_the_registration_is_passed_on_without_any_cloud(tmp_path: Path) -> None:
    async with building(tmp_path, CLOUD.installation()) as (es, one):
        await registered(one, 5)
        port = await es.listening()
        code = (await es.do("invite"))["attach_code"]
        attached = await one.do("attach", host=HOST, port=port, code=code)
        assert (attached["registration"], attached["link"]["state"]) == (None, "connected")
        await registered(es)
        await until("passed on", lambda: passed_on(one))
        shown = await one.shown()
        assert (shown["stand"], shown["from"], shown["from_id"]) == (
            "registered",
            "Enterprise Server",
            (await es.shown())["system_id"],
        )
        assert number_of(shown) == number_of(await es.shown())
        assert shown["own"]["number"] == "000005"
        attached = (await es.shown())["attached"]
        assert [(peer["name"], peer["version"], peer["connected"]) for peer in attached] == [
            ("one", "1.9", True)
        ]
        await one.do("detach", system_id="")
        alone = await one.shown()
        assert (alone["from"], number_of(alone)) == ("registration code", "000005")
        await until("told", lambda: not es.server.store.database.peers)


async def test_it_is_remembered_when_either_is_switched_off_and_on(tmp_path: Path) -> None:
    async with building(tmp_path, CLOUD.installation()) as (es, one):
        await one.attach_to(es)
        await registered(es)
        await until("passed on", lambda: passed_on(one))
        await es.stop()
        await until("noticed", lambda: one.server.caller.state not in {"connected", "calls"})
        assert number_of(await one.shown()) is not None
        await one.stop()
        await one.start()
        assert (await one.shown())["from"] == "Enterprise Server"
        await es.start()
        await one.linked()


async def test_the_enterprise_server_lets_go_of_one_that_is_off(tmp_path: Path) -> None:
    async with building(tmp_path, CLOUD.installation()) as (es, one):
        await one.attach_to(es)
        await one.stop()
        await es.do("detach", system_id=(await one.shown())["written"])
        assert (await es.shown())["attached"] == []
        await one.start()
        await until("told", lambda: one.server.store.database.lead is None)
        assert (await one.shown())["left"] == "the Enterprise Server has detached it"
        await until("forgotten", lambda: not es.server.store.database.peers)


async def test_a_deleted_enterprise_server_tells_who_is_connected(tmp_path: Path) -> None:
    async with building(tmp_path, CLOUD.installation()) as (es, one):
        await registered(one, 5)
        await one.attach_to(es)
        before = (await es.shown())["system_id"]
        after = await es.do("delete")
        assert after["system_id"] != before
        assert after["previous"] == [before]
        await until("told", lambda: one.server.store.database.lead is None)
        shown = await one.shown()
        assert number_of(shown) == "000005"
        assert shown["left"] == "the Enterprise Server's database was deleted"
        await one.attach_to(es)


async def test_one_that_was_off_when_the_database_was_deleted_comes_to_stand_alone(tmp_path: Path) -> None:
    """By the farewell that the old key has left for it, also after a second deletion and restarts."""
    async with building(tmp_path, CLOUD.installation()) as (es, one):
        await registered(one, 5)
        await one.attach_to(es)
        await registered(es)
        await until("passed on", lambda: passed_on(one))
        await one.stop()
        for _ in range(2):
            await es.do("delete")
        await es.stop()
        await es.start()
        await es.listening()
        await one.start()
        await until("told", lambda: one.server.store.database.lead is None)
        shown = await one.shown()
        assert (shown["from"], number_of(shown)) == ("registration code", "000005")
        assert shown["left"] == "the Enterprise Server's database was deleted"
        await one.attach_to(es)


async def test_who_has_no_farewell_takes_nobody_s_registration_away(tmp_path: Path) -> None:
    """Another server at the Enterprise Server's address: a new one, or one that makes things up."""
    async with building(tmp_path, CLOUD.installation()) as (es, one):
        await one.attach_to(es)
        await registered(es)
        await until("passed on", lambda: passed_on(one))
        await one.stop()
        await es.do("delete")
        thief = es.server.store.database.farewells[0]
        await es.server.store.change(
            lambda now: replace(now, farewells=(replace(thief, word=bytes(32)), *now.farewells[1:]))
        )
        await es.listening()
        await one.start()
        await until("noticed", lambda: OTHER_SERVER in one.server.caller.state)
        assert number_of(await one.shown()) is not None
        own = make_certificate(link_key_of(es.server.store.database))
        line = await call(HOST, es.server.listener.port, own, None)
        await line.hear(5.0)
        await line.say(LinkMessage(kind=LinkKind.GONE, system_id=thief.system_id, proof=b"x"))
        assert (await line.hear(5.0)).code == LinkRefusal.NOT_KNOWN  # who proves nothing is told nothing
        await line.close()
        assert (await one.shown())["from"] == "Enterprise Server"
        await one.do("detach", system_id="")
        await one.attach_to(es)


async def test_a_deleted_attached_server_leaves_first(tmp_path: Path) -> None:
    async with building(tmp_path, CLOUD.installation()) as (es, one):
        await one.attach_to(es)
        before = (await one.shown())["system_id"]
        assert (await one.do("delete"))["system_id"] != before
        await until("told", lambda: not es.server.store.database.peers)


async def test_one_that_the_enterprise_server_has_forgotten_is_told_what_to_do(tmp_path: Path) -> None:
    async with building(tmp_path, CLOUD.installation()) as (es, one):
        await one.attach_to(es)
        await es.stop()
        await one.stop()
        database = tmp_path / "es" / "state" / "_system" / "database.json"
        plain = json.loads(database.read_bytes())
        database.write_bytes(json.dumps({**plain, "peers": []}).encode())
        await es.start()
        await es.listening()
        await one.start()
        await until("noticed", lambda: NOT_KNOWN in one.server.caller.state)


# --- codes and strangers ------------------------------------------------------------------------------------


async def refused(work: Any) -> str:
    with pytest.raises(SystemRefusedError) as caught:
        await work
    return caught.value.code


async def test_an_attach_code_counts_once_and_at_its_own_server(tmp_path: Path) -> None:
    installation = CLOUD.installation()
    async with building(tmp_path, installation) as (es, one), Rig(tmp_path / "two", installation) as two:
        await two.do("create", kind="standalone", name="two")
        port = await es.listening()
        code = (await es.do("invite"))["attach_code"]
        await one.do("attach", host=HOST, port=port, code=code.lower().replace("-", " "))
        again = two.do("attach", host=HOST, port=port, code=code)
        assert await refused(again) == LinkRefusal.CODE_UNKNOWN
        mistyped = two.do("attach", host=HOST, port=port, code=code[:-1] + "!")
        assert await refused(mistyped) == "code_mistyped"
        # another server's code: its fingerprint is another
        await es.do("delete")
        await es.listening()
        with pytest.raises(ServerLinkError, match="not the one whose attach code this is"):
            await two.do("attach", host=HOST, port=es.server.listener.port, code=code)
        assert await refused(es.do("attach", host=HOST, port=port, code=code)) == LinkRefusal.NOT_ENTERPRISE
        assert await refused(one.do("invite")) == LinkRefusal.NOT_ENTERPRISE


async def test_a_code_does_not_attach_a_system_id_that_is_not_one_s_own(tmp_path: Path) -> None:
    """Who holds a good attach code still cannot speak for the System ID of another."""
    async with building(tmp_path, CLOUD.installation()) as (es, one):
        port = await es.listening()
        secret = read_attach_code((await es.do("invite"))["attach_code"])[1]
        victim, thief = one.server.store.database, Ed25519PrivateKey.generate()
        own, other = make_certificate(thief), make_certificate(link_key_of(es.server.store.database))
        line = await call(HOST, port, other, None)
        await line.hear(5.0)
        guessed = link_proof(bytes(32), prover=SystemId.parse(victim.system_id), own=own, other=other)
        attack = LinkMessage(
            kind=LinkKind.ATTACH,
            secret=secret,
            system_id=victim.system_id,
            certificate=own,
            proof=guessed,
            report=LinkReport(name="x"),
        )
        await line.say(attack)
        assert (await line.hear(5.0)).code == LinkRefusal.PROOF_WRONG
        await line.close()
        assert (await es.shown())["attached"] == []


async def test_a_server_that_takes_another_s_system_id_attaches_nobody(tmp_path: Path) -> None:
    """Its attach code and its key are good; the System ID it says it has is somebody else's."""
    async with building(tmp_path, CLOUD.installation()) as (es, one):
        thief = Ed25519PrivateKey.generate()
        said = LinkMessage(kind=LinkKind.HELLO, system_id=(await es.shown())["system_id"], name="es")

        async def lie(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(encode(said) + b"\n")
            await reader.readline()
            writer.write(encode(LinkMessage(kind=LinkKind.ATTACHED, proof=bytes(32))) + b"\n")
            await writer.drain()
            writer.close()

        liar = await asyncio.start_server(lie, HOST, 0, ssl=listening_context(thief, []))
        code = write_attach_code(fingerprint(make_certificate(thief)), bytes(SECRET_BYTES))
        port = liar.sockets[0].getsockname()[1]
        assert await refused(one.do("attach", host=HOST, port=port, code=code)) == LinkRefusal.PROOF_WRONG
        assert (await one.shown())["attached_to"] is None
        liar.close()
        await liar.wait_closed()


async def test_who_proves_itself_with_rubbish_for_a_certificate_breaks_nothing(tmp_path: Path) -> None:
    async with building(tmp_path, CLOUD.installation()) as (es, one):
        port = await es.listening()
        secret = read_attach_code((await es.do("invite"))["attach_code"])[1]
        mine, theirs = one.server.store.database, es.server.store.database
        other = make_certificate(link_key_of(theirs))
        shared = link_secret_with(mine, SystemId.parse(theirs.system_id))
        proof = link_proof(shared, prover=SystemId.parse(mine.system_id), own=b"rubbish", other=other)
        line = await call(HOST, port, other, None)
        await line.hear(5.0)
        attack = LinkMessage(
            kind=LinkKind.ATTACH,
            secret=secret,
            system_id=mine.system_id,
            certificate=b"rubbish",
            proof=proof,
            report=LinkReport(name="x"),
        )
        await line.say(attack)
        assert (await line.hear(5.0)).code == LinkRefusal.PROOF_WRONG
        await line.close()
        await one.attach_to(es)


@pytest.mark.parametrize(
    "words",
    [
        b"\n",
        b"{}\n",
        b"\xff\xfe\n",
        b"x" * (MAX_LINE_BYTES + 10),
        encode(LinkMessage(kind=LinkKind.DETACH)) + b"\n",
    ],
)
async def test_rubbish_from_a_stranger_ends_its_line_alone(tmp_path: Path, words: bytes) -> None:
    async with building(tmp_path, CLOUD.installation()) as (es, one):
        await one.attach_to(es)
        own = make_certificate(link_key_of(es.server.store.database))
        reader, writer = await asyncio.open_connection(
            HOST, es.server.listener.port, ssl=calling_context(own, None)
        )
        await reader.readline()
        writer.write(words)
        async with asyncio.timeout(10):
            assert await reader.read() == b""
        writer.close()
        assert (await es.shown())["attached"][0]["connected"]


async def test_strangers_at_the_door_do_not_crowd_out_who_is_attached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_listener, "MAX_KNOCKS", 2)
    async with building(tmp_path, CLOUD.installation()) as (es, one):
        await one.attach_to(es)
        await one.stop()
        own = make_certificate(link_key_of(es.server.store.database))
        lines = [await call(HOST, es.server.listener.port, own, None) for _ in range(3)]
        for line in lines:
            await line.hear(5.0)
        with pytest.raises(ServerLinkError):
            await lines[-1].hear(5.0)
        await one.start()
        await one.linked()
        for line in lines:
            await line.close()


async def test_a_certificate_that_another_has_signed_is_none_of_ours() -> None:
    assert is_certificate(make_certificate(Ed25519PrivateKey.generate()))
    assert not is_certificate(b"")
    key = Ed25519PrivateKey.generate()
    assert make_certificate(key) == make_certificate(key)
    assert listening_context(key, []).verify_mode is ssl.CERT_OPTIONAL
    assert calling_context(make_certificate(key), key).verify_mode is ssl.CERT_REQUIRED


async def test_a_key_that_was_never_attached_is_refused_in_the_handshake(tmp_path: Path) -> None:
    async with building(tmp_path, CLOUD.installation()) as (es, one):
        await one.attach_to(es)
        own = make_certificate(link_key_of(es.server.store.database))
        line = await call(HOST, es.server.listener.port, own, Ed25519PrivateKey.generate())
        with pytest.raises(ServerLinkError, match="hung up"):
            await line.hear(5.0)
        await line.close()


async def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    taken = await asyncio.start_server(lambda _r, _w: None, HOST, 0)
    async with Rig(tmp_path, CLOUD.installation()) as es:
        es.server.listener.port = taken.sockets[0].getsockname()[1]
        await es.do("create", kind="enterprise_server", name="es")
        await until("said", lambda: "cannot listen" in es.server.listener.state)
        assert "link_port" in es.server.listener.state
    taken.close()
    await taken.wait_closed()


async def test_nothing_listens_there(tmp_path: Path) -> None:
    async with building(tmp_path, CLOUD.installation()) as (es, one):
        port = await es.listening()
        code = (await es.do("invite"))["attach_code"]
        await es.stop()
        with pytest.raises(ServerLinkError, match="nothing listens there"):
            await one.do("attach", host=HOST, port=port, code=code)
