"""A server's own connection: its report taken in, its state told; sealed both ways, without any log-in.

Raises ExchangeError with what the server is answered. Nothing of a report counts before its seal was
checked; what it carries of others (attached servers, UPSs) counts by their own words alone.
"""

import asyncio
import hashlib
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from cloud.core.refusal import RefusedError
from cloud.core.system import TICKET_LIFE_MS, Server, Slot
from cloud.postgres import system_reports, systems
from cloud.postgres.acting import Reason, crossing
from cloud.postgres.system_reports import IntentRow
from cloud.postgres.systems import Who
from cloud.postgres.transaction import Connection, in_transaction
from cloud.services import system_pace, system_telling
from cloud.services.accounts import network_of
from cloud.services.kit import Kit, hash_of, new_token
from cloud.services.system_registering import Keys, carry_associate, carry_register, secret_for
from cloud.services.system_state import standing_of, told
from protocol.codec import encode
from protocol.errors import ProtocolError
from protocol.system import (
    MAX_ATTACHED,
    MAX_REPORT_BYTES,
    MAX_TEXT,
    MAX_UPS,
    NONCE_BYTES,
    Attachment,
    Source,
    Stand,
    SystemId,
    SystemNotice,
    SystemReport,
    SystemState,
    Waiting,
)
from protocol.system_code import Operation, written_number
from protocol.system_keys import Secret, check_ups, read_envelope, seal, unseal

MAX_ATTACHMENT_BYTES: Final = 1024
MAX_NUMBER: Final = 2**53
SOON_S: Final = 2
SELDOM_S: Final = 60
MOST_NOTICES: Final = 20
MOST_WAITING: Final = 20
NOTICE_TEXTS: Final = {
    "registered": "This server is registered now.",
    "associated": "This server has taken the place of another one on its registration.",
    "retired": "Another System ID has taken the place of this one, for good.",
    "ended": "The registration of this server was deleted.",
    "lead_apart": "Nobody holds a place at this server and its lead any more: it shows its own registration.",
    "warranty_ends": "The warranty of this server ends soon; its registration says when.",
    "warranty_ended": "The warranty of this server has ended.",
    "lead_gone": "The lead of this server is no longer registered: it shows its own registration.",
}


class ExchangeCode(StrEnum):
    """Why a report is not taken. Append only: servers rely on them."""

    MALFORMED = "bad_request"
    PROOF_INVALID = "system_proof_invalid"
    REPORT_OLD = "system_report_old"
    TOO_MANY = "too_many"


