"""Attached servers: who may attach, what is passed on to them, and how they stand alone again.

Theory of operation. Only an Enterprise Server gives attach codes, only a stand-alone server uses one, and it
has one Enterprise Server at the most: so there are neither cycles nor chains, whoever does what in which
order. What is passed on is sealed under both System IDs and counted; none is taken twice.

===================  ===========================================  ==========================================
who ends it          at once                                      the other learns it
===================  ===========================================  ==========================================
attached server      shows its own again                          over the link, or by silence
Enterprise Server    passes nothing on any more                   over the link, as soon as it calls
... by deletion      its System ID is gone                        over the link, if it is connected then;
of its database                                                   else by the farewell that was made for it,
                                                                  or by the cloud, once it retires the ID
===================  ===========================================  ==========================================
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from agent.core.system import AttachCode, Farewell, Peer, later, shown
from protocol.errors import ErrorCode, ProtocolError
from protocol.system import MAX_ATTACHED, MAX_TEXT, PassedOn, System
from protocol.system_link import CODE_LIFE_MS, DetachReason, LinkRefusal, LinkReport

if TYPE_CHECKING:
    from agent.core.system import Database, Lead, Reading

MAX_LICENCES: Final = 100
MAX_UPTIME_S: Final = 2**40
MAX_ATTACHMENT_BYTES: Final = 1024  # as the cloud takes them
MAX_CODES: Final = 20  # attach codes that may be open; further ones close the oldest


class AttachRefusedError(Exception):
    """Somebody may not attach, or not so. ``refusal`` is its stable code."""

    def __init__(self, refusal: LinkRefusal, text: str) -> None:
        super().__init__(text)
        self.refusal = refusal


REFUSAL_TEXTS: Final[dict[LinkRefusal, str]] = {
    LinkRefusal.CODE_UNKNOWN: (
        "The Enterprise Server does not know this attach code: it was used, or is another server's. Let the"
        " Enterprise Server make a new one."
    ),
    LinkRefusal.CODE_EXPIRED: (
        "The attach code is older than an hour. Let the Enterprise Server make a new one."
    ),
    LinkRefusal.PROOF_WRONG: (
        "The servers could not prove their System IDs to each other: something in between answers for one."
    ),
    LinkRefusal.NOT_ENTERPRISE: (
        "Only a stand-alone server can be attached, and only to an Enterprise Server."
    ),
    LinkRefusal.NOT_KNOWN: "There is no farewell for this server.",
    LinkRefusal.TOO_MANY: f"{MAX_ATTACHED} servers are attached already. Detach one that is there no more.",
}
"""What each refusal says to people, and what to do next."""


def refused(refusal: LinkRefusal) -> AttachRefusedError:
    """The error of this refusal, with its text."""
    return AttachRefusedError(refusal, REFUSAL_TEXTS[refusal])


def line_of(text: str) -> str:
    """A text of another server as it may be kept and shown: printable, and of bounded length."""
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in text[:MAX_TEXT])


def tidy(report: LinkReport) -> LinkReport:
    """What another server says of itself, within bounds."""
    return LinkReport(
        name=line_of(report.name),
        version=line_of(report.version),
        licences=tuple(line_of(one) for one in report.licences[:MAX_LICENCES]),
        uptime_s=min(max(report.uptime_s, 0), MAX_UPTIME_S),
        attachment=report.attachment if len(report.attachment) <= MAX_ATTACHMENT_BYTES else b"",
    )


# --- at the Enterprise Server -------------------------------------------------------------------------------


def invite(database: Database, secret: bytes, reading: Reading) -> Database:
    """With one more attach code open. AttachRefusedError at a stand-alone server."""
    if database.kind is not System.ENTERPRISE_SERVER:
        raise refused(LinkRefusal.NOT_ENTERPRISE)
    code = AttachCode(digest=_digest(secret), given=reading, until_ms=reading.wall_ms + CODE_LIFE_MS)
    return replace(database, attach_codes=(*database.attach_codes, code)[-MAX_CODES:])


def admit(
    database: Database,
    secret: bytes,
    *,
    system_id: str,
    certificate: bytes,
    report: LinkReport,
    reading: Reading,
) -> Database:
    """With this server attached, and the code used up; one attached before is attached anew."""
    code = next((code for code in database.attach_codes if code.digest == _digest(secret)), None)
    if code is None:
        raise refused(LinkRefusal.CODE_UNKNOWN)
    same_boot = reading.boot == code.given.boot
    passed_ms = reading.mono_ms - code.given.mono_ms if same_boot else 0
    if reading.wall_ms >= code.until_ms or passed_ms >= CODE_LIFE_MS:
        raise refused(LinkRefusal.CODE_EXPIRED)
    others = tuple(peer for peer in database.peers if peer.system_id != system_id)
    if len(others) >= MAX_ATTACHED:
        raise refused(LinkRefusal.TOO_MANY)
    peer = Peer(
        system_id=system_id,
        certificate=certificate,
        attached_ms=reading.wall_ms,
        report=replace(tidy(report), uptime_s=0),
    )
    codes = tuple(other for other in database.attach_codes if other is not code)
    return replace(database, peers=(*others, peer), attach_codes=codes)


def _digest(secret: bytes) -> bytes:
    return hashlib.sha256(b"scl/attach-code/1\0" + secret).digest()


def reported(database: Database, system_id: str, report: LinkReport) -> Database:
    """With what an attached server says of itself; the same database where that says nothing new."""
    kept = replace(tidy(report), uptime_s=0)  # it changes all the time, and is asked for anew
    peers = tuple(
        replace(peer, report=kept) if peer.system_id == system_id and peer.report != kept else peer
        for peer in database.peers
    )
    return database if peers == database.peers else replace(database, peers=peers)


def peer_of(database: Database, certificate: bytes) -> Peer | None:
    """The attached server with this certificate, also one that is leaving."""
    return next((peer for peer in database.peers if peer.certificate == certificate), None)


def attached_peers(database: Database) -> tuple[Peer, ...]:
    """The servers that are attached."""
    return tuple(peer for peer in database.peers if peer.leaving is None)


def pass_on(database: Database, to: str) -> PassedOn:
    """What an attached server is told: what this one shows. The same until that changes."""
    now = shown(database)
    version = 0 if database.heard is None else database.heard.state.version
    return PassedOn(
        from_id=database.system_id,
        to=to,
        counter=database.at,
        version=version,
        stand=now.stand,
        registration=now.registration,
    )


def dismiss(database: Database, system_id: str, reason: DetachReason) -> Database:
    """Without this attached server; it stays known until it was told. KeyError if there is none."""
    if all(peer.system_id != system_id for peer in attached_peers(database)):
        raise KeyError(system_id)
    peers = (
        replace(peer, leaving=reason) if peer.system_id == system_id else peer for peer in database.peers
    )
    return replace(database, peers=tuple(peers))


def forget(database: Database, system_id: str) -> Database:
    """Without any trace of this attached server: it was told, or told us."""
    return replace(database, peers=tuple(peer for peer in database.peers if peer.system_id != system_id))


def farewell_to(database: Database, system_id: str, ask: bytes) -> Farewell:
    """What is kept for a server that was attached to an earlier System ID. AttachRefusedError not_known."""
    for one in database.farewells:
        if one.system_id == system_id and hmac.compare_digest(one.ask, ask):
            return one
    raise refused(LinkRefusal.NOT_KNOWN)


# --- at the stand-alone server ------------------------------------------------------------------------------


def attach(database: Database, lead: Lead, now_ms: int) -> Database:
    """Attached to this Enterprise Server, after both have proven who they are."""
    if database.kind is not System.STANDALONE or lead.system_id == database.system_id:
        raise refused(LinkRefusal.NOT_ENTERPRISE)
    counter = max(database.attachment_counter + 1, now_ms)
    at = later(database, now_ms)
    return replace(
        database,
        lead=replace(lead, at=at),
        at=at,
        attachment_counter=counter,
        left=None,
    )


def receive(database: Database, passed: PassedOn, now_ms: int) -> Database:
    """With what the Enterprise Server passed on. ProtocolError unless it is for us, and the same or newer."""
    lead = database.lead
    if lead is None or passed.from_id != lead.system_id or passed.to != database.system_id:
        raise ProtocolError(ErrorCode.SIGNATURE_INVALID, "What was passed on is for another server.")
    known = lead.passed
    if known is not None and passed.counter < known.counter:
        raise ProtocolError(ErrorCode.OUT_OF_RANGE, "What was passed on is older than what is known.")
    if passed == known:
        return database
    if known is not None and passed.counter == known.counter:
        raise ProtocolError(ErrorCode.OUT_OF_RANGE, "Two different messages have one number.")
    at = later(database, now_ms)
    return replace(database, at=at, lead=replace(lead, passed=passed, passed_ms=now_ms, at=at))


def detach(database: Database, reason: DetachReason, now_ms: int) -> Database:
    """Standing alone again: what it showed before it was attached is shown again."""
    if database.lead is None:
        return database
    counter = max(database.attachment_counter + 1, now_ms)
    return replace(database, lead=None, left=reason, attachment_counter=counter, at=later(database, now_ms))
