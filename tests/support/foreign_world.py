"""Somebody's world with one of everything, and all of it that nobody else may have changed."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, LiteralString

from cloud.core.api_token import Scope
from cloud.core.authz import Actor, Role
from cloud.core.command import Order
from cloud.core.rule_draft import Draft
from cloud.postgres import accounts, passkeys
from cloud.postgres.accounts import Session
from cloud.postgres.acting import acting_for
from cloud.postgres.commands import CommandRow
from cloud.postgres.notice_policies import PolicyRow, Target, WindowRow
from cloud.services import api_tokens, commanding, companies, naming, noticeboard, offering, placing, ruling
from cloud.web import sessions
from cloud.web.bulk_views import BULK
from protocol.commands import CommandKind
from protocol.identity import b64url
from tests.support.claiming import TestDevice
from tests.support.device import random_codes
from tests.support.portal import Portal, claim, now_ms
from tests.support.system_things import SITE_NAME, own_system

DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class World:
    """What somebody has. ``ids``: placeholder or field → theirs; ``marks``: what nobody else may read."""

    ids: Mapping[str, str]
    marks: tuple[str, ...]


async def build(portal: Portal, owner: Actor, other: Actor) -> World:
    """One of everything for ``owner``: a device with a history, a name, an offer, a claimant and a new key; a
    waiting claim, one on a device of ``other``, a bulk job, a colleague, an invitation, a second log-in.
    """
    owned = await portal.own_device(owner)
    await owned.show()
    await owned.add_samples([(now_ms() - 60_000, {})])
    outage_ms = now_ms()
    await owned.add_event("on_battery", at_ms=outage_ms, cause="a cause of their own")
    await naming.save_profile(
        portal.pool, owner, owned.device_id, name="Cellar rack", description="By the boiler", now_ms=now_ms()
    )
    board = owned.device.twin()
    await board.announce(portal.pool, now_ms())
    await claim(portal.pool, other, owned.device)
    made = await offering.offer(
        portal.pool, owner, owned.device_id, now_ms(), fresh=True, to_email="buyer@example.org"
    )
    waiting = TestDevice()
    pending = await claim(portal.pool, owner, waiting)
    foreign = await portal.own_device(other)
    await claim(portal.pool, owner, foreign.device)
    kit = portal.kit
    colleague = await portal.add_person("grace@example.org", first_name="Grace")
    async with portal.pool.connection() as connection:
        await connection.execute(
            "INSERT INTO membership (company_id, account_id, role, created_ms) VALUES (%s, %s, 'viewer', 0)",
            [owner.company_id, colleague.account_id],
        )
    passkey_id = await give_passkey(portal, colleague.account_id)
    invitation = await companies.invite(kit, owner, "frank@example.org", Role.VIEWER, now_ms())
    listed = random_codes()[0].value  # with a key that cannot be, so that the job leaves no claim behind
    with acting_for(owner.company_id, owner.account_id):
        job = await portal.app[BULK].submit(owner, f"{listed},short", now_ms())
    cookie = await portal.log_in("ada@example.org")
    ordered = await order(portal, cookie, owned.device_id)
    watching = Draft(name="A rule of their own", subject="load_w", side="above", threshold=500)
    rule_id = await ruling.make(portal.pool, owner, watching, now_ms())
    arranged = await arrange(portal, owner)
    token = await token_of(portal, cookie)
    system = await own_system(portal, owner)
    ids = {
        **arranged,
        **system,
        "device_id": str(owned.device_id),
        "device": str(owned.device_id),
        "rule_id": str(rule_id),
        "claim_id": pending.claim_id or "",
        "job_id": job,
        "kid": board.kid,
        "company_id": str(owner.company_id),
        "company": str(owner.company_id),
        "hand_to": str(owner.company_id),
        "account_id": str(colleague.account_id),
        "member": str(colleague.account_id),
        "passkey_id": str(passkey_id),
        "passkey": str(passkey_id),
        "invitation_id": str(invitation.invitation_id),
        "invitation": str(invitation.invitation_id),
        "token": made.token,
        "command_id": ordered.command_id,
        "at_ms": str(outage_ms),
        "name": b64url(sessions.hash_of(cookie)),
        "token_id": str(token),
    }
    marks = (
        "Cellar rack",
        "By the boiler",
        "A rule of their own",
        "A passkey of their own",
        *("A site of their own", "A policy of their own", "A channel of their own", "work of their own"),
        "a cause of their own",
        "A token of their own",
        *(SITE_NAME, system["registered_id"], system["system_id"], "tenant@example.org"),
        "Example Clinic",
        "ada@example.org",
        "grace@example.org",
        "frank@example.org",
        "buyer@example.org",
        board.kid,
        owned.device.kid,
        owned.device.product_id.value,
        waiting.product_id.value,
        listed,
        str(owned.device_id),
        pending.claim_id or "",
        job,
        ordered.command_id,
    )
    return World(ids, marks)


async def give_passkey(portal: Portal, account_id: int) -> int:
    """A passkey of a colleague: one of their own would be asked for at each log-in."""
    new = passkeys.NewPasskey(
        account_id=account_id,
        credential_id=b"c" * 16,
        public_key=b"",
        sign_count=0,
        transports=[],
        name="A passkey of their own",
        rp_id="localhost",
        now_ms=now_ms(),
    )
    async with portal.pool.connection() as connection:
        made = await passkeys.insert(connection, new)
    if made is None:
        raise AssertionError("the passkey is new")
    return made


async def arrange(portal: Portal, owner: Actor) -> dict[str, str]:
    """A site, a policy, a channel and a window; their numbers by placeholder."""
    kit = portal.kit
    site_id = await placing.add_site(portal.pool, owner, "A site of their own", now_ms())
    mine = PolicyRow(name="A policy of their own", topics=["fault"], scope="site", scope_id=site_id)
    told = [Target(0, "role", "owner")]
    policy_id = await noticeboard.save_policy(portal.pool, owner, mine, told, now_ms())
    channel_id, _ = await noticeboard.add_channel(
        *(kit, owner, "webhook", "A channel of their own", "https://hooks.example.org/x"),
        private=False,
        now_ms=now_ms(),
    )
    work = WindowRow(0, "company", 0, 0, now_ms() + DAY_MS, now_ms() + 2 * DAY_MS, "work of their own")
    window_id = await noticeboard.add_window(portal.pool, owner, work, now_ms())
    numbers = {"site": site_id, "policy": policy_id, "channel": channel_id, "window": window_id}
    return {name: str(n) for kind, n in numbers.items() for name in (kind, f"{kind}_id")}


async def log_in_of(portal: Portal, cookie: str) -> Session:
    """A live log-in."""
    session = await accounts.find_session(
        portal.pool, sessions.hash_of(cookie), now_ms=now_ms(), idle_ms=DAY_MS
    )
    if session is None:
        raise AssertionError("the log-in is live")
    return session


async def token_of(portal: Portal, cookie: str) -> int:
    """A token that somebody's log-in has made; its number."""
    session = await log_in_of(portal, cookie)
    made = await api_tokens.make(portal.kit, session, "A token of their own", list(Scope), 7, now_ms())
    return made.token_id