class ExchangeError(Exception):
    """The report changed nothing. ``after_s``: it may be sent again then."""

    def __init__(self, code: ExchangeCode, message: str, after_s: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.after_s = after_s


@dataclass(frozen=True, slots=True)
class _Taken:
    """A report whose seal was checked, with what it carries of others."""

    system_id: SystemId
    key_number: int
    secret: Secret
    report: SystemReport
    words: tuple[Attachment, ...]
    """Of attached servers, by their own seals; those that do not fit are left out."""
    own_word: Attachment | None


@crossing(Reason.SYSTEM)
async def exchange(
    kit: Kit, keys: Keys, key_set_version: int, payload: bytes, now_ms: int, *, address: str = ""
) -> bytes:
    """The sealed state for this sealed report, which came from ``address``."""
    taken = await asyncio.to_thread(_open, keys, payload)
    link = new_token() if taken.report.register else ""

    async def work(connection: Connection) -> SystemState:
        admitted = await _admit(connection, taken, network_of(address), now_ms)
        return await _exchange(connection, kit, admitted, link, key_set_version, now_ms)

    state = await in_transaction(
        kit.pool, work, before_commit="systems.exchange.before", after_commit="systems.exchange.after"
    )
    return seal(state, taken.system_id, taken.secret, taken.key_number)


# --- opening ------------------------------------------------------------------------------------------------


def _open(keys: Keys, payload: bytes) -> _Taken:
    try:
        system_id, envelope = read_envelope(payload, MAX_REPORT_BYTES)
    except ProtocolError as error:
        raise ExchangeError(ExchangeCode.MALFORMED, str(error)) from error
    try:
        secret = secret_for(keys, envelope.key_number, system_id)
        if secret is None:
            raise ExchangeError(ExchangeCode.PROOF_INVALID, "There is no such key of the cloud.")
        report = unseal(envelope, SystemReport, secret, MAX_REPORT_BYTES)
    except ProtocolError as error:
        raise ExchangeError(ExchangeCode.PROOF_INVALID, str(error)) from error
    if report.system_id != system_id.value:
        raise ExchangeError(ExchangeCode.PROOF_INVALID, "The report is another server's.")
    _check(report)
    words = tuple(word for sealed in report.attached if (word := _word(keys, sealed)) is not None)
    own = _word(keys, report.attachment) if report.attachment else None
    if own is not None and own.system_id != system_id.value:
        own = None
    return _Taken(system_id, envelope.key_number, secret, report, words, own)


def _check(report: SystemReport) -> None:
    texts = (report.name, report.version, report.accept, report.decline, *report.licences)
    fits = (
        0 < report.counter < MAX_NUMBER
        and 0 <= report.uptime_s < MAX_NUMBER
        and len(report.nonce) == NONCE_BYTES
        and len(report.attached) <= MAX_ATTACHED
        and len(report.ups) <= MAX_UPS
        and len(report.licences) <= MAX_TEXT
        and all(len(text) <= MAX_TEXT and "\0" not in text for text in texts)
    )
    if not fits:
        raise ExchangeError(ExchangeCode.MALFORMED, "A value of the report is out of range.")


def _word(keys: Keys, sealed: bytes) -> Attachment | None:
    """An attached server's own word; None where its seal does not fit: others' reports are not held up."""
    try:
        system_id, envelope = read_envelope(sealed, MAX_ATTACHMENT_BYTES)
        secret = secret_for(keys, envelope.key_number, system_id)
        if secret is None:
            return None
        word = unseal(envelope, Attachment, secret, MAX_ATTACHMENT_BYTES)
        if word.to:
            SystemId.parse(word.to)
    except ProtocolError:
        return None
    return word if word.system_id == system_id.value and 0 < word.counter < MAX_NUMBER else None


# --- taking in ----------------------------------------------------------------------------------------------


async def _admit(connection: Connection, taken: _Taken, network: str, now_ms: int) -> _Taken:
    """The report, without the attached servers that have to wait. ExchangeError too_many."""
    own = taken.system_id.value
    members = sorted({word.system_id for word in taken.words} - {own})
    waiting, wait_ms = await system_pace.admit(connection, network, [own, *members], now_ms)
    if own in waiting:
        told = (
            "Many servers that were never seen before come from this network. This one asks again by itself."
        )
        raise ExchangeError(ExchangeCode.TOO_MANY, told, -(-wait_ms // 1000))
    return replace(taken, words=tuple(word for word in taken.words if word.system_id not in waiting))


async def _exchange(
    connection: Connection, kit: Kit, taken: _Taken, link: str, key_set_version: int, now_ms: int
) -> SystemState:
    report, system_id = taken.report, taken.system_id.value
    chosen = await _chosen(connection, taken, now_ms)
    members = sorted({word.system_id for word in taken.words} - {system_id})
    for one in (system_id, *members):
        await systems.prove(connection, one, now_ms)
    replaced = [chosen.replaces] if chosen is not None and chosen.replaces else []
    servers = await systems.lock_servers(connection, (system_id, *members, *replaced))
    if not await system_reports.note_report(connection, report, now_ms):
        raise ExchangeError(ExchangeCode.REPORT_OLD, "A report with this counter, or a later one, was taken.")
    former = await system_reports.members_said(connection, system_id)
    concerned = sorted({system_id, *members, *former})
    before = await system_reports.attachments(connection, concerned)
    for word in (*taken.words, *([] if taken.own_word is None else [taken.own_word])):
        await system_reports.note_attachment(connection, word)
    await system_reports.set_members(
        connection, system_id, [word.system_id for word in taken.words if word.to == system_id]
    )
    after = await system_reports.attachments(connection, concerned)
    for number, place in after.items():
        if place != before.get(number, ""):
            await system_telling.attached(connection, kit, number, before.get(number, ""), place, now_ms)
    await _note_ups(connection, taken, now_ms)
    if chosen is not None and report.accept:
        await _accept(connection, kit, servers[system_id], chosen, now_ms)
    elif chosen is not None:
        await system_reports.close_intent(connection, system_id, chosen.intent_id, "declined", "", now_ms)
        await system_telling.tell_waiting(connection, kit, chosen, "declined", "", None, now_ms)
    if link:
        await system_reports.set_ticket(connection, system_id, hash_of(link), now_ms + TICKET_LIFE_MS)
    where = f"{kit.portal_url}/systems/register#{system_id}.{link}" if link else ""
    return await _state(connection, taken, where, key_set_version, now_ms)


async def _chosen(connection: Connection, taken: _Taken, now_ms: int) -> IntentRow | None:
    """The one of those who wait that the server accepts or declines."""
    name = taken.report.accept or taken.report.decline
    waiting = (
        await system_reports.intents_of_server(connection, taken.system_id.value, now_ms) if name else []
    )
    return next((one for one in waiting if one.intent_id == name), None)


async def _accept(connection: Connection, kit: Kit, server: Server, intent: IntentRow, now_ms: int) -> None:
    """Carry out what somebody waits for; what cannot be done any more says so to who waits."""
    who = Who(intent.company_id, intent.account_id)
    number = None
    try:
        async with connection.transaction():
            if intent.operation == Operation.ASSOCIATE and intent.number is not None:
                after = await carry_associate(
                    connection,
                    kit,
                    server,
                    intent.number,
                    intent.replaces,
                    intent.company_id,
                    who,
                    now_ms,
                )
            else:
                after = await carry_register(
                    connection, kit, server, Slot(intent.slot), intent.company_id, who, now_ms
                )
            number = after.number
    except RefusedError as refusal:
        state, reason = "refused", refusal.code.value
    else:
        state, reason = "done", ""
    await system_reports.close_intent(connection, server.system_id, intent.intent_id, state, reason, now_ms)
    await system_telling.tell_waiting(connection, kit, intent, state, reason, number, now_ms)


async def _note_ups(connection: Connection, taken: _Taken, now_ms: int) -> None:
    given = [(int(one.device_id), one) for one in taken.report.ups if _is_number(one.device_id)]
    known = await system_reports.bound_keys(connection, [number for number, _one in given]) if given else {}
    good: dict[int, str] = {}
    for number, one in given:
        public = known.get((number, one.kid))
        if public is None:
            continue
        try:
            check_ups(public, taken.system_id, one.signature)
        except ProtocolError:
            continue
        good[number] = one.kid
    await system_reports.set_ups(connection, taken.system_id.value, sorted(good.items()), now_ms)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 19 and int(text) < 1 << 63


# --- telling ------------------------------------------------------------------------------------------------


async def _state(
    connection: Connection, taken: _Taken, link: str, key_set_version: int, now_ms: int
) -> SystemState:
    system_id = taken.system_id.value
    server = await systems.find_server(connection, system_id)
    standing = await standing_of(connection, system_id)
    shown, own = standing.shown, standing.own
    registration = None if shown is None else await told(connection, shown)
    waiting = (await system_reports.intents_of_server(connection, system_id, now_ms))[:MOST_WAITING]
    stand = Stand.UNREGISTERED
    if server is not None and server.retired:
        stand = Stand.RETIRED
    elif shown is not None:
        stand = Stand.REGISTERED if shown.confirmed else Stand.PENDING
    state = SystemState(
        system_id=system_id,
        counter=0,
        nonce=b"",
        server_time_ms=0,
        version=0,
        stand=stand,
        source=standing.source,
        source_id=standing.where.source_id,
        registration=registration,
        own=None if own is None or standing.source is Source.OWN else await told(connection, own),
        notices=tuple(
            SystemNotice(
                number=one.notice_no,
                ts_ms=one.ts_ms,
                code=one.code,
                text=NOTICE_TEXTS.get(one.code, one.code),
            )
            for one in await system_reports.notices(connection, system_id, MOST_NOTICES)
        ),
        attached=tuple(await system_reports.members_of(connection, system_id)),
        waiting=tuple(
            Waiting(
                name=one.intent_id,
                company=one.company,
                slot=one.slot,
                operation=one.operation,
                number="" if one.number is None else written_number(one.number),
                since_ms=one.created_ms,
            )
            for one in waiting
        ),
        key_set_version=key_set_version,
        gone_id=await system_reports.gone_enterprise(connection, system_id),
    )
    version = await system_reports.told(connection, system_id, hashlib.sha256(encode(state)).digest(), now_ms)
    soon = bool(link or waiting or await system_reports.has_ticket(connection, system_id, now_ms))
    return replace(
        state,
        counter=taken.report.counter,
        nonce=taken.report.nonce,
        server_time_ms=now_ms,
        version=version,
        link=link,
        next_s=SOON_S if soon else SELDOM_S,
    )
