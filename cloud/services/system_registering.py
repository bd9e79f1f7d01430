"""Registering a system and giving a registration another System ID: online, offline, or typed and waiting.

What somebody brings is a *proof* (:func:`read_proof`): the link that a server gets for *Register now*, a
server's request for an offline code, or a System ID that was only typed. The first two come from the server
and act at once; the third waits for its server's yes (:mod:`cloud.services.system_exchange`). Everything
raises NotAllowedError and RefusedError; what a company may not see is not_found.
"""

import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from cloud.core import system as rules
from cloud.core.authz import Action, Actor, NotAllowedError
from cloud.core.language import N_, gettext
from cloud.core.refusal import RefusalCode, RefusedError
from cloud.core.system import CODE_DAYS, INTENT_LIFE_MS, MOST_INTENTS, Server, Slot, System
from cloud.core.typed import fault_of
from cloud.postgres import closing, system_reports, system_views, systems
from cloud.postgres.acting import Reason, crossing
from cloud.postgres.pool import Pool
from cloud.postgres.system_reports import IntentRow, RequestRow
from cloud.postgres.systems import NumberTakenError, Who
from cloud.postgres.transaction import Connection, in_transaction
from cloud.services import system_pace, system_telling
from cloud.services.kit import Kit, hash_of
from protocol.errors import ProtocolError
from protocol.system import SYSTEM_ID_LENGTH, WRITTEN_LENGTH, SystemId
from protocol.system_code import (
    REGISTRATION_BITS,
    OpenRequest,
    Operation,
    Registered,
    check_request,
    day_of,
    read_request,
    write_code,
)
from protocol.system_keys import Secret, cloud_secret

Keys = Mapping[int, X25519PrivateKey]
"""The cloud's private keys for systems, by number."""


@dataclass(frozen=True, slots=True)
class SystemKeys:
    """What a portal knows of them: the private halves, and the version of the key set that names them."""

    private: Keys
    version: int


MAX_CHARS: Final = 600
_LONGER_THAN_AN_ID: Final = 70
_NUMBERS: Final = 8
"""Numbers drawn until one is free; with a million registrations one in a thousand is taken."""
OTHER_OPERATION: Final = {
    Operation.REGISTER: N_(
        "The server's request is to register this system. Make a new request there, to associate a new"
        " System ID."
    ),
    Operation.ASSOCIATE: N_(
        "The server's request is to associate a new System ID. Make a new request there, to register this"
        " system."
    ),
}
"""What a request is for that was brought to the other page."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What somebody brings of a server; ``proven`` says that it comes from the server itself."""

    system_id: SystemId
    ticket: str = ""
    request: OpenRequest | None = None

    @property
    def proven(self) -> bool:
        """Whether it comes from the server."""
        return bool(self.ticket) or self.request is not None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of it: a registration's number, or who waits for the server's yes; an offline code."""

    number: int | None = None
    intent_id: str = ""
    code: str = ""


def secret_for(keys: Keys, number: int, system_id: SystemId) -> Secret | None:
    """What this server shares with the cloud's key of this number; None where that is gone."""
    key = keys.get(number)
    return None if key is None else cloud_secret(key, system_id.public, system_id, number)


def read_proof(keys: Keys, text: str) -> Proof:
    """What was typed, pasted or scanned. RefusedError field_invalid with the field ``system_id``.

    A ticket is checked when it is used (:func:`register`, :func:`associate`).
    """
    text = text.strip()
    if not text:
        raise _wrong(gettext("Please enter what the server shows."))
    if len(text) > MAX_CHARS:
        raise _wrong(gettext("This text is much longer than a System ID or a request."))
    token = text.rpartition("#")[2]
    name, dot, ticket = token.partition(".")
    try:
        if dot and ticket and "." not in ticket and len(name) in {SYSTEM_ID_LENGTH, WRITTEN_LENGTH}:
            return Proof(SystemId.parse(name), ticket=ticket)
        if len(token) < _LONGER_THAN_AN_ID:
            return Proof(SystemId.parse(token))
        request, given = read_request(token)
        secret = secret_for(keys, request.key_number, request.system_id)
        if secret is None:
            raise _wrong(
                gettext(
                    "The request was made for a key that this portal does not have. Give the server the"
                    " present file of this installation, and make a new request."
                )
            )
        check_request(request, given, secret)
    except ProtocolError as error:
        raise _wrong(fault_of(error)) from error
    return Proof(request.system_id, request=request)


def _wrong(text: str) -> RefusedError:
    return RefusedError(RefusalCode.FIELD_INVALID, text=text, field="system_id")


# --- registering --------------------------------------------------------------------------------------------