async def order(portal: Portal, cookie: str, device_id: int) -> CommandRow:
    """A command that somebody's log-in has sent to their device."""
    session = await log_in_of(portal, cookie)
    what = Order(CommandKind.IDENTIFY)
    return await commanding.request(portal.commander, session, device_id, what, str(uuid.uuid4()), now_ms())


THINGS: Final[Mapping[str, LiteralString]] = {
    "ownerships": "SELECT * FROM ownership WHERE company_id = %(company)s",
    "matters": "SELECT m.device_id, m.kind, m.subject, m.status FROM matter m JOIN ownership o"
    " USING (device_id) WHERE o.company_id = %(company)s AND o.until_ms IS NULL",
    "sites": "SELECT * FROM site WHERE company_id = %(company)s",
    "policies": "SELECT * FROM notice_policy WHERE company_id = %(company)s",
    "channels": "SELECT * FROM notice_channel WHERE company_id = %(company)s",
    "windows": "SELECT * FROM maintenance_window WHERE company_id = %(company)s",
    "rules": "SELECT * FROM rule WHERE company_id = %(company)s",
    "claims": "SELECT * FROM claim WHERE company_id = %(company)s",
    "members": "SELECT * FROM membership WHERE company_id = %(company)s",
    "company": "SELECT * FROM company WHERE company_id = %(company)s",
    "person": "SELECT * FROM account WHERE account_id = %(account)s",
    "invitations": "SELECT * FROM invitation WHERE company_id = %(company)s",
    "passkeys": "SELECT p.* FROM passkey p JOIN membership USING (account_id) WHERE company_id = %(company)s",
    "commands": "SELECT * FROM v_command WHERE company_id = %(company)s",
    "systems": "SELECT r.*, s.slot, s.until_ms, f.field, f.value FROM registration r JOIN registration_slot s"
    " USING (number) LEFT JOIN registration_field f USING (number) WHERE s.company_id = %(company)s",
    "offered systems": "SELECT number, offer_id, state FROM registration_offer"
    " WHERE company_id = %(company)s",
    "awaited systems": "SELECT system_id, intent_id, state FROM system_intent WHERE company_id = %(company)s",
    "tokens": "SELECT token_id, name, scopes FROM api_token WHERE company_id = %(company)s",
    "jobs": "SELECT job_id, state <> 'interrupted' FROM bulk_job WHERE company_id = %(company)s",
    "partners": "SELECT * FROM partner_identity WHERE account_id = %(account)s",
    "log-ins": "SELECT session_hash, company_id FROM web_session WHERE account_id = %(account)s",
}


async def things_of(portal: Portal, person: Actor) -> dict[str, list[str]]:
    """All that nobody else may have changed, as texts that can be compared."""
    found: dict[str, list[str]] = {}
    who = {"company": person.company_id, "account": person.account_id}
    async with portal.pool.connection() as connection:
        for name, statement in THINGS.items():
            cursor = await connection.execute(statement, who)
            found[name] = sorted(map(str, await cursor.fetchall()))
    return found