@crossing(Reason.SYSTEM)
async def register(kit: Kit, keys: Keys, actor: Actor, proof: Proof, slot: Slot, now_ms: int) -> Outcome:
    """Take a slot of this system for the actor's company; the registration is made where there is none."""
    actor.must(Action.CLAIM)
    if not proof.proven:
        return await _type_in(kit.pool, actor, proof.system_id, slot, Operation.REGISTER, now_ms)
    _must_be_for(proof, Operation.REGISTER)

    async def work(connection: Connection) -> Outcome:
        server = await _prove(connection, actor, proof, (), now_ms)
        await must_be_open(connection, actor)
        who = Who(actor.company_id, actor.account_id)
        system = await carry_register(connection, kit, server, slot, actor.company_id, who, now_ms)
        return await _answer(connection, keys, actor, proof, system.number, now_ms)

    return await in_transaction(
        kit.pool, work, before_commit="systems.register.before", after_commit="systems.register.after"
    )


async def carry_register(
    connection: Connection, kit: Kit, server: Server, slot: Slot, company_id: int, who: Who, now_ms: int
) -> System:
    """Decide and store, with the server locked."""
    system = None
    if server.number is not None:
        system = (await systems.lock_registrations(connection, [server.number])).get(server.number)
    for _ in range(_NUMBERS):
        number = secrets.randbelow(1 << REGISTRATION_BITS)
        after, _server = rules.register(server, system, slot, company_id, number)
        if system is not None:
            await system_telling.store(connection, kit, system, after, who, now_ms)
            return after
        try:
            await systems.insert(connection, after, who, now_ms)
        except NumberTakenError:
            continue
        await systems.add_notice(connection, server.system_id, "registered", now_ms)
        return after
    raise RefusedError(RefusalCode.TOO_FAST)


@crossing(Reason.SYSTEM)
async def associate(
    kit: Kit, keys: Keys, actor: Actor, proof: Proof, number: int, replaces: str, now_ms: int
) -> Outcome:
    """Let this System ID take the place of ``replaces`` on the actor's registration."""
    actor.must(Action.CLAIM)
    if not proof.proven:
        return await _type_in(
            kit.pool,
            actor,
            proof.system_id,
            None,
            Operation.ASSOCIATE,
            now_ms,
            number=number,
            replaces=replaces,
        )
    _must_be_for(proof, Operation.ASSOCIATE)

    async def work(connection: Connection) -> Outcome:
        server = await _prove(connection, actor, proof, (replaces,), now_ms)
        await must_be_open(connection, actor)
        who = Who(actor.company_id, actor.account_id)
        await carry_associate(connection, kit, server, number, replaces, actor.company_id, who, now_ms)
        return await _answer(connection, keys, actor, proof, number, now_ms)

    return await in_transaction(
        kit.pool, work, before_commit="systems.register.before", after_commit="systems.register.after"
    )


async def carry_associate(
    connection: Connection,
    kit: Kit,
    server: Server,
    number: int,
    replaces: str,
    company_id: int,
    who: Who,
    now_ms: int,
) -> System:
    """Decide and store, with both servers locked."""
    system = (await systems.lock_registrations(connection, [number])).get(number)
    if system is None:
        raise RefusedError(RefusalCode.NOT_FOUND)
    after, _server = rules.associate(server, system, company_id, replaces)
    await system_telling.store(connection, kit, system, after, who, now_ms)
    return after


async def must_be_open(connection: Connection, actor: Actor) -> None:
    """NotAllowedError where the actor's company is being closed; servers and registrations are held."""
    if not await closing.is_open(connection, actor.company_id):
        raise NotAllowedError(Action.CLAIM, actor.role)


def _must_be_for(proof: Proof, operation: Operation) -> None:
    """RefusedError where a request was made for the other operation: its code would do nothing there."""
    asked = proof.request.operation if proof.request is not None else operation
    if asked is not operation:
        raise _wrong(gettext(OTHER_OPERATION[asked]))


async def _prove(
    connection: Connection, actor: Actor, proof: Proof, others: tuple[str, ...], now_ms: int
) -> Server:
    """The server, locked together with these others.

    RefusedError link_invalid (the ticket is not its), too_fast (the person brings many that are new).
    """
    system_id = proof.system_id.value
    if proof.request is not None:
        subject = f"account {actor.account_id}"
        waiting, wait_ms = await system_pace.admit(connection, subject, [system_id], now_ms)
        if waiting:
            raise RefusedError(RefusalCode.TOO_FAST, after_s=-(-wait_ms // 1000))
        await systems.prove(connection, system_id, now_ms)
    server = (await systems.lock_servers(connection, (system_id, *others))).get(system_id)
    if proof.request is None:
        fits = await system_reports.ticket_fits(connection, system_id, hash_of(proof.ticket), now_ms)
        if server is None or not fits:
            text = gettext("This link has expired or was used. Choose Register now at the server again.")
            raise RefusedError(RefusalCode.LINK_INVALID, text=text)
    if server is None:
        raise RefusedError(RefusalCode.NOT_FOUND)
    return server


async def _answer(
    connection: Connection, keys: Keys, actor: Actor, proof: Proof, number: int, now_ms: int
) -> Outcome:
    """With a code, where a request asked for one; while that is good, the same request gets the same."""
    request = proof.request
    if request is None:
        return Outcome(number)
    system_id = request.system_id.value
    today = day_of(now_ms)
    known = await system_reports.find_request(connection, system_id, request.nonce)
    if known is not None and known.number == number and known.day >= today:
        return Outcome(number, code=known.code)
    if known is not None and known.number != number:
        raise _wrong(gettext("This request was used for another registration. Make a new one at the server."))
    secret = secret_for(keys, request.key_number, request.system_id)
    if secret is None:
        raise _wrong(gettext("The request was made for a key that is gone. Make a new one at the server."))
    day = today + CODE_DAYS
    code = write_code(request, Registered(request.operation, number, day), secret)
    await system_reports.put_request(
        connection,
        RequestRow(
            system_id=system_id,
            nonce=request.nonce,
            operation=request.operation,
            number=number,
            company_id=actor.company_id,
            code=code,
            day=day,
            made_ms=now_ms,
        ),
    )
    return Outcome(number, code=code)


# --- typed, and waiting -------------------------------------------------------------------------------------


@crossing(Reason.SYSTEM)
async def _type_in(
    pool: Pool,
    actor: Actor,
    system_id: SystemId,
    slot: Slot | None,
    operation: Operation,
    now_ms: int,
    *,
    number: int | None = None,
    replaces: str = "",
) -> Outcome:
    """Wait for the server's yes. Whoever holds the system already is told its number at once.

    Strangers get one answer, whether the System ID is unknown, registered or retired.
    """

    async def work(connection: Connection) -> Outcome:
        await must_be_open(connection, actor)
        wanted = slot
        if number is not None:
            system = (await systems.load_registrations(connection, [number])).get(number)
            if system is None:
                raise RefusedError(RefusalCode.NOT_FOUND)
            held = rules.must_hold(system, actor.company_id)
            if system.system_id != replaces:
                raise RefusedError(RefusalCode.SUPERSEDED)
            if system.system_id == system_id.value:
                return Outcome(number)
            wanted = next(one for one in Slot if one in held)
        own = await system_views.number_of(connection, system_id.value, actor.company_id)
        if own is not None and number is None:
            return Outcome(own)
        if await system_views.retired_of(connection, system_id.value, actor.company_id):
            raise RefusedError(RefusalCode.SYSTEM_RETIRED)
        waiting = await system_reports.intents_of_company(connection, actor.company_id, now_ms)
        if len(waiting) >= MOST_INTENTS and all(one.system_id != system_id.value for one in waiting):
            raise RefusedError(RefusalCode.TOO_MANY_OPEN)
        await system_reports.expire_intents(connection, system_id.value, now_ms)
        row = IntentRow(
            system_id=system_id.value,
            intent_id=str(uuid.uuid4()),
            company_id=actor.company_id,
            account_id=actor.account_id,
            company="",
            slot=(wanted or Slot.END_USER).value,
            operation=operation.value,
            number=number,
            replaces=replaces,
            state="waiting",
            reason="",
            created_ms=now_ms,
            expires_ms=now_ms + INTENT_LIFE_MS,
        )
        return Outcome(intent_id=await system_reports.add_intent(connection, row))

    return await in_transaction(pool, work)


@crossing(Reason.SYSTEM)
async def find_intent(pool: Pool, actor: Actor, system_id: str, intent_id: str, now_ms: int) -> IntentRow:
    """One that the company waits for, or waited for. RefusedError not_found."""
    actor.must(Action.SEE)

    async def work(connection: Connection) -> IntentRow | None:
        return await system_reports.find_intent(connection, system_id, intent_id, now_ms)

    found = await in_transaction(pool, work) if _is_uuid(intent_id) else None
    if found is None or found.company_id != actor.company_id:
        raise RefusedError(RefusalCode.NOT_FOUND)
    return found


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


@crossing(Reason.SYSTEM)
async def cancel_intent(pool: Pool, actor: Actor, system_id: str, intent_id: str, now_ms: int) -> None:
    """Wait no longer. RefusedError not_found."""
    actor.must(Action.CLAIM)
    await find_intent(pool, actor, system_id, intent_id, now_ms)

    async def work(connection: Connection) -> None:
        await system_reports.close_intent(connection, system_id, intent_id, "cancelled", "", now_ms)

    await in_transaction(pool, work)
